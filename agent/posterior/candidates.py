"""The ways of pooling that compete: one source, a crowd, shared exponents, class by class. Believes none of them.

Each is fitted under all weightings of the answered rows at once; the last weighting is all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent import calibrate
from agent.posterior import fit
from agent.posterior.crowd import Crowd
from agent.posterior.sources import Doubles, Source, centred, design, starts, tally
from agent.types import Floats, Ints, Layout

SINGLE, MAJORITY, SHARED, NEAREST, FULL = "best single", "majority", "shared", "near best single", "full"
ALIKE, CROWD = "all alike", "crowd"

SURE, LOUD, FREE, LEAN, CONFUSED = 0.5, 1.0, 0.25, 0.35, 0.25
"""Spreads of: one source's exponent, all exponents together, each one apart, leanings, class-conditional terms. Chosen
on simulated worlds and on recorded votes; eval/votes.py says on which."""
PER_CHOICE, WIDEST = 5, 400
"""Class-conditional terms are tried from so many people's answers a choice, and up to so many sources × choices."""


@dataclass(frozen=True)
class Answered:
    """The answered rows. `terms`: (m, J, width); `votes`: (m, width) tally or None; `crowd`: (m, width) or None, what
    votes say by themselves; `truth`: (m, width); `weights`: (F, m), the last row all of them; `start`: (J,);
    `machines`: numbers of those that are; `habit`: (J, width) what each source says on the whole."""

    terms: Doubles
    votes: Doubles | None
    crowd: Doubles | None
    truth: Doubles
    weights: Doubles
    start: Doubles
    machines: Ints
    habit: Doubles
    layout: Layout


@dataclass(frozen=True)
class Fitted:
    """One candidate. `logits`: (F, m, width) of the answered rows under every weighting; the rest as fitted on all."""

    logits: Doubles
    exponents: Doubles
    leanings: Doubles
    of: str = SHARED
    confused: Sequence[Doubles] = field(default_factory=tuple)


def answered(
    sources: Sequence[Source], rows: Ints, truth: Doubles, weights: Doubles, layout: Layout, crowd: Crowd | None = None
) -> Answered:
    """The answered rows made ready."""
    machines = np.flatnonzero([s.role == "machine" for s in sources])
    terms = design(sources, rows, layout).astype(np.float64)
    votes = tally(sources, rows, layout).astype(np.float64) if len(machines) > 2 else None
    habit = np.stack([_habit(s, layout) for s in sources])
    said = None if crowd is None else crowd.says(sources, rows, layout).astype(np.float64)
    return Answered(terms, votes, said, truth, weights, starts(sources), machines, habit, layout)


def candidates(data: Answered) -> Mapping[str, Fitted]:
    """All that may be believed, fitted."""
    out: dict[str, Fitted] = {}
    many, width = data.terms.shape[1], data.layout.width
    singles = alone(data.terms, data.start)
    chosen = best(data, singles)
    only = np.zeros(many)
    logits, worth = _scaled(data, singles[:, chosen].transpose(1, 0, 2)[:, :, None])
    only[chosen[-1]] = worth[-1]
    out[SINGLE] = Fitted(logits, only, np.zeros(width), SINGLE)
    for name, term, spread in ((MAJORITY, data.votes, SURE), (CROWD, data.crowd, LOUD)):
        if term is not None:
            each = np.zeros(many)
            logits, power = _scaled(data, term[None, :, None], spread)
            each[data.machines] = power[-1]
            out[name] = Fitted(logits, each, np.zeros(width), name)
    logits, loud = _scaled(data, np.tensordot(data.start, data.terms, axes=([0], [1]))[None, :, None], LOUD)
    if data.crowd is not None:
        out[ALIKE] = Fitted(logits, loud[-1] * data.start, np.zeros(width))
    out[SHARED] = _pooled(data, loud[:, None] * data.start)
    if many > 1:
        near = np.zeros((len(chosen), many))
        taught = np.setdiff1d(np.arange(many), data.machines)
        near[:, taught] = data.start[taught]
        near[np.arange(len(chosen)), chosen] = worth
        out[NEAREST] = _pooled(data, near)
    choices = max(s.stop - s.start for s in data.layout.slices)
    if len(data.truth) >= PER_CHOICE * choices and many * choices <= WIDEST:
        out[FULL] = _class_by_class(data, out[SHARED])
    return out


def alone(terms: NDArray[Any], start: Doubles) -> NDArray[Any]:
    """Each source by itself; where it is silent, what the others say before anybody answered. (m, J, width)."""
    silent = ~terms.any(axis=2, keepdims=True)
    pooled = np.tensordot(start.astype(terms.dtype), terms, axes=([0], [1]))[:, None]
    return np.where(silent, pooled, terms)


def best(data: Answered, singles: Doubles) -> Ints:
    """(F,) the source that was right oftenest on each weighting's rows; the likelier one where two were."""
    right = hits(singles, data.truth[:, None], data.layout)
    _, logs = fit.softmax(singles, data.layout)
    likely = (logs * data.truth[:, None]).sum(axis=2)
    score = data.weights @ right + 1e-4 * (data.weights @ likely)
    out: Ints = score.argmax(axis=1)
    return out


def hits(logits: Doubles, truth: Doubles, layout: Layout) -> Doubles:
    """Of how many atoms the likeliest choice is right, ties drawn. (..., width), (..., width) -> (...)."""
    right = 0.0
    for s in layout.slices:
        top = logits[..., s] == logits[..., s].max(axis=-1, keepdims=True)
        right = right + (top * truth[..., s]).sum(axis=-1) / top.sum(axis=-1)
    return np.asarray(right)


def _scaled(data: Answered, term: Doubles, spread: float = SURE) -> tuple[Doubles, Doubles]:
    """Logits and exponents (F,) of one term, to its own sharpness and without leanings."""
    still = np.zeros(data.layout.width)
    start, scale = np.array([[1.0, *still]]), np.array([spread, *still])
    theta = fit.exponents(term, data.truth, data.weights, start, scale, data.layout)
    return fit.logits(theta, term), theta[:, 0]


def _pooled(data: Answered, start: Doubles) -> Fitted:
    """One exponent a source, drawn towards `start` (F, J), and leanings, drawn towards log shares."""
    many, width = data.terms.shape[1], data.layout.width
    terms = data.terms[None]
    # A source whose calibration knows the shares already speaks for them: only what is missing is added.
    lean = np.stack([_leaning(data.truth * v[:, None], data.layout) for v in data.weights]) - start @ data.habit
    scale = np.concatenate([np.full(many, FREE), np.full(width, LEAN)])
    begin = np.concatenate([start, lean], axis=1)
    theta = fit.exponents(terms, data.truth, data.weights, begin, scale, data.layout)
    return Fitted(fit.logits(theta, terms), theta[-1, :many], theta[-1, many:])


def _habit(source: Source, layout: Layout) -> Doubles:
    """A source's mean opinion, (width,)."""
    spoke = np.flatnonzero(source.heard)
    mean = source.logs[spoke].mean(axis=0, dtype=np.float64) if len(spoke) else np.zeros(layout.width)
    return centred(mean, layout)


def _leaning(said: Doubles, layout: Layout) -> Doubles:
    """Log shares of the choices as people's answers show them, as far as these are surely not even. (width,)."""
    return centred(np.log(calibrate.shares(said.astype(np.float32), layout)), layout).astype(np.float64)


def _class_by_class(data: Answered, pooled: Fitted) -> Fitted:
    """The shared pool, corrected by what each source's opinion of each choice turned out to speak for."""
    confused = fit.confusions(data.terms, pooled.logits, data.truth, data.weights, CONFUSED, data.layout)
    logits = pooled.logits.copy()
    for s, matrix in zip(data.layout.slices, confused, strict=True):
        logits[..., s] += data.terms[..., s].reshape(len(data.terms), -1) @ matrix
    return Fitted(logits, pooled.exponents, pooled.leanings, SHARED, [each[-1] for each in confused])


def blend(found: Mapping[str, Fitted], trust: Mapping[str, float]) -> list[Fitted]:
    """As few candidates as have the same logits together: those on the same terms become one."""
    out = []
    for of in (SINGLE, MAJORITY, CROWD, SHARED):
        parts = [(found[name], share) for name, share in trust.items() if found[name].of == of]
        if not parts:
            continue
        confused = [(c.confused, share) for c, share in parts if c.confused]
        out.append(
            Fitted(
                np.sum([share * c.logits for c, share in parts], axis=0),
                np.sum([share * c.exponents for c, share in parts], axis=0),
                np.sum([share * c.leanings for c, share in parts], axis=0),
                of,
                [np.sum([s * each[a] for each, s in confused], axis=0) for a in range(len(confused[0][0]))]
                if confused
                else (),
            )
        )
    return out


def say(
    found: Sequence[Fitted], sources: Sequence[Source], rows: slice, layout: Layout, crowd: Crowd | None = None
) -> Floats:
    """The sum of the candidates' logits on rows of the pool, (m, width)."""
    terms = design(sources, rows, layout)
    out = np.zeros((len(terms), layout.width), np.float32)
    for one in found:
        if one.of == MAJORITY:
            out += np.float32(one.exponents.max(initial=0.0)) * tally(sources, rows, layout)
        elif one.of == CROWD and crowd is not None:
            out += np.float32(one.exponents.max(initial=0.0)) * crowd.says(sources, rows, layout)
        elif one.of == SINGLE:
            which = int(one.exponents.argmax())
            out += np.float32(one.exponents[which]) * alone(terms, starts(sources))[:, which]
        else:
            out += np.einsum("j,mjw->mw", one.exponents.astype(np.float32), terms, optimize=True)
            out += one.leanings.astype(np.float32)
            for s, matrix in zip(layout.slices, one.confused, strict=False):
                out[:, s] += terms[..., s].reshape(len(terms), -1) @ matrix.astype(np.float32)
    return out
