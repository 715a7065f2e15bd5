"""What the tests of oracles share: two tasks, a prompt as a run makes it, asking in one event loop, reading."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from servers.chat import ChatServer

from agent import plugins, prompt
from agent.oracles import openai
from agent.types import Answer, Context, Item, Oracle, Part, Prompt, Task, Value

SINGLE = Task("t", "single", {"good": "", "bad": "", "so so": ""}, "Is it kind?")
MULTI = Task("t", "multi", {"rude": "", "toxic": "", "spam": ""})
TEXT = "SENTINEL words to label"


def context(task: Task) -> Context:
    return Context(task, plugins.load("kinds", task.kind).choices(task))


def asked(task: Task, oracle: Oracle, name: str = "i", sample: int = 0, gold: Value | None = None) -> Prompt:
    item = Item(name, (Part("text/plain", TEXT),), gold, name)
    recipe = prompt.recipe(task, task.kind, oracle.traits)
    question = plugins.load("kinds", task.kind).question(task, item, sample)
    return prompt.render(task, question, oracle.traits, recipe, sample)


def ask(oracle: Oracle, *prompts: Prompt) -> list[Answer]:
    """All answers, one after the other, in one event loop."""

    async def run() -> list[Answer]:
        try:
            return [await oracle.answer(p) for p in prompts]
        finally:
            await oracle.close()

    return asyncio.run(run())


def read(task: Task, made: Prompt, answer: Answer):
    return plugins.load("kinds", task.kind).parse(task, made.question, answer)


def chat(server: ChatServer, **more: object) -> openai.OpenAI:
    settings = replace(openai.Settings("tiny", server.url, in_flight=4, deadline=5.0), **more)
    return openai.build(settings, context(SINGLE))


def one(server: ChatServer, task: Task = SINGLE, **more: object):
    oracle = chat(server, **more)
    made = asked(task, oracle)
    return made, ask(oracle, made)[0]
