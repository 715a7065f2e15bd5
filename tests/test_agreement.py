"""Agreement of people, the ceiling it sets, and the Alt-Test: worked by hand, laws, simulated people, recorded ones."""

from __future__ import annotations

import math
import os
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from agent.agreement import alpha, alt_test, ceiling, pairs
from agent.types import Ints

VOTES = arrays.arrays(np.int64, st.tuples(st.integers(1, 25), st.integers(1, 6)), elements=st.integers(-1, 4))


def crowd(seed: int, items: int, people: int, right: float, labels: int = 3) -> tuple[Ints, Ints]:
    """(n, J) votes of people who see the truth with chance `right`, (n,) the truth."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, labels, items)
    guess = rng.integers(0, labels, (items, people))
    return np.where(rng.random((items, people)) < right, truth[:, None], guess), truth


# Krippendorff's α.


def test_alpha_by_hand() -> None:
    # Items: aa, ab, bb. Coincidences: aa 2, ab 1, ba 1, bb 2; n = 6, n_a = n_b = 3.
    # D_o = 2/6; D_e = 2·3·3 / (6·5) = 18/30; α = 1 − (1/3)/(3/5) = 4/9
    found = alpha(np.array([[0, 0], [0, 1], [1, 1]]))
    assert found.value == pytest.approx(4 / 9) and (found.items, found.answers) == (3, 6)


def test_alpha_weighs_items_by_who_answered_them() -> None:
    # Items: aab (3 answers), bb, a (alone: says nothing). n = 5, n_a = 2, n_b = 3.
    # Σ n_c (m − n_c)/(m − 1): aab (2·1 + 1·2)/2 = 2, bb 0; D_o = 2/5; D_e = 2·2·3/(5·4) = 3/5; α = 1/3
    found = alpha(np.array([[0, 0, 1], [-1, 1, 1], [0, -1, -1]]))
    assert found.value == pytest.approx(1 / 3) and (found.items, found.answers) == (2, 5)


def test_where_there_is_nothing_to_tell_apart_alpha_is_not_known() -> None:
    assert math.isnan(alpha(np.zeros((5, 3), np.int64)).value)
    assert alpha(np.array([[0, -1], [-1, 1]])).items == 0
    with pytest.raises(ValueError, match="items × people"):
        alpha(np.zeros(3, np.int64))


@given(VOTES)
def test_alpha_is_one_minus_observed_over_expected_disagreement(votes: Ints) -> None:
    """Against the definition, pair by pair."""
    kept = [[v for v in row if v >= 0] for row in votes.tolist()]
    kept = [row for row in kept if len(row) > 1]
    said = Counter(v for row in kept for v in row)
    n = sum(said.values())
    apart = sum(sum(a != b for a, b in combinations(row, 2)) * 2 / (len(row) - 1) for row in kept)
    expected = sum(said[a] * said[b] for a in said for b in said if a != b)
    found = alpha(votes)
    if expected:
        assert found.value == pytest.approx(1 - (apart / n) / (expected / (n * (n - 1))))
        assert math.isnan(found.low) or found.low <= found.value <= found.high
    else:
        assert math.isnan(found.value)


@given(VOTES, st.permutations(range(5)))
def test_names_of_labels_and_people_do_not_matter(votes: Ints, names: list[int]) -> None:
    renamed = np.where(votes >= 0, np.array(names)[np.maximum(votes, 0)], -1)[:, ::-1]
    one, other = alpha(votes), alpha(renamed)
    assert one.value == pytest.approx(other.value, nan_ok=True)
    assert pairs(votes).value == pytest.approx(pairs(renamed).value, nan_ok=True)


def test_the_bootstrap_interval_covers() -> None:
    # Two labels, people right with chance r, else a coin: two agree with chance .5 + r²/2, and α tends to r².
    # 150 worlds at .95 have a standard error of .018; percentiles of 80 items fall a little short: .95 − .03 − 3·.018.
    inside = 0
    for seed in range(150):
        found = alpha(crowd(seed, 80, 3, 0.7, 2)[0])
        inside += found.low <= 0.49 <= found.high
    assert inside / 150 >= 0.866


# Pairs and the ceiling.


def test_pairs_by_hand() -> None:
    # aab: 1 of 3 pairs; bb: 1 of 1; mean 2/3
    assert pairs(np.array([[0, 0, 1], [-1, 1, 1]])).value == pytest.approx(2 / 3)
    none = pairs(np.array([[0, -1]]))
    assert (none.low, none.high, none.items) == (0.0, 1.0, 0) and math.isnan(none.value)
    assert pairs(np.zeros((60, 2), np.int64)).low == pytest.approx(0.025 ** (1 / 60))


def test_the_ceiling_by_hand() -> None:
    # Everyone has the same nine in ten: s = .81 + .01 = .82, and nine in ten is the best that can be.
    assert ceiling(0.82, 2) == pytest.approx(0.9)
    # Three labels at .8, .1, .1: s = .66
    assert ceiling(0.66, 3) == pytest.approx(0.8)
    assert ceiling(1.0, 7) == 1.0 and ceiling(0.25, 4) == 0.25 and ceiling(0.1, 4) == 0.25
    with pytest.raises(ValueError, match="cannot be"):
        ceiling(1.2, 2)


@given(arrays.arrays(np.float64, st.tuples(st.integers(1, 8), st.integers(2, 6)), elements=st.floats(0.01, 1)))
def test_no_labels_pass_the_ceiling(weights: Any) -> None:
    """Items with any shares of opinion at all: the best labels' agreement with one person stays below."""
    shares = weights / weights.sum(axis=1, keepdims=True)
    agree = float((shares**2).sum(axis=1).mean())
    best = float(shares.max(axis=1).mean())
    assert best <= ceiling(agree, shares.shape[1]) + 1e-9
    assert ceiling(agree, shares.shape[1]) <= math.sqrt(agree) + 1e-9 or agree < 1 / shares.shape[1]


# The Alt-Test.


def test_the_alt_test_by_hand() -> None:
    # 40 items, three people of one mind but for person 2 on the last ten; the machine says what 0 and 1 do.
    votes = np.zeros((40, 3), np.int64)
    votes[30:, 2] = 1
    found = alt_test(votes, np.zeros(40, np.int64), epsilon=0.1)
    # It never agrees less than the one left out: W^f = 1 everywhere, W^h = 1 but for person 2's ten.
    assert (found.wins, found.advantage, found.passed, found.people) == (1.0, 1.0, True, 3)
    assert found.items == (40, 40, 40) and found.p[0] == 0 and found.p[2] < 1e-5
    # A machine that sides with person 2 is behind 0 and 1 on ten of 40 items: by ε = .1 it is too far behind.
    # (0 left out: on the last ten the machine agrees with 2, 0 agrees with 1: a draw. So it is behind nobody.)
    assert alt_test(votes, votes[:, 2], epsilon=0.1).advantage == 1.0
    # One that speaks for nobody is.
    lost = alt_test(votes, np.full(40, 5), epsilon=0.1)
    assert lost.wins == 0 and lost.advantage == pytest.approx((0 + 0 + 10 / 40) / 3) and not lost.passed


def test_no_answer_stands_below_any() -> None:
    votes = np.zeros((40, 3), np.int64)
    votes[:, 1] = 1
    votes[:, 2] = 2  # nobody agrees with anybody
    assert alt_test(votes, np.full(40, 3)).advantage == 1.0
    assert alt_test(votes, np.full(40, -1)).advantage == 0.0


def test_two_people_are_too_few_and_few_items_take_nobody_in() -> None:
    votes = np.zeros((40, 2), np.int64)
    assert alt_test(votes, votes[:, 0]).wins == 1.0 and not alt_test(votes, votes[:, 0]).passed
    few = alt_test(votes[:20], votes[:20, 0])
    assert few.people == 0 and not few.passed and math.isnan(few.advantage)
    assert alt_test(np.zeros((20, 3), np.int64), np.zeros(20, np.int64), least=10).passed
    with pytest.raises(ValueError, match="do not fit"):
        alt_test(votes, votes[:3, 0])


def _brute(votes: Ints, machine: Ints, j: int) -> tuple[list[float], list[float]]:
    better, worse = [], []
    for row, its in zip(votes.tolist(), machine.tolist(), strict=True):
        others = [v for k, v in enumerate(row) if k != j and v >= 0]
        if row[j] < 0 or not others:
            continue
        by_it = others.count(its) / len(others) if its >= 0 else -1
        by_own = others.count(row[j]) / len(others)
        better.append(float(by_it >= by_own))
        worse.append(float(by_own >= by_it))
    return better, worse


@given(VOTES, st.integers(0, 5))
def test_the_alt_test_counts_what_its_definition_says(votes: Ints, seed: int) -> None:
    machine = np.random.default_rng(seed).integers(-1, 5, len(votes))
    counted = [_brute(votes, machine, j) for j in range(votes.shape[1])]
    kept = [better for better, _ in counted if better]
    found = alt_test(votes, machine, least=1)
    assert found.items == tuple(map(len, kept)) and 0 <= found.wins <= 1
    if kept:
        assert found.advantage == pytest.approx(np.mean([np.mean(better) for better in kept]))


def test_a_machine_no_better_than_the_line_seldom_passes() -> None:
    """At the null for every person (behind by just ε) one is beaten in 5 % of worlds at the most, half seldomer.

    200 worlds: at most .05 + 3 · .0154.
    """
    passed = 0
    for seed in range(200):
        votes, _ = crowd(seed, 100, 4, 0.8)
        rng = np.random.default_rng(seed + 1000)
        # On every item another person's word, but for a chance of .23 a label nobody gives: behind by .203 on average.
        own, _ = crowd(seed, 100, 5, 0.8)
        machine = np.where(rng.random(100) < 0.23, 9, own[:, 4])
        passed += alt_test(votes, machine, epsilon=0.2).passed
    assert passed / 200 <= 0.096


def test_a_machine_like_the_people_passes_with_a_hundred_items() -> None:
    passed = 0
    for seed in range(30):
        votes, _ = crowd(seed, 100, 5, 0.9)
        passed += alt_test(votes[:, :4], votes[:, 4], epsilon=0.2).passed
    assert passed >= 27


# Recorded people.


def _recorded(name: str) -> tuple[Ints, dict[str, Ints]]:
    import pyarrow.parquet as pq

    folder = Path(os.environ.get("TUTELAGE_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data") / name
    if not (folder / "humans.parquet").is_file():
        pytest.skip(f"{name} is not in the data folder: set TUTELAGE_DATA")
    people = pq.read_table(folder / "humans.parquet").to_pylist()
    labels = {one: k for k, one in enumerate(sorted({row["label"] for row in people}))}
    rows = {one: k for k, one in enumerate(sorted({row["id"] for row in people}))}
    who = {one: k for k, one in enumerate(sorted({row["annotator"] for row in people}))}
    votes = np.full((len(rows), len(who)), -1, np.int64)
    for row in people:
        votes[rows[row["id"]], who[row["annotator"]]] = labels[row["label"]]
    machines: dict[str, Ints] = {}
    for row in pq.read_table(folder / "votes.parquet").to_pylist():
        if row["id"] in rows:
            machine = machines.setdefault(row["model"], np.full(len(rows), -1, np.int64))
            machine[rows[row["id"]]] = labels.get(row["label"], -1)
    return votes, machines


@pytest.mark.parametrize("name", ["llm_alt_cebab_aspects", "llm_alt_mtbench"])
def test_results_are_the_authors_own(name: str) -> None:
    from eval.estimates import PUBLISHED

    votes, machines = _recorded(name)
    which, published = PUBLISHED[name]
    for machine, (wins, advantage) in published.items():
        found = alt_test(votes, machines[machine], epsilon=(0.1, 0.2)[which])
        assert (found.wins, found.advantage) == (pytest.approx(wins, abs=0.0051), pytest.approx(advantage, abs=0.0051))


def test_recorded_aspects_are_agreed_on() -> None:
    votes, machines = _recorded("llm_alt_cebab_aspects")
    assert not alt_test(votes, machines["mistral-v03"], epsilon=0.1).passed
    found = alpha(votes)
    assert 0.70 < found.low < found.value < found.high < 0.78 and pairs(votes).value == pytest.approx(0.861, abs=1e-3)


def test_recorded_summaries_are_out_of_reach_for_any_labels() -> None:
    votes, machines = _recorded("votes_alt_summeval")
    assert ceiling(pairs(votes).high, 5) < 0.8
    assert not any(alt_test(votes, machine).passed for machine in machines.values())
