"""Near-duplicates among the questions that repair, to be confirmed as a group. Knows texts and items; no answers."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Protocol

from agent import duplicates
from agent.types import Item

SIMILARITY = 0.7
"""How much of their 4-character pieces two texts share to be shown together; a person looks at them, so less than for
those that a machine treats as one."""
LONGEST = 20_000
"""Characters of a text that is looked at; nobody compares longer ones at a glance."""
AT_ONCE = 500
"""Texts that are compared while one waits; more of them in a thread beside."""


class Texts(Protocol):
    """What is wanted of a pool."""

    def position(self, id: str) -> int: ...
    def items(self, indices: Sequence[int]) -> list[Item]: ...


class Alike:
    """Groups of items. They are made beside the work where there are many; until then no item has mates."""

    def __init__(self, pool: Texts) -> None:
        self._pool = pool
        self._groups: dict[str, list[str]] = {}
        self._wanted: Sequence[str] = ()
        self._known: frozenset[str] = frozenset()
        self._worker: threading.Thread | None = None

    def of(self, item: str) -> list[str]:
        """The items of its group, itself among them, in their order; none where it is alone."""
        return self._groups.get(item, [])

    def learn(self, items: Sequence[str]) -> None:
        """Group these items, unless all of them were compared before."""
        if self._known.issuperset(items):
            return
        self._known, self._wanted = frozenset(items), items
        if len(items) <= AT_ONCE:
            self._groups = self._compared(items)
        else:
            self._worker = threading.Thread(target=self._beside, args=(items,), name="tutelage-alike", daemon=True)
            self._worker.start()

    def wait(self) -> None:
        """Until what is being compared beside is done."""
        if self._worker is not None:
            self._worker.join()

    def _beside(self, items: Sequence[str]) -> None:
        groups = self._compared(items)
        if self._wanted is items:  # no newer questions were compared meanwhile
            self._groups = groups

    def _compared(self, items: Sequence[str]) -> dict[str, list[str]]:
        places = [self._pool.position(item) for item in items]
        texts = [item.text for item in self._pool.items(places)]
        short = [i for i, text in enumerate(texts) if len(text) <= LONGEST]
        first = duplicates.group([texts[i] for i in short], similarity=SIMILARITY)
        together: dict[int, list[str]] = {}
        for i, leader in zip(short, first.tolist(), strict=True):
            together.setdefault(leader, []).append(items[i])
        return {item: group for group in together.values() if len(group) > 1 for item in group}
