"""Engines inside this process, side by side: `python -m eval.engines [--quick] [--json FILE]`.

The same weights (SmolLM2-135M, float32), the same prompts (SST-2 test rows behind five examples, a part that all
share), the same log-probabilities to read: the oracle `small`, `vllm.LLM` (with its prefix cache, in `.venv-vllm`), and
`transformers.generate` in batches. Each runs in its own process with 1 and with 2 threads; loading and a warm-up of 16
rows are not counted. Said for each: items per second and per CPU second, and how far its log-probabilities are from
`generate`'s, which knows no cache. "again": the same texts in other words for the labels.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agent.oracles import _weights
from eval import _log, _sets

ROOT = Path(__file__).resolve().parents[1]
VLLM = ROOT / ".venv-vllm"
LABELS, OTHERS = ("negative", "positive"), ("bad", "good")
GOALS = {"vllm": 1.0, "generate": 3.0}


@dataclass(frozen=True, slots=True)
class Run:
    """What one engine did with so many threads; rates are items a second, `apart` is in nats."""

    engine: str
    threads: int
    items: int
    per_second: float
    per_cpu_second: float
    again_per_second: float
    again_per_cpu_second: float
    load: float
    apart: float


def prompts(items: int, folder: str, seed: int) -> dict[str, Any]:
    """The prompts as text and as tokens, the part they share, and 16 other rows to warm up."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    data = _sets.load("sst2")
    shots = "".join(f"Review: {row.text}\nSentiment: {row.label}\n\n" for row in _sets.examples(data, 5, seed, 90))
    prefix = f"Does this sentence from a review speak badly or well of the movie?\n\n{shots}Review:"
    rows = []
    for row in _sets.sample(data.test, items + 16, seed):
        text = f"{prefix} {row.text.strip()}\nSentiment:"
        rows.append({"text": text, "item": row.text, "ids": tokenizer(text)["input_ids"]})
    given = {"folder": folder, "prefix": prefix, "labels": LABELS, "others": OTHERS}
    return given | {"warm": rows[:16], "rows": rows[16:], "shared": len(tokenizer(prefix)["input_ids"])}


def run(engine: str, threads: int, given: dict[str, Any]) -> dict[str, Any]:
    """What the worker found."""
    python = VLLM / "bin" / "python" if engine == "vllm" else Path(sys.executable)
    if not python.exists():
        raise FileNotFoundError(f"{python} is absent: run `make vllm-env`, or leave vLLM out with --engines")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "prompts.json"
        file.write_text(json.dumps(given | {"threads": threads}))
        done = subprocess.run(
            [python, ROOT / "eval" / "_engines.py", engine, file],
            env={**os.environ, **_surroundings(engine, threads)},
            capture_output=True,
            text=True,
            start_new_session=True,
            check=False,
        )
    if done.returncode != 0 or "FOUND" not in done.stdout:
        raise RuntimeError(f"{engine} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.split("FOUND")[1].splitlines()[0])
    return found


def _surroundings(engine: str, threads: int) -> dict[str, str]:
    found = {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    if engine == "vllm":
        cores = "0" if threads == 1 else f"0-{threads - 1}"
        found |= {"VLLM_NO_USAGE_STATS": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": cores}
        found["PATH"] = f"{VLLM / 'bin'}:{os.environ['PATH']}"
        if (VLLM / "lib" / "libiomp5.so").exists():
            found["LD_PRELOAD"] = str(VLLM / "lib" / "libiomp5.so")
    return found


def measure(engines: list[str], threads: list[int], given: dict[str, Any]) -> list[Run]:
    """Each engine with each number of threads."""
    runs, truth = [], None
    for count in threads:
        for engine in engines:
            found = run(engine, count, given)
            said = found["cold"]["logprobs"]
            truth = said if engine == "generate" else truth
            apart = max(abs(a - b) for x, y in zip(said, truth or said, strict=True) for a, b in zip(x, y, strict=True))
            n = len(given["rows"])
            cold, again = found["cold"], found["again"]
            rates = n / cold["seconds"], n / cold["cpu"], n / again["seconds"], n / again["cpu"]
            runs.append(Run(engine, count, n, *rates, found["load"], apart))
            print(f"  {engine} with {count} thread(s) is done", file=sys.stderr, flush=True)
    return runs


def table(runs: list[Run]) -> list[str]:
    """The runs as Markdown; ratios are ours to theirs in items per CPU second, of the same number of threads."""
    mine = {run.threads: run for run in runs if run.engine == "ours"}
    lines = [
        "| engine | threads | items/s | items/CPU s | again, items/CPU s | ours is | goal | apart |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for run in runs:
        ratio, goal = "", ""
        if run.engine in GOALS and run.threads in mine:
            ratio = f"{mine[run.threads].per_cpu_second / run.per_cpu_second:.2f} ×"
            goal = f"≥ {GOALS[run.engine]:.0f} ×"
        lines.append(
            f"| {run.engine} | {run.threads} | {run.per_second:.1f} | {run.per_cpu_second:.1f}"
            f" | {run.again_per_cpu_second:.1f} | {ratio} | {goal} | {run.apart:.4f} |"
        )
    return lines


def main() -> None:
    """Measure, print, log."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rows, one thread, without vLLM")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--engines", default="generate,ours,vllm")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--compiled", action="store_true", help="let vLLM compile the model first (3 minutes)")
    args = parser.parse_args()
    folder = _weights.load(_weights.find("auto"))
    given = prompts(32 if args.quick else args.items, folder, 7) | {"eager": not args.compiled}
    lengths = [len(row["ids"]) for row in given["rows"]]
    engines = ["generate", "ours"] if args.quick else args.engines.split(",")
    threads = [1] if args.quick else [int(count) for count in args.threads.split(",")]
    runs = measure(engines, threads, given)
    mean, how = sum(lengths) / len(lengths), "compiled" if args.compiled else "eager"
    about = (
        f"{len(lengths)} rows of {mean:.0f} tokens on average, {given['shared']} of them shared; float32; vLLM {how}."
    )
    lines = [about, "", *table(runs)]
    print("\n".join(lines))
    if args.json:
        args.json.write_text(json.dumps([asdict(run) for run in runs], indent=1))
    _log.append("engines", lines, args.quick)


if __name__ == "__main__":
    main()
