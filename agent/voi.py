"""What a person's answer about an item is expected to buy, in wrong labels mended. Arrays only; knows no queue.

The value of information (Howard 1966, IEEE Trans. SSC 2:22) is the loss expected without an answer less the loss
expected with it. The loss here is the number of wrong labels, and a person's word is right by definition. So an answer
about item i is worth

    V_i = p_i · (m_i + TAUGHT · Σ_j w_ij p_j)

p_i: chance that its label is wrong; m_i: labels that the answer settles, its own and those of its near-duplicates; the
sum: what the student learns from a mended label about similar items j whose labels nobody settled (expected error
reduction, Roy & McCallum 2001, with neighbours in place of a student taught anew for every answer; p · Σ w is also the
information density of Settles & Craven 2008). An answer that confirms a label mends none, so all of it is times p_i.

A certificate is short of wrong labels mended, wherever they lie, so that they are its unit, too: whether all labels are
proved or people label what is left behind a walk (which ends the later the fewer wrong labels stand in front of it), a
mended label counts one. It has no term of its own.

Nothing here may be told what an audit said: callers hand in chances, and people's words that repair or calibrate.
"""

from __future__ import annotations

import numpy as np

from agent.types import Bools, Doubles, Floats, Ints

SPREAD = 1.0
"""How far machines' labels differ in how sure one may be of them, in log-odds (one standard deviation): the prior of
`chance`. On banking77's dev part .5 to 3 came to the same within a few answers."""

TAUGHT = 0.1
"""Labels mended among similar items, for each mended by a person, where all of them are wrong for sure and the same.
On banking77's dev part and on llm_babe 100 mended labels taught the student 1 to 8 others."""

SAME = 0.9
"""How much of the value of an item is gone once one just like it is answered before."""

ALIKE = 0.8
"""Cosine of the student's features from which on two items are shown together."""


def chance(doubt: Floats, label: Ints, answered: Bools, wrong: Bools) -> Doubles:
    """How likely each label is wrong, by what people said of others with the same label.

    A machine mistakes some labels for others again and again, and people's corrections tell which. Each label has an
    offset in log-odds, normal around 0 with standard deviation `SPREAD`; of it the first Newton step from 0 is taken,
    Σ (wrong − doubt) / (Σ doubt (1 − doubt) + 1 / SPREAD²) over the answered items of that label (a random intercept
    by Laplace's method: Breslow & Clayton 1993, eq. 13).

    Args:
        doubt: (n,) predicted chance that the label is wrong, of answered items as if they had not been. label: (n,)
            code of the label that stands there without people, from 0 on. answered: (n,) a person spoke, to calibrate
            or to repair. wrong: (n,) and differed; looked at only where answered.
    Returns:
        (n,) in (0, 1). Which items were asked about does not bias it, as long as they were chosen by `doubt`.
    """
    sure = np.clip(np.asarray(doubt, np.float64), 1e-6, 1 - 1e-6)
    count = int(label.max(initial=-1)) + 1
    missed = np.bincount(label, np.where(answered, wrong - sure, 0.0), count)
    known = np.bincount(label, np.where(answered, sure * (1 - sure), 0.0), count)
    offset = missed / (known + SPREAD**-2)
    out: Doubles = 1 / (1 + (1 / sure - 1) * np.exp(-offset[label]))
    return out


def likeness(features: Floats, likest: Ints, rows: Ints) -> Doubles:
    """(rows, k) cosine of each row with its likest, 0 where that is negative or there is none.

    features: (n, d) dense or scipy-sparse; likest: (n, k) row numbers, -1 for none.
    """
    out = np.zeros((len(rows), likest.shape[1]))
    length = np.sqrt(np.asarray(_times(features, features), np.float64))
    for column in range(likest.shape[1]):
        other = likest[rows, column]
        has = np.flatnonzero(other >= 0)
        here, there = rows[has], other[has]
        dot = _times(features[here], features[there])
        out[has, column] = dot / np.maximum(length[here] * length[there], 1e-12)
    return np.clip(out, 0.0, 1.0)


def _times(one: Floats, other: Floats) -> Doubles:
    """Row by row, their products summed."""
    if hasattr(one, "multiply"):
        summed: Doubles = np.asarray(one.multiply(other).sum(axis=1)).ravel()
        return summed
    out: Doubles = np.einsum("nd,nd->n", one, other)
    return out


def value(
    chance: Doubles,
    rows: Ints,
    likest: Ints | None = None,
    like: Doubles | None = None,
    settled: Bools | None = None,
    labels: Ints | None = None,
) -> Doubles:
    """Wrong labels that an answer about each of `rows` is expected to mend, V of the module.

    Args:
        chance: (n,) that the label is wrong. likest: (n, k) similar items, -1 for none; like: (rows, k) `likeness`.
        settled: (n,) nobody's answer changes the label any more. labels: (n,) labels that an answer settles, ≥ 1.
    """
    own = np.ones(len(rows)) if labels is None else labels[rows].astype(np.float64)
    if likest is None or like is None:
        return chance[rows] * own
    open_to = chance if settled is None else np.where(settled, 0.0, chance)
    near = np.where(likest[rows] >= 0, open_to[likest[rows]], 0.0)
    out: Doubles = chance[rows] * (own + TAUGHT * (like**2 * near).sum(axis=1))
    return out


def in_turn(worth: Doubles, rows: Ints, likest: Ints | None, like: Doubles | None, want: int) -> tuple[Ints, Doubles]:
    """The `want` most worth asking, one after the other, each by what it is worth after those before it.

    What one answer teaches of items just like it the next one would teach again: with each that is taken, its similar
    items lose SAME · likeness² of their worth (greedy choice; a batch by value alone is full of the same, Kirsch, van
    Amersfoort & Gal 2019). Only the first few times `want` are looked at.

    Args:
        worth, rows: (m,) value, and row number. likest, like: as in `value`, None where nothing is known.
    Returns:
        Places in `rows`, (min(want, m),), and what each was worth in its turn.
    """
    first = np.argsort(-worth, kind="stable")
    if likest is None or like is None or want <= 0:
        return first[:want], worth[first[:want]]
    seen = first[: 4 * want + 64]
    left = worth[seen].astype(np.float64)
    place = np.full(len(likest) + 1, -1, np.int64)
    place[rows[seen]] = np.arange(len(seen))
    near, fade = place[likest[rows[seen]]], 1 - SAME * like[seen] ** 2
    taken, worths = [], []
    for _ in range(min(want, len(seen))):
        best = int(left.argmax())
        taken.append(best)
        worths.append(float(left[best]))
        has = near[best] >= 0
        np.multiply.at(left, near[best][has], fade[best][has])
        left[best] = -np.inf
    return seen[np.array(taken, np.int64)], np.array(worths)


def leaders(rows: Ints, likest: Ints | None, like: Doubles | None) -> Ints:
    """(m,) of each row the one that leads its group, itself where it is alone: the first that comes takes those of
    its likest from `ALIKE` on that come later and that no other took. `rows`: in the order in which they are asked."""
    out = rows.copy()
    if likest is None or like is None or not len(rows):
        return out
    place = np.full(max(len(likest), int(rows.max()) + 1) + 1, -1, np.int64)
    place[rows] = np.arange(len(rows))
    near = np.where(like >= ALIKE, place[likest[rows]], -1)
    free = np.ones(len(rows), bool)
    for number in np.flatnonzero((near >= 0).any(axis=1)).tolist():
        if not free[number]:
            continue
        free[number] = False
        mates = near[number][near[number] > number]
        mates = mates[free[mates]]
        out[mates] = rows[number]
        free[mates] = False
    return out
