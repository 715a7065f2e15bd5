"""Which labels are likely wrong, whoever gave them. Arrays only; knows no annotators by name and no people.

Two questions. *Which?* Every source that did not give the label is asked how much likelier the label is to it than the
best other choice; the log margins are added, a product of experts that needs no person's label (`suspicion`). What a
learned source says of every item is taken off it first, else whatever is rare is suspect (batch calibration, Zhou et
al. 2023, arXiv 2309.17249), and a source that cannot foretell the labels has less say (`centred`). *How many?*
Confident learning (Northcutt, Jiang & Chuang 2021, arXiv 1911.00068): an item counts for the choice whose probability
reaches the mean probability of that choice over items labeled so (`confident_joint`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agent.types import Bools, Doubles, Floats, Ints, Layout


def margins(given: Ints, logs: Floats, layout: Layout) -> Doubles:
    """How much likelier the given choice of each atom is to one source than the best other, as log-odds.

    Args:
        given: (n, atoms) choice numbers; -1 where there is none. logs: (n, width) log-probabilities.
    Returns:
        (n, atoms); 0 where nothing was given.
    """
    out = np.zeros(given.shape, np.float64)
    rows = np.arange(len(given))
    for a, s in enumerate(layout.slices):
        block = np.asarray(logs[:, s], np.float64).copy()
        here = np.maximum(given[:, a], 0)
        own = block[rows, here]
        block[rows, here] = -np.inf
        out[:, a] = np.where(given[:, a] >= 0, own - block.max(axis=1), 0.0)
    return out


def suspicion(given: Ints, sources: Sequence[Floats], heard: Sequence[Bools], layout: Layout) -> Doubles:
    """How much the sources together speak against the given label: minus the sum of their log margins.

    A label of several atoms is as suspicious as its worst. Above 0 the sources together would say something else.

    Args:
        given: (n, atoms) choice numbers, -1 for no label. sources: J arrays (n, width) of log-probabilities, none of
            which learned from the given label of the same item. heard: J arrays (n,): who spoke of which item.
    Returns:
        (n,); -inf where there is no label or nobody else spoke.
    """
    total = np.zeros(given.shape, np.float64)
    spoke = np.zeros(len(given), bool)
    for logs, ears in zip(sources, heard, strict=True):
        total += np.where(ears[:, None], margins(given, logs, layout), 0.0)
        spoke |= ears
    worst = np.where(given >= 0, -total, -np.inf).max(axis=1)
    return np.asarray(np.where(spoke & (given >= 0).any(axis=1), worst, -np.inf), np.float64)


def centred(given: Ints, logs: Floats, layout: Layout) -> Floats:
    """A learned source without its leaning, with as much say as it has shown, one at the most.

    Its say in an atom is the exponent w of [0, 1] under which p^w gives the labels the greatest likelihood: 0 for who
    knows nothing of them. Meant for sources whose word on an item does not rest on that item's own label.

    Args:
        given: (n, atoms) choice numbers, -1 for none. logs: (n, width) log-probabilities. n ≥ 1.
    Returns:
        (n, width) log-probabilities up to a constant a row and atom.
    """
    from scipy.optimize import minimize_scalar

    out = np.empty(logs.shape, np.float32)
    for a, s in enumerate(layout.slices):
        block, labeled = np.asarray(logs[:, s], np.float64), np.flatnonzero(given[:, a] >= 0)
        seen, named = block[labeled], given[labeled, a]

        def cost(w: float, seen: Doubles = seen, named: Ints = named) -> float:
            z = w * seen
            top = z.max(axis=1, keepdims=True)
            whole = np.log(np.exp(z - top).sum(axis=1)) + top[:, 0]
            return float((whole - z[np.arange(len(named)), named]).sum())

        say = minimize_scalar(cost, bounds=(0.0, 1.0), method="bounded").x if len(labeled) else 1.0
        out[:, s] = say * (block - block.mean(axis=0))
    return out


def votes(counts: Floats, layout: Layout) -> Floats:
    """Log shares of hard votes, smoothed by half a vote a choice: (n, width) counts -> (n, width)."""
    out = np.empty(counts.shape, np.float32)
    for s in layout.slices:
        total = counts[:, s].sum(axis=1, keepdims=True)
        out[:, s] = np.log((counts[:, s] + 0.5) / (total + 0.5 * (s.stop - s.start)))
    return out


def confident_joint(given: Ints, probabilities: Floats) -> Ints:
    """Counts of (label given, label that is likely true) over the items of which that can be told.

    Item i counts for choice j when p_ij is at least t_j, the mean of p_j over items labeled j; of several such choices
    for the likeliest (Northcutt et al. 2021, eq. 1). Choices nobody was given never count.

    Args:
        given: (n,) choice numbers of one atom, -1 for none. probabilities: (n, k) by a model that did not learn from
            the same item's label.
    Returns:
        (k, k); rows are what was given.
    """
    k = probabilities.shape[1]
    labeled = given >= 0
    sums, counts = np.zeros(k), np.bincount(given[labeled], minlength=k)
    np.add.at(sums, given[labeled], probabilities[labeled, given[labeled]])
    bar = np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)
    reached = np.where(probabilities >= bar, probabilities, -1.0)
    tells = labeled & (reached.max(axis=1) >= 0)
    out = np.zeros((k, k), np.int64)
    np.add.at(out, (given[tells], reached[tells].argmax(axis=1)), 1)
    return out


def wrong_share(joint: Ints, given: Ints) -> float:
    """Share of the labels that is likely wrong: the confident joint's rows scaled to how often each label was given.

    An estimate without people (Northcutt et al. 2021, eq. 3), to rank and to plan by, never a claim. 0 without labels.
    """
    counts = np.bincount(given[given >= 0], minlength=len(joint)).astype(np.float64)
    seen = joint.sum(axis=1)
    wrong = 1.0 - np.diagonal(joint) / np.maximum(seen, 1)
    return float((np.where(seen > 0, wrong, 0.0) * counts).sum() / max(counts.sum(), 1.0))
