"""Labels renamed, merged, split and added: what was answered is carried, and only what is touched is asked again."""

from __future__ import annotations

import csv
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as settings_of
from hypothesis import strategies as st

from agent import certify, claim, export, kinds, loop, prompt, relabel
from agent import config as settings
from agent.config import Config
from agent.errors import Unparsable, UserError
from agent.kinds import multi, single
from agent.pool import Pool
from agent.relabel.change import Change, heard, word
from agent.relabel.people import people as people_of
from agent.review import Desk, Queue, guide
from agent.store import Store
from agent.store.moves import Move
from agent.types import NONE_OF_THESE, Answer, Call, Item, Part, Prompt, Task

THINGS = ("apple", "pear", "nail", "screw")
LABELS = {"fruit": "apple pear", "nails": "nail", "screws": "screw"}
TOML = """
# what is what
[task]
[task.labels]
{labels}
[pool]
path = "pool.csv"
text = "text"
id = "id"
[goal]
accuracy = 0.9
person_minutes = 8
pilot = 20
audit = 30
budget_usd = 5
{goal}
[[rung]]
oracle = "scripted"
name = "small"
function = "test_relabel:say"
samples = 1
[[rung]]
oracle = "person"
{people}
[run]
seed = 3
duplicates = false
"""


def say(asked: Prompt) -> Answer:
    """The option whose description names the thing, most of the time; nearly sure of it."""
    thing = asked.question.item.text.split()[-1]
    rng = random.Random(asked.question.item.id)
    right = [o for o in asked.question.options if thing in o.description.split()] or list(asked.question.options)
    told = right[0] if rng.random() < 0.9 else rng.choice(asked.question.options)
    rest = [o for o in asked.question.options if o is not told]
    logs = {told.code: math.log(0.94)} | {o.code: math.log(0.05 / len(rest)) for o in rest}
    return Answer(told.code, logs, usd=0.001, tokens_in=9, tokens_out=1, requests=1, seconds=0.1)


def thing(i: int) -> str:
    return THINGS[i % 4]


def people(folder: Path, config: Config) -> None:
    """What people would say under today's labels."""
    with open(folder / "votes.csv", "w", newline="") as handle:
        rows = csv.writer(handle)
        rows.writerow(["id", "annotator", "label"])
        for i in range(120):
            names = [name for name, told in config.task.labels.items() if thing(i) in told.split()]
            rows.writerow([f"m{i}", "ada", names[0] if names else ""])


def project(folder: Path, goal: str = "", answered: bool = True) -> Path:
    with open(folder / "pool.csv", "w", newline="") as handle:
        rows = csv.writer(handle)
        rows.writerow(["id", "text"])
        rows.writerows([f"m{i}", f"number {i} is about a {thing(i)}"] for i in range(120))
    labels = "\n".join(f'{name} = "{told}"  # {name}' for name, told in LABELS.items())
    recorded = 'people = "votes.csv"' if answered else ""
    (folder / "tutelage.toml").write_text(TOML.format(labels=labels, goal=goal, people=recorded))
    people(folder, settings.load(folder / "tutelage.toml"))
    return folder / "tutelage.toml"


def run(path: Path) -> tuple[Config, loop.Finished]:
    config = settings.load(path)
    people(path.parent, config)
    return config, loop.run(config)


def changed(path: Path, make: object, *names: object, **said: str) -> relabel.Told:
    config = settings.load(path)
    change = make(settings.the_task(config), *names, said)  # type: ignore[operator]
    return relabel.relabel(path, config, change)


def asked(config: Config) -> tuple[int, float, int]:
    """Requests to the machine, what they cost, and people's answers, as the ledger counts them."""
    with Store.open(config.store_url) as store:
        by = store.spend().by
        assert not store.verify()
        return by["small"].requests, round(store.spend().usd, 6), by["person"].answers


def labels_of(config: Config) -> dict[str, str | None]:
    with Store.open(config.store_url) as store:
        table = export.labels(config, store, Pool(config.folder / "pool", store.shards()))
    return dict(zip(table["id"], table["label"], strict=True))


def test_a_run_goes_on_under_other_labels_and_asks_what_was_touched(tmp_path: Path) -> None:
    path = project(tmp_path)
    config, first = run(path)
    assert first.code == 0, first.reason
    before, said = asked(config), labels_of(config)

    told = changed(path, relabel.rename, "nails", "pins")
    assert (told.people.again, told.machines["small"].again) == ({}, 0)
    assert 'pins = "nail"  # nails' in path.read_text() and "# what is what" in path.read_text()
    config, _ = run(path)
    assert asked(config) == before, "a new name costs nothing, and nothing counts twice"
    assert labels_of(config) == {i: "pins" if label == "nails" else label for i, label in said.items()}

    told = changed(path, relabel.merge, ["pins", "screws"], "metal", metal="nail screw")
    config, _ = run(path)
    assert asked(config) == before
    assert set(labels_of(config).values()) == {"fruit", "metal"}

    told = changed(path, relabel.split, "fruit", ["apples", "pears"], apples="apple", pears="pear")
    touched, again = told.machines["small"].again, sum(told.people.again.values())
    assert 50 <= touched <= 70 and again > 10 and set(told.people.again) <= {"pilot", "audit", "escalation"}
    config, _ = run(path)
    after = asked(config)
    assert after[0] - before[0] == touched, "the machine is asked about what it had called fruit, and no more"
    assert after[2] - before[2] >= again
    now = labels_of(config)
    assert set(now.values()) == {"apples", "pears", "metal"}
    right = {"apple": "apples", "pear": "pears", "nail": "metal", "screw": "metal"}
    assert sum(now[f"m{i}"] == right[thing(i)] for i in range(120)) >= 110

    told = changed(path, relabel.add, "tools", ["metal"], tools="hammer")
    touched = told.machines["small"].again
    assert 50 <= touched <= 70
    config, _ = run(path)
    last = asked(config)
    assert touched - 5 <= last[0] - after[0] <= touched, "what people have labeled need not be asked"
    with Store.open(config.store_url) as store:
        assert [one.verb for one in store.review.relabels()] == ["rename", "merge", "split", "add"]
        assert not store.verify()


def test_people_keep_their_streams_and_open_questions_go_along(tmp_path: Path) -> None:
    path = project(tmp_path, answered=False)
    config, first = run(path)
    assert first.code == 4, "people at a screen are waited for"
    old = prompt.person_recipe(settings.the_task(config))
    with Store.open(config.store_url) as store:
        calls = {call.item: call for call in store.open_calls(annotator="person")}
        queue = list(calls.values())
        fruit, nails = queue[:4], queue[4:8]
        for call in fruit:
            store.record_now(call.key, Answer("fruit", who="ada", seconds=3.0, guide=2, flags=("flagged: odd",)))
        for call in nails:
            store.record_now(call.key, Answer("nails", who="bo", seconds=4.0))
        store.record_now(queue[8].key, Answer("", unsure=True, who="bo", seconds=4.0))
        assert store.lease(queue[9].key, "ada", 600)
        extra = prompt.extra_recipe(old)
        late = Call(prompt.key(extra, nails[0].item, 1), extra, nails[0].item, "person", 1, "audit", 0.5)
        store.reserve([late], None)
        store.record_now(late.key, Answer("screws", who="cy", seconds=5.0))
    told = changed(path, relabel.split, "fruit", ["apples", "pears"])
    assert sum(told.people.again.values()) == 4 and told.people.carried == 6
    now = settings.load(path)
    new = prompt.person_recipe(settings.the_task(now))
    with Store.open(config.store_url) as store:
        fresh = {call.item: call for call in store.asked(new)}
        assert set(fresh) == set(calls)
        for item, call in calls.items():
            assert (fresh[item].purpose, fresh[item].probability, fresh[item].sample) == (
                call.purpose, call.probability, call.sample,
            )  # fmt: skip
        answers = {call.item: answer for _, call, answer in store.answers_since(0, [new])}
        assert set(answers) == {call.item for call in (*nails, queue[8])}
        one = answers[nails[0].item]
        assert (one.text, one.who, one.seconds, one.flags[0]) == (
            "nails",
            "bo",
            4.0,
            "carried: split fruit → apples, pears",
        )
        assert answers[queue[8].item].unsure
        held = store.leases()
        assert held[fresh[queue[9].item].key][0] == "ada" and len(held) == 1, "none under the old labels is kept"
        pool = Pool(config.folder / "pool", store.shards())
        desk = Desk(Queue(store, pool, settings.the_task(now), settings.kind(now), now.run.seed), "ada")
        card = desk.next_card()
        assert card is not None and card.key == fresh[queue[9].item].key, "what was in hand is in hand"
        opinions = store.answers_since(0, [prompt.extra_recipe(new)])
        assert [(c.sample, a.text) for _, c, a in opinions] == [(1, "screws")]
        assert store.spend().by["person"].answers == 10, "what was carried is counted where it was given"
        assert len(store.open_calls(annotator="person")) and not store.verify()


def test_examples_that_a_machine_is_shown_go_along_or_are_chosen_anew(tmp_path: Path) -> None:
    path = project(tmp_path)
    path.write_text(path.read_text().replace("samples = 1", "samples = 1\nshots = 4"))
    config, _ = run(path)
    before = asked(config)
    changed(path, relabel.merge, ["nails", "screws"], "metal", metal="nail screw")
    config, _ = run(path)
    assert asked(config) == before
    told = changed(path, relabel.split, "fruit", ["apples", "pears"], apples="apple", pears="pear").machines["small"]
    assert (told.items, told.again) == (0, 0) and told.why


def test_back_to_the_old_names_and_forth_again(tmp_path: Path) -> None:
    path = project(tmp_path)
    config, _ = run(path)
    text, before = path.read_text(), asked(config)
    for old, new in (("fruit", "Obst"), ("Obst", "fruit"), ("fruit", "Obst"), ("Obst", "fruit")):
        changed(path, relabel.rename, old, new)
    config, _ = run(path)
    assert asked(config) == before
    assert path.read_text() == text
    kept = sorted(p.name for p in tmp_path.glob("tutelage.toml.before-*"))
    assert kept == [f"tutelage.toml.before-{n}" for n in (1, 2, 3, 4)]


def test_a_later_word_under_other_labels_stands_when_the_old_names_come_back(tmp_path: Path) -> None:
    path = project(tmp_path, answered=False)
    config, _ = run(path)
    with Store.open(config.store_url) as store:
        one, two = store.open_calls(annotator="person")[:2]
        store.record_now(one.key, Answer("fruit", who="ada"))
    changed(path, relabel.rename, "nails", "pins")
    recipe = prompt.person_recipe(settings.the_task(settings.load(path)))
    with Store.open(config.store_url) as store:
        first = next(call for call in store.asked(recipe) if call.item == one.item)
        again = Call(prompt.key(recipe, one.item, 1), recipe, one.item, "person", 1, first.purpose)
        store.reserve([again], None)
        store.withdraw(first.key, "ada")
        store.record_now(again.key, Answer("screws", who="ada"))
        other = next(call for call in store.asked(recipe) if call.item == two.item)
        store.record_now(other.key, Answer("pins", who="ada"))
    changed(path, relabel.rename, "pins", "nails")
    with Store.open(config.store_url) as store:
        recipe = prompt.person_recipe(settings.the_task(settings.load(path)))
        said = {call.item: answer.text for _, call, answer in store.answers_since(0, [recipe])}
        assert said == {one.item: "screws", two.item: "nails"}
        assert not store.verify()


def test_certificates_made_before_hold_and_later_ones_say_that_labels_were_chosen(tmp_path: Path) -> None:
    path = project(tmp_path)
    config, _ = run(path)
    file = config.folder / "certificate.json"
    with Store.open(config.store_url) as store:
        pool = Pool(config.folder / "pool", store.shards())
        claim.make(config, store, pool)
        first = file.read_bytes()
    changed(path, relabel.merge, ["nails", "screws"], "metal", metal="nail screw")
    now = settings.load(path)
    with Store.open(config.store_url) as store:
        assert claim.verify(now, store, pool, file) == []
    now, _ = run(path)
    with Store.open(config.store_url) as store:
        made = claim.make(now, store, pool)
        assert not made.commitment["as_agreed"] and made.commitment["claim"] == "all"
        # A later look's risk, shared among all changes of that kind: nobody can choose labels by what the audit said.
        ways = made.commitment["terms"]["relabelings"]
        spent = made.commitment["risk_of_this_look"]
        assert ways > 1 and spent == pytest.approx(
            certify.risk_of_look(made.delta, made.look + len(made.commitment["terms"]["relabels"])) / ways
        )
        assert "merge nails, screws → metal (30 answers of the audit were in)" in " ".join(claim.lines(made))
        assert claim.verify(now, store, pool, file) == []
        (tmp_path / "first.json").write_bytes(first)
        assert claim.verify(now, store, pool, tmp_path / "first.json") == []


@pytest.mark.parametrize("when", [pytest.param("while it writes", marks=pytest.mark.slow), "before the file"])
def test_killed_in_the_middle_it_is_before_or_after(tmp_path: Path, when: str) -> None:
    path = project(tmp_path)
    config, _ = run(path)
    before, text = asked(config), path.read_text()
    if when == "before the file":
        os.mkfifo(tmp_path / ".tutelage.toml.new")  # nobody reads it: who writes there waits
    verb = [sys.executable, "-m", "agent", "labels", "rename", "fruit", "Obst"]
    child = subprocess.Popen(verb, cwd=tmp_path, env=environment(), stderr=subprocess.DEVNULL)
    log = config.folder / "ledger.db-wal"
    deadline = time.monotonic() + 60
    while child.poll() is None and time.monotonic() < deadline:
        if (tmp_path / "tutelage.toml.before-1").exists() if when != "while it writes" else size(log) > 50_000:
            break
        time.sleep(0.001)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    (tmp_path / ".tutelage.toml.new").unlink(missing_ok=True)
    if when == "before the file":
        assert path.read_text() == text
        with Store.open(config.store_url) as store:
            assert len(store.review.relabels()) == 1 and relabel.unfinished(config, store) is not None
        config, _ = run(path)
        assert asked(config) == before, "with the file as it was all is as it was"
        with Store.open(config.store_url) as store, pytest.raises(UserError, match="tutelage labels finish"):
            guide.refuse_moved(store, config)
        assert relabel.finish(path, config) is not None
    elif path.read_text() == text:
        changed(path, relabel.rename, "fruit", "Obst")
    config, _ = run(path)
    assert "Obst" in config.task.labels and asked(config) == before
    with Store.open(config.store_url) as store:
        assert relabel.unfinished(config, store) is None and not store.verify()
        assert len(store.review.relabels()) == 1


def size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def environment() -> dict[str, str]:
    here = Path(__file__).resolve().parent
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(here), str(here.parent)])}


def test_what_came_late_under_the_old_labels_is_carried_by_finish(tmp_path: Path) -> None:
    path = project(tmp_path, answered=False)
    config, _ = run(path)
    with Store.open(config.store_url) as store:
        late = store.open_calls(annotator="person")[0]
    changed(path, relabel.rename, "fruit", "Obst")
    now = settings.load(path)
    recipe = prompt.person_recipe(settings.the_task(now))
    with Store.open(config.store_url) as store:
        store.record_now(late.key, Answer("fruit", who="ada"))
        assert store.answers_since(0, [recipe]) == []
    told = relabel.finish(path, now)
    assert told is not None and told.people.carried == 1
    with Store.open(config.store_url) as store:
        assert [answer.text for _, _, answer in store.answers_since(0, [recipe])] == ["Obst"]
    assert relabel.finish(path, now) is None


NAMES = st.lists(st.text("abcdefgh", min_size=1, max_size=4), min_size=3, max_size=6, unique=True)


@st.composite
def changes(draw: st.DrawFn, kind: str) -> tuple[Task, Task, Change]:
    """A task, the same after a change of any verb, and the change."""
    names = draw(NAMES)
    task = Task("t", kind, dict.fromkeys(names, ""))
    verb = draw(st.sampled_from(["rename", "merge", "split", "add"]))
    some = draw(st.lists(st.sampled_from(names), min_size=2, max_size=len(names) - 1, unique=True))
    if verb == "rename":
        change = relabel.rename(task, some[0], "NEW", {})
    elif verb == "merge":
        change = relabel.merge(task, some, draw(st.sampled_from(["NEW", some[0]])), {})
    elif verb == "split":
        change = relabel.split(task, some[0], draw(st.sampled_from([["ONE", "TWO"], [some[0], "TWO", "SIX"]])), {})
    else:
        change = relabel.add(task, "NEW", draw(st.sampled_from([[], some])), {})
    assert Change.read(change.verb, change.body()) == change
    return task, Task("t", kind, change.labels), change


@st.composite
def sittings(draw: st.DrawFn) -> tuple[Task, Task, Change, list[list[str | None]]]:
    """A change, and what came of the questions about each item: a word a question ("" is "cannot tell", None is open),
    all but the last one taken back."""
    before, after, change = draw(changes("single"))
    said = st.sampled_from([*before.labels, "", None])
    return before, after, change, draw(st.lists(st.lists(said, min_size=1, max_size=3), min_size=1, max_size=6))


@settings_of(max_examples=12)
@given(sittings())
def test_of_people_exactly_the_touched_are_asked_again_and_nothing_twice(
    made: tuple[Task, Task, Change, list[list[str | None]]],
) -> None:
    before, after, change, sitting = made
    old, new = prompt.person_recipe(before), prompt.person_recipe(after)
    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder) / "ledger.db") as store:
        for number, words in enumerate(sitting):
            item, purpose = f"{number:032x}", ("audit", "pilot", "escalation")[number % 3]
            for sample, word in enumerate(words):
                one = Call(prompt.key(old, item, sample), old, item, "person", sample, purpose, 0.25, turn=2)  # type: ignore[arg-type]
                store.reserve([one], None)
                if word is not None:
                    store.record_now(one.key, Answer(word, unsure=not word, who="ada", seconds=1.0))
                if sample < len(words) - 1:
                    store.withdraw(one.key, "ada")
        before_spend = store.spend().by["person"]

        def carry() -> Move:
            move = Move("x", {"flag": change.flag}, old, new, store.review.upto(), (store.last_turn() + 1, 0, "", ""))
            people_of(store, change, single, before, after, lambda item: replace(ITEM, id=item), move)
            return move

        assert store.review.relabel(carry())
        assert carry().nothing, "the same once more adds nothing"
        calls = store.asked(new)
        assert len(calls) == len(sitting) == len({call.item for call in calls})
        answers = {call.item: answer for _, call, answer in store.answers_since(0, [new])}
        for call in calls:
            word = sitting[int(call.item, 16)][-1]
            again = word is None or word in change.touched or (word == "" and change.verb == "add")
            assert (call.item not in answers) == again
            assert (call.probability, call.turn) == (0.25, 2)
            assert call.purpose == ("audit", "pilot", "escalation")[int(call.item, 16) % 3]
            if not again:
                assert answers[call.item].text == (change.became[word][0] if word else "")
        assert store.spend().by["person"].answers == before_spend.answers
        assert not store.verify()


ITEM = Item("0f" * 16, (Part("text/plain", "a text"),))


@given(changes("single"), st.integers(0, 2**32), st.booleans(), st.integers(0, 3))
def test_a_machines_word_on_one_label_keeps_its_mass(
    made: tuple[Task, Task, Change], seed: int, soft: bool, sample: int
) -> None:
    before, after, change = made
    rng = np.random.default_rng(seed)
    question = single.question(before, ITEM, sample)
    mass = rng.dirichlet(np.full(len(before.labels), 0.4)) * rng.uniform(0.2, 1)
    logs = {o.code: float(np.log(max(p, 1e-300))) for o, p in zip(question.options, mass, strict=True)}
    said = question.options[int(mass.argmax())]
    answer = Answer(said.code, logs if soft else None, usd=1.0, seconds=2.0, requests=1)
    call = Call("k", "r", ITEM.id, "small", sample)
    was = single.parse(before, question, answer)
    assert was is not None
    now = heard(change, single, before, after, ITEM, call, answer)
    doubtful = said.choice in change.touched or any(was["label"][name] >= 0.2 for name in change.touched)
    assert (now is None) == doubtful
    if now is None:
        return
    assert (now.usd, now.seconds, now.requests) == (0, 0, 0)
    read = single.parse(after, single.question(after, ITEM, sample), now)
    assert read is not None and sum(read["label"].values()) == pytest.approx(1)
    for name in after.labels:
        came = [old for old, into in change.became.items() if name in into]
        due = sum(was["label"][old] / len(change.became[old]) for old in came)
        assert read["label"][name] == pytest.approx(due, abs=1e-9)


@given(changes("single"), st.integers(0, 2**32), st.data())
def test_a_shortlist_stays_one(made: tuple[Task, Task, Change], seed: int, data: st.DataObject) -> None:
    before, after, change = made
    rng = np.random.default_rng(seed)
    shown = [*list(before.labels)[: data.draw(st.integers(2, len(before.labels) - 1))], NONE_OF_THESE]
    codes = kinds.codes(shown)
    mass = rng.dirichlet(np.full(len(shown), 0.5))
    logs = {code: float(np.log(max(p, 1e-300))) for code, p in zip(codes, mass, strict=True)}
    answer = Answer(codes[int(mass.argmax())], logs, options=tuple(shown))
    call = Call("k", "r", ITEM.id, "small", 0)
    now = heard(change, single, before, after, ITEM, call, answer)
    if now is None:
        return
    assert now.options[-1] == NONE_OF_THESE and set(now.options[:-1]) <= set(after.labels)
    read = single.parse(after, kinds.shown(ITEM, now.options), now)
    assert read is not None and sum(read["label"].values()) == pytest.approx(1)


@given(changes("multi"), st.integers(0, 2**32), st.booleans())
def test_a_machines_word_on_several_labels_is_carried_atom_by_atom(
    made: tuple[Task, Task, Change], seed: int, soft: bool
) -> None:
    before, after, change = made
    rng = np.random.default_rng(seed)
    question = multi.question(before, ITEM, 0)
    yes = {o.choice: float(rng.beta(0.3, 0.6)) for o in question.options}
    logs = {o.code: math.log(max(yes[o.choice], 1e-12)) for o in question.options}
    chosen = [name for name, p in yes.items() if p >= 0.5]
    answer = Answer(str(chosen).replace("'", '"'), logs if soft else None)
    was = multi.parse(before, question, answer)
    assert was is not None
    now = heard(change, multi, before, after, ITEM, Call("k", "r", ITEM.id, "small"), answer)
    assert (now is None) == any(was[name]["yes"] >= 0.2 for name in change.touched)
    if now is None:
        return
    read = multi.parse(after, multi.question(after, ITEM, 0), now)
    assert read is not None
    for name in after.labels:
        assert read[name]["yes"] + read[name]["no"] == pytest.approx(1)
        if name in before.labels and [n for n in change.became if name in change.became[n]] == [name]:
            assert read[name]["yes"] == pytest.approx(was[name]["yes"], abs=1e-9)


@given(changes("multi"), st.data())
def test_what_people_said_of_labels_that_stay_is_unchanged(
    made: tuple[Task, Task, Change], data: st.DataObject
) -> None:
    before, after, change = made
    said = sorted(data.draw(st.sets(st.sampled_from(sorted(before.labels)))))
    answer = Answer(str(said).replace("'", '"'), who="ada", seconds=9.0, guide=3)
    now = word(change, multi, before, ITEM, Call("k", "r", ITEM.id, "person"), answer)
    assert (now is None) == bool(set(said) & change.touched)
    if now is not None:
        read = multi.parse(after, multi.question(after, ITEM, 0), now)
        assert read is not None
        assert {n for n, p in read.items() if p["yes"] > 0.5} == {change.became[name][0] for name in said}
        assert (now.who, now.guide, now.seconds) == ("ada", 3, 9.0)


def test_an_answer_that_could_not_be_read_stays_so() -> None:
    task = Task("t", "single", {"a": "", "b": ""})
    change = relabel.rename(task, "a", "yes", {})
    with pytest.raises(Unparsable):
        heard(change, single, task, task, ITEM, Call("k", "r", ITEM.id, "small"), Answer("yes"))


def test_what_cannot_be_done_is_said(tmp_path: Path) -> None:
    path = project(tmp_path)
    for make, names, words in (
        (relabel.rename, ("fruits", "x"), "there is no label 'fruits'"),
        (relabel.rename, ("fruit", "nails"), "there is a label 'nails' already"),
        (relabel.merge, (["fruit"], "x"), "two labels or more to merge"),
        (relabel.split, ("fruit", ["x"]), "two labels or more to split"),
        (relabel.add, ("x", ["metal"]), "there is no label 'metal'"),
    ):
        with pytest.raises(UserError, match=words):
            changed(path, make, *names)
    with pytest.raises(UserError, match="there will be no such label"):
        changed(path, relabel.rename, "fruit", "Obst", obst="…")
    assert not list(tmp_path.glob("*.before-*"))
