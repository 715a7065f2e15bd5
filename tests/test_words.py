"""Labels read by their names: laws of the reading, and a real server on loopback that lists words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from oracle_room import ask, asked, context, read
from servers.chat import ChatServer, completion

from agent import oracles, prompt
from agent.errors import Unparsable
from agent.oracles import Token, _words, openai, vllm
from agent.types import Item, Option, Question, Task

TASK = Task("t", "single", {"positive": "", "negative": "so bad", "neither": ""}, "Is it kind?")
NEAR = Task("t", "single", {"positive": "", "posterior": "", "negative": ""})
ITEM = Item("i", ())


def question(*names: str) -> Question:
    return Question(ITEM, tuple(Option(chr(65 + i), name) for i, name in enumerate(names)))


def walk(names: Mapping[str, float], cut: int) -> list[Token]:
    """What a model that writes names in pieces of `cut` characters lists when it is asked greedily, top to bottom."""
    out, path = [], ""
    while True:
        shares: dict[str, float] = {}
        left = {name: share for name, share in names.items() if name.startswith(path)}
        for name, share in left.items():
            piece = name[len(path) : len(path) + cut] or "<|end|>"
            shares[piece] = shares.get(piece, 0.0) + share / sum(left.values())
        best = max(shares, key=lambda piece: shares[piece])
        listed = {piece: math.log(share) for piece, share in shares.items()}
        out.append(Token(best, listed[best], listed))
        if best == "<|end|>":
            return out
        path += best


NAMES = st.lists(
    st.one_of(
        st.sampled_from(["spam", "spam mail", "Spam!", "pos", "positive", "posterior", "POS", "no", "not sure"]),
        st.sampled_from(
            ["👍", "👎", "👍🏽", "إيجابي", "سلبي", "好", "好评", "差评", "1 star", "2 stars", "-1", "ß", "SS"]
        ),
        st.text(st.characters(codec="utf-8", categories=("L", "N", "So")), min_size=1, max_size=6),
    ),
    min_size=2,
    max_size=6,
    unique=True,
)


@settings(deadline=None, max_examples=300)
@given(NAMES, st.integers(1, 8), st.data())
def test_the_answer_given_is_never_read_as_another(names: list[str], cut: int, data: st.DataObject) -> None:
    bare = {name.strip(oracles.EDGES).casefold() for name in names}
    shares = {name: data.draw(st.floats(0.01, 1)) for name in names}
    tokens = walk({name: share / sum(shares.values()) for name, share in shares.items()}, cut)
    text = "".join(token.text for token in tokens[:-1])
    asked_ = question(*names)
    found = _words.read(asked_, text, tokens, {})
    assert found is not None, "a name as it was written is always one"
    scores, mass = found
    code = next(option.code for option in asked_.options if option.choice == text)
    assert set(scores) == {option.code for option in asked_.options} and 0 < mass <= 1
    assert all(oracles.LEAST <= value <= 0 for value in scores.values())
    assert sum(map(math.exp, scores.values())) < 1.2
    firsts = {name[:cut].strip(oracles.EDGES).casefold() for name in names}
    if len(bare) == len(firsts) == len(names) and not any(a != b and b.startswith(a) for a in firsts for b in firsts):
        for option in asked_.options:
            told = shares[option.choice] / sum(shares.values())
            assert math.exp(scores[option.code]) == pytest.approx(told, rel=1e-6), "first tokens tell all"
    elif len(bare) < len(names):
        assert scores[code] == max(scores.values())


@given(NAMES, st.integers(1, 3), st.booleans())
def test_a_first_token_belongs_to_one_name_or_none_is_taken(names: list[str], cut: int, alone: bool) -> None:
    numbers: dict[str, int] = {}

    def spell(text: str) -> list[int]:
        space = [" "] if alone and text.startswith(" ") else []
        rest = text[len(space) :]
        return [
            numbers.setdefault(p, len(numbers))
            for p in [*space, *(rest[i : i + cut] for i in range(0, len(rest), cut))]
        ]

    spelt = {form: spell(form) for name in names for form in (name, f" {name}")}
    found = _words.firsts(names, spelt)
    distinct = len({name[:cut] for name in names}) == len(names)
    if found:
        assert distinct and set(found.values()) == set(names)
        assert all(spelt[name][0] in found and found[spelt[name][0]] == name for name in names)
    elif cut > 1 or alone:
        assume(alone)
        assert not distinct or {" "} & {name[:cut] for name in names}


def test_a_listed_token_counts_for_the_name_it_begins() -> None:
    listed = {"Pos": -1.0, " pos": -2.0, "neg": -1.5, "ne": -3.0, "The": -2.0, ".": -2.5}
    tokens = [Token("Pos", -1.0, listed), Token("itive", -0.1, {})]
    scores, mass = _words.read(question("positive", "negative", "neither"), "Positive", tokens, {})
    ne = math.exp(-3) / 2
    assert scores["A"] == pytest.approx(math.log(math.exp(-1) + math.exp(-2)))
    assert scores["B"] == pytest.approx(math.log(math.exp(-1.5) + ne)) and scores["C"] == pytest.approx(math.log(ne))
    assert mass == pytest.approx(math.exp(-1) + math.exp(-2) + math.exp(-1.5) + math.exp(-3))


def test_a_name_is_not_less_likely_for_being_long_and_shared_beginnings_are_told_apart() -> None:
    first = {"pos": math.log(0.6), "neg": math.log(0.3)}
    second = {"terior": math.log(0.2), "itive": math.log(0.1), "h": math.log(0.5)}
    tokens = [Token("pos", math.log(0.6), first), Token("terior", math.log(0.2), second)]
    scores, mass = _words.read(question("positive", "posterior", "negative"), "posterior", tokens, {})
    shares = [math.exp(scores[code]) for code in "ABC"]
    assert shares == pytest.approx([0.2, 0.4, 0.3]) and mass == pytest.approx(0.9)


def test_what_is_no_name_is_none_and_a_code_never_passes_for_one() -> None:
    asked_ = question("positive", "negative")
    assert _words.read(asked_, "Well, positive", [Token("Well", -0.1, {})], {}) is None
    assert _words.read(asked_, "A", [Token("A", -0.1, {})], {}) is None and _words.is_code(asked_, " A.")
    assert not _words.is_code(question("a", "the"), "A")
    assert (
        _words.named(question("Apple", "apple"), " apple") == "B"
        and _words.named(question("Apple", "apple"), "APPLE") is None
    )


# A server.


def words(server: ChatServer, task: Task = TASK, **more: object) -> openai.OpenAI:
    at = openai.Settings("tiny", server.url, in_flight=4, deadline=5.0, template="words_chat.j2")
    return openai.build(replace(at, **more), context(task))


def test_by_its_name_a_template_says_what_is_read() -> None:
    for name, what in {
        "words.j2": "words",
        "my/words_x.j2": "words",
        "codes_2.j2": "codes",
        "mine.j2": "codes",
    }.items():
        assert (
            openai.build(openai.Settings("m", "http://127.0.0.1:1/v1", template=name), context(TASK)).traits.readout
            == what
        )
        assert vllm.build(vllm.Settings("m", template=name), context(TASK)).traits.readout == what
    assert oracles.readout("wordsmith.j2", "codes") == "codes" and oracles.readout("mine.j2", "words") == "words"
    codes, names = (
        prompt.asking(openai.build(openai.Settings("m", "http://127.0.0.1:1/v1"), context(TASK)).traits, one)
        for one in ("", "words_chat.j2")
    )
    assert names.readout == "words" and prompt.recipe(TASK, "single", codes) != prompt.recipe(TASK, "single", names)
    text = prompt.template_text("words_chat.j2")
    assert prompt.recipe(TASK, "single", names, template=text) != prompt.recipe(
        TASK, "single", replace(names, readout="codes"), template=text
    )


def test_a_chat_by_names_shows_no_codes_and_the_item_last() -> None:
    oracle = openai.build(openai.Settings("m", "http://127.0.0.1:1/v1", template="words_chat.j2"), context(TASK))
    made = asked(TASK, oracle)
    said = "\n".join(m.content for m in made.messages)
    assert "A:" not in said and "- negative: so bad" in made.prefix and said.index("- neither") > len(made.prefix)
    assert [line[2:] for line in made.messages[-1].content.splitlines() if line[:2] == "- "] == [
        o.choice for o in made.question.options
    ]


@pytest.mark.parametrize("template", ["words_chat.j2", "words.j2"])
@pytest.mark.parametrize("server_is", ["vllm", "other"])
def test_names_are_read_by_their_first_tokens(template: str, server_is: str) -> None:
    with ChatServer("words", right="negative", vllm=server_is == "vllm") as server:
        server.names = list(TASK.labels)
        oracle = words(server, template=template)
        made = asked(TASK, oracle)
        (answer,) = ask(oracle, made)
        (body,) = [request.body for request in server.requests]
    shares = read(TASK, made, answer)["label"]
    assert shares["negative"] == pytest.approx(0.7 / 0.9) and "mass=0.90" in answer.flags
    assert ("logprob_token_ids" in body) == (server_is == "vllm") == (body["max_tokens"] == 1)
    assert "structured_outputs" not in body


def test_names_that_begin_alike_are_asked_for_under_a_constraint_and_read_along_the_answer() -> None:
    with ChatServer("words", right="posterior", vllm=True) as server:
        server.names = list(NEAR.labels)
        oracle = words(server, NEAR)
        made = asked(NEAR, oracle)
        (answer,) = ask(oracle, made)
        (body,) = [request.body for request in server.requests]
    assert sorted(body["structured_outputs"]["choice"]) == sorted(NEAR.labels) and "logprob_token_ids" not in body
    shares = read(NEAR, made, answer)["label"]
    assert max(shares, key=shares.get) == "posterior" and shares["negative"] == pytest.approx(0.1 / 0.9, rel=0.01)
    assert shares["positive"] == pytest.approx(0.8 / 0.9 * 0.125, rel=0.01)


def test_without_log_probabilities_names_are_voted_on_and_codes_are_no_votes() -> None:
    with ChatServer("nologprobs") as server:
        server.names = list(TASK.labels)
        server.drawn = ["negative", "negative", "Positive", "A", "none"]
        oracle = words(server, logprobs="no")
        made = asked(TASK, oracle)
        (answer,) = ask(oracle, made)
        (body,) = [request.body for request in server.requests]
    assert body["response_format"]["json_schema"]["schema"]["properties"]["label"]["enum"] == sorted(TASK.labels)
    assert read(TASK, made, answer)["label"]["negative"] == pytest.approx(2.5 / 4.5) and "votes" in answer.flags


@pytest.mark.parametrize("votes", [False, True])
def test_a_code_as_an_answer_is_unreadable_and_paid_for(votes: bool) -> None:
    with ChatServer("nologprobs" if votes else "words", right="B") as server:
        server.names = [*TASK.labels, "B"]
        oracle = words(server, logprobs="no" if votes else "auto")
        made = asked(TASK, oracle)
        (answer,) = ask(oracle, made)
    assert _words.NO_NAME in answer.flags and answer.tokens_in > 0
    with pytest.raises(Unparsable):
        read(TASK, made, answer)


def test_prose_is_never_a_name() -> None:
    with ChatServer("prose") as server:
        oracle = words(server)
        made = asked(TASK, oracle)
        (answer,) = ask(oracle, made)
    with pytest.raises(Unparsable):
        read(TASK, made, answer)


def test_bodies_by_file_ask_for_whole_names_and_are_read_by_another_process() -> None:
    with ChatServer("words", right="negative", vllm=True) as server:
        server.names = list(TASK.labels)
        oracle = words(server)
        made = asked(TASK, oracle)
        ask(oracle, made)
        body = oracle.body(made)
        assert "logprob_token_ids" not in body and sorted(body["structured_outputs"]["choice"]) == sorted(TASK.labels)
        answer = words(server).read(made, completion(server, body))
    assert read(TASK, made, answer)["label"]["negative"] == pytest.approx(0.7 / 0.9)


def test_vllm_in_this_process_reads_names_by_token() -> None:
    entry = lambda text, value: SimpleNamespace(decoded_token=text, logprob=value)  # noqa: E731
    oracle = vllm.build(vllm.Settings("m", template="words_chat.j2"), context(TASK))
    made = asked(TASK, oracle)
    seen = {7: entry("pos", -0.5), 8: entry("neg", -1.5), 9: entry("\ufffd", -2.5), 11: entry(" pos", -2.0)}
    output = SimpleNamespace(
        outputs=[SimpleNamespace(token_ids=[7], logprobs=[seen], text="pos")], prompt_token_ids=[1]
    )
    known = {7: "positive", 11: "positive", 8: "negative", 9: "neither"}
    answer = vllm._answer(made, output, "m", known)
    total = math.exp(-0.5) + math.exp(-2) + math.exp(-1.5) + math.exp(-2.5)
    assert read(TASK, made, answer)["label"]["neither"] == pytest.approx(math.exp(-2.5) / total)
