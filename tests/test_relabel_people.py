"""After a change of the labels: who settled can take it back, nothing waits under old labels, people's time stays."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from cli_room import call as verb
from review_room import Room, furnish

from agent import claim, prompt, relabel
from agent import config as settings
from agent.config import Config
from agent.loop import doubts
from agent.report.overview import kept_apart
from agent.review import Desk, Queue, team
from agent.review.settle import Differences
from agent.types import Answer


def court(room: Room, config: Config) -> Differences:
    return Differences(room.store, room.pool, settings.the_task(config), settings.kind(config), 0)


def renamed(room: Room, config: Config, old: str, new: str) -> Config:
    path = room.folder / "tutelage.toml"
    relabel.relabel(path, config, relabel.rename(settings.the_task(config), old, new, {}))
    return settings.load(path)


def texts(room: Room, config: Config) -> list[str]:
    recipe = prompt.person_recipe(settings.the_task(config))
    return [answer.text for _, _, answer in room.store.answers_since(0, [recipe])]


@pytest.mark.parametrize("names", [("other", "rest"), ("billing", "bills", "billing")])
def test_a_settled_difference_can_be_taken_back_after_the_labels_changed(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    room = furnish(tmp_path, counts={"escalation": 1})
    (first,) = room.pending()
    (again,) = claim.second_questions(room.recipe, [first.item], 1, "escalation")
    room.store.reserve([again], None)
    room.store.record_now(first.key, Answer("billing", who="ada", seconds=3.0))
    room.store.record_now(again.key, Answer("technical", who="bob", seconds=3.0))
    room.store.review.set_person("eve", "adjudicator", "0" * 64)
    differences, config = court(room, room.config), room.config
    case = differences.next("eve")
    assert case is not None and differences.settle("eve", case.key, case.mark, "other", 1.0) == "saved"
    assert texts(room, config) == ["billing", "other"]
    for old, new in pairwise(names):
        config = renamed(room, config, old, new)
    stood = texts(room, config)
    assert stood[-1] in ("other", "rest")
    differences = court(room, config)
    assert differences.undo("eve") and differences.next("eve") is not None, "it is to be settled again"
    recipe = prompt.person_recipe(settings.the_task(config))
    gone = {call.key for _, status, call, _ in room.store.events_since(0, [recipe]) if status == "withdrawn"}
    left = [a.text for _, call, a in room.store.answers_since(0, [recipe]) if call.key not in gone]
    assert left == stood[:1], "the label that it left is gone with it"


def test_a_question_under_old_labels_waits_for_nobody(tmp_path: Path) -> None:
    room = furnish(tmp_path, counts={"escalation": 2})
    items = [call.item for call in room.pending()]
    config = renamed(room, room.config, "billing", "bills")
    asking = prompt.open_recipes(prompt.person_recipe(settings.the_task(config)))
    assert all(room.store.review.waits(item, asking) for item in items), "it went along"
    desk = Desk(Queue(room.store, room.pool, settings.the_task(config), settings.kind(config), 0), "ada")
    while card := desk.next_card():
        assert desk.answer(card.key, "bills", 2.0).status == "saved"
    assert len(room.store.open_calls("person")) == 2, "those under the old labels"
    assert not any(room.store.review.waits(item, asking) for item in items)
    assert kept_apart(config, room.store) == set()
    assert doubts.put(config, room.store, items) == 2 and doubts.put(config, room.store, items) == 0
    assert kept_apart(config, room.store) == set(items)


def test_peoples_time_goes_along_and_is_counted_once(tmp_path: Path) -> None:
    room = furnish(tmp_path, counts={"escalation": 12})
    for call in room.pending():
        room.store.record_now(call.key, Answer("billing", who="ada", seconds=40.0))
    config = renamed(room, room.config, "billing", "bills")
    recipe = prompt.person_recipe(settings.the_task(config))
    assert [answer.seconds for _, _, answer in room.store.answers_since(0, [recipe])] == [40.0] * 12
    assert room.store.spend().by["person"].answers == 12
    closings = room.store.review.clocked(0, 0, [recipe]).closings
    assert len(closings) == 12 and all(one.carried for one in closings)
    (ada,) = team.figures(room.store, room.pool, settings.the_task(config), settings.kind(config))
    assert ada.seconds == 40.0 and ada.pace is None, "when they were carried says nothing of her pace"


def test_a_trial_does_not_tell_what_the_audit_likes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = furnish(tmp_path, counts={"audit": 5, "escalation": 2})
    monkeypatch.chdir(tmp_path)
    for call in room.pending():
        room.store.record_now(call.key, Answer("billing", who="ada"))
    tried = verb("labels", "split", "billing", "--into", "in", "out", "--dry-run")
    assert tried.exit_code == 0 and "7 questions put again\n" in tried.output and "5 audit" not in tried.output
    tried = verb("labels", "split", "billing", "--into", "in", "out", "--dry-run", "--json")
    assert json.loads(tried.stdout)["people"]["again"] == 7
