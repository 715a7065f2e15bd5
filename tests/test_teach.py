"""Teaching: folds that stay, twins that are kept, noisy answers, knowledge of the labels, several voices."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agent import config, teach
from agent.errors import ConfigError
from agent.students import _student, tfidf
from agent.teach.noise import DEFAULT, JUDGES, Evidence
from agent.types import Context, Floats, Ints, Item, Known, Layout, Members, Part, Task

SIX = Layout(("label",), (tuple("abcdef"),))
TWO = Layout(("label",), (("bad", "good"),))


def student(layout: Layout, known: dict[str, Known] | None = None, names: bool = False) -> _student.HeadStudent:
    labels = dict.fromkeys(layout.choices[0], "")
    context = Context(Task("t", "single", labels), layout, 0, knowledge=known or {})
    return tfidf.build(tfidf.Settings(names=names), context)


def blobs(n: int, layout: Layout, seed: int, apart: float = 1.6) -> tuple[Floats, Ints]:
    """Rows around one centre a choice."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(9).normal(size=(layout.width, 16))
    centres *= apart / np.linalg.norm(centres, axis=1, keepdims=True)
    y = rng.integers(0, layout.width, n)
    return (centres[y] + rng.normal(size=(n, 16)) * 0.6).astype(np.float32), y


def lesson(rows: Ints, said: Ints, layout: Layout, spoken: Ints | None = None) -> teach.Lesson:
    by_person = np.isin(rows, [] if spoken is None else spoken)
    weights = np.where(by_person, teach.PEOPLE_WEIGHT, 1).astype(np.float32)
    return teach.Lesson(rows, np.eye(layout.width, dtype=np.float32)[said], weights, by_person, by_person)


def items(*texts: str) -> list[Item]:
    return [Item(text, (Part("text/plain", text),)) for text in texts]


def test_an_item_stays_in_its_fold_whoever_else_is_taught() -> None:
    every = np.arange(10_000)
    folds = teach.fold_of(every, 5, 3)
    some = np.random.default_rng(0).permutation(every)[:777]
    assert np.array_equal(teach.fold_of(some, 5, 3), folds[some])
    # A fold's size is binomial: 2,000 with a standard deviation of 40; five of them are within 4 of these.
    assert np.abs(np.bincount(folds, minlength=5) - 2_000).max() < 160
    assert (teach.fold_of(every, 5, 4) != folds).mean() > 0.7


def test_a_large_head_taught_some_more_is_the_head_taught_all_at_once() -> None:
    x, y = blobs(1_200, SIX, 1)
    aims, ones = np.eye(6, dtype=np.float32)[y], np.ones(1_200, np.float32)
    warm, cold = student(SIX), student(SIX)
    for n in (700, 740, 780, 820):
        warm.fit(x[:n], aims[:n], ones[:n])
    cold._penalty = warm._penalty
    cold.fit(x[:820], aims[:820], ones[:820])
    one, other = warm.predict(x[820:]), cold.predict(x[820:])
    assert np.abs(one - other).sum(axis=1).mean() / 2 < 0.01
    assert (one.argmax(axis=1) == other.argmax(axis=1)).mean() > 0.985


def test_twins_are_kept_and_no_twin_is_taught_what_it_judges() -> None:
    x, y = blobs(300, SIX, 2)
    one = student(SIX)
    teach.teach(one, x, lesson(np.arange(200), y[:200], SIX), 300, 5, 0)
    twins = one.memory["twins"]
    wrong = y[:210].copy()
    wrong[205] = (y[205] + 1) % 6  # new, and wrong: who was taught it would be moved towards it
    said = teach.teach(one, x, lesson(np.arange(210), wrong, SIX), 300, 5, 0)
    assert one.memory["twins"] is twins and len(twins) == 5
    alone = student(SIX)
    alone._penalty = one._penalty
    rest = np.flatnonzero(teach.fold_of(np.arange(210), 5, 0) != teach.fold_of(np.array([205]), 5, 0))
    alone.fit(x[rest], np.eye(6, dtype=np.float32)[wrong[rest]], np.ones(len(rest), np.float32))
    assert np.allclose(said[205], alone.predict(x[205:206])[0], atol=5e-3)


def noisy(people: int) -> tuple[_student.HeadStudent, float, float]:
    """A student taught 600 machine's answers of which every other "bad" is called "good", and so many people's.

    Returns it, its accuracy, and that of one taught the same without a choice of ways.
    """
    x, y = blobs(2_000, TWO, 3, apart=1.2)
    rows = np.arange(600)
    said = y[:600].copy()
    said[(y[:600] == 0) & (np.random.default_rng(5).random(600) < 0.5)] = 1
    spoken = rows[:people]
    said[:people] = y[:people]
    one, plain = student(TWO), student(TWO)
    taught = lesson(rows, said, TWO, spoken)
    p = teach.teach(one, x, taught, 2_000, 5, 0)
    plain.fit(x[:600], taught.targets, taught.weights)
    right = [float((q[600:].argmax(axis=1) == y[600:]).mean()) for q in (p, plain.predict(x))]
    return one, right[0], right[1]


def test_people_choose_another_way_where_machines_err_one_way() -> None:
    one, chosen, plain = noisy(150)
    assert one.memory["way"].way != DEFAULT and one.memory["way"].gain > 0
    assert chosen > plain + 0.01


def test_few_people_choose_nothing() -> None:
    one, chosen, plain = noisy(JUDGES - 1)
    assert one.memory["way"].way == DEFAULT
    assert chosen == pytest.approx(plain, abs=0.005)


def test_without_people_and_with_people_asked_for_a_reason_the_lesson_is_taught_as_it_is() -> None:
    x, y = blobs(600, TWO, 3, apart=0.8)
    said = np.where(np.random.default_rng(4).random(600) < 0.4, 1, y)
    for spoken in (np.arange(0), np.arange(150)):
        said[spoken] = y[spoken]
        told = lesson(np.arange(600), said, TWO, spoken)
        hard = teach.Lesson(told.rows, told.targets, told.weights, told.spoken, np.zeros(600, bool))
        one = student(TWO)
        teach.teach(one, x, hard, 600, 5, 0)
        assert one.memory["way"].way == DEFAULT and "pairs" not in one.memory


def test_only_what_people_were_asked_at_random_judges() -> None:
    words = np.eye(2, dtype=np.float32)[[0, 1, 0, 1]]
    spoken, drawn = np.array([True, True, False, True]), np.array([True, False, True, False])
    told = teach.lesson(words, np.array([False, False, True, True]), words, spoken, TWO, drawn=drawn)
    assert told.spoken is not None and told.judges is not None
    assert told.spoken.tolist() == [True, True, False, True] and told.judges.tolist() == [True, False, False, False]


def own_share(x: Floats, way: str, lessons: tuple[int, ...], steps: int, l2: float) -> float:
    """What twins give each row's own label, less a half, where labels are drawn at random; after growing lessons."""
    n = len(x)
    y = np.random.default_rng(3).integers(0, 2, n)
    context = Context(Task("t", "single", {"bad": "", "good": ""}), TWO, 0)
    one = tfidf.build(tfidf.Settings(names=False, l2=l2, max_iter=steps), context)
    for m in lessons:
        if "way" in one.memory:
            one.memory["way"] = replace(one.memory["way"], way=way)
        said = teach.teach(one, x, lesson(np.arange(m), y[:m], TWO), n, 5, 0)
    return float((said[np.arange(n), y] - 0.5).mean())


@pytest.mark.parametrize("way", [DEFAULT, "confident", "mixed", "small loss"])
def test_no_answer_comes_back_to_its_own_row_by_way_of_its_neighbours(way: str) -> None:
    """Each text twice, with labels of their own: a way reads of each row what was said by who may know its double's."""
    x = np.repeat(np.random.default_rng(1).normal(size=(400, 200)).astype(np.float32), 2, axis=0)
    # A row's share is at most .5 either way, and two rows of a text may go together: the mean's standard deviation is
    # at most .5 / sqrt(400) = .025.
    assert abs(own_share(x, way, (500, 800), 100, 3.0)) < 2.5 * 0.025


def test_no_twin_starts_where_its_rows_are_known() -> None:
    """A fit of two steps ends near where it began, and a head of more inputs than rows knows the label of each."""
    x = np.random.default_rng(1).normal(size=(480, 600)).astype(np.float32)
    # Rows are alone here: at most .5 / sqrt(480) = .023.
    assert abs(own_share(x, DEFAULT, (400, 420, 440, 460, 480), 2, 0.01)) < 3 * 0.023


@pytest.mark.parametrize("name", sorted(teach.WAYS))
def test_no_way_touches_what_people_said(name: str) -> None:
    rng = np.random.default_rng(6)
    targets = rng.dirichlet([0.3] * 6, 80).astype(np.float32)
    spoken = np.arange(80) < 20
    targets[spoken] = np.eye(6, dtype=np.float32)[rng.integers(0, 6, 20)]
    weights = np.where(spoken, 3, 0.5).astype(np.float32)
    said = rng.dirichlet(np.ones(6), 80).astype(np.float32)
    aims, weighs = teach.WAYS[name](Evidence(targets, weights, spoken, spoken, said, SIX))
    assert aims.dtype == weighs.dtype == np.float32
    assert np.allclose(aims.sum(axis=1), 1, atol=1e-5) and (weighs > 0).all()
    assert np.allclose(aims[spoken], targets[spoken], atol=1e-6) and np.array_equal(weighs[spoken], weights[spoken])


def test_members_differ_a_little_and_leave_the_student_as_it_is() -> None:
    x, y = blobs(400, SIX, 7)
    one = student(SIX)
    one.fit(x[:200], np.eye(6, dtype=np.float32)[y[:200]], np.ones(200, np.float32))
    before = one.predict(x[200:])
    assert isinstance(one, Members)
    voices = one.members(x[200:], 8, 1)
    assert np.array_equal(one.predict(x[200:]), before)
    assert all(np.array_equal(a, b) for a, b in zip(voices, one.members(x[200:], 8, 1), strict=True))
    assert len(voices) == 8 and all(v.shape == before.shape for v in voices)
    spread = np.std(voices, axis=0).mean()
    assert 0.002 < spread < 0.2
    assert (np.mean(voices, axis=0).argmax(axis=1) == before.argmax(axis=1)).mean() > 0.9


def test_keywords_and_examples_speak_before_the_first_answer() -> None:
    texts = ("my refund never came", "the screen stays black")
    known = {"bad": Known(keywords=("refund",)), "good": Known(examples=("the screen was black",))}
    plain, one = student(TWO), student(TWO, known)
    for who in (plain, one):
        who.features(items(*texts, "something else"))
    rows = one.features(items(*texts))
    assert np.allclose(plain.predict(plain.features(items(*texts))), 0.5)
    assert one.predict(rows).argmax(axis=1).tolist() == [0, 1]
    assert np.array_equal(one.known(rows), one.predict(rows))
    # Twenty answers to the contrary outweigh them.
    one.fit(
        one.features(items(*texts * 20)), np.tile(np.eye(2, dtype=np.float32)[::-1], (20, 1)), np.ones(40, np.float32)
    )
    assert one.predict(rows).argmax(axis=1).tolist() == [1, 0]


BASE = """
[task]
labels = ["billing", "technical"]
[pool]
path = "pool.csv"
[[rung]]
student = "tfidf"
[[rung]]
oracle = "person"
"""


def test_knowledge_is_read_strictly_and_changes_no_prompt() -> None:
    more = '[knowledge.billing]\nkeywords = ["refund"]\nexamples = ["I was charged twice"]\n'
    bare, told = (config.parse(BASE + text, "t.toml", Path()) for text in ("", more))
    assert config.knowledge(bare) == {}
    assert config.knowledge(told) == {"billing": Known(("refund",), ("I was charged twice",))}
    assert config.the_task(bare) == config.the_task(told)
    assert config.fingerprint(bare) != config.fingerprint(told)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[knowledge.biling]\nkeywords = ["x"]', "did you mean knowledge.billing?"),
        ('[knowledge.billing]\nkeyword = ["x"]', "did you mean knowledge.billing.keywords?"),
        ('[knowledge.billing]\nkeywords = "x"', "knowledge.billing.keywords"),
        ('[knowledge.billing]\nexamples = [" "]', "knowledge.billing.examples"),
        ('[knowledge]\nbilling = ["x"]', "must be a table, as in [knowledge.billing]"),
    ],
)
def test_what_is_wrong_in_knowledge_is_named(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as told:
        config.parse(f"{BASE}\n{text}\n", "t.toml", Path())
    assert says in str(told.value)
