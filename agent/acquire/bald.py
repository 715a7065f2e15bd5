"""The items that the members of an ensemble are each sure of and do not agree on. Knows no features."""

from __future__ import annotations

import numpy as np

from agent.acquire import _score
from agent.types import Floats, Ints, Layout, Picks, PoolView


def pick(view: PoolView, n: int, seed: int) -> Picks:
    """The n candidates whose label tells most about which member is right (BALD: Houlsby et al. 2011, eq. 2).

    That is the mutual information of label and member, the entropy of the members' mean less the mean of their
    entropies, divided by log C; several atoms: of the atom with the highest. Members may come of an ensemble or of
    dropout (Gal et al. 2017). Fewer than two members never disagree: then the picks are those of `entropy`.

    Most rows are left out by a bound: the mean's entropy is bounded by its Σp² (`_score.entropy_bound`), and a
    member's entropy is at least −log Σp² (Rényi's, of order two). The chance is 1 given the members, or taken / tied
    at the last score (see `_score.top`).
    """
    if len(view.members) < 2:
        return _score.highest(view, _score.ENTROPY, n, seed)

    def candidates(start: int, stop: int, floor: float) -> tuple[Ints, Floats]:
        blocks = [np.asarray(member[start:stop]) for member in view.members]
        rows = np.flatnonzero(_bound(blocks, view.layout) >= floor)
        return rows + start, information([np.asarray(b[rows], dtype=np.float32) for b in blocks], view.layout)

    step = max(256, _score.step(view.members[0]) // 4)  # a block of every member at a time
    return _score.search(len(view.probabilities), step, n, seed, candidates)


def information(members: list[Floats], layout: Layout) -> Floats:
    """The mutual information of every row's label and the members, each (rows, width), as `pick` says, (rows,)."""
    mean = _mean(members)
    found = [
        _score.entropy(mean[:, atom]) - np.mean([_score.entropy(p[:, atom]) for p in members], axis=0)
        for atom in layout.slices
    ]
    return np.asarray(np.maximum(np.max(found, axis=0), 0), dtype=np.float32)


def _mean(members: list[Floats]) -> Floats:
    out = np.array(members[0], dtype=np.float32)
    for p in members[1:]:
        out += p
    out /= len(members)
    return out


def _bound(members: list[Floats], layout: Layout) -> Floats:
    """What the mutual information of no row exceeds, (rows,)."""
    mean, spare = _mean(members), 0.02 if members[0].dtype == np.float16 else 0.002
    found = []
    for atom in layout.slices:
        most = _score.nats_bound(_score.squares(mean[:, atom]), atom.stop - atom.start)
        least = np.zeros(len(mean), dtype=np.float32)
        for p in members:
            # float16: the highest probability alone gives a floor of the entropy too, since Σp² ≤ p₁
            held = _score.peak(p[:, atom]) if p.dtype == np.float16 else _score.squares(p[:, atom])
            least -= np.log(np.clip(held, np.finfo(np.float32).tiny, 1))
        found.append((most - least / len(members)) / max(np.log(atom.stop - atom.start), 1e-9))
    return np.asarray(np.max(found, axis=0) + spare, dtype=np.float32)
