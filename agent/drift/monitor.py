"""New rows as evidence against "like the pool's": conformal p-values, and bets on them. Knows arrays only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from agent.drift import scores
from agent.drift.reference import FILE, Reference
from agent.errors import Damaged
from agent.types import Doubles, Floats, Ints, Layout

ALPHA = 0.01
BLOCK = 64
POWERS = np.array([0.2, 0.5, 0.8])
SLOPES = np.array([0.5, 0.95])
RICH = 1e200
OTHERS = 499


@dataclass(frozen=True)
class Strange:
    """Share of the pool's rows at least as far away, and at least as doubtful; (n,) each, small is strange."""

    far: Floats
    doubtful: Floats


@dataclass(frozen=True)
class Scored:
    """What is watched of n rows. distance, doubt: (n,). labels: (n, atoms) columns of the likeliest choices."""

    distance: Floats
    doubt: Floats
    labels: Ints


class Monitor:
    """Hears new rows and keeps the evidence that they are not like the pool's. One thread at a time.

    rows: heard so far. highest: the most the evidence ever was. alarm_at: the row at which it reached 1/alpha, or None.
    because: where the highest evidence lay: "distance", "doubt" or "labels".
    """

    def __init__(self, reference: Reference, layout: Layout, alpha: float = ALPHA, seed: int = 0) -> None:
        if len(reference.counts) != layout.width:
            raise Damaged(f"{FILE} belongs to another model ({len(reference.counts)} columns, not {layout.width})")
        self.reference, self.layout, self.alpha = reference, layout, alpha
        self.rows = self._blocks = 0
        self.highest = 0.0
        self.alarm_at: int | None = None
        self.because = ""
        self.far = self.doubted = 0.0
        self.counts = np.zeros(layout.width, dtype=np.int64)
        self._block = np.zeros(layout.width, dtype=np.int64)
        self._rng = np.random.default_rng(seed)
        self._sorted = np.sort(reference.distance), np.sort(reference.doubt)
        self._bins: list[Ints] = [
            np.bincount(scores.near_bins(reference.distance), minlength=scores.BINS),
            np.bincount(scores.doubt_bins(reference.doubt), minlength=scores.BINS),
        ]
        atoms = len(layout.slices)
        self._shares = np.array([1 / 3, 1 / 3, *[1 / 3 / atoms] * atoms])
        self._bets: Doubles = np.zeros((len(self._shares), len(POWERS) + len(SLOPES)))

    def hear(self, features: Any, said: Floats) -> Strange:
        """Take new rows in, in the order in which they came: (n, d) features and (n, width) probabilities.

        Raises:
            Damaged: the reference belongs to another model.
        """
        strange, scored = self.weigh(features, said)
        self.take(scored)
        return strange

    def weigh(self, features: Any, said: Floats) -> tuple[Strange, Scored]:
        """How strange rows are, and what `take` needs of them; nothing is taken in yet. Raises as `hear`."""
        if features.shape[1] != self.reference.anchors.shape[1]:
            d = self.reference.anchors.shape[1]
            raise Damaged(f"{FILE} belongs to another model (rows of {d} numbers, not {features.shape[1]})")
        distance, doubt = scores.distance(features, self.reference.anchors), scores.doubt(said, self.layout)
        scored = Scored(distance, doubt, scores.labels(said, self.layout))
        far, doubtful = scores.share_above(self._sorted[0], distance), scores.share_above(self._sorted[1], doubt)
        return Strange(far, doubtful), scored

    def take(self, scored: Scored) -> None:
        """Bet on rows in this order. Rows without an order of their own (a file, sorted who knows how) are shuffled
        before: then the bets are on the file as a whole."""
        bins = np.stack([scores.near_bins(scored.distance), scores.doubt_bins(scored.doubt)])
        start, n = 0, len(scored.labels)
        while start < n:
            if self.rows % BLOCK == 0:
                self._blocks += 1
                share = 1 / np.log2(self._blocks + 1) - 1 / np.log2(self._blocks + 2)
                self._bets += share / self._bets.shape[1]
            end = min(n, start + BLOCK - self.rows % BLOCK)
            self._bet(bins[:, start:end], scored.labels[start:end])
            start = end
        self.far += float(scored.distance.sum(dtype=np.float64))
        self.doubted += float(scored.doubt.sum(dtype=np.float64))

    def _bet(self, bins: Ints, labels: Ints) -> None:
        """Up to 64 rows of one block: their p-values, the bets on them, and what the evidence is then."""
        b, known = len(labels), len(self.reference.distance) + self.rows
        total = known + np.arange(1, b + 1)
        before = np.tri(b, k=-1, dtype=bool)
        for channel, counts in enumerate(self._bins):
            q: Ints = bins[channel]
            above = known - np.cumsum(counts)[q] + (before & (q > q[:, None])).sum(axis=1)
            same = counts[q] + (before & (q == q[:, None])).sum(axis=1) + 1
            self._lay(channel, (above + self._dice(b) * same) / total)
            self._bins[channel] = counts + np.bincount(q, minlength=scores.BINS)
        self.rows += b
        self._block = self._block + np.bincount(labels.ravel(), minlength=self.layout.width)
        if self.rows % BLOCK == 0:
            self.counts = self.counts + self._block
            pool = self.reference.counts + self.counts
            for atom, s in enumerate(self.layout.slices):
                self._lay(2 + atom, self._odd(self._block[s], pool[s]))
            self._block = np.zeros_like(self._block)
        now = self._shares * (self._bets.sum(axis=1) + 1 / float(np.log2(self._blocks + 2)))
        if now.max() > self.highest:
            self.highest = float(now.max())
            self.because = ("distance", "doubt", "labels")[min(int(np.argmax(now)), 2)]
        if self.alarm_at is None and self.highest >= 1 / self.alpha:
            self.alarm_at = self.rows

    def _lay(self, channel: int, p: Doubles) -> None:
        """All bets of a channel on p-values, (b,)."""
        powers = np.log(p).sum() * (POWERS - 1) + len(p) * np.log(POWERS)
        slopes = np.log1p(SLOPES[:, None] * (1 - 2 * p)).sum(axis=1)
        gain = np.exp(np.minimum(np.concatenate([powers, slopes]), 460.0))
        self._bets[channel] = np.minimum(self._bets[channel] * gain, RICH)

    def _dice(self, n: int) -> Doubles:
        return np.asarray(1 - self._rng.random(n))  # never 0

    def _odd(self, block: Ints, pool: Ints) -> Doubles:
        """How many of 499 random blocks of all rows so far have shares of labels as odd as this one's, (1,).

        block: labels' counts in it; pool: in all rows, these among them.
        """
        drawn = scores.subsets(pool, int(block.sum()), OTHERS, self._rng)
        expected = pool * (block.sum() / pool.sum())
        odd = ((np.vstack([block, drawn]) - expected) ** 2 / (expected + 0.5)).sum(axis=1)
        above, same = (odd[1:] > odd[0]).sum(), (odd == odd[0]).sum()
        return np.asarray((above + self._dice(1) * same) / len(odd))

    @property
    def p(self) -> float:
        """A p-value that holds whenever one looks: the chance of evidence as high as it ever was, at most."""
        return min(1.0, 1 / max(self.highest, 1.0))

    @property
    def alarm(self) -> bool:
        """Whether the evidence ever reached 1/alpha: without a change the chance of it is at most alpha, ever (about,
        where rows of the reference taught the student)."""
        return self.alarm_at is not None

    def found(self) -> dict[str, Any]:
        """Everything told of it: rows, p, alarm, where and why, means beside the pool's, how far labels moved.

        `labels_moved`: total variation between the labels' shares, of the atom where it is largest; `label`: the one
        whose share moved most, and its shares in the pool and in new rows.
        """
        rows, pool = max(self.rows, 1), self.reference
        then, now = pool.counts / max(len(pool.distance), 1), (self.counts + self._block) / rows
        moved = max(float(np.abs(now[s] - then[s]).sum() / 2) for s in self.layout.slices) if self.rows else 0.0
        most = int(np.argmax(np.abs(now - then)))
        atom = next(i for i, s in enumerate(self.layout.slices) if s.start <= most < s.stop)
        start, choices = self.layout.slices[atom].start, self.layout.choices[atom]
        binary = choices == ("no", "yes")
        most = start + 1 if binary else most
        return {
            "rows": self.rows,
            "p": self.p,
            "alarm": self.alarm,
            "alarm_at": self.alarm_at,
            "because": self.because if self.alarm else None,
            "distance": round(self.far / rows, 4),
            "distance_of_pool": round(float(pool.distance.mean()), 4),
            "doubt": round(self.doubted / rows, 4),
            "doubt_of_pool": round(float(pool.doubt.mean()), 4),
            "labels_moved": round(moved, 4),
            "label": {
                "label": self.layout.atoms[atom] if binary else choices[most - start],
                "share_of_pool": round(float(then[most]), 4),
                "share": round(float(now[most]), 4) if self.rows else None,
            },
        }


def words(found: Mapping[str, Any], shuffled: bool = False) -> str:
    """What `Monitor.found` found, in a sentence or two. shuffled: the rows were taken in a random order."""
    p, rows, one = found["p"], found["rows"], found["label"]
    far = f"distance {found['distance']:.3f}, of the pool {found['distance_of_pool']:.3f}"
    doubt = f"expected error {found['doubt']:.3f}, of the pool {found['doubt_of_pool']:.3f}"
    if not found["alarm"]:
        return f"drift: none to be seen in {rows:,} rows (p {p:.2g}; {far}; {doubt})"
    what = {
        "distance": f"lie farther from what it was trained on than chance allows ({far}",
        "doubt": f"leave it more in doubt than chance allows ({doubt}",
        "labels": f"get other labels than chance allows ({one['label']!r}: {100 * one['share']:.1f} %, of the pool "
        f"{100 * one['share_of_pool']:.1f} %",
    }[found["because"]]
    where = f"{found['alarm_at']:,} rows show it" if shuffled else f"seen at row {found['alarm_at']:,}"
    return f"drift: new rows {what}; p {p:.2g}, {where}); label some of them and train anew"
