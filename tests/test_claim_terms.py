"""What a run's look may claim by what was written down before the audit, and what stays of it while people go on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from test_claim import PEOPLE, frozen_world
from test_loop import opened, project

from agent import certify, claim, export, loop
from agent import config as settings
from agent.board import Board
from agent.cli import main
from agent.errors import DataError
from agent.types import Answer, Call, Decision

WALK = 'person_minutes = 60\nleft = "people"'


def _other(said: Any) -> Any:
    return {"billing": "technical", "technical": "billing"}[said]


def test_terms_chosen_with_the_answers_in_sight_certify_no_part(tmp_path: Path) -> None:
    config, store, pool, _ = frozen_world(tmp_path, terms={"target": 0.95})
    with store:
        agreed = claim.make(config, store, pool, accuracy=0.95)
        assert agreed.commitment["claim"] == "prefix" and agreed.accepted["prefix"] > 0
        for change in (["goal.accuracy=0.94"], ["goal.delta=0.2"], ["goal.left=people"], ["goal.test=anytime"]):
            asked = settings.load(tmp_path / "tutelage.toml", change)
            target = 0.94 if "accuracy" in change[0] else 0.95
            made = claim.make(asked, store, pool, accuracy=target)
            assert made.commitment["claim"] == "all" and made.method == "hypergeometric"
            assert "written down before the first audit question" in claim.lines(made)[1]
            assert claim.verify(asked, store, pool, config.folder / "certificate.json") == []


def test_a_ledger_without_terms_certifies_all_labels_or_nothing(tmp_path: Path) -> None:
    config, store, pool, _ = frozen_world(tmp_path, terms={"none": True})
    with store:
        made = claim.make(config, store, pool, accuracy=0.95)
        assert made.commitment["claim"] == "all" and "begun without its terms" in claim.lines(made)[1]
        assert claim.make(config, store, pool, accuracy=0.7).met


def test_a_run_writes_its_terms_before_the_first_audit_question(tmp_path: Path) -> None:
    config = settings.load(project(tmp_path, 60, rungs=PEOPLE, goal="person_minutes = 8\naudit = 20\npilot = 10"))
    loop.run(config)
    store, pool = opened(config)
    with store:
        (terms,) = (c for c in store.commitments() if c["look"] == 0)
        assert terms["body"]["target"] == 0.9 and terms["body"]["left"] == "open"
        assert claim.make(config, store, pool).commitment["as_agreed"]


def test_classes_named_after_the_answers_share_the_risk_with_all_that_could_have_been(tmp_path: Path) -> None:
    config, store, pool, _ = frozen_world(tmp_path, n=300, audit=100, terms={"target": 0.99})
    with store:
        late = settings.load(tmp_path / "tutelage.toml", ['goal.classes=["billing"]'])
        made = claim.make(late, store, pool, accuracy=0.99)
        (row,) = made.classes
        evidence = claim.gather(config, store, pool)
        rows = [i for i in evidence.audit if evidence.labels[i] == "billing"]
        wrong = sum(evidence.audit[i] != "billing" for i in rows)
        half = certify.wrong_at_most(evidence.labels.count("billing"), len(rows), wrong, 0.05 * 6 / np.pi**2 / 2)
        assert row["wrong_at_most"] == half - wrong
        assert claim.verify(late, store, pool, config.folder / "certificate.json") == []


def test_items_answered_twice_count_though_they_were_repaired_and_the_ledger_learns_it(tmp_path: Path) -> None:
    config, store, pool, truth = frozen_world(tmp_path, goal="person_minutes = 60\naudit_twice = 100")
    with store:
        recipe, drawn = claim.person_recipe(config), certify.draw(pool.ids, config.run.seed)
        second = claim.second_questions(recipe, [pool.ids[i] for i in drawn[:100]], 1)
        store.reserve(second, None)
        hard = [i for i in drawn[:200] if i >= 450]  # people repair these, and differ on every one of them
        store.escalate([], recipe, [pool.ids[i] for i in hard], 1)
        waiting = claim.make(config, store, pool, accuracy=0.9)
        assert waiting.human == {"waiting": 100}
        for call in second:
            i = pool.position(call.item)
            said = truth[str(pool.item(i).name)]
            store.record_now(call.key, Answer(_other(said) if i >= 450 else said, who="bob"))
        made = claim.make(config, store, pool, accuracy=0.9)
        differ = sum(i >= 450 for i in drawn[:100])
        assert made.human["doubled"] == 100 and made.human["differ"] == differ > 10
        assert made.look == waiting.look and store.certificates()[-1]["body"]["human"] == made.human
        assert claim.verify(config, store, pool, config.folder / "certificate.json") == []


def test_doctor_says_that_second_questions_were_wished_for_too_late(tmp_path: Path) -> None:
    from agent.cli.doctor import _ledger

    config, store, _, _ = frozen_world(tmp_path, n=60, audit=10)
    store.close()
    late = settings.load(tmp_path / "tutelage.toml", ["goal.audit_twice=5"])
    assert [check.level for check in _ledger(config)] == ["ok"]
    assert [check.what for check in _ledger(late) if check.level == "warn"] == ["audit"]


def test_a_repeated_question_that_comes_to_nothing_leaves_the_first_word(tmp_path: Path) -> None:
    config, store, pool, truth = frozen_world(tmp_path, n=60, audit=10)
    with store:
        recipe, i = claim.person_recipe(config), certify.draw(pool.ids, config.run.seed)[30]
        right = truth[str(pool.item(i).name)]
        board = Board(
            settings.the_task(config), settings.kind(config), settings.layout(config), pool, len(pool), [], recipe
        )

        def heard() -> tuple[Any, bool, bool]:
            board.refresh(store, {})
            evidence = claim.gather(config, store, pool)
            return evidence.said.get(i), i in evidence.lost, bool(board.people.answered[i])

        for sample in (0, 1):
            card = Call(f"p{sample}", recipe, pool.ids[i], "person", sample=sample, purpose="escalation", turn=1)
            store.reserve([card], None)
        store.record_now("p0", Answer(right, who="ada"))
        store.record_now("p1", Answer("", unsure=True, who="bob"))
        assert heard() == (right, False, True)
        store.withdraw("p1", "bob")
        assert heard() == (right, False, True)
        store.reserve([Call("p2", recipe, pool.ids[i], "person", sample=2, purpose="escalation", turn=1)], None)
        store.record_now("p2", Answer(_other(right), who="bob"))
        assert heard() == (_other(right), False, True), "the last word that says something is the label"
        store.withdraw("p0", "ada")
        store.withdraw("p2", "bob")
        assert heard() == (None, False, False)


def label_rest(config: Any, store: Any, pool: Any, truth: Any, behind: list[int]) -> None:
    recipe = claim.person_recipe(config)
    for i in behind:
        store.reserve([Call(f"rest{i}", recipe, pool.ids[i], "person", purpose="escalation", turn=2)], None)
        store.record_now(f"rest{i}", Answer(truth[str(pool.item(i).name)], who="ada"))


def test_once_people_have_labeled_the_rest_the_walks_look_is_met_for_all(tmp_path: Path) -> None:
    config, store, pool, truth = frozen_world(tmp_path, goal=WALK, terms={"target": 0.95})
    with store:
        first = claim.make(config, store, pool, accuracy=0.95)
        assert not first.met and first.accepted["left_open"] > 0
        behind = claim.rest_of(config, store, pool).tolist()
        assert len(behind) == first.accepted["left_open"]
        claim.promise_rest(config, store, pool)
        label_rest(config, store, pool, truth, behind[5:])
        partly = claim.make(config, store, pool, accuracy=0.95)
        assert partly.look == 1 and not partly.met and partly.accepted["left_open"] == 5
        assert claim.verify(config, store, pool, config.folder / "certificate.json") == []
        label_rest(config, store, pool, truth, behind[:5])
        made = claim.make(config, store, pool, accuracy=0.95)
        assert made.look == 1 and made.met and made.accepted["left_open"] == 0 and made.wrong_at_most <= 30
        assert len(claim.lines(made)) == 1 and "meets the goal" in claim.lines(made)[0]
        assert claim.verify(config, store, pool, config.folder / "certificate.json") == []
        table = export.labels(config, store, pool)
        assert all(table["certified"]), "every label is in the certificate"
        wrong = sum(label != truth[name] for label, name in zip(table["label"], table["id"], strict=True))
        assert wrong <= made.wrong_at_most
        with pytest.raises(DataError, match="put to people"):
            claim.make(config, store, pool, accuracy=0.9)
        changed = next(i for i in range(600) if table["by"][i] != "person")
        store.decide([Decision(pool.ids[changed], "accept", "scripted", _other(table["label"][changed]), 0.9, turn=3)])
        assert claim.make(config, store, pool, accuracy=0.95).accepted["left_open"] == 1, "another label was not walked"
        assert claim.verify(config, store, pool, config.folder / "certificate.json") == []


def test_a_run_puts_what_lies_behind_the_walk_to_people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    goal = 'person_minutes = 60\naudit = 40\npilot = 20\nleft = "people"'
    rungs = PEOPLE.replace('"scripted"', '"scripted"\naccuracy = 0.8\nbar = 0.5')
    config = settings.load(project(tmp_path, 150, rungs=rungs, goal=goal))
    loop.run(config)
    store, pool = opened(config)
    with store:
        made = claim.make(config, store, pool)
        assert made.met and made.accepted["claim"] == "walk" and made.accepted["left_open"] == 0
        assert "since" in made.accepted and any(c["look"] < 0 for c in store.commitments())
        assert claim.verify(config, store, pool, config.folder / "certificate.json") == []
    monkeypatch.chdir(tmp_path)
    said = CliRunner().invoke(main, ["certify"])
    assert said.exit_code == 0 and "meets the goal" in said.output, said.output


def test_without_minutes_for_the_rest_certify_says_how_many_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, store, _, _ = frozen_world(tmp_path, goal=WALK, terms={"target": 0.95})
    store.close()
    monkeypatch.chdir(tmp_path)
    said = CliRunner().invoke(main, ["certify", "--set", "goal.accuracy=0.95"])
    assert said.exit_code == 5 and "left for people, about" in said.output, said.output


def test_other_answers_are_another_look_of_the_exact_test(tmp_path: Path) -> None:
    config, store, pool, truth = frozen_world(tmp_path, n=200, audit=60, terms={"target": 0.9})
    with store:
        assert claim.make(config, store, pool, accuracy=0.9).look == 1
        drawn = next(iter(claim.gather(config, store, pool).audit))
        store.withdraw(f"key{drawn}", "ada")
        store.reserve([Call("again", claim.person_recipe(config), pool.ids[drawn], "person", 1, "audit", turn=1)], None)
        store.record_now("again", Answer(_other(truth[str(pool.item(drawn).name)]), who="ada"))
        assert claim.make(config, store, pool, accuracy=0.9).look == 2, "looked again for nothing"


def test_what_people_were_to_repair_and_could_not_counts_as_wrong(tmp_path: Path) -> None:
    config, store, pool, _ = frozen_world(tmp_path, n=200, audit=60, terms={"target": 0.7})
    with store:
        before = claim.make(config, store, pool, accuracy=0.7)
        recipe, drawn = claim.person_recipe(config), certify.draw(pool.ids, config.run.seed)
        for i in drawn[100:120]:
            store.reserve([Call(f"r{i}", recipe, pool.ids[i], "person", purpose="escalation", turn=1)], None)
            store.record_now(f"r{i}", Answer("", unsure=True, who="ada"))
        evidence = claim.gather(config, store, pool)
        assert len(evidence.lost) == 20
        made = claim.make(config, store, pool, accuracy=0.7)
        forgotten = claim.derive(config, pool, replace(evidence, lost=frozenset()), made.commitment)
        assert made.extra["lost"] == 20 and made.machine == before.machine - 20
        assert made.wrong_at_most >= 20 and forgotten.extra["lost"] == 0
        machine_only = certify.wrong_at_most(
            made.machine, made.audited, made.wrong, made.commitment["risk_of_this_look"]
        )
        assert made.wrong_at_most == machine_only - (made.wrong - made.missing) + 20


def test_what_nobody_could_tell_is_not_mended(tmp_path: Path) -> None:
    goal = 'person_minutes = 60\ntest = "anytime"'
    config, store, pool, truth = frozen_world(
        tmp_path, n=60, audit=60, goal=goal, answered=False, terms={"target": 0.7}
    )
    with store:
        for k, card in enumerate(store.open_calls(annotator="person")):
            said = truth[str(pool.item(pool.position(card.item)).name)]
            store.record_now(card.key, Answer("", unsure=True, who="ada") if k < 12 else Answer(said, who="ada"))
        made = claim.make(config, store, pool, accuracy=0.7)
        assert made.missing == 12 and made.wrong_at_most >= 12
