"""Recorded votes in real files, people, and the shipped test double."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from oracle_room import MULTI, SINGLE, ask, asked, context, read

from agent import plugins
from agent.errors import CallFailed, DataError, PluginError, Transient, Unparsable
from agent.oracles import person, replay, scripted, vllm
from agent.types import Answer, Item, Layout, Task

# Recorded votes.


def test_replay_of_real_recorded_votes(data_dir):
    path = data_dir / "banking77" / "votes.parquet"
    described = json.loads((data_dir / "banking77" / "labels.json").read_text())
    task = Task("banking", "single", {entry["name"]: "" for entry in described["labels"]})
    with pytest.raises(DataError, match="several models: choose one with model ="):
        replay.build(replay.Settings(str(path)), context(task))
    oracle = replay.build(replay.Settings(str(path), model="gpt-4", prompt="fewshot_nonrep"), context(task))
    assert not oracle.traits.calibrate and oracle.traits.local
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(data_dir / "banking77" / "data.parquet").to_pylist()
    rows = [row for row in table if row["split"] == "test"][:300]
    prompts = [asked(task, oracle, str(row["id"])) for row in rows]
    right = Counter[bool]()
    for row, made, answer in zip(rows, prompts, ask(oracle, *prompts), strict=True):
        if answer.text:
            right[read(task, made, answer)["label"][row["label"]] == 1] += 1
    assert 0.6 < right[True] / right.total() < 0.9


def votes_file(folder, text: str) -> str:
    path = folder / "votes.csv"
    path.write_text(text)
    return str(path)


def test_replay_turns_confidence_into_log_probabilities(tmp_path):
    path = votes_file(tmp_path, "id,label,confidence\n1,good,0.8\n2,good,\n3,,0.9\n4,nope,0.9\n5,bad,1\n6,bad,0.1\n")
    oracle = replay.build(replay.Settings(path, usd_per_call=0.5), context(SINGLE))
    prompts = [asked(SINGLE, oracle, name) for name in "123456"]
    first, second, third, fourth, fifth, sixth = ask(oracle, *prompts)
    label = read(SINGLE, prompts[0], first)["label"]
    assert label == pytest.approx({"good": 0.8, "bad": 0.1, "so so": 0.1}) and first.usd == 0.5
    assert second.logprobs is None and read(SINGLE, prompts[1], second)["label"]["good"] == 1
    for made, answer in ((prompts[2], third), (prompts[3], fourth)):
        with pytest.raises(Unparsable):
            read(SINGLE, made, answer)
    assert 0.99 < read(SINGLE, prompts[4], fifth)["label"]["bad"] < 1
    assert read(SINGLE, prompts[5], sixth)["label"]["bad"] == pytest.approx(1 / 3)
    with pytest.raises(CallFailed, match="no recorded vote"):
        ask(oracle, asked(SINGLE, oracle, "7"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("id,other\n1,x\n", "no column 'label'"),
        ("", "no column 'id'"),
        ("id,label,model\n1,good,m\n", "model = 'nope'"),
    ],
)
def test_files_of_votes_that_cannot_be_used(tmp_path, text, says):
    with pytest.raises(DataError, match=says):
        replay.build(replay.Settings(votes_file(tmp_path, text), model="nope"), context(SINGLE))
    with pytest.raises(DataError, match="cannot be read: No such file"):
        replay.build(replay.Settings(str(tmp_path / "gone.csv")), context(SINGLE))
    (tmp_path / "broken.parquet").write_text("no parquet")
    with pytest.raises(DataError, match="cannot be read"):
        replay.build(replay.Settings(str(tmp_path / "broken.parquet")), context(SINGLE))


def test_recorded_people_answer_one_at_a_time(tmp_path):
    path = votes_file(tmp_path, "id,annotator,label\n1,ann,good\n1,bob,bad\n1,eve,nope\n2,ann,bad\n")
    answer = person.recorded(path, SINGLE, 0)
    item = Item("h", (), None, "1")
    said = [answer(item, sample) for sample in range(3)]
    assert {a.who: (a.text, a.unsure) for a in said} == {
        "ann": ("good", False),
        "bob": ("bad", False),
        "eve": ("", True),
    }
    assert said[0] == person.recorded(path, SINGLE, 0)(item, 0)
    first = [person.recorded(path, SINGLE, seed)(item, 0).who for seed in range(200)]
    assert all(40 < first.count(who) < 95 for who in ("ann", "bob", "eve"))
    assert answer(Item("h", (), None, "3"), 0) == Answer("", unsure=True, flags=("no recorded answer",))


def test_gold_stands_in_for_people(tmp_path):
    gold = person.recorded("gold", SINGLE, 0)
    assert gold(Item("h", (), "bad"), 0) == Answer("bad", who="gold")
    assert gold(Item("h", ()), 0) == Answer("", unsure=True, who="gold", flags=("no gold",))
    assert gold(Item("h", (), "nope"), 0) == Answer("", unsure=True, who="gold")
    several = person.recorded("gold", MULTI, 0)(Item("h", (), ("rude", "spam")), 0)
    made = plugins.load("kinds", "multi").question(MULTI, Item("h", ()), 0)
    found = plugins.load("kinds", "multi").parse(MULTI, made, several)
    assert {name for name, p in found.items() if p["yes"]} == {"rude", "spam"}
    path = votes_file(tmp_path, "id,annotator,label\n1,ann,spam|rude\n2,ann,spam|nope\n")
    votes = person.recorded(path, MULTI, 0)
    assert json.loads(votes(Item("h", (), None, "1"), 0).text) == ["rude", "spam"]
    assert votes(Item("h", (), None, "2"), 0).unsure


def test_recorded_people_whose_rows_cannot_be_used_are_told_once(tmp_path, caplog):
    text = "id,annotator,label\n1,ann,good\n2,ann,\n3,bob,Badd\n4,bob,nonsense\n,bob,good\n5,,bad\n"
    with caplog.at_level(logging.INFO, "tutelage"):
        answer = person.recorded(votes_file(tmp_path, text), SINGLE, 0)
        told = [record.getMessage() for record in caplog.records]
        assert [answer(Item("h", (), None, name), 0).unsure for name in "1234"] == [False, True, True, True]
    assert len(told) == 3 == len(caplog.records)
    assert "2 of 6 rows with a label that is none of the task's" in told[0]
    assert "The first is row 4: 'Badd', the nearest label is 'bad'" in told[0]
    assert "1 of 6 rows with an empty label" in told[1] and "1 of 6 rows without an id" in told[2]
    assert answer(Item("h", (), None, "5"), 0) == Answer("bad")
    with pytest.raises(DataError, match="no column 'annotator'; there are: id, label"):
        person.recorded(votes_file(tmp_path, "id,label\n1,good\n"), SINGLE, 0)


def test_recorded_people_with_several_labels_say_none_by_a_bar(tmp_path, caplog):
    text = "id,annotator,label\n1,ann,|\n2,ann,\n3,ann,spam|rud\n"
    votes = person.recorded(votes_file(tmp_path, text), MULTI, 0)
    none, empty, unknown = (votes(Item("h", (), None, name), 0) for name in "123")
    assert none == Answer("[]", who="ann") and empty.unsure and unknown.unsure
    assert "row 4: 'rud', the nearest label is 'rude'" in caplog.text


def test_people_whose_rows_are_all_good_are_not_talked_of(tmp_path, caplog):
    person.recorded(votes_file(tmp_path, "id,annotator,label\n1,ann,good\n"), SINGLE, 0)
    assert caplog.text == ""


def test_people_answer_through_the_queue_only():
    oracle = person.build(person.Settings(), context(SINGLE))
    assert oracle.traits.person and oracle.most(asked(SINGLE, oracle)).usd == 0
    with pytest.raises(CallFailed, match="tutelage review"):
        ask(oracle, asked(SINGLE, oracle))


# The test double.


@pytest.mark.parametrize("accuracy", [0.8, 1.0, 0.3])
def test_scripted_answers_are_right_as_often_as_said_and_state_their_chance_truly(accuracy):
    oracle = scripted.build(scripted.Settings(accuracy=accuracy), context(SINGLE))
    names = list(SINGLE.labels)
    prompts = [asked(SINGLE, oracle, str(i), gold=names[i % 3]) for i in range(1500)]
    answers = ask(oracle, *prompts)
    right, stated = 0.0, 0.0
    for made, answer in zip(prompts, answers, strict=True):
        right += answer.text == made.question.item.gold
        stated += read(SINGLE, made, answer)["label"][answer.text]
    assert right / 1500 == pytest.approx(accuracy, abs=0.03)
    assert stated / 1500 == pytest.approx(max(accuracy, 0.3), abs=0.03)
    assert ask(oracle, *prompts[:20]) == answers[:20]


def test_scripted_answers_of_several_labels():
    oracle = scripted.build(scripted.Settings(accuracy=0.9), context(MULTI))
    prompts = [asked(MULTI, oracle, str(i), gold=("rude",)) for i in range(500)]
    rows = [read(MULTI, made, answer) for made, answer in zip(prompts, ask(oracle, *prompts), strict=True)]
    assert sum(r["rude"]["yes"] > 0.5 for r in rows) / 500 == pytest.approx(0.9, abs=0.04)
    assert sum(r["spam"]["yes"] > 0.5 for r in rows) / 500 == pytest.approx(0.1, abs=0.04)


def test_scripted_by_a_function_and_with_failing_attempts():
    made_of = scripted.Scripted(scripted.Settings(errors=0.5), lambda made: made.question.options[0].choice)
    failed, given_ = 0, 0
    for i in range(200):
        made = asked(SINGLE, made_of, str(i))
        try:
            (answer,) = ask(made_of, made)
            assert answer.text == made.question.options[0].choice
            given_ += 1
        except Transient as error:
            failed += 1
            assert not error.billed
    assert 70 < failed < 130 and given_ + failed == 200


def test_scripted_finds_its_function_by_name():
    oracle = scripted.build(scripted.Settings(function="json:dumps"), context(SINGLE))
    assert oracle.traits.recipe["function"] == "json:dumps"
    for wrong in ("json", "json:nope", "no_such_module:x", ":x"):
        with pytest.raises(PluginError, match=r"package\.module:name"):
            scripted.build(scripted.Settings(function=wrong), context(SINGLE))


def test_scripted_bills_before_it_answers(tmp_path):
    """A process killed while it waits for the answer has already been charged: the key is on disk."""
    ledger = tmp_path / "bill"
    code = f"""
import asyncio, os
from agent.oracles.scripted import Scripted, Settings
from agent.types import Item, Prompt, Question
async def main():
    oracle = Scripted(Settings(ledger={str(ledger)!r}, latency_s=60))
    asyncio.get_running_loop().call_later(0.3, os.kill, os.getpid(), 9)
    await oracle.answer(Prompt("the-key", Question(Item("i", ()), ()), ()))
asyncio.run(main())
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == -9
    assert ledger.read_text() == "the-key\n"


@pytest.mark.parametrize("name", ["openai", "person", "replay", "scripted", "vllm"])
def test_an_oracle_is_a_module_with_settings_and_build(name):
    module = plugins.load("oracles", name)
    assert module.Settings.__doc__ and callable(module.build)
    for field in module.Settings.__dataclass_fields__:
        assert field in module.Settings.__doc__, f"{name}: the key {field} is not explained"


def test_the_layout_of_a_context_is_the_kinds():
    assert context(MULTI).layout == Layout(tuple(MULTI.labels), (("no", "yes"),) * 3)


def test_vllm_tells_weights_apart_by_what_is_in_their_folder_or_by_their_revision(tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    recipes = [vllm.Vllm(vllm.Settings(str(folder))).traits.recipe]
    (folder / "model.safetensors").write_bytes(b"other weights")
    recipes.append(vllm.Vllm(vllm.Settings(str(folder))).traits.recipe)
    recipes += [vllm.Vllm(vllm.Settings("org/name", revision=one)).traits.recipe for one in ("", "v2")]
    assert len({recipe["weights"] for recipe in recipes}) == 4
