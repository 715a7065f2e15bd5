"""Laws over every kind that is found, and how the two of this package read written answers."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import kinds, plugins
from agent.errors import Unparsable
from agent.types import Answer, Item, Part, Question, Task

KINDS = plugins.names("kinds")
NAMES = st.lists(st.text(min_size=1, max_size=12).filter(str.strip), min_size=2, max_size=40, unique=True)
PREFIXES = {
    "pos": "",
    "positive": "",
    "POS": "",
    "a": "",
    "A": "",
    "1": "",
    "🙂": "",
    "שלום": "",
    "C++": "",
    "C": "",
    "x, y": "",
}


def item(name: str = "i") -> Item:
    return Item(name, (Part("text/plain", "some text"),))


def task(kind: str, labels: object = ("good", "bad", "so so")) -> Task:
    return Task("t", kind, dict.fromkeys(labels, ""))


def drawn(data: st.DataObject, kind: str, names: list[str]) -> tuple[Task, object]:
    """A task of this kind and one of its values, by way of its own layout."""
    of = task(kind, names)
    layout = plugins.load("kinds", kind).choices(of)
    claims = {a: data.draw(st.sampled_from(c)) for a, c in zip(layout.atoms, layout.choices, strict=True)}
    return of, plugins.load("kinds", kind).value(of, claims)


@pytest.mark.parametrize("kind", KINDS)
@given(st.data(), NAMES)
def test_a_value_survives_its_atoms_and_costs_nothing_against_itself(kind, data, names):
    of, value = drawn(data, kind, names)
    module = plugins.load("kinds", kind)
    assert module.value(of, module.atoms(of, value)) == value
    assert module.loss(of, value, value) == 0


@pytest.mark.parametrize("kind", KINDS)
@given(st.data(), NAMES)
def test_a_loss_is_a_share_and_symmetric(kind, data, names):
    of, guess = drawn(data, kind, names)
    _, truth = drawn(data, kind, names)
    loss = plugins.load("kinds", kind).loss
    assert 0 <= loss(of, guess, truth) <= 1
    assert loss(of, guess, truth) == loss(of, truth, guess)
    assert (loss(of, guess, truth) == 0) == (guess == truth)


LEAVES = st.none() | st.booleans() | st.floats() | st.text() | st.integers()
OBJECTS = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
NASTY = ('{"label": {"label": 1}}', "```json\n{\n```", "[1" + "0" * 5000 + "]", "\ud800", "[" * 99_999, "A" * 10**6, "")
JUNK = st.text() | OBJECTS.map(json.dumps) | st.sampled_from(NASTY)
SCORES = st.none() | st.dictionaries(st.sampled_from("ABCD") | st.text(max_size=2), st.floats(), max_size=5)


@pytest.mark.parametrize("kind", KINDS)
@given(JUNK, SCORES, NAMES)
@settings(max_examples=300)
def test_junk_raises_unparsable_only_and_what_is_read_is_a_distribution(kind, text, logprobs, names):
    module, of = plugins.load("kinds", kind), task(kind, names)
    layout = module.choices(of)
    try:
        read = module.parse(of, module.question(of, item(), 0), Answer(text, logprobs))
    except Unparsable as error:
        assert text[:200] not in str(error) or len(text) < 40
        return
    row = layout.row(read)
    for piece in layout.slices:
        assert row[piece].sum() == pytest.approx(1, abs=1e-5)
        assert (row[piece] >= 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_cannot_tell_is_no_vote(kind):
    module, of = plugins.load("kinds", kind), task(kind)
    assert module.parse(of, module.question(of, item(), 0), Answer("", unsure=True)) is None


@pytest.mark.parametrize("kind", KINDS)
@given(NAMES, st.text(), st.integers(0, 50))
def test_a_question_is_a_function_of_item_and_sample_and_its_codes_are_sound(kind, names, name, sample):
    module, of = plugins.load("kinds", kind), task(kind, names)
    name = name.encode("utf-8", "replace").decode()
    asked = module.question(of, item(name), sample)
    assert asked == module.question(of, item(name), sample)
    codes = [o.code for o in asked.options]
    assert sorted(o.choice for o in asked.options) == sorted(names)
    assert len(set(codes)) == len(codes) and len({len(c) for c in codes}) == 1
    assert not {c.casefold() for c in codes} & {n.strip().casefold() for n in names}


def test_the_order_of_options_is_shuffled_evenly():
    single = plugins.load("kinds", "single")
    first = [single.question(task("single"), item(str(i)), 0).options[0].choice for i in range(3000)]
    assert all(900 < first.count(name) < 1100 for name in task("single").labels)


@given(NAMES, st.data())
def test_what_a_code_means_does_not_depend_on_the_order(names, data):
    single, of = plugins.load("kinds", "single"), task("single", names)
    meant = data.draw(st.sampled_from(names))
    for sample in range(4):
        asked = single.question(of, item(), sample)
        code = next(o.code for o in asked.options if o.choice == meant)
        assert single.parse(of, asked, Answer(code))["label"][meant] == 1
        assert single.parse(of, asked, Answer("?", {code: -0.1}))["label"][meant] == 1
        assert single.parse(of, asked, Answer(meant))["label"][meant] == 1


@given(st.sets(st.sampled_from(sorted(PREFIXES))), st.integers(0, 9))
def test_sets_are_read_from_codes_and_from_names(chosen, sample):
    multi, of = plugins.load("kinds", "multi"), task("multi", PREFIXES)
    asked = multi.question(of, item(), sample)
    codes = [o.code for o in asked.options if o.choice in chosen]
    forms = [json.dumps(sorted(chosen)), json.dumps({"labels": codes}), json.dumps(codes)]
    forms += [json.dumps({o.choice: "yes" if o.choice in chosen else "no" for o in asked.options})]
    forms += ["\n".join(codes), " | ".join(codes), ", ".join(codes)] if codes else ["none"]
    for text in forms:
        read = multi.parse(of, asked, Answer(text))
        assert {name for name, p in read.items() if p["yes"] == 1} == chosen, text


def single_question(labels: dict[str, str]) -> tuple[Task, Question]:
    of = Task("t", "single", labels)
    return of, plugins.load("kinds", "single").question(of, item(), 0)


@pytest.mark.parametrize(
    "text",
    ["good", "Good", " GOOD.\n", '"good"', "**good**", "[good]", "Label: good", "answer: 'good'", '{"label": "good"}',
     '{"anything": "good"}', '["good"]', '```json\n{"label": "good"}\n```', "{code}", "{code}.", "({code})",
     "{code}) good", "{code}: good", "Label: {code}", '{"choice": "{code}"}'],
)  # fmt: skip
def test_forms_of_one_answer(text):
    of, asked = single_question({"good": "", "bad": "", "so so": ""})
    code = next(o.code for o in asked.options if o.choice == "good")
    read = plugins.load("kinds", "single").parse(of, asked, Answer(text.replace("{code}", code)))
    assert read == {"label": {"good": 1.0, "bad": 0.0, "so so": 0.0}}


@pytest.mark.parametrize(
    "text",
    ["I think it is good", "good or bad", "goodness", "", "Z", "Reason: good", '["good", "bad"]', "not good",
     "A) no such", '{"label": null}', '{"a": "good", "b": "bad"}', "As an AI model, I cannot"],
)  # fmt: skip
def test_prose_is_no_answer(text):
    of, asked = single_question({"good": "", "bad": "", "so so": ""})
    with pytest.raises(Unparsable):
        plugins.load("kinds", "single").parse(of, asked, Answer(text))


def test_a_code_that_contradicts_its_name_is_no_answer():
    of, asked = single_question({"good": "", "bad": ""})
    wrong = next(o.code for o in asked.options if o.choice == "bad")
    with pytest.raises(Unparsable):
        plugins.load("kinds", "single").parse(of, asked, Answer(f"{wrong}) good"))


def test_labels_that_look_like_codes_do_not_get_mixed_up_with_them():
    of, asked = single_question(dict.fromkeys("ABC", ""))
    assert {o.code for o in asked.options} == {"1", "2", "3"}
    read = plugins.load("kinds", "single").parse(of, asked, Answer("B"))
    assert read["label"]["B"] == 1


def test_names_that_differ_in_case_only_are_read_exactly_or_not_at_all():
    of, asked = single_question({"May": "", "may": "", "june": ""})
    single = plugins.load("kinds", "single")
    assert single.parse(of, asked, Answer("may"))["label"]["may"] == 1
    with pytest.raises(Unparsable):
        single.parse(of, asked, Answer("MAY"))


def test_log_probabilities_become_a_softmax_over_the_options():
    of, asked = single_question({"good": "", "bad": ""})
    code = {o.choice: o.code for o in asked.options}
    answer = Answer("Sure!", {code["good"]: math.log(0.3), code["bad"]: math.log(0.1), "Sure": math.log(0.6)})
    read = plugins.load("kinds", "single").parse(of, asked, answer)
    assert read["label"]["good"] == pytest.approx(0.75)


def test_log_probabilities_of_yes_are_read_option_by_option():
    multi, of = plugins.load("kinds", "multi"), task("multi", ("rude", "toxic"))
    asked = multi.question(of, item(), 0)
    code = {o.choice: o.code for o in asked.options}
    read = multi.parse(of, asked, Answer("", {code["rude"]: math.log(0.9), code["toxic"]: math.log(0.2)}))
    assert read["rude"]["yes"] == pytest.approx(0.9) and read["toxic"]["no"] == pytest.approx(0.8)
    with pytest.raises(Unparsable):  # half an answer is none
        multi.parse(of, asked, Answer("", {code["rude"]: -0.1}))


def test_a_value_outside_the_task_is_refused():
    with pytest.raises(Unparsable):
        plugins.load("kinds", "single").atoms(task("single"), "nope")
    with pytest.raises(Unparsable):
        plugins.load("kinds", "multi").atoms(task("multi"), ("good", "nope"))


def test_more_than_26_labels_get_codes_of_one_width():
    of, asked = single_question({f"label {i}": "" for i in range(77)})
    assert [o.code for o in asked.options[:2]] == ["01", "02"]
    assert plugins.load("kinds", "single").parse(of, asked, Answer("7"))["label"][asked.options[6].choice] == 1
    assert kinds.codes([f"label {i}" for i in range(26)])[-1] == "Z"
