"""Runs that are cut, changed, or answered by people in between: what the ledger must not forget."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from test_loop import LADDER, opened, project, run, sentences

from agent import claim, export
from agent.config import Config
from agent.errors import DataError
from agent.types import Answer, Decision, Prompt

LIVE = LADDER.replace('people = "gold"', "")
TRUTH = {f"m{i}": label for i, (_, label) in enumerate(sentences(120))}


def answer_all(config: Config, purposes: set[str]) -> int:
    """A person answers every open card of these streams, always right."""
    store, pool = opened(config)
    with store:
        cards = [c for c in store.open_calls(annotator="person") if c.purpose in purposes]
        for card in cards:
            name = str(pool.item(pool.position(card.item)).name)
            assert store.record_now(card.key, Answer(TRUTH[name], who="p", seconds=2.0))
    return len(cards)


def test_a_ladder_without_people_labels_by_its_machines(tmp_path: Path) -> None:
    two = '[[rung]]\nstudent = "tfidf"\n[[rung]]\noracle = "scripted"\naccuracy = 0.9\n'
    config, finished = run(project(tmp_path, rungs=two))
    assert finished.code == 0
    store, pool = opened(config)
    with store:
        assert store.spend().by["scripted"].answers > 0
        assert set(export.labels(config, store, pool)["by"]) <= {"student", "scripted"}
        with pytest.raises(DataError, match="no item was audited"):
            claim.make(config, store, pool)


def test_a_student_taught_by_people_alone(tmp_path: Path) -> None:
    two = '[[rung]]\nstudent = "tfidf"\n[[rung]]\noracle = "person"\npeople = "gold"\n'
    config, finished = run(project(tmp_path, rungs=two))
    assert finished.code == 0
    store, pool = opened(config)
    with store:
        table = export.labels(config, store, pool)
        assert set(table["by"]) <= {"student", "person"} and set(table["status"]) <= {"accepted", "unsure"}


def test_recorded_people_answer_the_cards_that_wait(tmp_path: Path) -> None:
    path = project(tmp_path, rungs=LIVE)
    config, finished = run(path)
    assert finished.code == 4
    config, finished = run(path, people="gold")
    assert finished.code == 0
    store, _ = opened(config)
    with store:
        assert not store.open_calls(annotator="person")
        assert claim.people_are(store).startswith("simulated")
    config, _ = run(path)
    store, pool = opened(config)
    with store:
        made = claim.make(config, store, pool, early=True)  # the plan may ask people for more, who are not there
        assert "simulated" in claim.sentence(made), "once simulated, always said"


def test_people_answer_between_runs_and_openings_are_remembered(tmp_path: Path) -> None:
    path = project(tmp_path, rungs=LIVE, goal="person_minutes = 10\npilot = 20\naudit = 30")
    config, finished = run(path, "goal.accuracy=0.999")
    assert finished.code == 4 and answer_all(config, {"pilot"}) == 20
    config, finished = run(path, "goal.accuracy=0.999")
    assert finished.code == 4
    store, pool = opened(config)
    with store:
        recipe = claim.person_recipe(config)
        first = store.opened(recipe)
        escalated = [c for c in store.asked(recipe) if c.purpose == "escalation"]
        assert escalated and first, "the least sure are escalated, and audit items among them opened"
    run(path, "goal.accuracy=0.999")
    store, pool = opened(config)
    with store:
        again = [c for c in store.asked(recipe) if c.purpose == "escalation"]
        assert again == escalated, "while people are at the last ones, no more are asked for"
        assert store.opened(recipe) == first
        evidence = claim.gather(config, store, pool)
        positions = {pool.position(item) for item in first}
        assert positions.isdisjoint(evidence.audit) and positions <= evidence.lost
    answer_all(config, {"pilot", "audit", "escalation"})
    config, _ = run(path, "goal.accuracy=0.999")
    store, pool = opened(config)
    with store:
        evidence = claim.gather(config, store, pool)
        assert {pool.position(item) for item in first} <= set(evidence.said)
        assert not claim.check_draw(config, store, pool)


def test_cards_of_older_labels_are_waited_for_by_nobody(tmp_path: Path) -> None:
    path = project(tmp_path, rungs=LIVE)
    run(path)
    path.write_text(path.read_text().replace("[pool]", 'praise = "thanks"\n[pool]'))
    config, finished = run(path)
    assert finished.code == 4
    store, _ = opened(config)
    with store:
        today = [c for c in store.open_calls(annotator="person") if c.recipe == claim.person_recipe(config)]
        older = [c for c in store.open_calls(annotator="person") if c.recipe != claim.person_recipe(config)]
        assert today and older and finished.summary["waiting"] == len(today)


def test_paid_answers_are_heard_again_by_a_machine_that_shows_examples(tmp_path: Path) -> None:
    path = project(tmp_path, rungs=LADDER.replace("accuracy = 0.85", "accuracy = 0.85\nshots = 4\nbar = 1.0"))
    _, first = run(path, "goal.accuracy=0.999")
    config, second = run(path, "goal.accuracy=0.999", "goal.person_minutes=8.2")
    heard, again = first.summary["answers"]["scripted"], second.summary["answers"]["scripted"]
    assert again >= heard > 0
    store, _ = opened(config)
    with store:
        assert store.spend().by["scripted"].answers == again, "none of those paid for is unheard, none asked twice"


def test_examples_come_from_the_task_where_there_is_no_pilot(tmp_path: Path) -> None:
    two = '[[rung]]\nstudent = "tfidf"\n[[rung]]\noracle = "scripted"\nshots = 4\n'
    _, finished = run(project(tmp_path, rungs=two))
    assert finished.code == 0 and finished.summary["answers"]["scripted"] > 0


def test_as_many_turns_as_allowed_and_then_the_next_ones(tmp_path: Path) -> None:
    path = project(tmp_path)
    _, finished = run(path, "run.max_turns=1", "goal.accuracy=0.999")
    assert finished.code == 3 and "max_turns" in finished.reason
    _, finished = run(path, "run.max_turns=50", "goal.accuracy=0.999")
    assert finished.code == 0


def test_a_part_of_the_pool_first_and_then_all_of_it(tmp_path: Path) -> None:
    path = project(tmp_path)
    config, finished = run(path, limit=40)
    assert finished.code == 0
    store, pool = opened(config)
    with store, pytest.raises(DataError, match="no item was audited"):
        claim.make(config, store, pool)
    config, finished = run(path)
    assert finished.code == 0
    store, pool = opened(config)
    with store:
        assert claim.make(config, store, pool).items == 120


def test_a_pool_that_grew_is_audited_without_passing_anybody_over(tmp_path: Path) -> None:
    path = project(tmp_path)
    run(path)
    with open(tmp_path / "pool.csv", "a", newline="") as handle:
        handle.writelines(f'n{i},"{text} once more",{label}\n' for i, (text, label) in enumerate(sentences(60)))
    config, finished = run(path, "goal.person_minutes=20")
    assert finished.code == 0
    store, pool = opened(config)
    with store:
        assert len(pool) == 180 and claim.make(config, store, pool).items == 180


def test_an_older_look_cannot_pass_for_the_first(tmp_path: Path) -> None:
    path = project(tmp_path)
    config, _ = run(path, "goal.accuracy=0.999", "rung.1.accuracy=0.6")
    config, _ = run(path, "goal.accuracy=0.999", "rung.1.accuracy=0.6", "goal.person_minutes=9")
    store, pool = opened(config)
    with store:
        made = claim.make(config, store, pool)
        assert made.look == 2 and made.extra["risk_of_this_look"] < 0.05
        file = config.folder / "certificate.json"
        assert claim.verify(config, store, pool, file) == []
        file.write_text(json.dumps({**json.loads(file.read_text()), "look": 1}))
        assert any("other labels" in line for line in claim.verify(config, store, pool, file))


def test_audit_questions_taken_back_are_missed(tmp_path: Path) -> None:
    config, _ = run(project(tmp_path))
    store, pool = opened(config)
    with store:
        drawn = [c for c in store.asked(claim.person_recipe(config)) if c.purpose == "audit"]
        assert store.withdraw(drawn[0].key, "p")
        with pytest.raises(DataError, match="taken back"):
            claim.make(config, store, pool)


def test_two_looks_at_the_same_labels_are_one(tmp_path: Path) -> None:
    config, _ = run(project(tmp_path))
    store, pool = opened(config)
    with store:
        assert claim.make(config, store, pool) == claim.make(config, store, pool)
        assert len(store.certificates()) == 1


def test_the_report_shows_no_certificate_of_other_labels(tmp_path: Path) -> None:
    from agent.report.gather import gather

    path = project(tmp_path)
    config, _ = run(path)
    store, pool = opened(config)
    with store:
        assert gather(config, store, pool).certificate is not None
        audited = set(claim.gather(config, store, pool).audit)
        changed = next(i for i in range(120) if i not in audited)
        now = export.labels(config, store, pool)["label"][changed]
        other = next(label for label in config.task.labels if label != now)
        store.decide([Decision(pool.ids[changed], "accept", "scripted", other, 0.9, turn=store.last_turn())])
        figures = gather(config, store, pool)
        assert figures.certificate is None and not figures.reliability
        assert "changed" in figures.no_certificate


def mostly_prose(prompt: Prompt) -> Answer | str:
    """A model that talks until TEAPOT is taken from the environment."""
    if "TEAPOT" in os.environ:
        return Answer("I am a teapot, and glad of it.", usd=0.001)
    return str(prompt.question.item.gold)


def test_answers_nobody_can_read_stop_the_run_early_and_are_asked_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = project(tmp_path, rungs=LADDER.replace("accuracy = 0.85", 'function = "test_resume:mostly_prose"'))
    monkeypatch.setenv("TEAPOT", "1")
    config, finished = run(path, "goal.accuracy=0.999")
    assert finished.code == 3 and "none of the options" in finished.reason and "teapot" not in finished.reason
    store, _ = opened(config)
    with store:
        spend = store.spend()
        assert 0.02 <= spend.usd + 1e-9 <= 0.028 + 1e-9, "what was paid for is in the ledger, what was not sent is free"
        assert spend.by["scripted"].errors <= 20 + 8 + 24, "no more than were under way or ready to be sent"
    monkeypatch.delenv("TEAPOT")
    config, finished = run(path, "goal.accuracy=0.999")
    assert finished.code == 0
    store, _ = opened(config)
    with store:
        assert store.spend().by["scripted"].answers > 20 and not store.verify()
