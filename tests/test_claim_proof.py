"""What is delivered as certified, in worlds whose truth is known: the promise is broken no more often than it says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from agent.certify import gate
from agent.certify.plan import plan
from agent.claim.evidence import Evidence
from agent.claim.promise import Frozen, told
from agent.claim.proof import Audit, accept, left_wrong

N, PEOPLE, DRAWN, EPS, DELTA, RUNS = 600, 60, 120, 0.1, 0.2, 100
# 3.5 standard deviations above δ·runs are allowed: a chance of 1 in 4,000 a world. The laws of the tests themselves are
# checked elsewhere with many more runs; here it is what is made of them.


def world(name: str, rng: np.random.Generator) -> tuple[Any, Any]:
    """(risk predicted, wrong) of N machine labels, in the order."""
    place = np.arange(N)
    risk = np.where(place < 400, 0.03, 0.5)
    bears = int(EPS * (PEOPLE + N))
    wrong = {
        "as predicted": rng.random(N) < risk,
        "one too many": np.isin(place, rng.permutation(N)[: bears + 1]),
        "cliff": (place >= 350) & (place < 350 + bears + 30),
        "reversed": place < bears + 1,
        "all wrong": np.ones(N, bool),
        "all right": np.zeros(N, bool),
    }[name]
    return risk, wrong


def promised(claim: str, test: Any, risk: Any) -> tuple[dict[str, Any], Frozen]:
    whole, none = np.array([N]), np.zeros(1, np.int64)
    if claim == "prefix":
        made = plan(risk, N + PEOPLE, EPS, DELTA, people=PEOPLE, mode=test, left="open", share=DRAWN / N)
        made = replace(made, credit=np.zeros_like(made.credit))
    else:
        made = gate.Plan(whole, np.array([int(EPS * (PEOPLE + N))]), DRAWN, none, EPS if claim == "all" else 0.0)
    body = {
        "items": N + PEOPLE, "target": 1 - EPS, "aim": 1 - EPS, "risk_of_this_look": DELTA, "test": test,
        "claim": claim, "drawn": DRAWN, "plan": told(made),
    }  # fmt: skip
    rank = np.concatenate([np.arange(N), np.full(PEOPLE, -1)])
    return body, Frozen(np.arange(N), risk, rank, PEOPLE, 0, "", "")


def look(body: dict[str, Any], frozen: Frozen, rows: Any, wrong: Any, missing: Any) -> dict[str, Any]:
    said = {
        int(i): None if lost else ("no" if bad else "yes") for i, bad, lost in zip(rows, wrong, missing, strict=True)
    }
    evidence = Evidence([], {}, frozenset(), said, frozenset(), 0, frozen.risk, {}, (), 1, 0, ())
    return accept(body, frozen, Audit(rows, wrong & ~missing, missing), evidence)


WORLDS = ["as predicted", "one too many", "cliff", "reversed", "all wrong", "all right"]
CASES = [
    *(("prefix", "exact", name) for name in WORLDS),
    *(("walk", "exact", name) for name in WORLDS),
    ("all", "exact", "one too many"), ("all", "exact", "all right"), ("all", "anytime", "one too many"),
    ("prefix", "anytime", "one too many"), ("prefix", "anytime", "cliff"), ("prefix", "anytime", "all right"),
]  # fmt: skip


@pytest.mark.parametrize(("claim", "test", "name"), CASES)
def test_what_is_certified_is_true_as_often_as_promised(claim: str, test: str, name: str) -> None:
    rng = np.random.default_rng(3)
    broken = said = 0
    body, frozen = promised(claim, test, world(name, rng)[0])
    runs = RUNS // 5 if (claim, test) == ("all", "anytime") else RUNS  # this one bets at every answer
    for _ in range(runs):
        wrong = world(name, rng)[1]
        rows = rng.permutation(N)[:DRAWN]
        missing = rng.random(DRAWN) < 0.02
        looks = [DRAWN] if test == "exact" or claim == "all" else [50, DRAWN]
        false = False
        for t in looks:
            found = look(body, frozen, rows[:t], wrong[rows[:t]], missing[:t])
            size, allowed = found["prefix"], found["wrong_at_most"]
            left = wrong.copy()
            left[rows[:t][~missing[:t]]] = False  # mended, or people's own
            if claim == "walk":
                left[rows[:t][missing[:t]]] = False  # waits for a person
            false |= int(left[:size].sum()) > allowed
            assert allowed <= EPS * (found["labels"] if claim != "walk" else N + PEOPLE) + 1e-9
            assert found["labels"] + found["left_open"] == N + PEOPLE
            said += size > 0
        broken += false
    assert broken <= runs * (DELTA + 3.5 * (DELTA * (1 - DELTA) / runs) ** 0.5)
    if name == "all right":
        assert said > 0


def test_the_bound_on_all_labels_is_the_exact_one_or_wider() -> None:
    rng = np.random.default_rng(1)
    risk, wrong = world("as predicted", rng)
    rows = rng.permutation(N)[:DRAWN]
    none = np.zeros(DRAWN, bool)
    body, frozen = promised("all", "exact", risk)
    exact = left_wrong(body, frozen, Audit(rows, wrong[rows], none))
    anytime = left_wrong({**body, "test": "anytime"}, frozen, Audit(rows, wrong[rows], none))
    assert exact <= anytime <= N
