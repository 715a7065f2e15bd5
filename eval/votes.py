"""Votes of LLMs and fifty people's labels: `python -m eval.votes`.

Fifty items of a set are drawn at random and their people's labels shown; accuracy is measured on all others, over 200
draws. Beside ours: majority (ties drawn), the annotator that was right oftenest on the fifty, and crowd-kit's
Dawid-Skene, MACE and GLAD, which use no people's labels and so are computed once a set (`make peers`).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agent import posterior
from agent.types import Layout
from eval import _log
from eval._ballots import Ballot, load, majority

ALT = ("llm_alt_cebab_aspects", "llm_alt_mtbench", "votes_alt_10k_prompts", "votes_alt_summeval")
TASKS = "discourse emotion figurative humor politeness stance_trump tempowic toxicity_forecast"
CSS = tuple(f"llm_css_{name}" for name in TASKS.split())
SETS = (*ALT, *CSS, "llm_babe", "llm_fpb")
TUNED = (
    "llm_alt_mtbench",
    "llm_css_discourse",
    "llm_css_figurative",
    "llm_css_humor",
    "llm_css_tempowic",
    "votes_alt_10k_prompts",
)
"""Looked at, with llm_mmlu and toe_preference and simulated worlds, when the spreads of agent/posterior were chosen."""
PEERS = {"ds": "Dawid–Skene", "mace": "MACE", "glad": "GLAD"}
OURS = ("ours, 0", "ours, 50")
PEOPLE, SEEDS, QUICK = 50, 200, 8
ROOT = Path(__file__).parent.parent
PYTHON = ROOT / ".venv-peer-crowdkit" / "bin" / "python"

Row = dict[str, tuple[float, float] | None]


def measure(ballot: Ballot, seeds: int, peers: Mapping[str, NDArray[np.int64]]) -> Row:
    """Column -> mean and standard deviation over draws of the accuracy, in percent."""
    n = len(ballot.truth)
    layout = Layout(("label",), (ballot.labels,))
    sources = [posterior.cast(name, ballot.votes[:, j], layout) for j, name in enumerate(ballot.annotators)]
    one_hot = np.eye(len(ballot.labels), dtype=np.float32)[ballot.truth]
    none = np.zeros(0, np.int64)
    bare = posterior.pool(sources, none, one_hot[none], layout).posterior.argmax(axis=1)
    fixed = {"majority": majority(ballot.votes, len(ballot.labels))[np.arange(n), ballot.truth]}
    fixed |= {OURS[0]: (bare == ballot.truth).astype(float)}
    fixed |= {name: (said == ballot.truth).astype(float) for name, said in peers.items()}
    right = (ballot.votes == ballot.truth[:, None]).astype(float)
    found: dict[str, list[float]] = {}
    for seed in range(seeds):
        rows = np.random.default_rng(seed).choice(n, PEOPLE, replace=False)
        rest = np.setdiff1d(np.arange(n), rows)
        for name, hits in fixed.items():
            found.setdefault(name, []).append(hits[rest].mean())
        score = right[rows].sum(axis=0)
        found.setdefault("best single", []).append(right[np.ix_(rest, np.flatnonzero(score == score.max()))].mean())
        said = posterior.pool(sources, rows, one_hot[rows], layout, seed=seed).posterior.argmax(axis=1)
        found.setdefault(OURS[1], []).append(float((said == ballot.truth)[rest].mean()))
    return {name: (100 * float(np.mean(all_)), 100 * float(np.std(all_))) for name, all_ in found.items()}


def peer(ballot: Ballot, method: str, folder: Path, kept: bool = False) -> NDArray[np.int64] | None:
    """What a peer says of every item, once for all draws; None where its environment is absent, it failed, or it has
    not been asked yet and only what was `kept` counts."""
    out = folder / f"{ballot.name}.{method}.npz"
    if not out.exists():
        if kept or not PYTHON.exists():
            return None
        votes = folder / f"{ballot.name}.votes.npz"
        np.savez(votes, votes=ballot.votes)
        command = [str(PYTHON), str(ROOT / "eval" / "peers" / "crowd.py"), str(votes), str(out), method]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            print(f"{method} on {ballot.name} failed: {done.stderr.strip().splitlines()[-1:]}")
            return None
    labels: NDArray[np.int64] = np.load(out)["labels"]
    return labels


def table(rows: Mapping[str, Row], seeds: int) -> list[str]:
    """The table, its goals and how it came about, as lines of Markdown."""
    columns = ["majority", "best single", *PEERS.values(), *OURS]
    out = [
        f"Accuracy in percent against people's (or the set's gold) label of the items not shown; {PEOPLE} shown,",
        f"mean ± sd over {seeds} draws. ° looked at when ours was tuned.",
        "",
        "| set | items | LLMs | " + " | ".join(columns) + " | gain over majority | over the better of the two |",
        "| --- |" + " ---: |" * (len(columns) + 4),
    ]
    gains, edges = {}, {}
    for name, row in rows.items():
        plain = {column: cell[0] for column, cell in row.items() if cell}
        gains[name] = plain[OURS[1]] - plain["majority"]
        edges[name] = plain[OURS[1]] - max(plain["majority"], plain["best single"])
        cells = [f"{cell[0]:.1f} ± {cell[1]:.1f}" if (cell := row.get(c)) else "–" for c in columns]
        size = [f"{value[0]:,.0f}" for key in ("items", "annotators") if (value := row[key])]
        mark = "°" if name in TUNED else ""
        out.append(f"| {name}{mark} | {' | '.join([*size, *cells])} | {gains[name]:+.1f} | {edges[name]:+.1f} |")
    alt = [gains[name] for name in ALT if name in gains]
    unseen = [name for name in rows if name not in TUNED]
    if not unseen or not alt:
        return out
    fresh = [gains[name] for name in unseen if name in ALT]
    worst = min(edges, key=edges.__getitem__)
    least = min(unseen, key=edges.__getitem__)
    return out + _words(alt, fresh, (worst, edges[worst]), (least, edges[least]), list(edges.values()))


def _words(
    alt: list[float], fresh: list[float], worst: tuple[str, float], least: tuple[str, float], edges: list[float]
) -> list[str]:
    """The goals, and what was tuned where."""
    tuned = ", ".join(TUNED)
    new = f"{np.mean(fresh):+.2f}" if fresh else "–"
    return [
        "",
        f"Mean gain over majority on the Alt-Test sets: {np.mean(alt):+.2f} (goal +7); on those not tuned on: {new}.",
        f"Worst against the better of majority and best single: {worst[1]:+.2f} on {worst[0]} (goal −0.5); among sets",
        f"not tuned on: {least[1]:+.2f} on {least[0]}. Mean over all sets: {np.mean(edges):+.2f}.",
        f"The pool's spreads, and how far each way of pooling is believed, were chosen on {tuned},",
        "llm_mmlu, toe_preference, votes_mrpc and simulated worlds, with draws other than these. Earlier tables of all",
        "sets (8 and 200 draws) showed losses on llm_fpb, llm_alt_mtbench and llm_css_stance_trump; what was changed",
        "since was settled on the sets named here. llm_babe: zero-shot and 4-shot of each model. Peers run with their",
        "own settings and see no people's label.",
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few draws, and no peers that take minutes")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--sets", default=",".join(SETS), help="only these")
    parser.add_argument("--peers", type=Path, help="folder that keeps what peers said, from run to run")
    parser.add_argument("--kept", action="store_true", help="only peers' answers that lie in that folder")
    said = parser.parse_args(argv)
    seeds, rows = QUICK if said.quick else SEEDS, {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = said.peers or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        for name in said.sets.split(","):
            try:
                ballot = load(name)
            except FileNotFoundError as error:
                print(f"{name} is left out: {error}")
                continue
            methods = [] if said.quick else list(PEERS)
            peers = {PEERS[m]: labels for m in methods if (labels := peer(ballot, m, folder, said.kept)) is not None}
            size: Row = {
                key: (float(v), 0.0) for key, v in zip(("items", "annotators"), ballot.votes.shape, strict=True)
            }
            rows[name] = size | measure(ballot, seeds, peers)
            print(name, {column: round(cell[0], 1) for column, cell in rows[name].items() if cell}, flush=True)
    lines = table(rows, seeds)
    print("\n".join(lines))
    if said.json:
        said.json.write_text(json.dumps(rows, indent=1) + "\n")
    _log.append("votes", lines, said.quick or said.sets != ",".join(SETS))


if __name__ == "__main__":
    main()
