"""What stands from run to run: how machines are asked, and shortlists that no answer leaked into; and what ends."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from test_forms_run import RUNGS
from test_loop import opened, project, run, sentences
from test_shortlist import project as many_labels

from agent import config as settings
from agent import loop, prompt
from agent.config import Config, Rung
from agent.errors import ConfigError
from agent.kinds import single
from agent.loop import ways
from agent.oracles import scripted
from agent.types import Answer, Call, Item, Most, Part, Prompt, Task, Traits

GOAL = "person_minutes = 12\npilot = 40\naudit = 40"
LIVE = RUNGS.replace('people = "gold"\n', "")


def by_machine(config: Config) -> list[Call]:
    store, _ = opened(config)
    with store:
        return [call for _, call, _ in store.answers_since(0) if call.annotator == "learner"]


def take_back(config: Config, number: int) -> str:
    """A reviewer undoes a pilot answer: the card is open again. The item."""
    store, _ = opened(config)
    with store:
        call = [c for _, c, _ in store.answers_since(0) if c.annotator == "person" and c.purpose == "pilot"][number]
        store.reserve([replace(call, key=prompt.key(call.recipe, call.item, 1), sample=1, usd=0.0)], None)
        assert store.withdraw(call.key, "me")
    return call.item


@pytest.mark.parametrize("number", [0, -1], ids=["an example", "no example"])
@pytest.mark.parametrize("keys", ["shots = 4", 'form = "pilot"'])
def test_one_answer_taken_back_costs_a_machine_nothing(tmp_path: Path, keys: str, number: int) -> None:
    path = project(tmp_path, n=200, rungs=LIVE.replace("KEYS", keys), goal=GOAL, run="seed = 3\nmax_turns = 8")
    config, finished = run(path, "goal.accuracy=0.999", people="gold")
    before = by_machine(config)
    assert len({call.item for call in before}) >= 140 and finished.code == 0
    item = take_back(config, number)
    config, again = run(path, "goal.accuracy=0.999")
    after = by_machine(config)
    lately = [call for call in after if call not in before]
    assert {call.item for call in lately} <= {item}, "nothing is paid for again"
    assert again.summary["answers"]["learner"] == finished.summary["answers"]["learner"]
    assert again.summary["asking"]["learner"].get("form") == finished.summary["asking"]["learner"].get("form")


def test_a_rung_that_is_renamed_is_asked_as_before(tmp_path: Path) -> None:
    rungs = LIVE.replace("KEYS", "shots = 4")
    path = project(tmp_path, n=200, rungs=rungs, goal=GOAL, run="seed = 3\nmax_turns = 8")
    config, finished = run(path, "goal.accuracy=0.999", people="gold")
    item = take_back(config, 0)
    path.write_text(path.read_text().replace('name = "learner"', 'name = "other"'))
    config, again = run(path, "goal.accuracy=0.999")
    assert again.summary["answers"]["other"] == finished.summary["answers"]["learner"]
    store, _ = opened(config)
    with store:
        assert {call.item for _, call, _ in store.answers_since(0) if call.annotator == "other"} <= {item}


def grown(folder: Path, n: int) -> None:
    with open(folder / "pool.csv", "w", newline="") as handle:
        csv.writer(handle).writerows([("id", "text", "team"), *rows(n)])


def rows(n: int) -> Iterator[tuple[str, str, str]]:
    return ((f"m{i}", text, label) for i, (text, label) in enumerate(sentences(n)))


@pytest.mark.parametrize("limit", [None, 100], ids=["it grows", "at first a part of it"])
def test_examples_by_likeness_stay_where_they_were_asked_with(tmp_path: Path, limit: int | None) -> None:
    rungs = RUNGS.replace("KEYS", 'shots = 3\nshot_choice = "knn"')
    path = project(tmp_path, n=200, rungs=rungs, goal=GOAL, run="seed = 3\nmax_turns = 8")
    config, _ = run(path, "goal.accuracy=0.999", limit=limit)
    before = by_machine(config)
    assert len({call.recipe for call in before}) > 1
    if limit is None:
        grown(tmp_path, 400)
    config, finished = run(path, "goal.accuracy=0.999")
    after = by_machine(config)
    assert max(sum(c.item == call.item for c in after) for call in before) == 1, "none is asked about again"
    assert finished.summary["answers"]["learner"] == len(after), "and all of them count"


def test_calls_of_a_run_that_was_killed_get_lists_from_a_student_that_never_saw_their_labels(tmp_path: Path) -> None:
    path = many_labels(tmp_path)
    config = settings.load(path)
    loop.run(config)
    store, pool = opened(config)
    with store:
        asked = [call for _, call, answer in store.answers_since(0) if answer.options]
        pilot = {call.item for _, call, _ in store.answers_since(0) if call.annotator == "person"}
        first = [c for c in asked if c.item in pilot]
        again = [replace(c, key=prompt.key(c.recipe, c.item, 1), sample=1, usd=0.0) for c in first]
        store.reserve(again, None)
    config = settings.load(path, ["goal.accuracy=0.998"])
    loop.run(config)
    store, pool = opened(config)
    with store:
        said = [(call, answer) for _, call, answer in store.answers_since(0) if call.key in {c.key for c in again}]
    told = [str(pool.item(pool.position(call.item)).gold) in answer.options for call, answer in said]
    assert len(told) >= 20 and sum(told) < len(told), "a list that always holds the label has seen it"


class Closing(scripted.Scripted):
    """Counts how often it is closed; answers, or fails for good."""

    closed = 0

    def __init__(self, fails: bool) -> None:
        super().__init__(function=lambda asked: self._say(asked, fails))

    def _say(self, asked: Prompt, fails: bool) -> str:
        if fails:
            raise ConfigError("something to mend")
        return str(asked.question.item.gold)

    async def close(self) -> None:
        Closing.closed += 1


@dataclass(frozen=True)
class Told:
    """`fails`: every answer."""

    fails: bool = False


Oracle = SimpleNamespace(Settings=Told, build=lambda settings, context: Closing(settings.fails))


def test_oracles_are_closed_however_a_run_ends(tmp_path: Path) -> None:
    path = project(tmp_path, rungs='[[rung]]\noracle = "test_kept:Oracle"\nname = "it"\n')
    Closing.closed = 0
    with pytest.raises(ConfigError, match="something to mend"):
        run(path, "rung.it.fails=true")
    assert Closing.closed == 1
    assert [run(path)[1].code for _ in range(2)] == [0, 0] and Closing.closed == 3, "the second found nothing new"


@pytest.mark.parametrize("templates", [(), ("codes.j2", "words.j2")], ids=["one prompt", "two"])
def test_more_samples_ask_about_the_same_parts_of_a_long_text_again(templates: tuple[str, ...]) -> None:
    few = len(templates) or 1
    task = Task("t", "single", {"a": "", "b": ""})
    traits = Traits("it", {"max_chars": "50"}, template="codes.j2")
    long = Item("i", (Part("text/plain", " ".join(f"sentence {i} of it." for i in range(9))),))

    def asked(samples: int) -> dict[str, Prompt]:
        rung = Rung(name="it", oracle="scripted", samples=samples, templates=templates, overflow="chunk")
        made = ways.make(task, rung, traits, ways.Form(templates or ("codes.j2",), (0,)), 0, {0: [()]}, ways.nothing(1))
        out = {}
        for variant, sample in made.asked(prompt.parts(long, made.of(0, 0, False).traits)):
            way, question = made.of(0, variant, False), single.question(task, long, sample)
            text = prompt.render(task, question, way.traits, way.recipe, sample, part=sample // ways.PART)
            out[text.key] = text
        return out

    before, after = asked(few), asked(2 * few)
    assert len(after) == 2 * len(before) > 2 * few
    assert before == {key: text for key, text in after.items() if key in before}


class Counting(scripted.Scripted):
    """Notes how many questions had been priced when the first was answered."""

    priced, first = 0, -1

    def most(self, prompt: Prompt) -> Most:
        Counting.priced += 1
        return super().most(prompt)

    async def answer(self, prompt: Prompt) -> Answer:
        if Counting.first < 0:
            Counting.first = Counting.priced
        return await super().answer(prompt)


Slow = SimpleNamespace(Settings=Told, build=lambda settings, context: Counting())


@pytest.mark.parametrize("overflow", ["head+tail", "chunk"])
def test_questions_are_made_as_they_are_sent(tmp_path: Path, overflow: str) -> None:
    rungs = f'[[rung]]\noracle = "test_kept:Slow"\nname = "it"\noverflow = "{overflow}"\n'
    Counting.priced, Counting.first = 0, -1
    _, finished = run(project(tmp_path, n=1500, rungs=rungs))
    assert finished.code == 0 and Counting.priced == 1500 and 0 < Counting.first < 200
