"""Does the bound on people's own mistakes hold with overlap? `python -m eval.human_bound [--quick] [--json FILE]`.

Each run draws an audit, takes the audited items that `review.overlap` puts to a second person, counts the pairs that
differ and bounds the first person's error, all by the functions a run uses. False is a bound below the error in the
whole pool. Made-up people err by their own rules; recorded ones are real raters, the first of an item against the next
in an order drawn anew. What the bound cannot see, and what a leak of other streams would do, stand below as contrasts.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agent import certify, claim
from agent.certify import human
from eval import _log
from eval._sets import data_folder
from eval._worlds import clopper

DELTA = 0.05
GOAL = DELTA * human.SHARE
ITEMS, AUDIT = 2_000, 300
SLACK = 0.005
REAL = ("llm_babe", "llm_alt_cebab_aspects", "votes_alt_summeval")

Bools = NDArray[np.bool_]
World = Callable[[np.random.Generator], tuple[Bools, Bools]]
"""A pool: (n,) the first person is wrong, (n,) the two differ."""


@dataclass(frozen=True)
class Row:
    """A line of the table. error: of the first person, mean; at_most: the bound, mean; false: share of runs."""

    people: str
    overlap: float
    runs: int
    doubled: float
    error: float
    at_most: float
    false: float
    upper: float
    must: bool


def alone(rate: float) -> World:
    """Both err by themselves, on any item alike."""

    def make(draw: np.random.Generator) -> tuple[Bools, Bools]:
        one, two = draw.random(ITEMS) < rate, draw.random(ITEMS) < rate
        # Two mistakes on one item of many labels are mostly different ones.
        return one, (one | two) & ~(one & two & (draw.random(ITEMS) < 0.3))

    return make


def against_right(rate: float) -> World:
    """The second is always right, so that pairs differ exactly where the first is wrong: the least that is seen."""

    def make(draw: np.random.Generator) -> tuple[Bools, Bools]:
        one = draw.random(ITEMS) < rate
        return one, one

    return make


def hard(share: float) -> World:
    """A part of the items is hard: a third wrong there, by either; none elsewhere."""

    def make(draw: np.random.Generator) -> tuple[Bools, Bools]:
        risk = np.where(np.arange(ITEMS) < share * ITEMS, 1 / 3, 0.0)
        one, two = draw.random(ITEMS) < risk, draw.random(ITEMS) < risk
        return one, one | two

    return make


def shared(rate: float) -> World:
    """Half of the first one's mistakes are the second one's, too."""

    def make(draw: np.random.Generator) -> tuple[Bools, Bools]:
        one = draw.random(ITEMS) < rate
        return one, one & (draw.random(ITEMS) < 0.5)

    return make


def raters(name: str) -> World:
    """Real raters of one item; the first against the next is all that is known of mistakes here.

    Raises:
        FileNotFoundError: the set is not there.
    """
    import pyarrow.parquet as pq

    rows = pq.read_table(data_folder() / name / "humans.parquet", columns=["id", "label"]).to_pydict()
    by: dict[object, list[str]] = {}
    for item, label in zip(rows["id"], rows["label"], strict=True):
        by.setdefault(item, []).append(label)
    several = [labels for labels in by.values() if len(labels) > 1]

    def make(draw: np.random.Generator) -> tuple[Bools, Bools]:
        chosen = draw.choice(len(several), min(ITEMS, len(several)), replace=False)
        pairs = [draw.choice(several[i], 2, replace=False) for i in chosen]
        differ = np.array([one != two for one, two in pairs])
        return differ, differ

    return make


def run(world: World, overlap: float, seed: int, leak: bool) -> tuple[int, float, float]:
    """(doubled, the first person's error in the pool, the bound). leak: escalations' pairs are counted, too."""
    wrong, differ = world(np.random.default_rng(seed))
    ids = [f"{i:032x}" for i in range(len(wrong))]
    order = certify.draw(ids, seed)
    counted = [i for i in order[:AUDIT] if claim.overlapped(seed, ids[i], overlap)]
    if leak:  # what people are sent to repair is easy here: they are right, and agree
        rest = [i for i in order[AUDIT:] if not wrong[i] and not differ[i]][:AUDIT]
        counted += [i for i in rest if claim.overlapped(seed, ids[i], overlap)]
    found = human.at_most(len(counted), int(differ[counted].sum()), DELTA)
    return len(counted), float(wrong.mean()), found.at_most


def measure(people: str, world: World, overlap: float, runs: int, leak: bool = False, must: bool = True) -> Row:
    """One line."""
    got = np.array([run(world, overlap, seed, leak) for seed in range(runs)])
    false = int((got[:, 1] > got[:, 2]).sum())
    pairs, error, bound = (float(mean) for mean in got.mean(axis=0))
    return Row(people, overlap, runs, pairs, error, bound, false / runs, clopper(false, runs), must)


def table(rows: Sequence[Row]) -> list[str]:
    """The table."""
    out = [
        "| people | overlap | runs | pairs | first one's error | bound, mean | false | upper 99 % | goal ≤ |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        goal = f"{GOAL + SLACK:g}{'' if r.upper <= GOAL + SLACK else ' ✗'}" if r.must else "none: must fail"
        out.append(
            f"| {r.people} | {r.overlap:.0%} | {r.runs:,} | {r.doubled:.0f} | {100 * r.error:.1f} % "
            f"| {math.ceil(1000 * r.at_most) / 10} % | {r.false:.4f} | {math.ceil(1e4 * r.upper) / 1e4} | {goal} |"
        )
    spent = f"δ = {DELTA}, of which the bound spends a fifth ({GOAL:g})"
    out.append(f"\n{spent}; pools of at most {ITEMS:,} items, {AUDIT} audited.")
    return out


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="150 runs a line, too few to tell")
    parser.add_argument("--json", type=Path, help="write the figures there")
    said = parser.parse_args(argv)
    runs, began = (150, time.process_time()) if said.quick else (3_000, time.process_time())
    worlds: list[tuple[str, World, float]] = [
        ("err alone, 5 %", alone(0.05), 0.1), ("err alone, 5 %", alone(0.05), 0.5),
        ("second always right, 2 %", against_right(0.02), 0.2), ("second always right, 15 %", against_right(0.15), 0.2),
        ("a fifth of items hard", hard(0.2), 0.2),
    ]  # fmt: skip
    for name in REAL:
        if (data_folder() / name / "humans.parquet").is_file():
            worlds.append((f"raters of {name}", raters(name), 0.2))
        else:
            print(f"{name} is left out: set TUTELAGE_DATA to the folder that has {name}/")
    rows = [measure(name, world, overlap, runs) for name, world, overlap in worlds]
    rows.append(measure("share half of their mistakes, 15 %", shared(0.15), 0.5, runs, must=False))
    rows.append(measure("escalations' pairs counted, too", against_right(0.15), 0.5, runs, leak=True, must=False))
    lines = [*table(rows), f"\n{time.process_time() - began:.0f} CPU s"]
    print("\n".join(lines))
    if said.json:
        said.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    _log.append("human_bound", lines, said.quick)


if __name__ == "__main__":
    main()
