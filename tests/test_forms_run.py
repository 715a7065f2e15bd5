"""The pilot chooses how a machine is asked, unasked where that costs little: runs with a model that needs examples."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from test_loop import opened, project, run

from agent.config import load
from agent.loop import forming
from agent.loop.ground import open_ground
from agent.oracles import scripted
from agent.types import Answer, Most, Prompt, Traits


@dataclass(frozen=True)
class Settings:
    """What the model below may be told. `usd`: what an answer costs; `words`: it cannot tell codes, but names."""

    template: str = "codes.j2"
    usd: float = 0.0
    words: bool = False


class Learner(scripted.Scripted):
    """Right where it is shown examples, or is to answer by names, else it says what stands first."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(function=self._say)
        self.told = settings

    def _say(self, prompt: Prompt) -> Answer:
        shown = prompt.readout == "words" if self.told.words else "Examples" in prompt.prefix
        gold = str(prompt.question.item.gold)
        return Answer(gold if shown else prompt.question.options[0].choice, usd=self.told.usd, flags=prompt.flags)

    @property
    def traits(self) -> Traits:
        others = ("words_chat.j2",) if self.told.words else ()
        return replace(super().traits, template=self.told.template, others=others)

    def most(self, prompt: Prompt) -> Most:
        return Most(usd=self.told.usd)


Oracle = SimpleNamespace(Settings=Settings, build=lambda settings, context: Learner(settings))

RUNGS = """
[[rung]]
student = "tfidf"
[[rung]]
oracle = "test_forms_run:Oracle"
name = "learner"
bar = 0.5
KEYS
[[rung]]
oracle = "person"
people = "gold"
"""


@pytest.mark.parametrize(
    ("keys", "chosen"),
    [("", True), ("usd = 0.001", False), ('form = "given"', False), ('template = "words.j2"', False)],
    ids=["auto", "who pays is asked in one form", "given", "a template of the user's own"],
)
def test_a_model_that_needs_examples_is_given_some(tmp_path: Path, keys: str, chosen: bool) -> None:
    goal = "person_minutes = 12\npilot = 40\naudit = 40\nbudget_usd = 5"
    short = f"seed = 3\nmax_turns = {4 if chosen else 2}"
    path = project(tmp_path, n=800, rungs=RUNGS.replace("KEYS", keys), goal=goal, run=short)
    config, finished = run(path, "goal.accuracy=0.999", calls=90)
    told = finished.summary["asking"].get("learner", {}).get("form", "")
    assert ("codes.j2 with 8 examples: right on" in told) == chosen, told
    store, _ = opened(config)
    with store:
        calls = [c for _, c, _ in store.answers_since(0) if c.annotator == "learner"]
        pilot = Counter(c.recipe for c in calls if c.purpose == "pilot")
        assert len({c.recipe for c in calls if c.purpose != "pilot"}) <= 1
        if chosen:
            assert sorted(pilot.values()) == [32, 40], (
                "the examples are not asked; what averages both asks nothing anew"
            )
        else:
            assert len(pilot) == 1


def test_a_model_that_cannot_tell_codes_is_asked_by_names(tmp_path: Path) -> None:
    goal = "person_minutes = 12\npilot = 40\naudit = 40"
    path = project(
        tmp_path, n=800, rungs=RUNGS.replace("KEYS", "words = true"), goal=goal, run="seed = 3\nmax_turns = 4"
    )
    config, finished = run(path, "goal.accuracy=0.999", calls=90)
    assert finished.summary["asking"]["learner"]["form"].startswith("words_chat.j2 with no examples: right on 100%")
    store, _ = opened(config)
    with store:
        calls = [c for _, c, _ in store.answers_since(0) if c.annotator == "learner"]
    pilot = Counter(c.recipe for c in calls if c.purpose == "pilot")
    assert sorted(pilot.values()) == [32, 40, 40] and len({c.recipe for c in calls if c.purpose != "pilot"}) == 1


ALONE = """
[[rung]]
oracle = "test_forms_run:Oracle"
name = "learner"
words = true
"""


@pytest.mark.parametrize("form", ["pilot", "auto"])
def test_without_people_the_form_is_taken_in_which_orders_agree_and_kept(tmp_path: Path, form: str) -> None:
    path = project(tmp_path, n=200, rungs=f'{ALONE}form = "{form}"', run="seed = 3\nmax_turns = 4")
    config, finished = run(path)
    store, _ = opened(config)
    with store:
        calls = [c for _, c, _ in store.answers_since(0)]
    told = finished.summary["asking"]["learner"].get("form", "")
    if form == "auto":
        assert not told and len({c.recipe for c in calls}) == 1
        return
    assert told.startswith("words_chat.j2 with no examples: two orders of the options agree on 100% of 60 items"), told
    tried = Counter((c.recipe, c.sample) for c in calls if c.purpose == "pilot")
    assert sorted(tried.values()) == [60] * 4 and {round(c.probability, 3) for c in calls if c.purpose == "pilot"} == {
        0.3
    }
    assert len({c.recipe for c in calls if c.purpose != "pilot"}) == 1 and len({c.item for c in calls}) == 200
    _, again = run(path)
    assert again.summary["asking"]["learner"]["form"] == told
    store, _ = opened(config)
    with store:
        assert len(store.answers_since(0)) == len(calls)


def test_a_form_that_shows_no_order_cannot_be_the_steadier_one(tmp_path: Path) -> None:
    keys = 'form = "pilot"\ntemplates = ["codes.j2", "words.j2"]'
    config, finished = run(project(tmp_path, n=100, rungs=f"{ALONE}{keys}", run="seed = 3\nmax_turns = 4"))
    assert "form" not in finished.summary["asking"]["learner"] or not finished.summary["asking"]["learner"]["form"]
    store, _ = opened(config)
    with store:
        assert len({c.recipe for _, c, _ in store.answers_since(0)}) == 1


CHAT = """
[[rung]]
oracle = "openai"
name = "served"
model = "tiny"
base_url = "http://127.0.0.1:9/v1"
KEYS
[[rung]]
oracle = "person"
people = "gold"
"""


@pytest.mark.parametrize(
    ("keys", "first", "count"),
    [
        ("", "codes.j2 with no examples", 4),
        ('form = "pilot"', "codes.j2 with no examples", 4),
        ('template = "words_chat.j2"', "words_chat.j2 with no examples", 1),
        ("usd_per_mtok_in = 0.1", "codes.j2 with no examples", 1),
    ],
)
def test_a_server_that_can_do_both_is_compared_by_codes_and_by_names(
    tmp_path: Path, keys: str, first: str, count: int
) -> None:
    goal = "person_minutes = 12\npilot = 40"
    config = load(project(tmp_path, n=800, rungs=CHAT.replace("KEYS", keys), goal=goal))
    ground = open_ground(config, None, None, False)
    with ground.store:
        able = [str(form) for form in forming.candidates(ground, ground.machines[0])]
    assert able[0] == first and len(able) == count
    if count > 1:
        assert "words_chat.j2 with no examples" in able
    if not keys:
        assert able[-1] == "codes.j2 and words_chat.j2 with no examples"
