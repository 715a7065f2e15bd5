"""The certificate of a run: what it promises first, what part of the labels it proves, how it is derived again."""

from __future__ import annotations

import csv
import json
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_loop import opened, project, sentences

from agent import claim, export, loop
from agent import config as settings
from agent.cli import main
from agent.config import Config
from agent.pool import Pool
from agent.store import Store
from agent.types import Answer, Call, Decision

PEOPLE = '[[rung]]\noracle = "scripted"\n[[rung]]\noracle = "person"\npeople = "gold"\n'


def frozen_world(
    tmp_path: Path,
    n: int = 600,
    audit: int = 200,
    goal: str = "",
    order: str = "right",
    answered: bool = True,
    terms: dict[str, Any] | None = None,
) -> tuple[Config, Store, Pool, dict[str, str]]:
    """A run whose labels are as they are told: the machine is wrong where it is least sure, on a fifth of the items.

    order "right": the less sure, the more often wrong; "reversed": the surest are the wrong ones. terms: the target and
    risk that were written down before the audit, beside the configuration's; {"none": True}: an older ledger.
    """
    path = project(tmp_path, n, rungs=PEOPLE, goal=goal or "person_minutes = 60")
    config = settings.load(path)
    truth = {f"m{i}": label for i, (_, label) in enumerate(sentences(n))}
    from agent.data import Source
    from agent.intake import take_in

    store = Store.open(config.store_url)
    take_in(Source(config.pool_path, ("text",), "id", "team"), store, config.folder / "pool")
    pool = Pool(config.folder / "pool", store.shards())
    store.begin_turn(1, config.run.seed, "c", "0")
    rng = np.random.default_rng(5)
    sure = np.where(np.arange(n) < 3 * n // 4, rng.uniform(0.995, 1, n), rng.uniform(0.4, 0.7, n))
    wrong = rng.random(n) > sure if order == "right" else np.arange(n) < n // 5
    decisions = []
    for i in range(n):
        name = pool.item(i).name
        right = truth[str(name)]
        other = {"billing": "technical", "technical": "billing"}[right]
        decisions.append(
            Decision(pool.ids[i], "accept", "scripted", other if wrong[i] else right, float(sure[i]), turn=1)
        )
    store.decide(decisions)
    from agent.certify import draw

    terms = {"target": 0.95, "delta": 0.05} if terms is None else terms
    if "none" not in terms:
        agreed = settings.load(path, [f"goal.{'accuracy' if k == 'target' else k}={v}" for k, v in terms.items()])
        claim.commit_terms(agreed, store)
    recipe = claim.person_recipe(config)
    for i in draw(pool.ids, config.run.seed)[:audit]:
        key = f"key{i}"
        store.reserve([Call(key, recipe, pool.ids[i], "person", purpose="audit", turn=1)], None)
        if answered:
            store.record_now(key, Answer(truth[str(pool.item(i).name)], who="ada"))
    return config, store, pool, truth


def wrong_among(config: Config, store: Store, pool: Pool, truth: dict[str, str], certified: bool) -> tuple[int, int]:
    table = export.labels(config, store, pool)
    rows = [i for i, flag in enumerate(table["certified"]) if flag or not certified]
    return sum(table["label"][i] != truth[table["id"][i]] for i in rows), len(rows)


@pytest.mark.parametrize("test", ["exact", "anytime"])
def test_the_surest_part_is_certified_where_all_labels_are_not(tmp_path: Path, test: str) -> None:
    goal = f'person_minutes = 60\ntest = "{test}"'
    config, store, pool, truth = frozen_world(tmp_path, goal=goal, terms={"target": 0.95, "delta": 0.1})
    with store:
        made = claim.make(config, store, pool, accuracy=0.95, delta=0.1)
        part = made.accepted
        assert part["claim"] == "prefix" and not made.met and 250 < part["labels"] < 600
        wrong, count = wrong_among(config, store, pool, truth, certified=True)
        assert count == part["labels"] == 600 - part["left_open"], "the column is what the certificate counted"
        assert wrong <= part["wrong_at_most"] <= 0.05 * part["labels"] + 1e-9
        assert wrong_among(config, store, pool, truth, certified=False)[0] <= made.wrong_at_most
        words = claim.lines(made)
        assert "does not meet" in words[0] and f"At least 95 % of these {part['labels']:,} labels" in words[1]
        assert f"{part['left_open']:,} are left open" in words[1]
        assert claim.verify(config, store, pool, config.folder / "certificate.json") == []


def test_what_lies_behind_goes_to_people_where_that_is_said(tmp_path: Path) -> None:
    config, store, pool, truth = frozen_world(
        tmp_path, goal='person_minutes = 60\nleft = "people"', terms={"target": 0.9}
    )
    with store:
        part = claim.make(config, store, pool, accuracy=0.9).accepted
        assert part["claim"] == "walk" and part["wrong_at_most"] <= 60
        wrong, count = wrong_among(config, store, pool, truth, certified=True)
        assert count == part["labels"] and wrong <= 60, "of all 600 a tenth may be wrong, and all others are people's"
        assert claim.verify(config, store, pool, config.folder / "certificate.json") == []
        assert (
            claim.verify(
                settings.load(tmp_path / "tutelage.toml", ["goal.left=open", "goal.test=anytime"]),
                store,
                pool,
                config.folder / "certificate.json",
            )
            == []
        ), "as it was made, whatever is said now"
        open_part = claim.make(settings.load(tmp_path / "tutelage.toml", ["goal.left=open"]), store, pool, 0.9).accepted
        assert open_part["claim"] == "all", "the terms were written down with the rest to people: other terms, no part"


@pytest.mark.parametrize("test", ["exact", "anytime"])
def test_classes_are_certified_each_by_itself(tmp_path: Path, test: str) -> None:
    config, store, pool, truth = frozen_world(
        tmp_path,
        goal=f'person_minutes = 60\ntest = "{test}"\nclasses = ["billing", "technical"]',
        terms={"target": 0.7, "delta": 0.1},
    )
    with store:
        made = claim.make(config, store, pool, accuracy=0.7, delta=0.1)
        names = [str(pool.item(i).name) for i in range(len(pool))]
        evidence = claim.gather(config, store, pool)
        for row in made.classes:
            rows = [i for i in range(len(pool)) if evidence.labels[i] == row["class"]]
            left = sum(evidence.labels[i] != truth[names[i]] for i in rows if i not in evidence.audit)
            assert row["labels"] == len(rows) and left <= row["wrong_at_most"] <= 0.3 * len(rows) and row["certified"]
        assert claim.lines(made)[-1].startswith("  technical: 70 % certified")
        assert claim.verify(config, store, pool, config.folder / "certificate.json") == []


def test_an_order_that_is_wrong_certifies_nothing_that_is_not_so(tmp_path: Path) -> None:
    config, store, pool, truth = frozen_world(tmp_path, order="reversed")
    with store:
        made = claim.make(config, store, pool, accuracy=0.95)
        assert not made.met and made.accepted["prefix"] == 0
        wrong, count = wrong_among(config, store, pool, truth, certified=True)
        assert wrong == 0 and count == made.accepted["labels"] == 200


def test_the_promise_depends_on_no_audit_answer(tmp_path: Path) -> None:
    promises = []
    for world in ("as it is", "turned round", "silent"):
        folder = tmp_path / world.replace(" ", "-")
        folder.mkdir()
        config, store, pool, _ = frozen_world(folder)
        with store:
            evidence = claim.gather(config, store, pool)
            turned = {i: _other(said) for i, said in evidence.audit.items()}
            audit = {"as it is": evidence.audit, "turned round": turned, "silent": dict.fromkeys(evidence.audit)}[world]
            evidence = replace(evidence, audit=audit, silent=frozenset(audit if world == "silent" else ()))
            frozen = claim.freeze(config, pool, evidence)
            promises.append(claim.promise(config, frozen, evidence, pool, 0.95, 0.05, 1))
    assert promises[0] == promises[1] == promises[2] and len(promises[0]["plan"]["cuts"]) > 10


def _other(said: Any) -> Any:
    return {"billing": "technical", "technical": "billing"}[said]


def test_the_promise_is_written_before_the_look_and_one_cut_off_is_taken_up(tmp_path: Path) -> None:
    config, store, pool, _ = frozen_world(tmp_path)
    with store:
        evidence = claim.gather(config, store, pool)
        body = claim.promise(config, claim.freeze(config, pool, evidence), evidence, pool, 0.95, 0.05, 1)
        store.add_commitment(1, claim.sha_of(body), body)  # and here the process was killed
        made = claim.make(config, store, pool, accuracy=0.95)
        assert made.look == 1 and made.commitment == body and len(store.commitments()) == 2
        assert claim.make(config, store, pool, accuracy=0.9).look == 2, "another target is another look"
        assert claim.make(config, store, pool, accuracy=0.95).look == 1


def test_any_time_answers_are_heard_up_to_the_first_gap_and_looking_spends_nothing(tmp_path: Path) -> None:
    goal = 'person_minutes = 60\ntest = "anytime"'
    config, store, pool, truth = frozen_world(tmp_path, goal=goal, answered=False, terms={"target": 0.95, "delta": 0.1})
    with store:
        cards = {c.item: c.key for c in store.open_calls(annotator="person")}
        drawn = list(claim.gather(config, store, pool).audit)
        sizes = []
        for upto, gap in ((40, 20), (200, None)):
            for place, i in enumerate(drawn[:upto]):
                if place != gap and pool.ids[i] in cards:
                    name = str(pool.item(i).name)
                    store.record_now(cards.pop(pool.ids[i]), Answer(truth[name], who="ada"))
            made = claim.make(config, store, pool, accuracy=0.95, delta=0.1)
            assert made.look == 1 and made.audited == (20 if gap else 200)
            assert claim.verify(config, store, pool, config.folder / "certificate.json") == []
            sizes.append(made.accepted["prefix"])
        assert sizes[0] == 0 < sizes[1] and len(store.commitments()) == 2 and len(store.certificates()) == 2


def test_what_was_tampered_with_is_found(tmp_path: Path) -> None:
    config, store, pool, _ = frozen_world(tmp_path)
    with store:
        claim.make(config, store, pool, accuracy=0.95)
        file = config.folder / "certificate.json"
        sound = file.read_text()
        body = json.loads(sound)
        for change in (
            {"accepted": {**body["accepted"], "labels": 599}},
            {"commitment": {**body["commitment"], "order_sha256": "0" * 64}},
            {"met": True}, {"wrong_at_most": 3}, {"method": "belief"}, {"classes": [{"class": "billing"}]},
        ):  # fmt: skip
            file.write_text(json.dumps({**body, **change}))
            (name,) = change
            assert any(line.startswith(f"{name}: the file says") for line in claim.verify(config, store, pool, file))
        file.write_text(sound)
        ledger = sqlite3.connect(config.folder / "ledger.db")
        for trigger in ("commitments_no_update", "decisions_no_update"):
            ledger.execute(f"DROP TRIGGER {trigger}")
        changed = {**body["commitment"], "risk_of_this_look": 0.5}
        ledger.execute("UPDATE commitments SET body = ? WHERE look = 1", (json.dumps(changed),))
        ledger.commit()
        found = claim.verify(config, store, pool, file)
        assert any("another hash" in line for line in found) and any("risk_of_this_look" in line for line in found)
        assert any("lost its guard" in line for line in found)
        ledger.execute("UPDATE commitments SET body = ? WHERE look = 1", (json.dumps(body["commitment"]),))
        ledger.execute("UPDATE decisions SET confidence = 1 - confidence / 2")  # another order
        ledger.commit()
        assert any("order_sha256" in line for line in claim.verify(config, store, pool, file))


def test_a_certificate_is_derived_again_after_the_run_went_on(tmp_path: Path) -> None:
    config, store, pool, _ = frozen_world(tmp_path)
    with store:
        claim.make(config, store, pool, accuracy=0.95)
        before = export.labels(config, store, pool)["certified"]
        store.decide([Decision(pool.ids[0], "accept", "scripted", "billing", 0.5, turn=2)])
        assert claim.verify(config, store, pool, config.folder / "certificate.json") == []
        assert export.labels(config, store, pool)["certified"] == before, (
            "the same label, less sure: it stays certified"
        )
        store.decide([Decision(pool.ids[0], "accept", "scripted", "technical", 0.5, turn=3)])
        assert set(export.labels(config, store, pool)["certified"]) == {None}, "these labels are others"
        assert claim.make(config, store, pool, accuracy=0.95).look == 2


def test_the_command_says_what_is_certified_and_the_export_has_the_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from click.testing import CliRunner

    _, store, _, _ = frozen_world(tmp_path)
    store.close()
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["certify", "--target", "0.95", "--json"])
    assert done.exit_code == 5, done.output
    body = json.loads(done.stdout)
    assert not body["met"] and len(body["claims"]) == 2
    assert CliRunner().invoke(main, ["export", "labels", "labels.csv"]).exit_code == 0
    with open("labels.csv", newline="") as stream:
        flags = [row["certified"] for row in csv.DictReader(stream)]
    assert flags.count("true") + flags.count("True") == body["certificate"]["accepted"]["labels"]


def test_a_real_run_certifies_and_its_column_counts_what_the_certificate_counts(tmp_path: Path) -> None:
    path = project(tmp_path, goal="person_minutes = 8")
    config = settings.load(path)
    loop.run(config)
    store, pool = opened(config)
    with store:
        made = claim.make(config, store, pool)
        table = export.labels(config, store, pool)
        assert sum(map(bool, table["certified"])) == made.accepted["labels"]


def test_audits_answered_twice_bound_peoples_own_mistakes(tmp_path: Path) -> None:
    rungs = PEOPLE.replace('people = "gold"', 'people = "votes.csv"')
    path = project(tmp_path, 200, rungs=rungs, goal="person_minutes = 20\naudit = 60\naudit_twice = 40\npilot = 20")
    with open(tmp_path / "votes.csv", "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "annotator", "label"])
        for i, (_, label) in enumerate(sentences(200)):
            # Two people, who differ on every tenth item.
            writer.writerows([[f"m{i}", "ada", label], [f"m{i}", "ben", label if i % 10 else _other(label)]])
    config = settings.load(path, ["goal.accuracy=0.999"])
    loop.run(config)
    store, pool = opened(config)
    with store:
        made = claim.make(config, store, pool)
        evidence = claim.gather(config, store, pool)
        differ = sum(int(str(pool.item(i).name)[1:]) % 10 == 0 for i in evidence.twice)
        assert 0 < made.human["doubled"] == len(evidence.twice) <= 40 and made.human["differ"] == differ
        assert made.human["at_most"] > differ / len(evidence.twice)
        assert made.commitment["risk_of_this_look"] == pytest.approx(0.8 * 0.05 * 6 / np.pi**2 / made.look**2)
        assert "People make mistakes, too" in claim.lines(made)[-1]
        assert claim.verify(config, store, pool, config.folder / "certificate.json") == []


def test_a_second_answer_is_given_by_a_second_person(tmp_path: Path) -> None:
    from agent.prompt import second_recipe
    from agent.review import Desk, Queue

    config, store, pool, truth = frozen_world(tmp_path, n=60, audit=10, answered=False)
    with store:
        recipe = claim.person_recipe(config)
        drawn = [c.item for c in store.asked(recipe)]
        store.reserve(claim.second_questions(recipe, drawn[:4], 1), None)
        task, kind = settings.the_task(config), settings.kind(config)

        def sit(who: str) -> int:
            desk, count = Desk(Queue(store, pool, task, kind, 0), who), 0
            while (card := desk.next_card()) is not None:
                assert desk.answer(card.key, truth[str(card.item.name)]).status == "saved"
                count += 1
            return count

        assert sit("ada") == 10, "the first answers, and no second one to herself"
        assert sit("ada") == 0 and sit("ben") == 4 and sit("cleo") == 0
        second = {call.item for _, call, answer in store.answers_since(0, [second_recipe(recipe)])}
        assert second == set(drawn[:4])
        evidence = claim.gather(config, store, pool)
        assert len(evidence.twice) == 4 and all(evidence.second[i] == evidence.audit[i] for i in evidence.twice)
