"""Recorded GPT-4 answers on banking77: a ladder with a few people, beside the LLM alone and people at random.

    python -m eval.banking77_ladder [--quick] [--json FILE]

Pool: the 3,080 test items, 77 labels. LLM: GPT-4's recorded answers (hard votes, no confidence). Student: MiniLM and
a linear head. People: the gold column. Each run is the product's own loop: in (b) the router chooses the items people
see, after a pilot; in (c) the same number is drawn at random. Accuracy is against gold, over all labels.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

from agent import config as settings
from agent import export, loop
from agent.pool import Pool
from agent.store import Store
from eval import _log, _sets

SECONDS = 6.0


def prepare(folder: Path, items: int | None) -> tuple[int, float]:
    """The pool and the recorded votes as files of the project; how many items, and how many GPT-4 has right."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    source = _sets.data_folder() / "banking77"
    table = pq.read_table(source / "data.parquet").to_pylist()
    rows = [r for r in table if r["part"] == "test"][:items]
    kept = {r["id"] for r in rows}
    votes = [
        {"id": str(v["id"]), "label": v["label"]}
        for v in pq.read_table(source / "votes.parquet").to_pylist()
        if v["id"] in kept and v["model"] == "gpt-4" and v["prompt"] == "fewshot_ocats"
    ]
    pool = [{"id": str(r["id"]), "text": r["text"], "label": r["label"]} for r in rows]
    pq.write_table(pa.Table.from_pylist(pool), folder / "pool.parquet")
    pq.write_table(pa.Table.from_pylist([v for v in votes if v["label"] is not None]), folder / "votes.parquet")
    labels = sorted({r["label"] for r in table})
    names = "\n".join(f'{json.dumps(name)} = "{name.replace("_", " ").replace("?", "")}"' for name in labels)
    (folder / "tutelage.toml").write_text(
        f"""
[task]
question = "What does the customer of the bank want?"
[task.labels]
{names}
[pool]
path = "pool.parquet"
text = ["text"]
id = "id"
gold = "label"
[[rung]]
student = "linear"
[[rung]]
oracle = "replay"
path = "votes.parquet"
[[rung]]
oracle = "person"
seconds = {SECONDS}
people = "gold"
"""
    )
    said = {v["id"]: v["label"] for v in votes}
    return len(pool), sum(said.get(r["id"]) == r["label"] for r in pool) / len(pool)


def once(folder: Path, n: int, share: float, at_random: bool, seed: int) -> dict[str, float]:
    """One run; accuracies of delivered labels, of the student alone and of the LLM alone."""
    total = round(share * n)
    pilot = total if at_random else max(20, total // 4)
    name = f"run-{share}-{at_random}-{seed}"
    config = settings.load(
        folder / "tutelage.toml",
        [
            f"run.dir={name}",
            f"run.seed={seed}",
            f"goal.person_minutes={(total + 0.5) * SECONDS / 60}",
            f"goal.pilot={pilot}",
            "goal.audit=0",
        ],
    )
    cache = folder / "cache"
    if cache.exists():
        shutil.copytree(cache, config.folder / "cache")
    loop.run(config)
    if not cache.exists() and (config.folder / "cache").exists():
        shutil.copytree(config.folder / "cache", cache)
    store = Store.open(config.store_url)
    with store:
        pool = Pool(config.folder / "pool", store.shards())
        table = export.labels(config, store, pool, text=False)
        gold = pool.gold()
        alone = next(o["gold"] for o in reversed(store.outcomes()) if o.get("final"))
        people = sum(u.answers for who, u in store.spend().by.items() if who == "person")
    shutil.rmtree(config.folder)
    right = sum(a == b for a, b in zip(table["label"], gold, strict=True)) / n
    out = {"final": right, "people": people / n}
    out.update({who: k / m for who, (k, m) in alone.items() if m})
    return out


def interval(differences: list[float]) -> tuple[float, float]:
    """Mean of paired differences and the half-width of its 95 % t-interval."""
    from scipy.stats import t

    half = t.ppf(0.975, len(differences) - 1) * statistics.stdev(differences) / math.sqrt(len(differences))
    return statistics.mean(differences), float(half)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="200 items, 2 seeds, one share")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    seeds = range(2 if arguments.quick else arguments.seeds)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        n, alone = prepare(folder, 200 if arguments.quick else None)
        for share in (0.10,) if arguments.quick else (0.05, 0.10):
            ladder = [once(folder, n, share, False, seed) for seed in seeds]
            chance = [once(folder, n, share, True, seed) for seed in seeds]
            rows.append({"share": share, "ladder": ladder, "random": chance})
    lines = table(rows, n, len(seeds), alone)
    print("\n".join(lines))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))
    _log.append("banking77_ladder", lines, quick=arguments.quick)


def table(rows: list[dict[str, Any]], n: int, seeds: int, alone: float) -> list[str]:
    """The table, in Markdown."""

    def mean(runs: list[dict[str, float]], key: str) -> str:
        values = [run[key] for run in runs if key in run]
        return (
            f"{statistics.mean(values):.4f} ± {statistics.stdev(values):.4f}" if len(values) > 1 else f"{values[0]:.4f}"
        )

    lines = [
        f"banking77, {n:,} items, {seeds} seeds, accuracy against gold (mean ± sd over seeds)",
        "",
        "| what | people see | delivered labels | student alone |",
        "| --- | --- | --- | --- |",
        f"| (a) GPT-4's labels alone, all items | 0 % | {alone:.4f} | |",
    ]
    for row in rows:
        share = f"{100 * row['share']:.0f} %"
        lines.append(f"| (b) ladder | {share} | {mean(row['ladder'], 'final')} | {mean(row['ladder'], 'student')} |")
        lines.append(
            f"| (c) people at random | {share} | {mean(row['random'], 'final')} | {mean(row['random'], 'student')} |"
        )
        plain = row["share"] + (1 - row["share"]) * alone
        lines.append(f"| (c') GPT-4's labels, people's at random in their place | {share} | {plain:.4f} | |")
        middle, half = interval([b["final"] - c["final"] for b, c in zip(row["ladder"], row["random"], strict=True)])
        lines.append(f"| (b) − (c), 95 % t-interval | {share} | {middle:+.4f} ± {half:.4f} | |")
    return lines


if __name__ == "__main__":
    main()
