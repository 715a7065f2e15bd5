"""People's own mistakes: the bound covers, and the parts of delta sum up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from agent.certify import human


@pytest.mark.parametrize("doubled", [1, 20, 80])
def test_the_bound_fails_no_more_often_than_its_part_of_delta(doubled: int) -> None:
    bounds = np.array([human.at_most(doubled, k, 0.05).at_most for k in range(doubled + 1)])
    for truth in np.linspace(0, 1, 101):
        assert binom.pmf(np.flatnonzero(bounds < truth), doubled, truth).sum() <= 0.01 + 1e-9
    assert bounds[-1] == 1 and np.all(np.diff(bounds) >= 0)


def test_the_bound_by_hand() -> None:
    # 1 of 80: P(Binomial(80, h) ≤ 1) = .01 at h = .0802…
    assert binom.cdf(1, 80, human.at_most(80, 1, 0.05).at_most) == pytest.approx(0.01)


@given(st.floats(1e-6, 0.5))
def test_the_parts_make_the_whole(delta: float) -> None:
    assert sum(human.split(delta)) == pytest.approx(delta)


@pytest.mark.parametrize("counts", [(3, 4), (3, -1)])
def test_counts_that_cannot_be_are_refused(counts: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="do not hold"):
        human.at_most(*counts, 0.05)
