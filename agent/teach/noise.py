"""Ways to take answers that may be wrong, and the choice among them by what people said. Knows arrays only.

A way turns soft targets and weights into others. None is best everywhere: removal helps where labels are few and hurts
where they are many. So each is tried on held-out items that people answered, and the default, the lesson as it is, is
left only where another is better by more than chance explains.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from agent.types import Bools, Floats, Ints, Layout

DEFAULT = "sure"
JUDGES = 40
"""People's answers, of items drawn at random, from which on they may choose."""
BEYOND = 2.7
"""By how many standard errors of the paired difference another way must beat the default: seven are tried (Bonferroni),
so that where all are alike it is left one time in thirty or less."""

HEATS = tuple(float(heat) for heat in 2.0 ** np.arange(-2, 2.6, 0.5))


@dataclass(frozen=True)
class Evidence:
    """A lesson and what twins that were not taught a row say of it.

    targets, said: (m, width). weights: (m,), people's above those of machines. spoken: (m,) rows of people's words;
    judges: (m,) those of them that were drawn at random.
    """

    targets: Floats
    weights: Floats
    spoken: Bools
    judges: Bools
    said: Floats
    layout: Layout

    def part(self, rows: Ints, said: Floats) -> Evidence:
        """Some of its rows, with another word of twins on them."""
        return Evidence(self.targets[rows], self.weights[rows], self.spoken[rows], self.judges[rows], said, self.layout)


@dataclass(frozen=True)
class Chosen:
    """A way, and how many rows and people's answers it was chosen on. gain: of the mean log-loss; error: of that."""

    way: str
    rows: int
    people: int
    gain: float = 0.0
    error: float = 0.0

    def stale(self, evidence: Evidence) -> bool:
        """Whether half as much again was said since, by people or by all."""
        people, rows = int(evidence.judges.sum()), len(evidence.targets)
        return people >= JUDGES and (self.people < JUDGES or people >= 1.5 * self.people or rows >= 1.5 * self.rows)


Way = Callable[[Evidence], tuple[Floats, Floats]]


def sure(evidence: Evidence) -> tuple[Floats, Floats]:
    """As the lesson has it: soft targets, weighted by how sure the machines are."""
    return evidence.targets, evidence.weights


def even(evidence: Evidence) -> tuple[Floats, Floats]:
    """Soft targets, every machine's row of weight 1."""
    return evidence.targets, np.where(evidence.spoken, evidence.weights, np.float32(1))


def hard(evidence: Evidence) -> tuple[Floats, Floats]:
    """The likeliest choice as if it were certain, weighted by how sure the machines are."""
    out = np.zeros_like(evidence.targets)
    rows = np.arange(len(out))
    for s in evidence.layout.slices:
        known = evidence.targets[:, s].sum(axis=1) > 0
        out[rows, s.start + evidence.targets[:, s].argmax(axis=1)] = known
    return out, evidence.weights


def sharp(evidence: Evidence) -> tuple[Floats, Floats]:
    """Targets squared and normalised: half way to `hard`."""
    return _normalised(evidence.targets**2, evidence.targets, evidence.layout), evidence.weights


def light(evidence: Evidence) -> tuple[Floats, Floats]:
    """Machines' rows at a quarter of their weight: people are heard over them."""
    return evidence.targets, np.where(evidence.spoken, evidence.weights, evidence.weights / 4).astype(np.float32)


def mixed(evidence: Evidence) -> tuple[Floats, Floats]:
    """Machines' targets mixed with a third of what twins say of the row (soft bootstrapping, Reed et al. 2014)."""
    both = (2 * evidence.targets + evidence.said) / np.float32(3)
    both = _normalised(both, evidence.targets, evidence.layout)
    return np.where(evidence.spoken[:, None], evidence.targets, both).astype(np.float32), evidence.weights


def confident(evidence: Evidence) -> tuple[Floats, Floats]:
    """Machines' rows that twins place confidently at another choice weigh a tenth.

    Confident learning (Northcutt, Jiang & Chuang 2021, section 3.1): a row belongs to the likeliest of the choices
    whose probability is above its own mean over the rows labeled with it; off the diagonal, the label is doubted.
    """
    doubted = np.zeros(len(evidence.targets), dtype=bool)
    for s in evidence.layout.slices:
        given, said = evidence.targets[:, s].argmax(axis=1), evidence.said[:, s]
        known = evidence.targets[:, s].sum(axis=1) > 0
        bar = np.array(
            [
                said[known & (given == c), c].mean() if (known & (given == c)).any() else 1.0
                for c in range(said.shape[1])
            ]
        )
        above = np.where(said >= bar, said, -1)
        doubted |= known & (above.max(axis=1) > 0) & (above.argmax(axis=1) != given)
    return evidence.targets, _less(evidence, doubted & ~evidence.spoken)


def small_loss(evidence: Evidence) -> tuple[Floats, Floats]:
    """The machines' rows of greatest held-out loss, as many as they are likely to have wrong, weigh a tenth.

    Small-loss selection (Han et al. 2018, "Co-teaching"), with the share to forget read from the targets themselves.
    """
    wrong = np.zeros(len(evidence.targets))
    loss = np.zeros(len(evidence.targets))
    for s in evidence.layout.slices:
        known = evidence.targets[:, s].sum(axis=1) > 0
        wrong = np.maximum(wrong, np.where(known, 1 - evidence.targets[:, s].max(axis=1), 0))
        loss -= (evidence.targets[:, s] * np.log(np.maximum(evidence.said[:, s], 1e-9))).sum(axis=1)
    machine = np.flatnonzero(~evidence.spoken)
    count = int(wrong[machine].sum())
    doubted = np.zeros(len(loss), dtype=bool)
    doubted[machine[np.argsort(-loss[machine], kind="stable")[:count]]] = True
    return evidence.targets, _less(evidence, doubted)


WAYS: Mapping[str, Way] = {
    "sure": sure,
    "even": even,
    "hard": hard,
    "sharp": sharp,
    "light": light,
    "mixed": mixed,
    "confident": confident,
    "small loss": small_loss,
}


def choose(evidence: Evidence, tried: Callable[[], Mapping[str, Floats]]) -> Chosen:
    """The way whose students lose least, in log-loss on the judges' rows that they were not taught.

    The default, where there are fewer than `JUDGES` or no other is ahead by `BEYOND` standard errors. Judges are drawn
    at random: items that people were asked about for how hard they looked would choose a way for such items.

    Args:
        tried: for each way but the default what twins taught so say of the judges' rows, (judges, width). No twin may
            have been taught, nor its lesson made by one that was taught, the row it speaks of.
    """
    judges = int(evidence.judges.sum())
    best = Chosen(DEFAULT, len(evidence.targets), judges)
    if judges < JUDGES or evidence.spoken.all():
        return best
    told = evidence.targets[evidence.judges]
    plain = _lost(evidence.layout, told, evidence.said[evidence.judges])
    for name, said in tried().items():
        ahead = plain - _lost(evidence.layout, told, said)
        gain, error = float(ahead.mean()), float(ahead.std(ddof=1) / len(ahead) ** 0.5)
        if gain > max(BEYOND * error, best.gain):
            best = Chosen(name, best.rows, judges, gain, error)
    return best


def _lost(layout: Layout, told: Floats, said: Floats) -> Floats:
    """Log-loss on each row, summed over atoms, at the temperature that suits these rows best.

    Ways flatten probabilities more or less; that is mended elsewhere and is not to decide here.
    """
    logs = np.log(np.maximum(said, 1e-9))
    best: Floats | None = None
    for heat in HEATS:
        p = np.log(np.maximum(layout.normalise(logs * np.float32(heat)), 1e-9))
        lost = -(told * p).sum(axis=1)
        best = lost if best is None or lost.sum() < best.sum() else best
    assert best is not None
    return best


def _less(evidence: Evidence, doubted: Bools) -> Floats:
    return np.where(doubted, evidence.weights / 10, evidence.weights).astype(np.float32)


def _normalised(values: Floats, like: Floats, layout: Layout) -> Floats:
    """Each atom's columns with the sum that they have in `like`."""
    out = np.zeros_like(like)
    for s in layout.slices:
        total = np.maximum(values[:, s].sum(axis=1, keepdims=True), 1e-12)
        out[:, s] = values[:, s] / total * like[:, s].sum(axis=1, keepdims=True)
    return out
