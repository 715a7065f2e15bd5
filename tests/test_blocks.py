"""Streams: an alarm that rarely cries wolf but does cry."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.certify import blocks


def test_evidence_of_drift_stays_one_on_average_while_predictions_hold() -> None:
    risks, breaks = [0.1, 0.3, 0.02, 0.2, 0.5, 0.05, 0.1, 0.9], {0, 3, 6}
    mean = 0.0
    for flags in itertools.product((0, 1), repeat=len(risks)):
        drift = blocks.Drift()
        for t, (p, e) in enumerate(zip(risks, flags, strict=True)):
            if t in breaks:
                drift.block()
            drift.hear(p, e)
        mean += drift.wealth * math.prod(p if e else 1 - p for p, e in zip(risks, flags, strict=True))
    assert mean == pytest.approx(1)


@given(st.floats(0.001, 0.999), st.floats(0, 1))
def test_a_share_of_a_cluster_counts_between_right_and_wrong(p: float, share: float) -> None:
    ends = []
    for e in (0.0, 1.0, share):
        drift = blocks.Drift()
        drift.block()
        drift.hear(p, e)
        ends.append(drift.wealth)
    assert ends[2] == pytest.approx((1 - share) * ends[0] + share * ends[1])


def run(rise: float, seed: int, items: int = 1200, change: int = 600) -> int | None:
    """At which audited item the alarm goes off; the odds of error rise by `rise` at item `change`."""
    rng = np.random.default_rng(seed)
    drift = blocks.Drift()
    for t in range(items):
        if t % 100 == 0:
            drift.block()
        p = float(rng.beta(1, 12))
        odds = p / (1 - p) * (rise if t >= change else 1)
        drift.hear(p, float(rng.random() < odds / (1 + odds)))
        if drift.alarm:
            return t
    return None


def test_false_alarms_are_rarer_than_one_in_twenty_and_real_ones_come_soon() -> None:
    false = [run(1.0, seed, items=600) for seed in range(200)]
    # Binomial with chance ≤ .05: more than 9.6 % of 200 once in a thousand.
    assert sum(t is not None for t in false) <= 19
    after = [run(3.0, 10_000 + seed) for seed in range(60)]
    hits = [t - 600 for t in after if t is not None and t >= 600]
    assert len(hits) >= 54 and np.median(hits) < 250


def test_an_alarm_stays_and_needs_a_block() -> None:
    drift = blocks.Drift()
    with pytest.raises(ValueError, match="block first"):
        drift.hear(0.1, 1)
    drift.block()
    for _ in range(12):
        drift.hear(0.05, 1)
    assert drift.alarm
    for _ in range(500):
        drift.hear(0.5, 0)
    assert drift.alarm and drift.wealth < 20
    with pytest.raises(ValueError, match="between 0 and 1"):
        drift.hear(1.5, 0)
