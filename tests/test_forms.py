"""Choosing how to ask: the better form is found, noise is not, and nothing hangs on who asks first."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import forms
from agent.types import Floats, Layout

THREE = Layout(("label",), (("a", "b", "c"),))
MANY = Layout(("x", "y"), (("no", "yes"), ("no", "yes")))


def said_by_people(n: int, layout: Layout, seed: int) -> Floats:
    rng = np.random.default_rng(seed)
    parts = [np.eye(s.stop - s.start)[rng.integers(0, s.stop - s.start, n)] for s in layout.slices]
    return np.concatenate(parts, axis=1).astype(np.float32)


def form(truth: Floats, signal: float, seed: int) -> Floats:
    """A model that leans to the first choice and knows as much as `signal` says."""
    rng = np.random.default_rng(seed)
    raw = rng.normal(0, 1, truth.shape) + signal * truth
    raw[:, 0] += 2.0
    return np.asarray(raw, np.float32)


@pytest.mark.parametrize("layout", [THREE, MANY])
def test_the_form_that_knows_more_is_chosen_wherever_it_stands(layout: Layout) -> None:
    for seed in range(5):
        truth = said_by_people(80, layout, seed)
        weak, strong = form(truth, 0.8, seed + 100), form(truth, 3.0, seed + 200)
        assert forms.choose([weak, strong], truth, layout).index == 1
        assert forms.choose([strong, weak], truth, layout).index == 0


def test_of_equal_forms_the_cheapest_is_chosen() -> None:
    truth = said_by_people(80, THREE, 1)
    one = form(truth, 2.0, 2)
    chosen = forms.choose([one, one.copy(), one + 5], truth, THREE)
    assert chosen.index == 0
    assert chosen.accuracy[0] == chosen.accuracy[1]


def test_the_expected_accuracy_is_not_that_of_the_rows_it_was_fitted_on() -> None:
    """A form that knows nothing is not expected to be better than chance, however it is chosen."""
    told = []
    for seed in range(20):
        truth = said_by_people(40, THREE, seed)
        told.append(forms.choose([form(truth, 0.0, seed + 50)], truth, THREE).expected)
    assert np.mean(told) < 0.4


def test_what_is_expected_holds_on_new_items() -> None:
    from agent import calibrate

    truth = said_by_people(3000, THREE, 7)
    raw = form(truth, 2.0, 8)
    rows = np.arange(150)
    chosen = forms.choose([raw[rows]], truth[rows], THREE)
    share = calibrate.shares(truth[rows], THREE)
    p = calibrate.damped(raw, THREE, rows, truth[rows], share)[150:]
    assert chosen.expected == pytest.approx((p.argmax(1) == truth[150:].argmax(1)).mean(), abs=0.08)


def test_with_few_answers_the_cheapest_form_stands_and_says_why() -> None:
    truth = said_by_people(forms.FEWEST - 1, THREE, 3)
    chosen = forms.choose([form(truth, 0.0, 4), form(truth, 9.0, 5)], truth, THREE)
    assert chosen.index == 0
    assert "too few" in chosen.why


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([THREE, MANY]), st.integers(0, 45), st.integers(1, 3), st.integers(0, 10**6))
def test_figures_are_figures_and_the_same_every_time(layout: Layout, n: int, count: int, seed: int) -> None:
    truth = said_by_people(n, layout, seed)
    candidates = [form(truth, 1.0, seed + j) for j in range(count)]
    chosen = forms.choose(candidates, truth, layout, seed)
    assert 0 <= chosen.index < count
    assert len(chosen.accuracy) == len(chosen.loss) == count
    assert all(0 <= a <= 1 for a in chosen.accuracy) and np.isfinite(chosen.loss).all()
    assert chosen.expected == chosen.accuracy[chosen.index]
    assert chosen == forms.choose(candidates, truth, layout, seed)


def test_rows_that_do_not_fit_are_refused() -> None:
    truth = said_by_people(30, THREE, 0)
    with pytest.raises(ValueError, match="at least one form"):
        forms.choose([], truth, THREE)
    with pytest.raises(ValueError, match="one row"):
        forms.choose([form(truth, 1.0, 1)[:-1]], truth, THREE)


def test_the_form_whose_orders_agree_is_taken_and_one_label_for_all_is_no_agreement() -> None:
    truth = said_by_people(60, THREE, 1)
    good = (form(truth, 4.0, 2), form(truth, 4.0, 3))
    poor = (form(truth, 0.3, 4), form(truth, 0.3, 5))
    stuck = np.tile(np.array([0.0, -5.0, -5.0], np.float32), (60, 1))
    assert forms.steadiest([poor, good], THREE)[0] == 1 and forms.steadiest([good, poor], THREE)[0] == 0
    assert forms.steadiest([(stuck, stuck), good], THREE)[0] == 1
    assert "beyond chance" in forms.steadiest([poor, good], THREE)[1]
    assert forms.steadiest([poor, good, good], THREE)[0] == 1, "of equal ones the cheaper"
    few = [(a[:10], b[:10]) for a, b in (poor, good)]
    assert forms.steadiest(few, THREE) == (0, "")
    with pytest.raises(ValueError, match="at least one"):
        forms.steadiest([], THREE)
