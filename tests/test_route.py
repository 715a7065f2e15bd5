"""The rule: laws of the price of a wrong label, of gains learnt from noise, and of budgets, on simulated ladders."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.route import STOP, Items, Ladder, Limits, Option, Solved, Step, learn, solve, sure_enough
from agent.route.gain import SMALL
from agent.route.rule import POINTS, ask_values, grid


def halving(n: int = 400, factor: float = 0.5) -> Step:
    """An answer that takes a fixed share off every error."""
    before = np.linspace(0.01, 0.6, n)
    made = learn(before.astype(np.float32), (factor * before).astype(np.float32))
    assert made is not None
    return made


def telling(n: int = 2000, right: float = 0.9, seed: int = 0) -> Step:
    """An answer of a witness who is right with this chance, of two labels: it confirms or it casts doubt."""
    rng = np.random.default_rng(seed)
    before = rng.uniform(0.01, 0.5, n)
    agrees = rng.random(n) < (1 - before) * right + before * (1 - right)
    for_it = np.where(agrees, (1 - before) * right, (1 - before) * (1 - right))
    against = np.where(agrees, before * (1 - right), before * right)
    after = np.minimum(for_it, against) / (for_it + against)
    made = learn(before.astype(np.float32), after.astype(np.float32))
    assert made is not None
    return made


def ladder(*options: Option, bars: tuple[float, ...] | None = None) -> Ladder:
    """Each option may follow whatever stands before it."""
    count = len(options)
    follows = np.arange(count)[None, :] >= np.arange(count + 1)[:, None]
    return Ladder(options, follows, np.full(count + 1, np.nan) if bars is None else np.array(bars))


def items(n: int, seed: int, count: int, worst: float = 0.5) -> Items:
    error = np.random.default_rng(seed).beta(1, 5, n) * worst * 2
    return Items(np.minimum(error, worst), np.zeros(n, np.int64), np.ones((n, count), bool))


PERSON = Option("person", 0.05, None)


def test_gain_is_learned_from_items_that_were_asked() -> None:
    before = np.linspace(0, 0.5, 400).astype(np.float32)
    step = learn(before, (before / 2).astype(np.float32))
    assert step is not None and step.pairs == 400
    assert np.allclose(step.mean(np.array([0.05, 0.45])), [0.025, 0.225], rtol=0.02)
    assert learn(before[:5], before[:5]) is None, "not known yet"
    same = learn(before, before)
    assert same is not None and np.allclose(same.mean(np.array([0.1, 0.4])), [0.1, 0.4], rtol=1e-6)


@given(st.integers(20, 300), st.integers(0, 10**6), st.floats(0, 3))
@settings(max_examples=60, deadline=None)
def test_noise_never_makes_an_answer_harm_and_errors_stay_chances(n: int, seed: int, noise: float) -> None:
    rng = np.random.default_rng(seed)
    before = rng.uniform(0, 0.9, n)
    after = np.clip(before * np.exp(rng.normal(0, noise, n)), 0, 1)
    step = learn(before.astype(np.float32), after.astype(np.float32))
    assert step is not None
    error = np.linspace(SMALL, 1, 50)
    spread = step.after(error)
    assert (spread >= SMALL).all() and (spread <= 1).all()
    assert (step.mean(error) <= error + 1e-12).all()


@given(st.integers(0, 10**6), st.integers(1, 400), st.floats(0.55, 0.99), st.floats(1e-6, 0.1))
@settings(max_examples=30, deadline=None)
def test_errors_left_never_grow_with_the_price_of_a_wrong_label(seed: int, n: int, right: float, price: float) -> None:
    it = ladder(Option("llm", price, telling(right=right, seed=seed)), PERSON)
    rows = items(n, seed, 2)
    # A tighter goal needs a dearer wrong label; what is left is as little as asked for.
    solved = [solve(it, rows, Limits(share * rows.error.sum())) for share in (1.0, 0.6, 0.3, 0.1, 0.01)]
    worth, wrong = [s.worth for s in solved], [s.wrong for s in solved]
    assert worth == sorted(worth) and wrong == sorted(wrong, reverse=True)
    assert all(s.reached for s in solved) and solved[0].worth == 0 and (solved[0].action == STOP).all()


def test_on_the_grid_the_final_error_falls_and_the_price_rises_with_what_a_wrong_label_is_worth() -> None:
    it = ladder(Option("llm", 0.002, telling()), Option("large", 0.02, telling(right=0.97)), PERSON)
    before = ask_values(it, 0.001)
    for worth in np.geomspace(0.01, 100, 25).tolist():
        now = ask_values(it, worth)
        assert (now.wrong <= before.wrong + 1e-9).all()
        dollars, were = (v.usd + PERSON.price * v.people for v in (now, before))
        assert (dollars >= were - 1e-9).all()
        assert (dollars + worth * now.wrong <= were + worth * before.wrong + 1e-9).all(), "it is the best there is"
        before = now


def test_with_nobody_in_between_the_rule_is_a_bar() -> None:
    """Only people above: an item goes to them where its error costs more than their answer, STATS §2."""
    rows = items(1000, 3, 1)
    solved = solve(ladder(PERSON), rows, Limits(0.5 * rows.error.sum()))
    asked = solved.action == 0
    assert rows.error[asked].min() >= rows.error[~asked].max()
    assert rows.error[asked].min() >= PERSON.price / solved.worth - 1e-9
    assert np.isclose(solved.wrong, rows.error[~asked].sum()) and solved.people == asked.sum()
    # One item less to people, and the goal would not be kept.
    assert solved.wrong + rows.error[asked].min() > 0.5 * rows.error.sum()


def test_minutes_and_money_bind_before_the_goal() -> None:
    rows = items(2000, 5, 2)
    it = ladder(Option("llm", 0.01, halving()), PERSON)
    free = solve(it, rows, Limits(1.0))
    assert free.reached and free.people > 100
    few = solve(it, rows, Limits(1.0, people=100))
    assert few.people <= 100 + 1e-9 and not few.reached and few.worth > 0
    poor = solve(it, rows, Limits(1.0, people=100, usd=2.0))
    assert poor.usd <= 2 + 1e-9 and poor.people <= 100 + 1e-9


def test_a_dear_rung_that_mends_nothing_is_never_asked() -> None:
    none = halving(factor=1.0)
    rows = items(500, 7, 3)
    it = ladder(Option("cheap", 0.001, halving()), Option("dear", 0.01, none), PERSON)
    for share in (0.9, 0.5, 0.2, 0.02):
        assert not (solve(it, rows, Limits(share * rows.error.sum())).action == 1).any()


def test_a_dear_rung_is_asked_only_where_it_mends_more_than_the_cheap_one() -> None:
    same = halving()
    rows = items(500, 8, 3)
    it = ladder(Option("cheap", 0.001, same), Option("dear", 0.02, same), PERSON)
    solved = solve(it, rows, Limits(0.4 * rows.error.sum()))
    assert not (solved.action == 1).any() and (solved.action == 0).any()


def test_an_answer_that_settles_half_is_worth_more_than_its_mean_says() -> None:
    """The one-step rule compares means, and sends the doubtful straight to people; the ladder saves most of them."""
    rows = Items(np.full(200, 0.3), np.zeros(200, np.int64), np.ones((200, 2), bool))
    llm = Option("llm", 0.0005, telling(right=0.9))
    solved = solve(ladder(llm, PERSON), rows, Limits(6.0))
    assert (solved.action == 0).all() and 20 < solved.people < 150
    alone = solve(ladder(PERSON), Items(rows.error, rows.state, rows.open_to[:, :1]), Limits(6.0))
    assert solved.usd + PERSON.price * solved.people < PERSON.price * alone.people


def test_bars_that_were_written_down_hold() -> None:
    rows = items(400, 9, 2)
    it = ladder(Option("llm", 0.001, halving()), PERSON, bars=(0.8, np.nan, np.nan))
    solved = solve(it, rows, Limits(1e9))
    assert ((solved.action == STOP) == (1 - rows.error >= 0.8)).all(), "settled at the bar, and asked below it"
    assert np.isinf(solved.saves[solved.action != STOP]).all()
    nobody = Items(rows.error, rows.state, np.zeros((400, 2), bool))
    assert (solve(it, nobody, Limits(0.0)).action == STOP).all(), "there is nobody left to ask"


def test_nobody_heard_means_somebody_is_asked() -> None:
    rows = items(50, 1, 2)
    it = ladder(Option("llm", 0.001, halving()), PERSON, bars=(2.0, np.nan, np.nan))
    assert (solve(it, rows, Limits(1e9)).action == 0).all(), "the cheapest, where any will do"


def test_large_pools_are_weighed_in_cells_and_come_to_the_same() -> None:
    big = items(POINTS * 3, 11, 2)
    it = ladder(Option("llm", 0.001, telling()), PERSON)
    share = 0.3
    solved = solve(it, big, Limits(share * big.error.sum()))
    part = Items(big.error[::3], big.state[::3], big.open_to[::3])
    third = solve(it, part, Limits(share * part.error.sum()))
    assert solved.reached and solved.worth == pytest.approx(third.worth, rel=0.2)
    assert np.mean(solved.action == 1) == pytest.approx(np.mean(third.action == 1), abs=0.02)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.integers(0, 30), st.floats(0.001, 0.5))
def test_labels_are_sure_as_long_as_they_hold_no_more_errors_than_the_goal(
    errors: list[float], people: int, share: float
) -> None:
    error = np.array(errors)
    sure = sure_enough(error, people, share)
    assert error[sure].sum() <= share * (people + sure.sum()) + 1e-6
    if sure.any() and not sure.all():
        assert error[sure].max() <= error[~sure].min() + 1e-12


def test_the_grid_reaches_from_the_smallest_error_to_certainty_of_one() -> None:
    assert grid()[0] == pytest.approx(SMALL) and grid()[-1] == pytest.approx(1.0)
    assert isinstance(solve(ladder(PERSON), items(0, 0, 1), Limits(0.0)), Solved)
