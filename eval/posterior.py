"""The posterior's cost and honesty: `python -m eval.posterior`.

Three parts in one table: CPU seconds and memory of a million items (20 choices, 5 votes each); Dawid-Skene beside
crowd-kit's on the same votes (CPU seconds of both in this run); log-loss and calibration error (ECE, ten bins of equal
size) of the posterior by the number of people's labels shown.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agent import aggregate, posterior
from agent.types import Layout
from eval import _log
from eval._ballots import Ballot, load
from eval.votes import PYTHON, peer

SHOWN = (0, 20, 50, 150, 300)
SETS = ("llm_alt_cebab_aspects", "llm_css_politeness", "llm_babe", "llm_fpb", "votes_alt_summeval")
CROWD = ("llm_babe", "votes_alt_summeval")
SEEDS, QUICK = 20, 3
SIZE = {False: 1_000_000, True: 100_000}


def million(n: int) -> dict[str, float]:
    """CPU seconds and the greatest memory (GB) of a fresh process that pools `n` items × 20 choices × 5 votes."""
    code = f"from eval.posterior import one_pool; one_pool({n})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def crowd(n: int, choices: int, many: int, seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Votes (n, many) of annotators that are right .8, .7, … of the time, and the truth (n,)."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, choices, n)
    right = 0.8 - 0.1 * np.arange(many)
    votes = np.where(rng.random((n, many)) < right, truth[:, None], rng.integers(0, choices, (n, many)))
    return votes, truth


def one_pool(n: int) -> None:
    """What `million` runs: 300 answers of people, everything from votes to posterior."""
    votes, truth = crowd(n, 20, 5)
    layout = Layout(("label",), (tuple(map(str, range(20))),))
    rows = np.random.default_rng(1).choice(n, 300, replace=False)
    begun = time.process_time()
    sources = [posterior.cast(str(j), votes[:, j], layout) for j in range(5)]
    found = posterior.pool(sources, rows, np.eye(20, dtype=np.float32)[truth[rows]], layout)
    seconds = time.process_time() - begun
    right = float((found.posterior.argmax(axis=1) == truth).mean())
    gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"items": n, "cpu_s": seconds, "gb": gigabytes, "right": right}))


def dawid_skene(ballot: Ballot, folder: Path) -> dict[str, float] | None:
    """CPU seconds and accuracy of both on the same votes; None without crowd-kit. Ours is the best of five."""
    theirs = peer(ballot, "ds", folder)
    if theirs is None:
        return None
    best = np.inf
    for _ in range(5):
        begun = time.process_time()
        said = aggregate.dawid_skene(ballot.votes, len(ballot.labels))[0]
        best = min(best, time.process_time() - begun)
    seconds = float(np.load(folder / f"{ballot.name}.ds.npz")["seconds"])
    mine = float((said.argmax(axis=1) == ballot.truth).mean())
    return {
        "ours_s": best,
        "theirs_s": seconds,
        "ratio": seconds / best,
        "ours": mine,
        "theirs": float((theirs == ballot.truth).mean()),
    }


def calibration(ballot: Ballot, shown: int, seeds: int) -> dict[str, tuple[float, float]]:
    """Mean and sd over draws of log-loss, ECE of the posterior and of the recalibrated error, accuracy; on the rest."""
    layout = Layout(("label",), (ballot.labels,))
    sources = [posterior.cast(name, ballot.votes[:, j], layout) for j, name in enumerate(ballot.annotators)]
    one_hot = np.eye(len(ballot.labels), dtype=np.float32)[ballot.truth]
    found: dict[str, list[float]] = {}
    for seed in range(seeds if shown else 1):
        rows = np.random.default_rng(seed).choice(len(ballot.truth), shown, replace=False)
        rest = np.setdiff1d(np.arange(len(ballot.truth)), rows)
        pooled = posterior.pool(sources, rows, one_hot[rows], layout, seed=seed)
        p, truth = pooled.posterior[rest], ballot.truth[rest]
        right = (p.argmax(axis=1) == truth).astype(float)
        cells = {
            "right": 100 * right.mean(),
            "log-loss": -np.log(np.maximum(p[np.arange(len(rest)), truth], 1e-6)).mean(),
            "ECE": 100 * ece(p.max(axis=1).astype(float), right),
            "ECE of error": 100 * ece(1 - pooled.error[rest], right),
        }
        for name, value in cells.items():
            found.setdefault(name, []).append(float(value))
    return {name: (float(np.mean(all_)), float(np.std(all_))) for name, all_ in found.items()}


def ece(sure: NDArray[np.float64], right: NDArray[np.float64], bins: int = 10) -> float:
    """Expected calibration error over bins of equal size (Guo et al. 2017)."""
    order = np.argsort(sure, kind="stable")
    return float(
        sum(abs(sure[part].mean() - right[part].mean()) * len(part) for part in np.array_split(order, bins)) / len(sure)
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the items, few draws")
    parser.add_argument("--json", type=Path, help="write the figures there")
    said = parser.parse_args(argv)
    out: dict[str, object] = {}
    big = million(SIZE[said.quick])
    cost = f"{big['cpu_s']:.1f} CPU s, {big['gb']:.2f} GB, {100 * big['right']:.1f} % right"
    lines = ["| what | measured | goal |", "| --- | --- | --- |"]
    lines.append(f"| posterior of {big['items']:,.0f} items × 20 choices × 5 votes | {cost} | 20 CPU s, 4 GB |")
    out["million"] = big
    votes, truth = crowd(20_000 if said.quick else 200_000, 5, 5)
    made = Ballot("simulated", tuple("abcde"), tuple("vwxyz"), votes, truth, np.zeros(votes.shape), ("",) * len(truth))
    with tempfile.TemporaryDirectory() as scratch:
        for ballot in [made, *(load(name) for name in CROWD)] if PYTHON.exists() else []:
            found = dawid_skene(ballot, Path(scratch))
            if found is None:
                continue
            out[f"ds {ballot.name}"] = found
            cost = f"{found['ours_s']:.3f} against {found['theirs_s']:.3f} CPU s: {found['ratio']:.0f} ×"
            hits = f"right {100 * found['ours']:.1f} and {100 * found['theirs']:.1f} %"
            size = f"{len(ballot.truth):,} × {ballot.votes.shape[1]}"
            lines.append(f"| Dawid–Skene, {ballot.name} ({size}) | {cost}; {hits} | 10 × at equal accuracy |")
    seeds = QUICK if said.quick else SEEDS
    for name in SETS:
        ballot = load(name)
        for shown in SHOWN:
            cell = calibration(ballot, shown, seeds)
            out[f"{name} {shown}"] = cell
            told = ", ".join(f"{key} {mean:.3g} ± {sd:.2g}" for key, (mean, sd) in cell.items())
            lines.append(f"| {name}, {shown} people's labels | {told} | |")
            print(lines[-1], flush=True)
    lines += ["", f"Calibration: mean ± sd over {seeds} draws (one with no labels), on items not shown; ECE in points."]
    print("\n".join(lines))
    if said.json:
        said.json.write_text(json.dumps(out, indent=1) + "\n")
    _log.append("posterior", lines, said.quick)


if __name__ == "__main__":
    main()
