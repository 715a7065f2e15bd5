"""Ours, in two lengths: `ask` (prompts, reservations, answers read, all durable) and the whole of `tutelage run`.

Both keep the ledger on disk with synchronous=FULL; the run also takes the pool in, decides and writes nothing else.
"""

from __future__ import annotations

import asyncio
import csv
import hashlib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from agent import ask, config, loop, plugins, prompt
from agent.oracles import openai
from agent.store import Store
from agent.types import Answer, Call, Context, Item, Part, Prompt, Task
from eval.peers._measure import IN_FLIGHT, LABELS, measured, texts

TASK = Task("t", "single", dict.fromkeys(LABELS, ""), "Is the writer of this text pleased with what was bought?")
TOML = """
[task]
question = "Is the writer of this text pleased with what was bought?"
labels = ["positive", "negative"]
[pool]
path = "pool.csv"
text = "text"
[goal]
accuracy = 0.95
[[rung]]
oracle = "openai"
model = "codes"
base_url = "{url}"
in_flight = {in_flight}
"""


def asked(url: str, count: int) -> Sequence[str]:
    """Questions put by `ask` to a ledger on disk; the labels its answers are read as."""
    kind = plugins.load("kinds", "single")
    settings = openai.Settings(model="codes", base_url=url, in_flight=IN_FLIGHT)
    oracle = openai.build(settings, Context(TASK, kind.choices(TASK)))
    recipe = prompt.recipe(TASK, "single", oracle.traits)
    said: list[str] = []

    def job(number: int, text: str) -> tuple[Call, Prompt]:
        item = Item(hashlib.sha256(str(number).encode()).hexdigest(), (Part("text/plain", text),))
        made = prompt.render(TASK, kind.question(TASK, item, 0), oracle.traits, recipe, 0)
        most = oracle.most(made)
        return Call(made.key, recipe, item.id, "codes", usd=most.usd, tokens=most.tokens, requests=most.requests), made

    def read(call: Call, made: Prompt, answer: Answer) -> None:
        kind.parse(TASK, made.question, answer)
        said.append("positive")  # it could be read: the server answers letter A, whatever it stands for

    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder) / "ledger.db") as store:
        jobs = [job(number, text) for number, text in enumerate(texts(count))]

        async def whole() -> ask.Asked:
            try:
                return await ask.ask(store, oracle, jobs, read=read)
            finally:
                await oracle.close()

        done = asyncio.run(whole())
        assert done.answered == count == store.spend().answers, done
    return said


def run(url: str, count: int) -> Sequence[str]:
    """`tutelage run` on a CSV file: take in, ask, decide."""
    with tempfile.TemporaryDirectory() as folder:
        with (Path(folder) / "pool.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["text"], *([text] for text in texts(count))])
        toml = Path(folder) / "tutelage.toml"
        toml.write_text(TOML.format(url=url, in_flight=IN_FLIGHT))
        finished = loop.run(config.load(toml))
        assert finished.code == 0, finished
    return ["positive"] * (sum(finished.summary["accepted"].values()) + int(finished.summary["unsure"]))


if __name__ == "__main__":
    which = {"ask": asked, "run": run}[sys.argv.pop(1)]
    measured(which)
