"""What picking costs: `python -m eval.selection [--quick] [--json FILE] [--only a,b] [--sizes N,N] [--no-peers]`.

256 picks from N × 384 float32 embeddings with a student's probabilities of 77 classes (made up: `eval/_pools.py`), all
in memory before the clock starts. Each cell is a process of its own on one thread: CPU seconds, user and system, of
the call alone (median of up to five; imports and a small pool come before), and peak memory beyond the arrays. Peers
are given the same arrays in place of a classifier, 60 CPU seconds and 5 GB; where a smaller pool was too much, or took
over 12 s, a larger one is not tried (–). `k_center warm` is the second turn of a run that has asked its 256.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from agent import plugins
from agent.errors import PluginError
from agent.types import Layout, PoolView
from eval import _log, _pools
from eval.peers import _cell

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / "eval" / ".cache" / "selection"
PICKS, SIZES, QUICK = 256, (10_000, 100_000, 1_000_000), (10_000,)
MAPPED, MAPPED_WIDTH = 10_000_000, 384
PEERS = {
    "smalltext": "small-text", "modal": "modAL", "skactiveml": "scikit-activeml", "baal": "baal", "alipy": "ALiPy",
}  # fmt: skip
HAVE = {
    "random": ("smalltext", "skactiveml", "baal", "alipy"),
    "least_confidence": tuple(PEERS),
    "margin": tuple(PEERS),
    "entropy": tuple(PEERS),
    "bald": tuple(PEERS),
    "information_density": ("modal", "alipy"),
    "expected_change": (),
    "expected_error": ("modal", "skactiveml", "alipy"),
    "k_center": ("smalltext", "skactiveml", "alipy"),
    "k_center warm": (),
    "kmeans": ("smalltext",),
    "typiclust": ("skactiveml",),
    "badge": ("skactiveml",),
    "cal": ("smalltext", "skactiveml"),
    "committee": (),
    "knowledge": (),
    "auto": (),
}
"""Strategies, and which peers have them."""
BARE = ("random", "least_confidence", "margin", "entropy", "bald")
"""Strategies that know no features: none are loaded."""
TOO_SLOW = 12.0
"""CPU seconds of a tenth of the pool from which on the whole is over 60 without trying."""
GOALS = {"margin": 0.15, "entropy": 0.15, "badge": 1.5, "k_center warm": 0.15, "typiclust": 2.0}
"""CPU seconds at a million."""
Cell = dict[str, Any]


def view(folder: Path, n: int, strategy: str, mapped: bool = False) -> PoolView:
    """What `agent.types.PoolView` holds of the made-up pool; members only for those that ask them."""

    def part(name: str, *where: Any) -> Any:
        kept = np.load(folder / f"{name}.npy", mmap_mode="r")
        return kept if mapped else np.array(kept[where])

    layout = Layout(("label",), (tuple(map(str, range(_pools.CLASSES))),))
    p = part("probabilities", slice(n))
    x = None if strategy in BARE else part("features", slice(n))
    if mapped:
        return PoolView(layout, p, x)
    members = list(part("members", slice(None), slice(n))) if strategy in ("bald", "committee") else ()
    targets = part("targets")
    knows = p if strategy == "knowledge" else None
    return PoolView(
        layout, p, x, part("labeled"), targets, said=targets * 0.9 + 0.1 / _pools.CLASSES, members=members,
        knowledge=knows,
    )  # fmt: skip


def second_turn(first: PoolView, pick: Callable[..., Any]) -> PoolView:
    """The view after the first turn's picks were answered; what the strategy remembers is kept."""
    n, m = len(first.probabilities), len(first.labeled)
    first = replace(first, rows=np.arange(n), labeled_rows=np.arange(n, n + m))
    rows = pick(first, PICKS, 0).rows
    stay = np.delete(np.arange(n), rows)
    assert first.targets is not None and first.labeled_rows is not None
    return PoolView(
        first.layout,
        first.probabilities[stay],
        first.features[stay],
        np.concatenate([first.labeled, first.features[rows]]),
        np.concatenate([first.targets, first.probabilities[rows]]),
        memory=first.memory,
        rows=stay,
        labeled_rows=np.concatenate([first.labeled_rows, rows]),
    )


def own(strategy: str, folder: Path, n: int, mapped: bool) -> None:
    """One cell of ours, measured in this process."""
    name, warm = strategy.removesuffix(" warm"), strategy.endswith(" warm")
    pick = plugins.load("acquire", name).pick
    small = view(folder, 2_000, name)
    pick(small, 20, 0)
    del small
    pool = view(folder, n, name, mapped)
    if warm:
        pool = second_turn(pool, pick)
        kept = dict(pool.memory)

        def again() -> object:
            pool.memory.clear()  # every repetition starts from what the first turn left
            pool.memory.update(kept)
            return pick(pool, PICKS, 1)

        _cell.measured(again, mapped)
    else:

        def once() -> object:
            pool.memory.clear()
            return pick(pool, PICKS, 0)

        _cell.measured(once, mapped)


def cell(command: Sequence[str]) -> Cell:
    """What a process says of itself, or what was in its way."""
    one = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR")}
    settings = os.environ | one | {"PYTHONWARNINGS": "ignore", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=settings, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if lines:
        return dict(json.loads(lines[-1]))
    if done.returncode < 0:
        return {"why": f"> {_cell.SECONDS} s"}
    said = done.stderr.strip().splitlines() or ["?"]
    short = "wants over" if "MemoryError" in said[-1] else "fails"
    print(f"{' '.join(command[-6:])}: {said[-1][:200]}", file=sys.stderr)
    return {"why": f"{short} {_cell.GIGABYTES} GB" if short == "wants over" else "fails"}


def ours(strategy: str, folder: Path, n: int, mapped: bool = False) -> Cell:
    """One cell of ours in a process of its own."""
    command = [sys.executable, "-m", "eval.selection", "--cell", strategy, "--folder", str(folder), "--sizes", str(n)]
    return cell([*command, *(["--mapped"] if mapped else [])])


def theirs(peer: str, strategy: str, folder: Path, n: int) -> Cell:
    """One cell of a peer in its own environment."""
    python = ROOT / f".venv-peer-{peer}" / "bin" / "python"
    if not (python.parent.parent / ".ready").exists():
        return {"why": "not installed"}
    script = ROOT / "eval" / "peers" / "picking.py"
    return cell([str(python), str(script), peer, strategy, str(folder), str(n), str(PICKS)])


def known(strategy: str) -> bool:
    """Whether the strategy is there."""
    try:
        return hasattr(plugins.load("acquire", strategy.removesuffix(" warm")), "pick")
    except PluginError:
        return False


def shown(cell: Cell | None) -> str:
    """CPU seconds and memory, or a word."""
    if cell is None:
        return "–"
    if "why" in cell:
        return str(cell["why"])
    cpu, memory = cell["cpu"], cell["bytes"] / 1e9
    seconds = f"{cpu:.5f}" if cpu < 0.01 else f"{cpu:.3f}" if cpu < 1 else f"{cpu:.2f}" if cpu < 10 else f"{cpu:.1f}"
    return f"{seconds} ({memory:.3f} GB)"


def behind(row: Mapping[str, Cell | None]) -> list[str]:
    """The peers that were faster or needed less memory than ours."""
    mine = row["ours"]
    if mine is None or "cpu" not in mine:
        return []
    there = {PEERS[name]: c for name, c in row.items() if name in PEERS and c is not None and "cpu" in c}
    slower = [f"{name} is faster" for name, c in there.items() if c["cpu"] < mine["cpu"]]
    wider = 10 << 20  # so little is a block or two: no difference
    return slower + [f"{name} needs less" for name, c in there.items() if c["bytes"] + wider < mine["bytes"]]


def table(rows: Mapping[tuple[str, int], Mapping[str, Cell | None]], peers: bool) -> list[str]:
    """The table and what is behind a peer or a goal."""
    columns = ["ours", *(PEERS if peers else ())]
    out = [
        f"CPU seconds (peak memory beyond the arrays) to pick {PICKS}; one thread, one process a cell.",
        "",
        "| strategy | N | " + " | ".join(PEERS.get(c, c) for c in columns) + " | goal |",
        "| --- | ---: |" + " ---: |" * (len(columns) + 1),
    ]
    missed = []
    for (strategy, n), row in rows.items():
        goal = GOALS.get(strategy) if n == SIZES[-1] else None
        cells = " | ".join(shown(row.get(c)) for c in columns)
        out.append(f"| {strategy} | {n:,} | {cells} | {'' if goal is None else f'{goal:g}'} |")
        mine = row["ours"]
        if goal is not None and mine is not None and mine.get("cpu", 1e9) > goal:
            missed.append(f"{strategy} at {n:,}: over the goal of {goal:g} CPU s")
        missed += [f"{strategy} at {n:,}: {word}" for word in behind(row)]
    return [*out, "", *(missed or ["Every strategy is ahead of every library on every size it survives."])]


def mapped(n: int, width: int, names: Sequence[str]) -> list[str]:
    """Lines of the pool that is memory-mapped; its files are deleted."""
    folder = Path(tempfile.mkdtemp(prefix="mapped-", dir=CACHE))
    try:
        _pools.make(CACHE, SIZES[-1], members=False)
        _pools.make_mapped(folder, n, width)
        for name in ("labeled", "targets"):
            shutil.copy(CACHE / f"{name}.npy", folder)
        found = {name: ours(name, folder, n, mapped=True) for name in names if known(name)}
    finally:
        shutil.rmtree(folder)
    head = f"Memory-mapped, float16, {n:,} × {width} and × {_pools.CLASSES}; memory of the process's own (goal 1 GB):"
    return ["", head, "", *(f"- {name}: {shown(c)}" for name, c in found.items())]


def kept_peers(path: Path | None) -> dict[str, Cell]:
    """Peers' cells that were measured before."""
    return dict(json.loads(path.read_text())) if path is not None and path.exists() else {}


def peers_of(
    strategy: str, n: int, old: dict[str, Cell], keep: Path | None, only_kept: bool = False
) -> dict[str, Cell | None]:
    """Each peer's cell; none where a smaller pool was too much already, or a tenth of this one nearly."""
    found: dict[str, Cell | None] = {}
    for peer in HAVE[strategy]:
        smaller = [old.get(f"{peer} {strategy} {size}") for size in SIZES if size < n]
        if any(c is not None and c.get("cpu", TOO_SLOW) >= TOO_SLOW for c in smaller):
            found[peer] = None
            continue
        key = f"{peer} {strategy} {n}"
        if key not in old and only_kept:
            found[peer] = {"why": "not run"}
            continue
        if key not in old:
            old[key] = theirs(peer, strategy, CACHE, n)
            if keep is not None:
                keep.write_text(json.dumps(old, indent=1) + "\n")
        found[peer] = old[key]
    return found


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="10,000 items, without the peers that take minutes")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--only", help="strategies, with commas between")
    parser.add_argument("--sizes", help="how many candidates, with commas between")
    parser.add_argument("--no-peers", action="store_true", help="ours alone")
    parser.add_argument("--peers", type=Path, help="file that keeps what peers took, from run to run")
    parser.add_argument("--kept", action="store_true", help="only peers' cells that lie in that file")
    parser.add_argument("--mapped", action="store_true", help=f"margin and badge on {MAPPED:,} memory-mapped items too")
    parser.add_argument("--mapped-width", type=int, default=MAPPED_WIDTH, help="columns of that pool's embeddings")
    parser.add_argument("--cell", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, default=CACHE, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, keep."""
    said = arguments(argv)
    sizes = tuple(int(n) for n in said.sizes.split(",")) if said.sizes else QUICK if said.quick else SIZES
    if said.cell:
        return own(said.cell, said.folder, sizes[0], said.mapped)
    names = said.only.split(",") if said.only else list(HAVE)
    if "k_center" in names and "k_center warm" not in names:
        names.insert(names.index("k_center") + 1, "k_center warm")
    _pools.make(CACHE, SIZES[-1], members=bool({"bald", "committee"} & set(names)))
    rows: dict[tuple[str, int], dict[str, Cell | None]] = {}
    old, slow = kept_peers(said.peers), ("expected_error", "badge") if said.quick else ()
    for name in names:
        if not known(name):
            print(f"{name} is left out: there is no such strategy yet", file=sys.stderr)
            continue
        for n in sizes:
            rows[name, n] = {"ours": ours(name, CACHE, n)}
            if not said.no_peers and name not in slow:
                rows[name, n] |= peers_of(name, n, old, said.peers, said.kept)
            print(name, f"{n:,}", {k: shown(c) for k, c in rows[name, n].items()}, file=sys.stderr, flush=True)
    lines = table(rows, not said.no_peers) if rows else []
    if said.mapped:
        lines += mapped(MAPPED, said.mapped_width, ("margin", "entropy", "badge"))
    print("\n".join(lines))
    if said.json:
        said.json.write_text(json.dumps({f"{s} {n}": row for (s, n), row in rows.items()}, indent=1) + "\n")
    _log.append("selection", lines, said.quick or bool(said.only) or bool(said.sizes) or said.no_peers)


if __name__ == "__main__":
    main()
