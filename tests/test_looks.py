"""Exact looks: one look is the gate's, and several together reject a true hypothesis with chance at most δ."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.certify import gate
from agent.certify.looks import Looks
from agent.types import Bools, Ints


def plan(cuts: list[int], allowed: int, credit: int, draws: int) -> gate.Plan:
    c = np.array(cuts, np.int64)
    return gate.Plan(c, np.full(len(c), allowed), draws, np.full(len(c), credit))


def walk(p: gate.Plan, stream: Ints, wrong: Bools, count: int, delta: float) -> tuple[Looks, list[int]]:
    """All looks at equal distances, and what each accepted."""
    looks, out = Looks(p, delta, count), []
    for at in np.linspace(0, p.draws, count + 1).astype(int)[1:]:
        out.append(looks.look(gate.found(p, stream[:at], wrong[stream[:at]])))
    return looks, out


@given(st.integers(0, 2**31), st.integers(20, 200), st.integers(1, 8), st.integers(0, 4))
@settings(max_examples=60, deadline=None)
def test_one_look_is_the_gate_and_its_bound(seed: int, size: int, allowed: int, credit: int) -> None:
    rng = np.random.default_rng(seed)
    p = plan([size // 2, size], allowed, credit, size // 2)
    wrong = np.zeros(size, bool)
    wrong[rng.permutation(size)[: int(rng.integers(0, size // 3))]] = True
    ranks = rng.permutation(size)[: p.draws]
    seen = gate.found(p, ranks, wrong[ranks])
    looks = Looks(p, 0.05, 1)
    cut = looks.look(seen)
    assert cut == gate.exact(p, seen, 0.05)
    if cut >= 0:
        assert looks.bound(cut, seen) == max(gate.bound(p, cut, seen, 0.05), min(allowed, looks.bound(cut, seen)))


@pytest.mark.parametrize("surplus", [0, 5])
@pytest.mark.parametrize("count", [2, 7])
def test_all_looks_together_spend_at_most_delta(count: int, surplus: int) -> None:
    """The first cut is fine, the second exactly bad (or worse): it may be accepted in one of ten runs, δ = .1.

    1,500 runs: a share above .1 + 3.1 · √(.1·.9/1,500) = .124 has a chance below 1 in 1,000 where δ holds.
    """
    rng = np.random.default_rng(count * 10 + surplus)
    p = plan([100, 150, 250], 10, 3, 90)
    wrong = np.zeros(250, bool)
    wrong[:6] = wrong[100 : 108 + surplus] = True  # 14 of the first 150: one more than allowed + credit
    assert int(wrong[:150].sum()) == p.least[1] + surplus
    runs = 1_500
    bad = sum(max(walk(p, rng.permutation(250)[:90], wrong, count, 0.1)[1]) >= 1 for _ in range(runs))
    assert bad / runs <= 0.124
    if surplus == 0:
        assert bad / runs >= 0.02  # the risk is used, not hoarded


def test_what_is_spent_is_exact_in_a_tiny_world() -> None:
    """Every order of 8 labels, 3 of them wrong: the share of orders in which that is denied stays within the risk."""
    from itertools import combinations

    p = plan([8], 2, 0, 6)
    rejected = total = 0
    for places in combinations(range(8), 3):  # where in the audit's order the wrong ones stand
        wrong = np.zeros(8, bool)
        wrong[list(places)] = True
        total += 1
        rejected += max(walk(p, np.arange(8), wrong, 3, 0.4)[1]) >= 0
    assert 0 < rejected / total <= 0.4


@given(st.integers(0, 2**31), st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_the_bound_is_never_below_what_was_found(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    p = plan([60, 120], 12, 8, 60)
    wrong = rng.random(120) < 0.08
    stream = rng.permutation(120)[:60]
    looks, accepted = walk(p, stream, wrong, count, 0.2)
    seen = gate.found(p, stream, wrong[stream])
    for cut in range(looks.accepted + 1):
        assert seen.wrong[cut] <= looks.bound(cut, seen) <= p.least[cut] - 1
    assert accepted == sorted(accepted)  # what was accepted stays so


def test_looks_and_draws_beyond_the_plan_are_refused() -> None:
    p = plan([40], 4, 0, 10)
    looks = Looks(p, 0.05, 1)
    nothing = np.zeros(12, bool)
    with pytest.raises(ValueError, match="no more than were planned"):
        looks.look(gate.found(p, np.arange(12), nothing))
    looks.look(gate.found(p, np.arange(10), nothing[:10]))
    with pytest.raises(ValueError, match="certificate of its own"):
        looks.look(gate.found(p, np.arange(10), nothing[:10]))
    with pytest.raises(ValueError, match="delta"):
        Looks(p, 1.5, 1)
