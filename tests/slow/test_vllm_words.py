"""Labels read by their names from a real vLLM server on the CPU, with SmolLM2."""

from __future__ import annotations

import asyncio
import math

import pytest
from oracle_room import read

from agent import plugins, prompt
from agent.oracles import openai
from agent.types import Answer, Context, Item, Part, Prompt, Task
from eval import _vllm

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

APART = Task("t", "single", {"negative": "", "positive": ""}, "What is the sentiment of this movie review?")
NEAR = Task("t", "single", {"movie": "", "movie review": "", "music": ""}, "What is this about?")
TEXTS = ["A wonderful, moving film.", "Dull, stupid and far too long.", "I laughed and cried.", "A waste of time."]


def asked(task: Task, server: _vllm.Server, template: str, exact: bool) -> list[tuple[Prompt, Answer]]:
    settings = openai.Settings("smollm2", server.url, deadline=120.0, template=template)
    oracle = openai.build(settings, Context(task, plugins.load("kinds", task.kind).choices(task)))
    if not exact:
        oracle.wire.without.add("logprob_token_ids")
    recipe = prompt.recipe(task, task.kind, oracle.traits)
    items = [Item(text[:20], (Part("text/plain", text),)) for text in TEXTS]
    questions = [plugins.load("kinds", task.kind).question(task, item, 0) for item in items]
    prompts = [prompt.render(task, question, oracle.traits, recipe, 0) for question in questions]

    async def run() -> list[Answer]:
        try:
            return list(await asyncio.gather(*map(oracle.answer, prompts)))
        finally:
            await oracle.close()

    return list(zip(prompts, asyncio.run(run()), strict=True))


@pytest.mark.parametrize("template", ["words_chat.j2", "words.j2"])
def test_first_tokens_by_number_and_the_answers_way_agree(vllm: _vllm.Server, template: str) -> None:
    for (made, one), (_, other) in zip(
        asked(APART, vllm, template, True), asked(APART, vllm, template, False), strict=True
    ):
        assert one.tokens_out == 1 and one.logprobs is not None and other.logprobs is not None
        assert 0 < sum(map(math.exp, one.logprobs.values())) <= 1 + 1e-6
        odds = [answer.logprobs["A"] - answer.logprobs["B"] for answer in (one, other)]
        # The list of a constrained answer holds other beginnings of a name too ("pos", "p").
        assert odds[0] == pytest.approx(odds[1], abs=0.3)
        assert set(read(APART, made, one)["label"]) == set(APART.labels)


def test_names_of_which_one_begins_another(vllm: _vllm.Server) -> None:
    for made, answer in asked(NEAR, vllm, "words_chat.j2", True):
        shares = read(NEAR, made, answer)["label"]
        assert answer.tokens_out > 1 or answer.text in NEAR.labels
        assert answer.text in NEAR.labels and max(shares, key=lambda name: shares[name]) == answer.text
