"""What a small LLM's labels are worth by the way it is asked: `python -m eval.asking [--quick]`.

SmolLM2-135M on sst2, ag_news and movie sentences, with 0 and 8 examples: plain generation, forced choice, label
log-likelihood, and the last with batch calibration. The two log-likelihood columns run the product's own path
(`prompts/words.j2`, oracle `small`, `agent.calibrate.batch`). Wording was chosen on train rows; figures are of a
seeded sample of the test rows. Examples: train rows, evenly over the labels, the same for all items of a cell.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from agent import calibrate, plugins, prompt
from agent.errors import Unparsable
from agent.oracles import small
from agent.oracles._scorer import Scorer
from agent.types import Answer, Context, Example, Item, Part, Prompt, Task, Value
from eval import _decode, _log, _sets

QUICK = 24
"""Rows a cell with --quick: enough to see that all runs, too few to compare."""

METHODS = ("plain generation", "forced choice", "label likelihood", "+ batch calibration")


@dataclass(frozen=True, slots=True)
class Wording:
    """How a set is asked about: the task's question, the words before text and label, and the labels' names."""

    question: str
    subject: str
    ask: str
    names: dict[str, str]


WORDINGS = {
    "sst2": Wording(
        "Does this sentence from a review speak badly or well of the movie?",
        "Review",
        "Sentiment",
        {"negative": "negative", "positive": "positive"},
    ),
    "ag_news": Wording(
        "",
        "Article",
        "Topic",
        {"World": "World", "Sports": "Sports", "Business": "Business", "Sci/Tech": "Technology"},
    ),
}
WORDINGS["movie"] = WORDINGS["sst2"]


@dataclass(frozen=True, slots=True)
class Cell:
    """One set with one number of examples. Accuracies are shares of `items`, in the order of METHODS."""

    set: str
    shots: int
    items: int
    accuracy: dict[str, float]
    unreadable: float
    seconds: float
    """What the log-likelihoods of all items took, loading not counted."""


def measure(name: str, shots: int, size: int, seed: int, settings: small.Settings, scorer: Scorer) -> Cell:
    """Ask about `size` test rows of a set in all four ways."""
    data, wording = _sets.load(name), WORDINGS[name]
    rows = _sets.sample(data.test, size, seed)
    task = Task(name, "single", {wording.names[label]: "" for label in data.labels}, wording.question)
    kind = plugins.load("kinds", "single")
    context = Context(task, kind.choices(task))
    oracle = small.build(settings, context)
    shown = tuple(Example(row.text, wording.names[row.label]) for row in _sets.examples(data, shots, seed))
    recipe = prompt.recipe(task, "single", oracle.traits, shown)
    items = [Item(str(number), (Part("text/plain", row.text),)) for number, row in enumerate(rows)]
    asked = [prompt.render(task, kind.question(task, item, 0), oracle.traits, recipe, 0, shown) for item in items]
    truth: list[Value] = [wording.names[row.label] for row in rows]
    oracle._scorer = scorer  # loaded once for all cells
    began = time.perf_counter()
    logprobs = asyncio.run(_likelihoods(oracle, asked, list(task.labels)))
    seconds = time.perf_counter() - began
    free, forced = _decoded(scorer, asked, list(task.labels), settings.batch)
    said = [_parsed(task, one, text) for one, text in zip(asked, free, strict=True)]
    names = list(task.labels)
    guesses: list[list[Value | None]] = [
        said,
        list(forced),
        [names[i] for i in logprobs.argmax(axis=1)],
        [names[i] for i in calibrate.batch(logprobs, context.layout).argmax(axis=1)],
    ]
    right = [float(np.mean([g == t for g, t in zip(guess, truth, strict=True)])) for guess in guesses]
    lost = sum(guess is None for guess in said) / len(said)
    return Cell(name, shots, len(rows), dict(zip(METHODS, right, strict=True)), lost, seconds)


async def _likelihoods(oracle: small.Small, asked: list[Prompt], names: list[str]) -> np.ndarray:
    """Raw log-probabilities (n, labels) through the oracle, with as many questions in flight as it takes."""
    gate = asyncio.Semaphore(oracle.traits.in_flight)

    async def one(it: Prompt) -> list[float]:
        async with gate:
            answer = await oracle.answer(it)
        by = {option.choice: (answer.logprobs or {})[option.code] for option in it.question.options}
        return [by[name] for name in names]

    rows = await asyncio.gather(*(one(it) for it in asked))
    return np.array(rows, dtype=np.float32)


def _decoded(scorer: Scorer, asked: list[Prompt], names: list[str], batch: int) -> tuple[list[str], list[str]]:
    """What is generated and what is chosen, in the order of the prompts."""
    prefix = scorer.encode(asked[0].prefix)
    texts = [scorer.encode(it.messages[0].content) for it in asked]
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    free, forced = [""] * len(texts), [""] * len(texts)
    for begin in range(0, len(order), batch):
        part = order[begin : begin + batch]
        written, chosen = _decode.generate_and_choose(scorer, [texts[i] for i in part], prefix, names)
        for i, one, other in zip(part, written, chosen, strict=True):
            free[i], forced[i] = one, other
    return free, forced


def _parsed(task: Task, asked: Prompt, text: str) -> Value | None:
    """The label that generated text names, read by the product's own parser; None if it names none."""
    kind = plugins.load("kinds", "single")
    try:
        read = kind.parse(task, asked.question, Answer(text))
    except Unparsable:
        return None
    return max(read["label"], key=read["label"].get) if read else None


def table(cells: list[Cell]) -> list[str]:
    """The figures as a Markdown table, standard errors in brackets."""
    lines = ["| set | examples | items | " + " | ".join(METHODS) + " | generated text is no label | items/s |"]
    lines.append("|---|---|---|" + "---|" * (len(METHODS) + 2))
    for cell in cells:
        shares = [f"{a:.3f} ({(a * (1 - a) / cell.items) ** 0.5:.3f})" for a in cell.accuracy.values()]
        speed = f"{cell.items / cell.seconds:.1f}"
        lines.append(
            f"| {cell.set} | {cell.shots} | {cell.items} | {' | '.join(shares)} | {cell.unreadable:.0%} | {speed} |"
        )
    return lines


def main() -> None:
    """Measure, print, and write down."""
    parser = argparse.ArgumentParser(prog="python -m eval.asking", description=__doc__)
    parser.add_argument("--sets", default="sst2,ag_news,movie", help="comma-separated")
    parser.add_argument("--shots", default="0,8", help="numbers of examples, comma-separated")
    parser.add_argument("--items", type=int, default=500, help="test rows a set")
    parser.add_argument("--seed", type=int, default=1, help="draws test rows and examples")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} rows a cell, to see that all runs; not logged")
    args = parser.parse_args()
    base = small.Settings(batch=args.batch, threads=args.threads, dtype=args.dtype)
    task = Task("none", "single", {"a": "", "b": ""})
    scorer = small.build(base, Context(task, plugins.load("kinds", "single").choices(task)))._load()
    cells = []
    for name in args.sets.split(","):
        for shots in map(int, args.shots.split(",")):
            w = WORDINGS[name]
            settings = replace(base, subject=w.subject, ask=w.ask)
            size = QUICK if args.quick else args.items
            cells.append(measure(name, shots, size, args.seed, settings, scorer))
            print("\n".join(table(cells[-1:])[0 if len(cells) == 1 else 2 :]), flush=True)
    if args.json:
        args.json.write_text(json.dumps([asdict(cell) for cell in cells], indent=1) + "\n")
    told = [f"Seed {args.seed}, dtype {args.dtype}; standard errors in brackets.", "", *table(cells)]
    _log.append("asking", told, quick=args.quick)


if __name__ == "__main__":
    main()
