"""The nouns and the three protocols. Knows nothing of files, databases, clocks or networks.

A label of any kind is a set of categorical claims, its *atoms*: `{"label": "spam"}` for a single label,
`{"toxic": "yes", "rude": "no"}` for several. Aggregation, calibration and students see atoms, never the kind.
"""

from agent.types.arrays import Bools, Floats, Ints, Layout, Picks, PoolView
from agent.types.nouns import (
    Action,
    Answer,
    Call,
    Certificate,
    Decision,
    Distribution,
    Example,
    Item,
    Message,
    Option,
    Part,
    Prompt,
    Question,
    SetAside,
    Status,
    Stream,
    Task,
    Value,
)
from agent.types.protocols import Context, Kind, Oracle, Student, Traits

__all__ = [
    "Action",
    "Answer",
    "Bools",
    "Call",
    "Certificate",
    "Context",
    "Decision",
    "Distribution",
    "Example",
    "Floats",
    "Ints",
    "Item",
    "Kind",
    "Layout",
    "Message",
    "Option",
    "Oracle",
    "Part",
    "Picks",
    "PoolView",
    "Prompt",
    "Question",
    "SetAside",
    "Status",
    "Stream",
    "Student",
    "Task",
    "Traits",
    "Value",
]
