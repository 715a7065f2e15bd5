"""Continuations of a text, and which of their tokens are to be read where. Knows no model.

Common beginnings are merged into a tree, so that labels of several tokens cost a few more columns of one pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Ids = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Form:
    """A continuation. Its tokens from number `start` on are scored; those before only lead to them."""

    ids: Ids
    start: int = 0


class Tree:
    """Continuations with their common beginnings merged. Node 0 is the end of the text."""

    def __init__(self, forms: Sequence[Form]) -> None:
        self.tokens: list[int] = []
        self.depth: list[int] = []
        self.lines: list[list[int]] = []
        """For each node after the root: itself and its ancestors, without the root."""
        self.reads: list[tuple[int, int, int]] = []
        """(form, node, token): the log-probability of `token` at `node` counts for `form`."""
        known: dict[Ids, int] = {(): 0}
        for number, form in enumerate(forms):
            for at, token in enumerate(form.ids):
                node = known[form.ids[:at]]
                if at >= form.start:
                    self.reads.append((number, node, token))
                if at + 1 < len(form.ids) and form.ids[: at + 1] not in known:
                    self._grow(known, form.ids[: at + 1], node)
        self.forms = len(forms)

    def _grow(self, known: dict[Ids, int], path: Ids, parent: int) -> None:
        node = len(self.tokens) + 1
        known[path] = node
        self.tokens.append(path[-1])
        self.depth.append(len(path))
        self.lines.append([*(self.lines[parent - 1] if parent else []), node])

    def __len__(self) -> int:
        return len(self.tokens)
