"""Many opinions and a few people's labels to one posterior. Works on arrays and a `Layout`; knows no annotator.

The pool is logarithmic: P(y_i = k) ∝ exp(b_k + Σ_j w_j log p_ijk) (Genest & Zidek 1986; Heskes 1998). Which of the ways
of fitting it is used is settled by cross-validated log-loss, with a guard in favour of the simple ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from agent.posterior import fit
from agent.posterior.candidates import FEW, SIMPLE, Fitted, answered, candidates, say
from agent.posterior.risk import error, recalibrate
from agent.posterior.sources import Doubles, Source, starts
from agent.types import Floats, Ints, Layout

HEAVIEST = 5.0
"""No answer weighs more than this: 1 / π of an item that was hardly ever to be asked about says little."""
LEAST = 10
"""People's answers below which nothing is fitted."""
FOLDS, FINE, FINE_UPTO = 5, 10, 200
"""Folds of the cross-validation, and of a small one: what is left to learn from should be nearly all."""
GUARD = 0.5
"""Standard errors by which a pool has to beat the best simple choice."""
BLOCK = 1 << 15
UNTOUCHED = "start"


@dataclass(frozen=True)
class Pooled:
    """`posterior`: (n, width), of an answered row by a fit that did not see its answer; `error`: (n,) chance that the
    whole label is wrong; `chosen`: name of the way of pooling; `scores`: way -> cross-validated log-loss a row;
    `weights`: source -> exponent, `temperature` applied after them."""

    posterior: Floats
    error: Doubles
    chosen: str
    scores: Mapping[str, float]
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
    rows, names = np.asarray(rows, np.int64), [s.name for s in sources]
    if len(rows) < LEAST:
        start = starts(sources)
        bare = Fitted(UNTOUCHED, np.zeros((1, 0, layout.width)), start, np.zeros(layout.width))
        posterior = _everywhere(bare, sources, layout, 1.0)
        weights = dict(zip(names, map(float, start), strict=True))
        return Pooled(posterior, error(posterior, layout.slices), UNTOUCHED, {}, weights, 1.0)
    truth = np.asarray(said, np.float64)
    worth = np.ones(len(rows)) if importance is None else np.minimum(np.asarray(importance, np.float64), HEAVIEST)
    worth = worth / worth.mean()
    folds = _folds(len(rows), seed)
    weights_ = np.where(folds == np.arange(folds.max() + 2)[:, None], 0.0, worth)
    data = answered(sources, rows, truth, weights_, layout)
    found = candidates(data, full=len(rows) >= FEW)
    held = {name: one.logits[folds, np.arange(len(rows))] for name, one in found.items()}
    chosen, scores = _choose(held, truth, worth, layout)
    temperature = _temperature(held[chosen], truth, worth, layout)
    posterior = _everywhere(found[chosen], sources, layout, temperature)
    unseen = layout.normalise((held[chosen] * temperature).astype(np.float32))
    guess = error(posterior, layout.slices)
    risk = recalibrate(guess, error(unseen, layout.slices), _wrong(unseen, truth, layout), worth)
    posterior[rows] = unseen
    weights = dict(zip(names, map(float, found[chosen].exponents), strict=True))
    return Pooled(posterior, risk, chosen, scores, weights, temperature)


def _folds(m: int, seed: int) -> Ints:
    """(m,) the fold in which each answered row is held out."""
    count = min(m, FINE if m <= FINE_UPTO else FOLDS)
    out = np.empty(m, np.int64)
    out[np.random.default_rng(seed).permutation(m)] = np.arange(m) % count
    return out


def _choose(
    held: Mapping[str, Doubles], truth: Doubles, worth: Doubles, layout: Layout
) -> tuple[str, Mapping[str, float]]:
    """The way with the least log-loss on rows held out; a simple one where the gain is within the noise."""
    losses = {name: -(fit.softmax(z, layout)[1] * truth).sum(axis=1) * worth for name, z in held.items()}
    scores = {name: float(loss.mean()) for name, loss in losses.items()}
    simple = min((name for name in SIMPLE if name in scores), key=scores.__getitem__)
    first = min(scores, key=scores.__getitem__)
    gain = losses[simple] - losses[first]
    if first != simple and gain.mean() <= GUARD * gain.std() / np.sqrt(len(gain)):
        first = simple
    return first, scores


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


def _everywhere(found: Fitted, sources: Sequence[Source], layout: Layout, temperature: float) -> Floats:
    """The posterior of all rows, block by block."""
    n = len(sources[0].logs)
    out = np.empty((n, layout.width), np.float32)
    for begin in range(0, n, BLOCK):
        rows = slice(begin, begin + BLOCK)
        out[rows] = layout.normalise(np.float32(temperature) * say(found, sources, rows, layout))
    return out
