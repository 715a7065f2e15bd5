"""Labels renamed, merged, split and added: what was answered is carried along, and only what is touched is asked again.

`change` says what becomes of a label, `file` edits tutelage.toml, `carry` works out the rows. Knows no screen.
"""

from agent.relabel.carry import Told, finish, relabel, unfinished
from agent.relabel.change import Change, add, merge, rename, split

__all__ = ["Change", "Told", "add", "finish", "merge", "relabel", "rename", "split", "unfinished"]
