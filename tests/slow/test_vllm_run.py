"""Whole jobs at a real vLLM server on the CPU: exact log-probabilities, a warm prefix, a killed engine, batch files."""

from __future__ import annotations

import asyncio
import csv
import json
import math
import random
import sqlite3
import threading
import urllib.request
from pathlib import Path

import pytest

from agent import ask, config, loop, plugins, prompt
from agent.oracles import openai
from agent.store import Store
from agent.types import Call, Context, Item, Part, Prompt, Task
from eval import _vllm

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

GUIDELINES = (
    "Positive: the writer is pleased with the film, would see it again or tells others to go. Negative: the writer is "
    "bored, annoyed or disappointed, or warns others. Where praise and blame are mixed, go by the last sentence."
)
TASK = Task("t", "single", {"negative": "", "positive": ""}, "Did the writer like this film?", GUIDELINES)
PRAISE = ("a moving story", "wonderful actors", "I laughed until I cried", "a small miracle", "see it twice")
BLAME = ("a dull story", "wooden actors", "I looked at my watch", "a waste of time", "far too long")


def texts(count: int, seed: int) -> list[str]:
    """Different short reviews, half of them praise."""
    draw = random.Random(seed)
    return [f"Film {seed}-{i}: {', '.join(draw.sample((PRAISE, BLAME)[i % 2], 3))}." for i in range(count)]


def build(url: str) -> openai.OpenAI:
    settings = openai.Settings(_vllm.MODEL, url, deadline=120.0, in_flight=16)
    return openai.build(settings, Context(TASK, plugins.load("kinds", "single").choices(TASK)))


def prompts(oracle: openai.OpenAI, chosen: list[str]) -> list[Prompt]:
    kind, recipe = plugins.load("kinds", "single"), prompt.recipe(TASK, "single", oracle.traits)
    items = [Item(text[:12], (Part("text/plain", text),)) for text in chosen]
    return [prompt.render(TASK, kind.question(TASK, item, 0), oracle.traits, recipe, 0) for item in items]


def test_three_hundred_items_with_exact_log_probabilities_and_a_warm_prefix(vllm: _vllm.Server, tmp_path: Path) -> None:
    oracle = build(vllm.url)
    made = prompts(oracle, texts(300, seed=1))
    jobs = [(Call(one.key, "recipe", one.question.item.id, "vllm"), one) for one in made]
    counters = ("vllm:prefix_cache_queries_total", "vllm:prefix_cache_hits_total")
    before = [vllm.counter(name) for name in counters]
    with Store.open(tmp_path / "ledger.db") as store:

        async def whole() -> ask.Asked:
            try:
                return await ask.ask(store, oracle, jobs)
            finally:
                await oracle.close()

        done = asyncio.run(whole())
        heard = store.answers_since(0)
    assert done.answered == 300 and len(heard) == 300
    for _, _, answer in heard:
        assert answer.logprobs is not None and set(answer.logprobs) == {"A", "B"} and "votes" not in answer.flags
        assert 0 < sum(map(math.exp, answer.logprobs.values())) <= 1 + 1e-6
        assert answer.served_model == _vllm.MODEL
    tokens, hits = (vllm.counter(name) - was for name, was in zip(counters, before, strict=True))
    assert tokens > 300 * 100, "the server counts every prompt token"
    assert hits >= 0.5 * tokens, f"{hits:.0f} of {tokens:.0f} prompt tokens came from the prefix cache"


def test_the_server_says_what_the_engine_in_this_process_says(vllm: _vllm.Server) -> None:
    """The same tokens through the same weights, here and there: log-probabilities equal to 0.02."""
    from agent.oracles._scorer import Form, Scorer

    oracle = build(vllm.url)
    made = prompts(oracle, texts(12, seed=2))

    async def every() -> list[dict[str, float]]:
        try:
            return [dict((await oracle.answer(one)).logprobs or {}) for one in made]
        finally:
            await oracle.close()

    there = asyncio.run(every())
    scorer = Scorer(str(vllm.folder), None, "float32", "cpu", 1)
    for one, said in zip(made, there, strict=True):
        messages = [{"role": message.role, "content": message.content} for message in one.messages]
        tokens = tuple(_tokenize(vllm, {"messages": messages, "add_generation_prompt": True}))
        for code in ("A", "B"):
            forms = [Form(tuple(scorer.encode(spelling, start=False))) for spelling in (code, f" {code}")]
            (row,), _ = scorer.score([tokens], forms)
            here = math.log(sum(math.exp(value) for value in row))
            assert said[code] == pytest.approx(here, abs=0.02)


def _tokenize(server: _vllm.Server, body: dict[str, object]) -> list[int]:
    data = json.dumps({"model": _vllm.MODEL, **body}).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.port}/tokenize", data, {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return list(json.load(answer)["tokens"])


TOML = """
[task]
question = "Did the writer like this film?"
guidelines = "{guidelines}"
labels = ["negative", "positive"]
[pool]
path = "pool.csv"
text = "text"
[[rung]]
oracle = "openai"
model = "{model}"
base_url = "{url}"
deadline = 60
in_flight = 8
"""


def project(folder: Path, url: str, count: int, seed: int) -> Path:
    with (folder / "pool.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["text"], *([text] for text in texts(count, seed))])
    toml = folder / "tutelage.toml"
    toml.write_text(TOML.format(url=url, guidelines=GUIDELINES, model=_vllm.MODEL))
    return toml


def answers(ledger: Path) -> list[tuple[str, str]]:
    """(key, status) of every attempt; nothing while there is no ledger."""
    if not ledger.exists():
        return []
    with sqlite3.connect(f"file:{ledger}?mode=ro", uri=True) as connection:
        try:
            return list(connection.execute("SELECT key, status FROM answers ORDER BY seq"))
        except sqlite3.OperationalError:
            return []


MANY = 600
"""Questions of the run whose engine is killed after thirty answers: a fast machine must not have them all by then."""


def test_an_engine_killed_in_mid_run_pauses_it_and_nothing_is_asked_twice(vllm: _vllm.Server, tmp_path: Path) -> None:
    toml = project(tmp_path, vllm.url, MANY, seed=3)
    ledger = tmp_path / "tutelage-run" / "ledger.db"
    over = threading.Event()

    def kill() -> None:
        while not over.wait(0.02):
            if len(answers(ledger)) >= 30:
                vllm.kill()
                return

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        first = loop.run(config.load(toml))
    finally:
        over.set()
        killer.join()
    assert first.code == 3, first
    assert vllm.url in first.reason, first.reason
    good = {key for key, status in answers(ledger) if status == "ok"}
    assert 30 <= len(good) < MANY
    vllm.start()
    second = loop.run(config.load(toml))
    assert second.code == 0, second
    after = answers(ledger)
    assert sum(status == "ok" for _, status in after) == MANY
    attempts = [key for key, _ in after]
    assert all(attempts.count(key) == len([1 for k, s in after if k == key and s != "ok"]) + 1 for key in good)
    ends = {key: max(i for i, (k, _) in enumerate(after) if k == key) for key in good}
    assert all(after[end][1] == "ok" for end in ends.values()), "no attempt follows a good answer"
