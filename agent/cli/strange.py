"""Rows of a stream that are least like the pool: the drift monitor's evidence, and the strangest rows for people."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from agent.errors import DataError

if TYPE_CHECKING:
    from agent.data import Entry
    from agent.drift import Monitor, Scored
    from agent.serve import Labeled, Saved


def watch(saved: Saved, most: int, in_time: bool) -> Strangest:
    """A monitor of new rows that keeps the `most` strangest. in_time: they come as they arise, as from a pipe.

    Raises:
        DataError: the model carries no sample of its pool.
    """
    from agent import drift

    found = saved.reference()
    if found is None:
        raise DataError(
            f"{saved.folder} carries no {drift.FILE}, so new rows cannot be held against its pool: run and export the "
            "model again"
        )
    return Strangest(drift.Monitor(found, saved.layout), most, in_time)


class Strangest:
    """The monitor, and the rows that lie farthest out or leave most doubt, each text once.

    Rows of a file may be sorted, by label say, which is no drift: what is watched of them (some 20 bytes a row) is kept
    until the end and taken in a random order.
    """

    def __init__(self, monitor: Monitor, most: int, in_time: bool) -> None:
        self._monitor, self._most, self._in_time = monitor, most, in_time
        self._later: list[Scored] = []
        self._heap: list[tuple[float, float, int, dict[str, Any]]] = []
        self._texts: set[str] = set()
        self._count = 0

    def hear(self, entries: Sequence[Entry], labeled: Labeled) -> None:
        """Rows in the order in which they came."""
        strange, scored = self._monitor.weigh(labeled.features, labeled.said)
        if self._in_time:
            self._monitor.take(scored)
        else:
            self._later.append(scored)
        if not self._most:
            return
        far, doubtful, sure = strange.far.tolist(), strange.doubtful.tolist(), labeled.sure.tolist()
        for i, entry in enumerate(entries):
            key = (-min(far[i], doubtful[i]), -sure[i])
            if len(self._heap) >= self._most and key <= self._heap[0][:2]:
                continue
            self._take(key, entry, labeled.labels[i], sure[i], far[i], doubtful[i])

    def _take(self, key: tuple[float, float], entry: Entry, label: Any, sure: float, far: float, doubt: float) -> None:
        text = entry.item.text
        if text in self._texts:
            return
        self._count += 1
        row = {
            "id": entry.item.name if entry.item.name is not None else f"{entry.file}:{entry.row}",
            "text": text,
            "row": entry.row,
            "guess": label,
            "probability": round(sure, 6),
            "as_far_in_pool": round(far, 6),
            "as_doubtful_in_pool": round(doubt, 6),
        }
        self._texts.add(text)
        heapq.heappush(self._heap, (*key, self._count, row))
        if len(self._heap) > self._most:
            self._texts.discard(heapq.heappop(self._heap)[3]["text"])

    @property
    def found(self) -> dict[str, Any]:
        """What the monitor found, when all rows are heard."""
        if self._later:
            import numpy as np

            from agent.drift import Scored

            distance = np.concatenate([part.distance for part in self._later])
            doubt = np.concatenate([part.doubt for part in self._later])
            labels = np.concatenate([part.labels for part in self._later])
            order = np.random.default_rng(len(distance)).permutation(len(distance))
            self._later = []
            for rows in np.array_split(order, 1 + len(order) // 10_000):
                self._monitor.take(Scored(distance[rows], doubt[rows], labels[rows]))
        return self._monitor.found()

    def words(self, again: str) -> str:
        """The same in words, and what to do about it. again: the file and the options it was read with."""
        from agent import drift

        text = drift.words(self.found, not self._in_time)
        if self.found["alarm"] and not self._most:
            text += f": tutelage predict {again} --review FILE writes the 50 strangest"
        return text

    def write(self, path: str) -> int:
        """The strangest rows to a file, strangest first; how many there are."""
        from agent import data

        rows = [row for *_, row in sorted(self._heap, key=lambda one: (-one[0], -one[1], one[2]))]
        columns = ["id", "text", "row", "guess", "probability", "as_far_in_pool", "as_doubtful_in_pool"]
        return data.write_rows(columns, [rows], path)
