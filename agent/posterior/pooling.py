"""Many opinions and a few people's labels to one posterior. Works on arrays and a `Layout`; knows no annotator.

The pool is logarithmic: P(y_i = k) ∝ exp(b_k + Σ_j w_j log p_ijk) (Genest & Zidek 1986; Heskes 1998). How it is fitted
is settled on rows held out: every way is believed as far as it foretold what people said there (stacking by
pseudo-likelihood, Yao et al. 2018) and named it, so that a rich way has to show that it is better than a simple one,
and a simple one that it is better than a rich one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from agent.posterior import fit
from agent.posterior.candidates import (
    ALIKE,
    CROWD,
    FULL,
    MAJORITY,
    NEAREST,
    SHARED,
    SINGLE,
    Fitted,
    answered,
    blend,
    candidates,
    hits,
    say,
)
from agent.posterior.crowd import Crowd, crowd
from agent.posterior.risk import error, recalibrate
from agent.posterior.sources import Doubles, Source, starts
from agent.types import Floats, Ints, Layout

HEAVIEST = 5.0
"""No answer weighs more than this: 1 / π of an item that was hardly ever to be asked about says little."""
LEAST = 10
"""People's answers below which nothing is fitted."""
FOLDS, FINE, FINE_UPTO = 5, 10, 200
"""Folds of the cross-validation, and of a small one: what is left to learn from should be nearly all."""
CAUTION, PLAIN = 0.3, 0.3
"""By how much of the log-likelihood of held-out rows ways are told apart, and by each of them that is named rightly.
Little of the first: these rows' answers are not independent of what each way was fitted on, and one way may be likelier
than another on the whole and yet name fewer labels, which is what is delivered."""
BEFORE = {SINGLE: 8.0, NEAREST: 8.0, SHARED: 4.0, FULL: 4.0, ALIKE: 4.0, CROWD: 4.0, MAJORITY: 1.0}
"""How far a way is believed before anybody answered, beside the others. Where fewer than three machines spoke, there is
no crowd that a single one stands out from: the ways of the single source then count 1."""
NOTHING = 0.01
"""A way that is believed less is not counted."""
BLOCK = 1 << 15
UNTOUCHED = "start"


@dataclass(frozen=True)
class Pooled:
    """`posterior`: (n, width), of an answered row by a fit that did not see its answer; `error`: (n,) chance that the
    whole label is wrong. `scores`: way of pooling -> log-loss a held-out row; `trust`: way -> how far it is believed,
    in sum 1; `chosen`: the way believed most. `weights`: source -> exponent; `temperature` multiplies them all."""

    posterior: Floats
    error: Doubles
    chosen: str
    scores: Mapping[str, float]
    trust: Mapping[str, float]
    weights: Mapping[str, float]
    temperature: float


def pool(
    sources: Sequence[Source],
    rows: Ints,
    said: Floats,
    layout: Layout,
    importance: Doubles | None = None,
    seed: int = 0,
) -> Pooled:
    """Pool what was heard, as far as people's answers say how.

    Args:
        sources: J ≥ 1 of n rows each. rows: (m,) row numbers that people answered, m ≥ 0, each once.
        said: (m, width) their answers, one-hot inside each atom.
        importance: (m,) 1 / chance that the row was asked about; at most `HEAVIEST` counts. None: drawn uniformly.
        seed: draws the folds.
    """
    rows = np.asarray(rows, np.int64)
    if len(rows) < LEAST:
        return _unfitted(sources, layout)
    truth = np.asarray(said, np.float64)
    worth = np.ones(len(rows)) if importance is None else np.minimum(np.asarray(importance, np.float64), HEAVIEST)
    worth = worth / worth.mean()
    folds = _folds(len(rows), seed)
    held_out = np.where(folds == np.arange(folds.max() + 2)[:, None], 0.0, worth)
    votes = crowd(sources, layout, seed)
    found = candidates(answered(sources, rows, truth, held_out, layout, votes))
    held = {name: one.logits[folds, np.arange(len(rows))] for name, one in found.items()}
    scores = {
        name: float(-(fit.softmax(z, layout)[1] * truth).sum(axis=1) @ worth / len(rows)) for name, z in held.items()
    }
    named = {name: float(hits(z, truth, layout) @ worth) for name, z in held.items()}
    trust = _trust(scores, named, len(rows))
    unseen = np.asarray(np.sum([share * held[name] for name, share in trust.items()], axis=0))
    temperature = _temperature(unseen, truth, worth, layout)
    together = blend(found, trust)
    posterior = _everywhere(together, sources, layout, temperature, votes)
    risk = error(posterior, layout.slices)
    posterior[rows] = layout.normalise((temperature * unseen).astype(np.float32))
    guess = error(posterior[rows], layout.slices)
    return Pooled(
        posterior,
        recalibrate(risk, guess, _wrong(posterior[rows], truth, layout), worth),
        max(trust, key=trust.__getitem__),
        scores,
        trust,
        dict(zip([s.name for s in sources], np.sum([one.exponents for one in together], axis=0).tolist(), strict=True)),
        temperature,
    )


def _unfitted(sources: Sequence[Source], layout: Layout) -> Pooled:
    """Before people have said enough: machines share one vote, the student has half a one."""
    start = starts(sources)
    bare = Fitted(np.zeros((1, 0, layout.width)), start, np.zeros(layout.width))
    posterior = _everywhere([bare], sources, layout, 1.0)
    weights = dict(zip([s.name for s in sources], start.tolist(), strict=True))
    return Pooled(posterior, error(posterior, layout.slices), UNTOUCHED, {}, {UNTOUCHED: 1.0}, weights, 1.0)


def _trust(scores: Mapping[str, float], named: Mapping[str, float], m: int) -> Mapping[str, float]:
    """Way -> how far it is believed: exp(plain · held-out rows named rightly − caution · their log-loss), times what it
    was before."""
    merit = {name: PLAIN * named[name] - CAUTION * m * loss for name, loss in scores.items()}
    most = max(merit.values())
    crowd = MAJORITY in scores
    before = {name: BEFORE[name] if crowd or name in (SHARED, FULL) else 1.0 for name in scores}
    raw = {name: before[name] * np.exp(value - most) for name, value in merit.items()}
    kept = {name: value for name, value in raw.items() if value >= NOTHING * sum(raw.values())}
    return {name: float(value / sum(kept.values())) for name, value in kept.items()}


def _folds(m: int, seed: int) -> Ints:
    """(m,) the fold in which each answered row is held out."""
    count = min(m, FINE if m <= FINE_UPTO else FOLDS)
    out = np.empty(m, np.int64)
    out[np.random.default_rng(seed).permutation(m)] = np.arange(m) % count
    return out


def _temperature(logits: Doubles, truth: Doubles, worth: Doubles, layout: Layout) -> float:
    """One exponent over all (Guo et al. 2017), fitted on rows held out and drawn towards 1."""
    still = np.zeros(layout.width)
    found = fit.exponents(
        logits[None, :, None], truth, worth[None], np.array([[1.0, *still]]), np.array([0.3, *still]), layout
    )
    return float(found[0, 0])


def _wrong(posterior: Floats, truth: Doubles, layout: Layout) -> Doubles:
    """(m,) 1 where any atom's likeliest choice is not what was said."""
    out = np.zeros(len(posterior))
    for s in layout.slices:
        out = np.maximum(out, posterior[:, s].argmax(axis=1) != truth[:, s].argmax(axis=1))
    return out


def _everywhere(
    found: Sequence[Fitted], sources: Sequence[Source], layout: Layout, temperature: float, votes: Crowd | None = None
) -> Floats:
    """The posterior of all rows, block by block."""
    n = len(sources[0].logs)
    out = np.empty((n, layout.width), np.float32)
    for begin in range(0, n, BLOCK):
        rows = slice(begin, begin + BLOCK)
        out[rows] = layout.normalise(np.float32(temperature) * say(found, sources, rows, layout, votes))
    return out
