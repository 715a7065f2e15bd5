"""The ways of pooling that compete: best single source, majority, shared exponents, class by class. Chooses none.

Each is fitted under all weightings of the answered rows at once; the last weighting is all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.posterior import fit
from agent.posterior.sources import Doubles, Source, design, starts, tally
from agent.types import Floats, Ints, Layout

SINGLE, MAJORITY, SHARED, NEAREST, FULL = "best single", "majority", "shared", "near best single", "full"
SIMPLE = (SINGLE, MAJORITY)

SURE, FREE, LEAN, CONFUSED = 0.5, 0.5, 1.0, 0.3
"""Spreads of: one source's exponent, a pool's exponents, leanings, class-conditional terms. Chosen on simulated worlds
and on recorded votes that no table reports on (eval/votes.py says which)."""
FEW = 150
"""People's answers from which class-conditional terms are tried."""


@dataclass(frozen=True)
class Answered:
    """The answered rows. `terms`: (m, J, width); `votes`: (m, width) tally or None; `truth`: (m, width);
    `weights`: (F, m), the last row all of them; `start`: (J,)."""

    terms: Doubles
    votes: Doubles | None
    truth: Doubles
    weights: Doubles
    start: Doubles
    machines: Ints
    layout: Layout


@dataclass(frozen=True)
class Fitted:
    """One candidate. `logits`: (F, m, width) of the answered rows under every weighting; the rest as fitted on all."""

    name: str
    logits: Doubles
    exponents: Doubles
    leanings: Doubles
    of: str = SHARED
    confused: Sequence[Doubles] = field(default_factory=tuple)


def answered(sources: Sequence[Source], rows: Ints, truth: Doubles, weights: Doubles, layout: Layout) -> Answered:
    """The answered rows made ready."""
    machines = np.flatnonzero([s.role == "machine" for s in sources])
    return Answered(
        design(sources, rows, layout).astype(np.float64),
        tally(sources, rows, layout).astype(np.float64) if len(machines) > 2 else None,
        truth,
        weights,
        starts(sources),
        machines,
        layout,
    )


def alone(terms: NDArray[Any], start: Doubles) -> NDArray[Any]:
    """Each source by itself; where it is silent, what the others say before anybody answered. (m, J, width)."""
    silent = ~terms.any(axis=2, keepdims=True)
    pooled = np.tensordot(start.astype(terms.dtype), terms, axes=([0], [1]))[:, None]
    return np.where(silent, pooled, terms)


def best(data: Answered, singles: Doubles) -> Ints:
    """(F,) the source that was right oftenest on each weighting's rows; the likelier one where two were."""
    right = np.zeros(singles.shape[:2])
    likely = np.zeros(singles.shape[:2])
    for s in data.layout.slices:
        block, truth = singles[..., s], data.truth[:, s]
        top = block == block.max(axis=2, keepdims=True)
        right += (top * truth[:, None]).sum(axis=2) / top.sum(axis=2)
    _, logs = fit.softmax(singles, data.layout)
    likely = (logs * data.truth[:, None]).sum(axis=2)
    score = data.weights @ right + 1e-4 * (data.weights @ likely)
    out: Ints = score.argmax(axis=1)
    return out


def candidates(data: Answered, full: bool) -> Mapping[str, Fitted]:
    """All that may be chosen, fitted."""
    out: dict[str, Fitted] = {}
    width, many = data.layout.width, data.terms.shape[1]
    still, singles = np.zeros(width), alone(data.terms, data.start)
    chosen = best(data, singles)
    one = singles[:, chosen].transpose(1, 0, 2)[:, :, None]
    theta = fit.exponents(
        one, data.truth, data.weights, np.ones((1, 1 + width)) * ([1.0, *still]), np.array([SURE, *still]), data.layout
    )
    only = np.zeros(many)
    only[chosen[-1]] = theta[-1, 0]
    out[SINGLE] = Fitted(SINGLE, fit.logits(theta, one), only, still, SINGLE)
    if data.votes is not None:
        votes = data.votes[None, :, None]
        tune = fit.exponents(
            votes, data.truth, data.weights, np.array([[1.0, *still]]), np.array([SURE, *still]), data.layout
        )
        each = np.zeros(many)
        each[data.machines] = tune[-1, 0]
        out[MAJORITY] = Fitted(MAJORITY, fit.logits(tune, votes), each, still, MAJORITY)
    scale = np.concatenate([np.full(many, FREE), np.full(width, LEAN)])
    start = np.concatenate([data.start, still])
    pool = fit.exponents(data.terms[None], data.truth, data.weights, start[None], scale, data.layout)
    shared = fit.logits(pool, data.terms[None])
    out[SHARED] = Fitted(SHARED, shared, pool[-1, :many], pool[-1, many:])
    if many > 1:
        near = np.zeros((len(chosen), many + width))
        near[np.arange(len(chosen)), chosen] = theta[:, 0]
        drawn = fit.exponents(data.terms[None], data.truth, data.weights, near, scale, data.layout)
        out[NEAREST] = Fitted(NEAREST, fit.logits(drawn, data.terms[None]), drawn[-1, :many], drawn[-1, many:])
    if full:
        confused = fit.confusions(data.terms, shared, data.truth, data.weights, CONFUSED, data.layout)
        corrected = shared.copy()
        for s, matrix in zip(data.layout.slices, confused, strict=True):
            corrected[..., s] += data.terms[..., s].reshape(len(data.terms), -1) @ matrix
        out[FULL] = Fitted(FULL, corrected, pool[-1, :many], pool[-1, many:], SHARED, [c[-1] for c in confused])
    return out


def say(found: Fitted, sources: Sequence[Source], rows: slice, layout: Layout) -> Floats:
    """The candidate's logits on rows of the pool, (m, width)."""
    if found.of == MAJORITY:
        weight = found.exponents.max(initial=0.0)
        return (np.float32(weight) * tally(sources, rows, layout)).astype(np.float32)
    terms = design(sources, rows, layout)
    if found.of == SINGLE:
        which = int(found.exponents.argmax())
        heard = alone(terms, starts(sources))[:, which]
        return np.asarray(found.exponents[which] * heard, np.float32)
    out = np.einsum("j,mjw->mw", found.exponents.astype(np.float32), terms, optimize=True)
    out += found.leanings.astype(np.float32)
    for s, matrix in zip(layout.slices, found.confused, strict=False):
        out[:, s] += terms[..., s].reshape(len(terms), -1) @ matrix.astype(np.float32)
    return np.asarray(out, np.float32)
