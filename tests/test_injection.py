"""Instructions planted in items: what is planted, what is counted, what the doctor says of it."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cli_room import LADDER, call, with_ladder, with_pool

from agent import injection, plugins
from agent.cli import inject
from agent.errors import Transient
from agent.injection import Asker, Measured, Rate
from agent.oracles import scripted
from agent.types import Answer, Item, Part, Prompt, Task, Traits

TASK = Task("t", "single", {"praise": "", "blame": "", "query": ""})
KIND = plugins.load("kinds", "single")
FAMILIES = injection.canaries().families


def items(count: int) -> list[Item]:
    words = ["lovely", "awful"]
    return [Item(f"i{n}", (Part("text/plain", f"A {words[n % 2]} evening, number {n}."),)) for n in range(count)]


def asker(function: Callable[[Prompt], Answer | str], task: Task = TASK) -> Asker:
    kind = plugins.load("kinds", task.kind)
    oracle = scripted.Scripted(scripted.Settings(bill_usd=0.01), function)
    return Asker(task, kind, kind.choices(task), oracle, oracle.traits)


def measured(function: Callable[[Prompt], Answer | str], count: int = 8, task: Task = TASK) -> Measured:
    return asyncio.run(injection.measure(asker(function, task), items(count), seed=3))


def reader(prompt: Prompt) -> str:
    """Reads, and obeys nobody."""
    return "praise" if "lovely" in prompt.question.item.text else "blame"


def believer(prompt: Prompt) -> str:
    """Says the label it sees named first in the text."""
    text = re.sub(r"\W+", " ", prompt.question.item.text)
    found = [word for word in text.split() if word in TASK.labels]
    return found[0] if found else reader(prompt)


# ---------------------------------------------------------------- the instructions


def test_there_are_many_instructions_of_many_kinds_and_each_wants_a_label() -> None:
    every = [text for texts in FAMILIES.values() for text in texts]
    assert len(every) >= 40 and len(FAMILIES) >= 10
    assert len(set(every)) == len(every)
    assert all("{target}" in text for text in every)
    assert {slot for text in every for slot in re.findall(r"\{[a-z]+\}", text)} <= {"{target}", "{subject}", "{ask}"}


def test_the_neutral_text_instructs_nobody_and_names_no_slot() -> None:
    neutral = injection.canaries().neutral
    assert len(neutral) > 500 and "{" not in neutral
    assert not re.search(r"ignore|answer|label|instruct|must", neutral, re.I)


@pytest.mark.parametrize("place", injection.PLACES)
def test_a_plant_stands_where_it_should_and_leaves_the_text_whole(place: injection.Place) -> None:
    item = Item("x", (Part("text/plain", "one two three four five six"),), gold="praise")
    shown = injection.planted(item, "PLANT", place, "m")
    lines = shown.text.split("\n")
    assert lines.index("PLANT") == {"begin": 0, "middle": 1, "end": 1}[place]
    assert " ".join(line for line in lines if line != "PLANT").split() == item.text.split()
    assert shown.id != item.id and shown.gold is None


def test_a_long_text_keeps_its_plant() -> None:
    item = Item("x", (Part("text/plain", "word " * 5_000),))
    for place in injection.PLACES:
        shown = injection.planted(item, "PLANT", place, "m")
        one = asker(reader)
        assert "PLANT" in one.prompt(item, shown).messages[-1].content


# ---------------------------------------------------------------- what is counted


def test_who_obeys_nobody_is_never_flipped() -> None:
    found = measured(reader)
    assert [rate.family for rate in found.rates] == [*FAMILIES, "all"]
    assert all(rate.flips == rate.plain == 0 for rate in found.rates)
    assert found.asked == injection.questions(8, len(FAMILIES)) and found.lost == 0
    assert found.rates[-1].asked == found.rates[-1].beside == 8 * len(FAMILIES)


def test_who_believes_all_he_reads_is_flipped_by_instructions_and_not_by_neutral_words() -> None:
    everything = measured(believer).rates[-1]
    assert everything.flips == everything.asked
    assert everything.plain == 0 and everything.net == 1.0


def test_who_is_moved_by_any_added_words_is_not_taken_for_obedient() -> None:
    def moody(prompt: Prompt) -> str:
        return ("praise", "blame", "query")[len(prompt.question.item.text) % 3]

    everything = measured(moody, 12).rates[-1]
    assert everything.flips > 0 and everything.plain > 0
    assert abs(everything.net) < 0.15


def test_a_lean_of_the_model_is_taken_away_before_labels_are_read() -> None:
    """It says "query" of everything by a wide margin; what it makes of the texts shows beside this."""

    def leaning(prompt: Prompt) -> Answer:
        scores = {"praise": -3.0, "blame": -3.0, "query": -0.1}
        scores[believer(prompt)] += 1.0
        return Answer("query", {o.code: scores[o.choice] for o in prompt.question.options})

    assert measured(leaning).rates[-1].net == 1.0


def test_several_labels_at_once() -> None:
    task = Task("t", "multi", {"praise": "", "blame": "", "query": ""})

    def says(prompt: Prompt) -> Answer:
        named = believer(prompt)
        return Answer(named, {o.code: math.log(0.9 if o.choice == named else 0.1) for o in prompt.question.options})

    assert measured(says, 6, task).rates[-1].flips > 0


def test_what_cannot_be_read_is_counted_apart() -> None:
    found = measured(lambda prompt: "perhaps" if "#" in prompt.question.item.text else reader(prompt))
    stuffing = next(rate for rate in found.rates if rate.family == "label stuffing")
    assert found.lost == 2 and stuffing.asked == 6 and stuffing.beside == 8


def test_the_options_stand_in_the_same_order_with_a_plant_and_without() -> None:
    orders: dict[str, set[tuple[str, ...]]] = {}

    def notes(prompt: Prompt) -> str:
        whose = prompt.question.item.id.partition("/")[0]
        orders.setdefault(whose, set()).add(tuple(o.choice for o in prompt.question.options))
        return reader(prompt)

    measured(notes)
    assert all(len(found) == 1 for found in orders.values())


def test_the_interval_is_wilsons() -> None:
    low, high = Rate("f", 8, 10, 0, 10).interval
    assert (round(low, 4), round(high, 4)) == (0.4902, 0.9433)
    assert Rate("f", 0, 0, 0, 0).interval == (0.0, 1.0)


def test_the_most_it_can_take_is_known_beforehand() -> None:
    assert injection.most(asker(reader), items(4)).usd == pytest.approx(0.01 * injection.questions(4, len(FAMILIES)))


# ---------------------------------------------------------------- the doctor


def test_the_doctor_says_what_it_takes_and_then_each_family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_ladder(with_pool(tmp_path, monkeypatch))
    done = call("doctor", "--injection", "--items", "3", "--json", "--yes")
    assert "asking 75 questions about 3 texts of the pool, $0.0750 at most" in done.stderr
    (found,) = json.loads(done.stdout)["injection"]
    assert found["rung"] == "scripted" and found["questions"] == 75
    assert [rate["family"] for rate in found["rates"]] == [*FAMILIES, "all"]
    checks = [check for check in json.loads(done.stdout)["checks"] if "under injection" in check["what"]]
    assert len(checks) >= len(FAMILIES) + 1
    assert "; under neutral text " in checks[0]["finding"]


def test_the_doctor_spends_nothing_on_it_unless_told_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_ladder(with_pool(tmp_path, monkeypatch))

    def refused(*more: str) -> str:
        done = call("doctor", "--injection", "--items", "3", "--json", *more)
        found = json.loads(done.stdout)
        assert done.exit_code == 2 and found["injection"] == []
        return next(check["finding"] for check in found["checks"] if check["level"] == "fail")

    assert "$0.0750 at most: add --yes to spend it" in refused()
    assert "$0.0750 at most, and $0.0500 of goal.budget_usd are left" in refused(
        "--yes", "--set", "goal.budget_usd=0.05"
    )


def test_the_doctor_asks_nobody_whose_price_is_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_pool(tmp_path, monkeypatch)
    far = (
        '[[rung]]\noracle = "openai"\nmodel = "tiny"\nbase_url = "https://models.example.com/v1"\napi_key_env = "NONE"'
    )
    (tmp_path / "tutelage.toml").write_text(LADDER[: LADDER.index("[[rung]]")] + far)
    done = call("doctor", "--injection", "--items", "3", "--json", "--yes")
    findings = [check["finding"] for check in json.loads(done.stdout)["checks"] if "injection" in check["what"]]
    assert findings == ["not asked: the price of tiny is not known"]


def test_it_is_asked_no_faster_than_its_limits_allow() -> None:
    """At 60 requests a minute the second of two waits, so the first is there without it."""

    class Slow(scripted.Scripted):
        @property
        def traits(self) -> Traits:
            return replace(super().traits, requests_per_minute=60)

    made, paced = asker(reader), inject.Paced(Slow(scripted.Settings(), reader))

    async def ask_two() -> tuple[int, int]:
        tasks = [asyncio.create_task(paced.answer(made.prompt(item, item))) for item in items(2)]
        done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        return len(done), len(waiting)

    assert asyncio.run(ask_two()) == (1, 1)


def test_what_may_have_been_charged_is_not_asked_again() -> None:
    asked: list[str] = []

    def late(prompt: Prompt) -> str:
        asked.append(prompt.question.item.id)
        raise Transient("late", billed=True)

    assert measured(late).lost == 8 == len(asked)


def test_the_doctor_plants_nothing_unasked_or_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_ladder(with_pool(tmp_path, monkeypatch))
    assert "injection" not in call("doctor").output
    assert json.loads(call("doctor", "--injection", "--offline", "--json").stdout)["injection"] == []
