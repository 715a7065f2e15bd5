"""How large a share of labels to leave out while fine-tuning: chosen by held-out loss. Knows arrays only, no network.

The share is chosen on frozen embeddings with the linear head, which costs a second where the network would cost an
hour: of each training part the rows that models of the rest find hardest are dropped, a head is fitted on what is left,
and the share whose heads lose least on the held-out labels wins. The held-out labels are as noisy as the others, so
each head is first made as unsure as suits it (its temperature): else the loss would reward doubt, not insight.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agent.students import _head
from agent.types import Floats

SHARES = (0.0, 0.1, 0.2, 0.3, 0.4)
FOLDS = 4
AT_MOST = 3_000
"""Rows the share is chosen on."""
TEMPERATURES = np.exp(np.linspace(np.log(0.25), np.log(8.0), 41))

Slices = Sequence[slice]


def temperature(logits: Floats, targets: Floats, weights: Floats, slices: Slices) -> tuple[float, float]:
    """The temperature of least weighted log-loss and that loss, per unit of weight. logits: (n, width).

    Few rows say little: a penalty of 2 (log T)² on the sum of losses draws it towards 1. n = 0: (1, 0).
    """
    if not len(logits):
        return 1.0, 0.0
    lost = [float((weights * losses(logits / t, targets, slices)).sum(dtype=np.float64)) for t in TEMPERATURES]
    best = int(np.argmin(np.array(lost) + 2 * np.log(TEMPERATURES) ** 2))
    return float(TEMPERATURES[best]), lost[best] / max(float(weights.sum()), 1e-12)


def losses(logits: Floats, targets: Floats, slices: Slices) -> Floats:
    """(n,) cross-entropy of each row."""
    p = np.log(np.maximum(_head.softmax(logits.astype(np.float32), slices)[0], 1e-9))
    return np.asarray(-(targets * p).sum(axis=1), dtype=np.float32)


def share(features: Floats, targets: Floats, weights: Floats, slices: Slices, l2: float, seed: int) -> float:
    """The share of rows whose labels to leave out. features: (n, d), targets: (n, width), weights: (n,).

    0 unless the best other share lowers the held-out loss by more than the standard error of that difference.
    """
    rows = np.random.default_rng(seed).permutation(len(features))[:AT_MOST]
    fold = np.arange(len(rows)) % FOLDS
    lost = np.zeros((len(SHARES), len(rows)))
    for number in range(FOLDS):
        train, held = rows[fold != number], rows[fold == number]
        if not len(train) or not len(held):
            return 0.0
        hard = hardness(features[train], targets[train], weights[train], slices, l2, seed)
        for place, left_out in enumerate(SHARES):
            keep = train[np.argsort(hard, kind="stable")[: max(1, round((1 - left_out) * len(train)))]]
            head = _head.fit(features[keep], targets[keep], weights[keep], slices, l2, 100)
            logits = features[held] @ head.weight[:-1] + head.weight[-1]
            warmth, _ = temperature(logits, targets[held], weights[held], slices)
            lost[place, fold == number] = weights[held] * losses(logits / warmth, targets[held], slices)
    best = int(np.argmin(lost.sum(axis=1)))
    saved = lost[0] - lost[best]
    return SHARES[best] if saved.mean() > saved.std() / np.sqrt(len(rows)) else 0.0


def hardness(features: Floats, targets: Floats, weights: Floats, slices: Slices, l2: float, seed: int) -> Floats:
    """(n,) cross-entropy of each row's targets under heads that were not taught it, less the targets' own entropy."""
    fold = np.random.default_rng(seed).permutation(len(features)) % FOLDS
    out = np.zeros(len(features), dtype=np.float32)
    for number in range(FOLDS):
        train, held = fold != number, fold == number
        if not train.any() or not held.any():
            continue
        head = _head.fit(features[train], targets[train], weights[train], slices, l2, 100)
        p = np.log(np.maximum(head.predict(features[held], slices), 1e-9))
        own = np.log(np.maximum(targets[held], 1e-9))
        out[held] = (targets[held] * (own - p)).sum(axis=1)
    return out
