"""Which strategy shall choose the next batch, by what earlier batches gained. Knows no items: names, gains and errors.

A batch's rate is its gain per label times the labels known by its middle: log-loss falls about in proportion to the
growth of what was learnt from, so that rates of earlier and later batches compare.
"""

from __future__ import annotations

from collections.abc import Sequence

from agent.types import Tried

EDGE = 0.15
"""How much better than the next one each arm is taken to be beforehand, as a share of the usual rate."""
SPREAD = 0.2
"""How far that may be wrong: a standard deviation, as a share of the usual rate."""
JITTER = 0.5
"""What rates of one arm differ by from batch to batch: a standard deviation, as a share of the usual rate."""
RECENT = 0.5
"""Only batches count that began at this share of today's labels or later: what was best then need not be now."""
SURE = 2.0
"""Standard errors that the usual rate must be above nothing before the prior order is left."""


def choose(history: Sequence[Tried], arms: Sequence[str]) -> str:
    """The arm of the highest index; `arms` in the order they are believed in beforehand.

    Each arm's rate has a normal prior at the usual rate (the mean of all batches of these arms) less EDGE for each
    place, and is measured by its recent batches, each with the error of the yardstick and a jitter. The index is the
    posterior's mean and one standard deviation: an upper confidence bound (Kaufmann, Cappé & Garivier 2012), so an arm
    is tried when the one in use does clearly worse than is usual. A yardstick of few or noisy labels has no weight
    against the prior, and while it shows no gain at all the first arm stays.
    """
    known = sum(batch.labels for batch in history)
    found, before = list[tuple[str, int, float, float]](), 0
    for batch in history:
        if batch.labels > 0 and batch.by in arms:
            scale = (before + batch.labels / 2) / batch.labels
            found.append((batch.by, before, scale * batch.gain, scale * batch.error))
        before += batch.labels
    if not found:
        return arms[0]
    usual = sum(rate for _, _, rate, _ in found) / len(found)
    error = sum(noise**2 for _, _, _, noise in found) ** 0.5 / len(found)
    if not usual > SURE * error:
        return arms[0]
    indices = list[float]()
    for place, arm in enumerate(arms):
        weight = 1 / (SPREAD * usual) ** 2
        total = weight * usual * (1 - EDGE * place)
        for by, began, rate, noise in found:
            if by == arm and began >= RECENT * known:
                precision = 1 / (noise**2 + (JITTER * usual) ** 2)
                weight, total = weight + precision, total + precision * rate
        indices.append(total / weight + weight**-0.5)
    return arms[indices.index(max(indices))]
