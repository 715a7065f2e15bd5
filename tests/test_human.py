"""People's own mistakes: the bound covers, the parts of delta sum up, and the words do not flatter."""

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


@given(st.floats(1e-6, 0.5))
def test_the_parts_make_the_whole(delta: float) -> None:
    assert sum(human.split(delta)) == pytest.approx(delta)


def test_two_of_three() -> None:
    first, second, third = np.array([1, 1, 1, 1]), np.array([1, 2, 2, 2]), np.array([-1, 2, 1, 3])
    assert human.settled(first, second, third).tolist() == [1, 2, 1, -1]
    assert human.settled(np.array([1]), np.array([2]), np.array([-1])).tolist() == [-1]


def test_what_may_be_said() -> None:
    error = human.at_most(80, 1, 0.05)
    assert 0.075 < error.at_most < 0.085
    assert human.accuracy(0.95, error) == pytest.approx(0.95 - error.at_most)
    said = human.sentence(0.95, error)
    assert "at least 86." in said and "8.1 %" in said and "two of three" in said
    assert "contradicted on 1" in human.sentence(0.95, human.at_most(80, 1, 0.05, settled=False))
    assert human.accuracy(0.5, human.at_most(2, 2, 0.05)) == 0


def test_how_many_doubles_are_needed() -> None:
    need = human.doubles_needed(0.0, 0.05, 0.05)
    assert need is not None
    assert human.at_most(need, 0, 0.05).at_most <= 0.05 < human.at_most(need - 1, 0, 0.05).at_most
    assert human.doubles_needed(0.05, 0.05, 0.05) is None
    assert human.doubles_needed(0.02, 0.0200001, 0.05) is None


@pytest.mark.parametrize("counts", [(3, 4), (3, -1)])
def test_counts_that_cannot_be_are_refused(counts: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="do not hold"):
        human.at_most(*counts, 0.05)
