"""Which way of asking a machine is worth most, judged on the pilot that people answered. Works on arrays only.

A *form* is a template, a read-out and the examples shown: one machine, asked about the same rows in several ways. The
pilot is asked in every form, the pool in the chosen one. Knows no prompts, no engines, no money.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent import calibrate
from agent.types import Floats, Layout

Doubles = NDArray[np.float64]

FOLDS, ROUNDS = 5, 4
"""The pilot is split so often, in so many different ways: what a form is worth is told by rows it was not fitted on."""

FEWEST = 20
"""With fewer answered rows nothing can be told apart."""

DOUBT = 0.25
"""Standard errors by which a dearer form must be better than a cheaper one. Chosen on train rows (docs/asking.md)."""

SAME = 1e-3
"""A difference in log-loss that is none, in nats."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The form that is taken, and what is expected of each.

    `expected`: accuracy of the chosen form; `accuracy` and `loss` (log-loss, nats an atom) of every form. All are
    cross-validated on the pilot.
    """

    index: int
    why: str
    expected: float
    accuracy: tuple[float, ...]
    loss: tuple[float, ...]


def choose(candidates: Sequence[Floats], truth: Floats, layout: Layout, seed: int = 0) -> Chosen:
    """The cheapest form that is not clearly worse than the best.

    Each form is calibrated with people's answers to one part of the rows (`calibrate.damped`) and judged by its
    log-loss on the other part. A form is clearly worse than the best when the loss of the same rows is higher by more
    than `DOUBT` standard errors.

    Args:
        candidates: J arrays (n, width), cheapest form first: raw log-probabilities of the same n rows.
        truth: (n, width) people's answers to these rows. No row may be an example shown in any form.
        seed: draws the splits.
    Raises:
        ValueError: no form, or shapes that do not fit.
    """
    if not candidates or any(c.shape != truth.shape for c in candidates):
        raise ValueError("choose needs at least one form, each with one row of log-probabilities for each answer")
    judged = [_judge(raw, truth, layout, seed) for raw in candidates]
    right, loss = (np.stack([one[part] for one in judged]) for part in (0, 1))
    accuracy, means = right.mean(axis=1), loss.mean(axis=1)
    if len(truth) < FEWEST:
        index, why = 0, f"{len(truth)} answered items are too few to compare"
    else:
        index = _cheapest(loss)
        why = _why(index, int(means.argmin()), accuracy, len(truth))
    return Chosen(index, why, float(accuracy[index]), tuple(accuracy.tolist()), tuple(means.tolist()))


def steadiest(pairs: Sequence[tuple[Floats, Floats]], layout: Layout) -> tuple[int, str]:
    """The cheapest form that is not clearly less steady than the best, and why: where no people judge.

    How steady a form is, is told by Cohen's kappa between the likeliest labels of the same rows in two orders of the
    options, each batch-calibrated: a model that says one label of everything agrees with itself by chance alone.

    Args:
        pairs: J pairs of arrays (n, width), cheapest form first: raw log-probabilities in one order and in another.
    Raises:
        ValueError: no form.
    """
    if not pairs:
        raise ValueError("steadiest needs at least one form")
    if len(pairs[0][0]) < FEWEST:
        return 0, ""
    judged = np.stack([_agreement(one, other, layout) for one, other in pairs])
    index, kappa = _cheapest(-judged), judged.mean(axis=1)
    said = f"two orders of the options agree on {kappa[index]:.0%} of {len(pairs[0][0])} items beyond chance"
    if index != int(kappa.argmax()):
        return index, f"{said}; {kappa.max():.0%} by a dearer form is not clearly better"
    return index, f"{said}, in the other forms on at most {np.delete(kappa, index).max():.0%}" if len(
        kappa
    ) > 1 else said


def _agreement(one: Floats, other: Floats, layout: Layout) -> Doubles:
    """(n,) each row's part in kappa, averaged over the atoms; their mean is kappa."""
    out = np.zeros(len(one))
    left, right = calibrate.batch(one, layout), calibrate.batch(other, layout)
    for s in layout.slices:
        a, b, k = left[:, s].argmax(axis=1), right[:, s].argmax(axis=1), s.stop - s.start
        chance = float((np.bincount(a, minlength=k) * np.bincount(b, minlength=k)).sum()) / len(a) ** 2
        if chance < 1.0:
            out += ((a == b) - chance) / (1.0 - chance) / len(layout.slices)
    return out


def _judge(raw: Floats, truth: Floats, layout: Layout, seed: int) -> tuple[Doubles, Doubles]:
    """Accuracy and log-loss of each row, averaged over the rounds, by calibrations that did not see the row."""
    n = len(truth)
    right, loss = np.zeros(max(n, 1)), np.zeros(max(n, 1))
    draw = np.random.default_rng(seed)
    for _ in range(ROUNDS):
        order = draw.permutation(n)
        for fold in range(min(FOLDS, n)):
            out = order[fold::FOLDS]
            kept = np.setdiff1d(order, out)
            said = truth[kept]
            p = calibrate.damped(raw, layout, kept, said, calibrate.shares(said, layout))[out]
            right[out] += _hit(p, truth[out], layout) / ROUNDS
            loss[out] -= (truth[out] * calibrate.logs(p)).sum(axis=1) / len(layout.atoms) / ROUNDS
    return right, loss


def _hit(p: Floats, truth: Floats, layout: Layout) -> Doubles:
    """1 for each row whose whole label is right."""
    out = np.ones(len(p))
    for s in layout.slices:
        out *= p[:, s].argmax(axis=1) == truth[:, s].argmax(axis=1)
    return out


def _cheapest(loss: Doubles) -> int:
    best = int(loss.mean(axis=1).argmin())
    for number in range(best):
        gap = loss[number] - loss[best]
        if gap.mean() <= DOUBT * gap.std(ddof=1) / np.sqrt(len(gap)) + SAME:
            return number
    return best


def _why(index: int, best: int, accuracy: Doubles, n: int) -> str:
    said = f"right on {accuracy[index]:.0%} of {n} items that people answered"
    rest = np.delete(accuracy, index)
    if index != best:
        return f"{said}; {accuracy[best]:.0%} by a dearer form is not clearly better"
    return f"{said}, the other forms on at most {rest.max():.0%}" if len(rest) else said
