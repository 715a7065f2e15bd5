"""Many labels: a few are shown, "none of these" leads to all of them, and what was not shown keeps its share."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_loop import opened

from agent import config as settings
from agent import export, kinds, loop, shortlist
from agent.errors import ConfigError
from agent.kinds import single
from agent.types import NONE_OF_THESE, Answer, Item, Part, Prompt, Task, Value

WORDS = ["amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heron", "islet", "jade", "kelp", "lilac"]
LABELS = [f"{a}_{b}" for i, a in enumerate(WORDS) for b in WORDS[i + 1 :]]
"""66 labels, each of two words."""

TASK = Task("t", "single", dict.fromkeys(LABELS, ""))


def item(text: str = "x") -> Item:
    return Item("i", (Part("text/plain", text),))


# ---------------------------------------------------------------- arrays


def test_more_labels_than_letters_are_shortened_unless_told() -> None:
    assert [shortlist.size(None, n) for n in (2, 26, 27, 1000)] == [0, 0, 20, 20]
    assert [shortlist.size(k, 30) for k in (0, 5, 29, 30, 40)] == [0, 5, 29, 0, 0]


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 0.99))
def test_what_was_not_shown_keeps_what_the_list_may_have_missed(seed: int, recall: float) -> None:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(9), size=5).astype(np.float32)
    seen = rng.random((5, 9)) < 0.5
    out = shortlist.spread(probabilities, seen, recall)
    assert np.allclose(out.sum(axis=1), 1, atol=1e-5) and (out >= 0).all()
    for before, after, shown in zip(probabilities, out, seen, strict=True):
        if not shown.any() or shown.all():
            assert np.allclose(before, after), "all labels were shown"
        else:
            assert after[~shown].sum() >= 1 - recall - 1e-5
            assert np.allclose(after[shown], recall * before[shown], atol=1e-6)


def test_recall_is_drawn_to_a_guess_while_little_is_known() -> None:
    assert shortlist.estimate(0, 0) == pytest.approx(shortlist.GUESS)
    assert shortlist.estimate(900, 1000) == pytest.approx(0.9, abs=0.01)
    said = np.eye(3, dtype=np.float32)
    assert shortlist.hits(said, np.array([[1, 0, 0], [0, 0, 1], [1, 1, 1]], bool)) == (2, 3)


# ---------------------------------------------------------------- reading


def test_none_of_these_goes_to_the_labels_that_were_not_shown() -> None:
    shown = kinds.shown(item(), ["amber_birch", "delta_jade", NONE_OF_THESE])
    codes = [option.code for option in shown.options]
    read = single.parse(TASK, shown, Answer("", dict(zip(codes, np.log([0.5, 0.2, 0.3]), strict=True))))
    assert read is not None
    row = read["label"]
    assert list(row) == LABELS and sum(row.values()) == pytest.approx(1)
    assert row["amber_birch"] == pytest.approx(0.5) and row["delta_jade"] == pytest.approx(0.2)
    assert row["kelp_lilac"] == pytest.approx(0.3 / (len(LABELS) - 2))
    said = single.parse(TASK, shown, Answer("C"))
    assert said is not None and said["label"]["amber_birch"] == 0 and said["label"]["kelp_lilac"] > 0


# ---------------------------------------------------------------- the loop


def knows(prompt: Prompt) -> Answer | Value:
    """A model that finds the label where it is shown, and says so where it is not."""
    text = prompt.messages[-1].content
    gold = str(prompt.question.item.gold)
    assert all(f": {option.choice}" in text for option in prompt.question.options)
    if prompt.question.short:
        assert len(prompt.question.options) == 21 and prompt.question.options[-1].choice == NONE_OF_THESE
        assert sum(label in prompt.messages[0].content for label in LABELS) == 0, "the prefix lists no labels"
    else:
        assert len(prompt.question.options) == len(LABELS)
    found = next((o for o in prompt.question.options if o.choice == gold), prompt.question.options[-1])
    return found.choice if found.choice in (gold, NONE_OF_THESE) else Answer("nonsense")


def project(
    folder: Path, n: int = 150, more: str = "shortlist = 20", student: str = '[[rung]]\nstudent = "tfidf"\n'
) -> Path:
    rng = np.random.default_rng(0)
    with open(folder / "pool.jsonl", "w") as handle:
        for i in range(n):
            label = LABELS[int(rng.integers(len(LABELS)))]
            words = label.split("_")
            if i % 5 == 0:  # a text that says nothing of its label: no list is sure to hold it
                words = ["nothing", "here"]
            handle.write(
                json.dumps({"id": str(i), "text": f"note {i} of {words[0]} and {words[1]}", "y": label}) + "\n"
            )
    (folder / "tutelage.toml").write_text(
        f"""
[task]
labels = {json.dumps(LABELS)}
[pool]
path = "pool.jsonl"
text = "text"
id = "id"
gold = "y"
[goal]
accuracy = 0.999
person_minutes = 6
{student}
[[rung]]
oracle = "scripted"
function = "test_shortlist:knows"
bar = 0.5
{more}
[[rung]]
oracle = "person"
people = "gold"
"""
    )
    return folder / "tutelage.toml"


@pytest.mark.parametrize("student", ['[[rung]]\nstudent = "tfidf"\n', ""], ids=["with a student", "by names alone"])
def test_a_list_that_misses_the_label_leads_to_all_labels(tmp_path: Path, student: str) -> None:
    config = settings.load(project(tmp_path, student=student))
    finished = loop.run(config)
    assert finished.code == 0, finished.reason
    store, pool = opened(config)
    with store:
        heard = [(call, answer) for _, call, answer in store.answers_since(0) if call.annotator == "scripted"]
        few = [(c, a) for c, a in heard if a.options]
        assert few and all(len(a.options) == 21 for _, a in few)
        missed = {c.item for c, a in few if a.text == NONE_OF_THESE}
        asked_again = {c.item for c, a in heard if not a.options}
        assert missed and asked_again == missed
        assert len({c.recipe for c, _ in heard}) == 2
        columns = export.labels(config, store, pool)
        truth = [str(g) for g in pool.gold()]
        for name, label, by in zip(columns["id"], columns["label"], columns["by"], strict=True):
            assert by != "scripted" or label == truth[int(name)]
        told = finished.summary["asking"]["scripted"]
        hits, of = told["recall"]
        assert 0 < hits < of and told["none"] == len(missed) and told["shortlist"] == 20
        again = loop.run(config)
        assert again.code == 0
    store, _ = opened(config)
    with store:
        assert len([1 for _, c, _ in store.answers_since(0) if c.annotator == "scripted"]) == len(heard)


@pytest.mark.parametrize("more", ["shortlist = 0", "shortlist = 80", ""], ids=["none", "all", "no prompt is read"])
def test_all_labels_are_shown_where_that_is_wanted(tmp_path: Path, more: str) -> None:
    config = settings.load(project(tmp_path, n=40, more=more))
    loop.run(config)
    store, _ = opened(config)
    with store:
        heard = [a for _, c, a in store.answers_since(0) if c.annotator == "scripted"]
        assert heard and not any(a.options for a in heard)


@pytest.mark.parametrize(
    ("more", "labels", "refused"),
    [
        ("shortlist = 20", LABELS, True),
        ("shortlist = 0", LABELS, False),
        ("", LABELS, False),
        ("shortlist = 20", LABELS[:5], False),
    ],
    ids=["beside a list", "all shown", "no prompt is read", "few labels"],
)
def test_a_label_is_not_called_as_the_way_out_of_a_shortlist(
    tmp_path: Path, more: str, labels: list[str], refused: bool
) -> None:
    path = project(tmp_path, n=5, more=more)
    told = path.read_text().replace(json.dumps(LABELS), json.dumps([*labels, "None of these"]))
    path.write_text(told)
    if not refused:
        settings.load(path)
        return
    with pytest.raises(ConfigError, match=r"'None of these' is also what rung 'scripted' may answer.*shortlist = 0"):
        settings.load(path)


def test_who_shortens_many_labels_unasked_is_refused_it_too(tmp_path: Path) -> None:
    path = project(tmp_path, n=5)
    told = path.read_text().replace(json.dumps(LABELS), json.dumps([*LABELS, NONE_OF_THESE]))
    path.write_text(told.replace('"scripted"\nfunction = "test_shortlist:knows"', '"openai"\nmodel = "m"'))
    with pytest.raises(ConfigError, match="name the label otherwise"):
        settings.load(path, ["rung.openai.shortlist=none"])
