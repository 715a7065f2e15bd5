"""What strategies see in a run, what their picks came to, and when machines' answers no longer earn their price."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from test_loop import opened, project, run

from agent.acquire import random as at_random
from agent.loop import patience
from agent.types import Picks, PoolView

SEEN: list[dict[str, Any]] = []


def pick(view: PoolView, n: int, seed: int) -> Picks:
    """A strategy of our own, by the door that plug-ins use, that notes what it is shown."""
    SEEN.append(
        {
            "candidates": len(view.probabilities),
            "labeled": 0 if view.labeled is None else view.labeled.shape[0],
            "targets": view.targets,
            "said": view.said,
            "knowledge": view.knowledge,
            "history": list(view.history),
            "balance": view.balance,
            "memory": dict(view.memory),
        }
    )
    view.memory["turns"] = view.memory.get("turns", 0) + 1
    picks = at_random.pick(view, n, seed)
    return Picks(picks.rows, picks.probabilities, "watched")


def test_a_strategy_sees_what_is_known_and_what_its_picks_came_to(tmp_path: Path) -> None:
    SEEN.clear()
    run(
        project(
            tmp_path,
            n=300,
            run='seed = 3\nacquire = "test_picking:pick"\nbatch = 40\nbalance = true',
            goal="person_minutes = 12",
        )
    )
    assert len(SEEN) >= 3
    for seen in SEEN:
        assert seen["balance"] and seen["knowledge"].shape == (seen["candidates"], 2)
        assert seen["targets"].shape == (seen["labeled"], 2)
        assert seen["said"] is None or seen["said"].shape == seen["targets"].shape
    assert [seen["memory"].get("turns", 0) for seen in SEEN] == list(range(len(SEEN)))
    last = SEEN[-1]["history"]
    assert last and all(one.by == "watched" and one.labels > 0 and one.error >= 0 for one in last)
    assert len(last) >= len(SEEN) - 2


def test_what_picks_came_to_is_in_the_ledger_and_in_the_report(tmp_path: Path) -> None:
    from agent.report.gather import gather

    config, _ = run(project(tmp_path, n=300, run="seed = 3\nbatch = 40", goal="person_minutes = 12"))
    store, pool = opened(config)
    with store:
        told = [o["tried"] for o in store.outcomes() if o.get("tried")]
        figures = gather(config, store, pool)
    assert told and all(one["labels"] > 0 for one in told)
    assert sum(s.batches for s in figures.strategies) == len(told)


def moved(changed: int, answers: int, usd: float, count: int = 3) -> list[dict[str, Any]]:
    return [{"changed": changed, "by_answers": answers, "for_usd": usd, "stable": 0.99}] * count


def test_answers_that_change_less_than_they_cost_are_enough() -> None:
    assert "expected gain below price" in patience._words(moved(2, 1_000, 1.0), 0.03)
    assert not patience._words(moved(200, 1_000, 1.0), 0.03), "200 labels at 3 cents are worth six dollars"
    assert not patience._words(moved(0, 10, 0.001), 0.03), "three changes may hide behind none seen"


DEAR = """
[[rung]]
student = "tfidf"
[[rung]]
oracle = "scripted"
accuracy = 0.9
bill_usd = 3.0
bar = 0.999999
"""


def test_a_dear_machine_that_changes_nothing_is_left_in_peace(tmp_path: Path) -> None:
    path = project(tmp_path, n=240, rungs=DEAR, goal="budget_usd = 10000", run="seed = 3\nbatch = 20")
    config, finished = run(path)
    assert finished.code == 0 and finished.reason.startswith("expected gain below price"), finished.reason
    with opened(config)[0] as store:
        assert store.spend().by["scripted"].answers < 240


def test_patience_zero_asks_on(tmp_path: Path) -> None:
    path = project(tmp_path, n=240, rungs=DEAR, goal="budget_usd = 10000", run="seed = 3\nbatch = 20\npatience = 0")
    _, finished = run(path)
    assert "expected gain" not in finished.reason
