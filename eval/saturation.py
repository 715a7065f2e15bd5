"""Do we keep a real vLLM server as busy as it can be kept? `python -m eval.saturation`.

A vLLM server on this machine's CPU answers labelling questions: once from a closed-loop raw client (aiohttp workers
that post ready-made bodies and throw the answers away: what the server can do), once from `ask` with a ledger on disk.
Same prompts in form and length, different texts, so that no pass is served from another's cache; the order of the two
is turned about from pair to pair. Goal: at least 95 % of the raw client's items a second.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agent import ask, plugins, prompt
from agent.oracles import openai
from agent.store import Store
from agent.types import Call, Context, Item, Part, Prompt, Task
from eval import _log, _sets, _vllm

GOAL = 0.95
IN_FLIGHT = 32
TASK = Task("sst2", "single", {"negative": "", "positive": ""}, "What is the sentiment of this movie review?")


def build(url: str) -> openai.OpenAI:
    """The oracle as a user would have it."""
    settings = openai.Settings(_vllm.MODEL, url, in_flight=IN_FLIGHT, deadline=120.0)
    return openai.build(settings, Context(TASK, plugins.load("kinds", "single").choices(TASK)))


def prompts(oracle: openai.OpenAI, texts: Sequence[str]) -> list[Prompt]:
    """One question a text."""
    kind, recipe = plugins.load("kinds", "single"), prompt.recipe(TASK, "single", oracle.traits)
    items = [Item(prompt.key(recipe, text, 0), (Part("text/plain", text),)) for text in texts]
    return [prompt.render(TASK, kind.question(TASK, item, 0), oracle.traits, recipe, 0) for item in items]


async def raw(url: str, bodies: Sequence[dict[str, Any]]) -> float:
    """Items a second of workers that only post and wait."""
    import aiohttp

    left = [json.dumps(body).encode() for body in bodies]
    headers = {"content-type": "application/json"}
    async with aiohttp.ClientSession() as session:

        async def work() -> None:
            while left:
                async with session.post(f"{url}/chat/completions", data=left.pop(), headers=headers) as answer:
                    await answer.read()
                    answer.raise_for_status()

        began = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))
        return len(bodies) / (time.perf_counter() - began)


async def ours(url: str, texts: Sequence[str]) -> float:
    """Items a second of `ask`, every answer durable."""
    oracle = build(url)
    recipe = prompt.recipe(TASK, "single", oracle.traits)
    jobs = [(Call(made.key, recipe, made.question.item.id, "vllm"), made) for made in prompts(oracle, texts)]
    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder) / "ledger.db") as store:
        began = time.perf_counter()
        done = await ask.ask(store, oracle, jobs)
        seconds = time.perf_counter() - began
        assert done.answered == len(texts), done
        await oracle.close()
    return len(texts) / seconds


async def compare(url: str, size: int, pairs: int) -> list[tuple[float, float]]:
    """(raw, ours) in items a second, pair by pair."""
    rows = _sets.sample(_sets.load("sst2").test, 2 * size * pairs + 16, 3)
    texts = [row.text for row in rows]
    await ours(url, texts[-16:])  # warm: kernels, prefix cache
    found = []
    for number in range(pairs):
        first, second = (texts[2 * number * size :][k * size : (k + 1) * size] for k in (0, 1))
        oracle = build(url)
        await oracle.answer(prompts(oracle, texts[-1:])[0])  # learns the codes' tokens: the bodies are those of `ask`
        bodies = [oracle.body(made) for made in prompts(oracle, first)]
        await oracle.close()
        if number % 2:
            mine = await ours(url, second)
            found.append((await raw(url, bodies), mine))
        else:
            theirs = await raw(url, bodies)
            found.append((theirs, await ours(url, second)))
    return found


def main() -> None:
    """Measure, print, log."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one short pair")
    parser.add_argument("--json", metavar="FILE", help="write the figures there, too")
    options = parser.parse_args()
    size, pairs = (24, 1) if options.quick else (150, 4)
    with tempfile.TemporaryDirectory() as folder, _vllm.serving(Path(folder) / "log") as server:
        asked, hit = (server.counter(f"vllm:prefix_cache_{what}_total") for what in ("queries", "hits"))
        found = asyncio.run(compare(server.url, size, pairs))
        asked = server.counter("vllm:prefix_cache_queries_total") - asked
        hit = server.counter("vllm:prefix_cache_hits_total") - hit
    ratios = [mine / theirs for theirs, mine in found]
    lines = ["| pair | raw client, items/s | tutelage, items/s | ratio |", "|---|---|---|---|"]
    lines += [f"| {n + 1} | {a:.2f} | {b:.2f} | {b / a:.3f} |" for n, (a, b) in enumerate(found)]
    lines += ["", f"median ratio {statistics.median(ratios):.3f} (goal ≥ {GOAL}), {size} items a pass, {IN_FLIGHT} in"]
    lines[-1] += f" flight; prefix cache hits {hit / max(asked, 1):.0%} of prompt tokens (the server's own count)"
    print("\n".join(lines))
    if options.json:
        Path(options.json).write_text(json.dumps({"pairs": found, "ratios": ratios, "hits": hit, "tokens": asked}))
    _log.append("saturation", lines, options.quick)


if __name__ == "__main__":
    main()
