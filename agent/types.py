"""The nouns and the three protocols. Knows nothing of files, databases, clocks or networks.

A label of any kind is a set of categorical claims, its *atoms*: `{"label": "spam"}` for a single label,
`{"toxic": "yes", "rude": "no"}` for several. The mathematics works on arrays whose columns are the choices of
all atoms side by side; `Layout` says which columns belong to which atom, and is all it knows of a task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

Value = str | tuple[str, ...]
"""A label: its name for kind `single`, the sorted names for kind `multi`."""

Distribution = Mapping[str, Mapping[str, float]]
"""atom -> choice -> probability; within an atom the probabilities sum to one."""

Stream = Literal["pick", "escalation", "pilot", "audit"]
"""Why an item was asked about. Only `audit` makes claims; `pilot` (random too) calibrates; the rest teach or repair."""

Action = Literal["accept", "ask", "abstain"]
Status = Literal["ok", "error", "failed", "withdrawn"]


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of an item: `text/plain` and the text, or `image/png` and a URI."""

    media: str
    data: str


@dataclass(frozen=True, slots=True)
class Item:
    """A thing to label. `id` is a hash of the parts and the user's own id; `gold` is never shown to an annotator."""

    id: str
    parts: tuple[Part, ...]
    gold: Value | None = None
    name: str | None = None
    """The user's own id, as text, when the pool has one."""

    @property
    def text(self) -> str:
        """All text parts, joined by a blank line."""
        return "\n\n".join(part.data for part in self.parts if part.media.startswith("text/"))


@dataclass(frozen=True, slots=True)
class Example:
    """A text with its label, shown to an LLM before the question."""

    text: str
    value: Value


@dataclass(frozen=True, slots=True)
class Task:
    """What is asked of every item. `labels`: name -> description (may be empty)."""

    name: str
    kind: str
    labels: Mapping[str, str]
    question: str = ""
    guidelines: str = ""
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True)
class Layout:
    """Which columns of an array of distributions belong to which atom.

    `choices[a]` are the choices of `atoms[a]`; arrays have shape (items, width), float32, and within each atom's
    columns a row sums to one.
    """

    atoms: tuple[str, ...]
    choices: tuple[tuple[str, ...], ...]

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        ends = np.cumsum([len(c) for c in self.choices]).tolist()
        return tuple(slice(end - len(c), end) for end, c in zip(ends, self.choices, strict=True))

    @property
    def width(self) -> int:
        return sum(len(c) for c in self.choices)

    def normalise(self, logits: Floats) -> Floats:
        """Softmax inside each atom. (n, width) -> (n, width)."""
        out = np.empty(logits.shape, dtype=np.float32)
        for s in self.slices:
            block = logits[:, s] - logits[:, s].max(axis=1, keepdims=True)
            np.exp(block, out=block)
            out[:, s] = block / block.sum(axis=1, keepdims=True)
        return out

    def row(self, distribution: Distribution) -> Floats:
        """A distribution as one row, shape (width,)."""
        return np.array(
            [distribution[a].get(c, 0.0) for a, cs in zip(self.atoms, self.choices, strict=True) for c in cs],
            dtype=np.float32,
        )

    def onehot(self, atoms: Mapping[str, str]) -> Floats:
        """A definite set of claims as one row, shape (width,)."""
        return self.row({atom: {choice: 1.0} for atom, choice in atoms.items()})

    def best(self, row: Floats) -> dict[str, str]:
        """The likeliest choice of each atom in one row."""
        return {
            a: cs[int(np.argmax(row[s]))] for a, cs, s in zip(self.atoms, self.choices, self.slices, strict=True)
        }

    def distribution(self, row: Floats) -> dict[str, dict[str, float]]:
        """One row as atom -> choice -> probability."""
        return {
            a: dict(zip(cs, map(float, row[s]), strict=True))
            for a, cs, s in zip(self.atoms, self.choices, self.slices, strict=True)
        }


@dataclass(frozen=True, slots=True)
class Option:
    """One thing an annotator may choose, and the one-token code it is shown under."""

    code: str
    choice: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """An item as one annotator is shown it: options in a seeded order. `many`: any number may be chosen."""

    item: Item
    options: tuple[Option, ...]
    many: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """What an oracle receives.

    `prefix` is the part all items of one recipe share (instructions, labels, examples) and `messages` the whole
    conversation, item last. `readout`: "codes" reads the option codes, "words" the choices' names, each an answer
    the engine may give. For `many`, each option is judged by itself.
    """

    key: str
    question: Question
    messages: tuple[Message, ...]
    prefix: str = ""
    readout: Literal["codes", "words"] = "codes"
    seed: int = 0
    flags: tuple[str, ...] = ()
    """Facts about the prompt that belong to its answer too, such as "truncated"."""


@dataclass(frozen=True, slots=True)
class Call:
    """The intent to ask. `key` = sha256 of all that could change the answer; `usd` the most it can cost.

    `recipe` hashes everything of the key but the item and the sample (annotator, model, prompt, labels): votes of
    today's recipes count, those of older ones stay in the ledger. `probability` is the chance with which the item
    was drawn into its stream.
    """

    key: str
    recipe: str
    item: str
    annotator: str
    sample: int = 0
    purpose: Stream = "pick"
    probability: float = 1.0
    usd: float = 0.0
    turn: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, as it came: this is the thing that cost money.

    `logprobs`: log-probability of each option code, raw (not renormalised) as the engine gave it; for a `many` question log P(yes).
    `None` where the engine gives none. `unsure`: a person chose "none of these / cannot tell". `who` names the
    person. `flags` carries facts such as "truncated", "votes" (fallback readout), "flagged: reason".
    """

    text: str
    logprobs: Mapping[str, float] | None = None
    usd: float = 0.0
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    served_model: str = ""
    unsure: bool = False
    who: str = ""
    seconds: float = 0.0
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Vote:
    """An answer read. `distribution` is None when the annotator abstained or could not be read."""

    item: str
    annotator: str
    distribution: Distribution | None
    sample: int = 0
    purpose: Stream = "pick"


@dataclass(frozen=True, slots=True)
class Posterior:
    """What is believed of an item."""

    item: str
    value: Value
    confidence: float
    atoms: Distribution


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided. `by`: the rung whose word settled it. `why`: in plain words."""

    item: str
    action: Action
    by: str
    value: Value
    confidence: float
    why: str = ""
    turn: int = 0


@dataclass(frozen=True, slots=True)
class Traits:
    """What the rest of the house must know of an oracle.

    `recipe`: every setting that could change an answer. `template`: file in `prompts/`. `in_flight`: how many
    questions it takes at once. `local`: nothing leaves this machine.
    """

    annotator: str
    recipe: Mapping[str, str]
    template: str = "codes.j2"
    readout: Literal["codes", "words"] = "codes"
    in_flight: int = 8
    local: bool = False
    person: bool = False
    calibrate: bool = True
    """Whether batch calibration applies (log-probabilities of a language model: yes; people, recorded votes: no)."""
    may_train_student: bool = True


@dataclass(frozen=True, slots=True)
class Context:
    """What a plug-in is built with.

    `folder`: where it may keep caches, created on demand. `root`: the folder relative paths in its settings are taken
    from (that of tutelage.toml).
    """

    task: Task
    layout: Layout
    seed: int = 0
    folder: str = ""
    root: str = ""


@runtime_checkable
class Kind(Protocol):
    """All that is peculiar to a kind of label. Implemented by modules of `agent/kinds/`."""

    def choices(self, task: Task) -> Layout: ...
    def question(self, task: Task, item: Item, sample: int) -> Question: ...
    def parse(self, task: Task, question: Question, answer: Answer) -> Distribution | None: ...
    def atoms(self, task: Task, value: Value) -> Mapping[str, str]: ...
    def value(self, task: Task, atoms: Mapping[str, str]) -> Value: ...
    def loss(self, task: Task, guess: Value, truth: Value) -> float: ...


class Oracle(Protocol):
    """One way to get an answer. How questions are batched is the engine's secret."""

    @property
    def traits(self) -> Traits: ...
    def price(self, prompt: Prompt) -> float: ...
    async def answer(self, prompt: Prompt) -> Answer: ...
    async def close(self) -> None: ...


class Student(Protocol):
    """A local model that learns. `features` is computed once an item; `fit` and `predict` work on rows of it.

    targets: (n, width) float32, soft; weights: (n,) float32. `predict` gives (n, width) probabilities.
    """

    @property
    def name(self) -> str: ...
    def features(self, items: Sequence[Item]) -> Any: ...
    def fit(self, features: Any, targets: Floats, weights: Floats) -> None: ...
    def predict(self, features: Any) -> Floats: ...
    def save(self, folder: str) -> None: ...
    def load(self, folder: str) -> None: ...


@dataclass(frozen=True, slots=True)
class PoolView:
    """What an acquisition function sees: candidates only, row i of every array is candidate i.

    probabilities: (n, width) of the student (uniform before it is trained); features: (n, d) or None;
    labeled: features of the items already asked about, (m, d) or None.
    """

    layout: Layout
    probabilities: Floats
    features: Any = None
    labeled: Any = None


@dataclass(frozen=True, slots=True)
class Picks:
    """Which candidates to ask about: row numbers, and the chance each had of being picked."""

    rows: Ints
    probabilities: Floats


@dataclass(frozen=True, slots=True)
class SetAside:
    """A row that could not become an item: where it stands, and why."""

    file: str
    row: int
    reason: str


@dataclass(frozen=True, slots=True)
class Certificate:
    """The claim: of `items` labels, at most `wrong_at_most` differ from what the people said, with probability ≥ 1 − delta.

    `accuracy_at_least` = 1 − wrong_at_most / items. `audited` answers were drawn at random from the `machine` labels,
    `wrong` of them differed. See `certify` for the argument.
    """

    items: int
    people: int
    machine: int
    audited: int
    wrong: int
    missing: int
    delta: float
    wrong_at_most: int
    accuracy_at_least: float
    accuracy_estimate: float
    target: float
    met: bool
    look: int
    seed: int
    turn: int
    labels_sha256: str
    audit_sha256: str
    truth: str
    method: str = "hypergeometric"
    extra: Mapping[str, Any] = field(default_factory=dict)
