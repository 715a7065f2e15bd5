"""False certificates in worlds made to break the promise. `python -m eval.certificate_validity [--speed]`.

Nineteen worlds, 5,000 audits a case, GATE-X (one look), GATE-S (looked at after every answer; the adversary stops when
he has a false certificate) and the paced walk (left wherever the adversary likes), all the rest to people or left open,
δ = .05 with ε in {.02, .05, .1} and ε = .05 with δ in {.1, .2}: of each world the case that is highest above its δ,
with the upper 99 % Clopper-Pearson bound. Both walks spend their δ to the last bit, so that among hundreds of cases
some bounds come out too high by chance: each such case is run again with ten times the audits and another seed, and
both figures are told. Then the stratified test of finished files, with worlds of its own (`_validity_strata`), real
votes of LLMs, made systematically wrong, and what must fail. `--only strata` runs one of these parts, `--part N/M
--json FILE` every M-th world, `--join FILES` makes one table of them. Knows `agent.certify` and data sets.
"""

from __future__ import annotations

import argparse
import json
import math
import time
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from agent import certify
from eval import _log, _validity_strata, _worlds
from eval._worlds import WORLDS, Left, World, clopper

CASES = ((0.05, 0.05), (0.05, 0.02), (0.05, 0.1), (0.1, 0.05), (0.2, 0.05))
"""(δ, ε); the first alone where it has to be quick."""
SLACK = 0.01
FEW = 5000
"""Audits a case, below which nothing is logged as a result."""


@dataclass(frozen=True)
class Row:
    """A line of the table: the worst case of a world, or one contrast. rate: of false certificates. first: the bound
    that came out too high before the case was run again with ten times the audits."""

    world: str
    test: str
    rest: str
    audits: int
    delta: float
    eps: float
    rate: float
    upper: float
    taken: float
    first: str = ""

    @property
    def holds(self) -> bool:
        return self.upper <= self.delta + SLACK


def case(world: World | _validity_strata.World, test: str, left: Left, runs: int, delta: float, eps: float) -> Row:
    """One case; run again with ten times the audits if its bound is above the goal."""

    def run(audits: int, seed: int) -> tuple[int, float]:
        if isinstance(world, _validity_strata.World):
            return _validity_strata.audits(world, eps, delta, audits, seed)
        if test == "paced":
            return _worlds.pacing(world, eps, delta, audits, seed)
        return (_worlds.exact if test == "X" else _worlds.anytime)(world, eps, delta, left, audits, seed)

    seed = zlib.crc32(f"{world.name} {test} {left} {delta} {eps}".encode())
    false, taken = run(runs, seed)
    first = ""
    if clopper(false, runs) > delta + SLACK:
        first = f"{runs:,} audits: {false / runs:.4f}, at most {clopper(false, runs):.4f}"
        runs *= 10
        false, taken = run(runs, seed + 1)
    return Row(world.name, test, left, runs, delta, eps, false / runs, clopper(false, runs), taken, first)


def worst(world: World | _validity_strata.World, test: str, left: Left, runs: int, quick: bool) -> list[Row]:
    """The case of a world that is highest above its δ, in units of its own scatter, and every one above the goal."""
    rows = [case(world, test, left, runs, delta, eps) for delta, eps in (CASES[:1] if quick else CASES)]
    hard = max(rows, key=lambda r: (r.rate - r.delta) / math.sqrt(r.delta * (1 - r.delta) / r.audits))
    return [hard, *(r for r in rows if (r.first or not r.holds) and r is not hard)]


def invented(runs: int, part: tuple[int, int], quick: bool, tests: tuple[str, ...]) -> Iterator[Row]:
    """All worlds."""
    for world in WORLDS[part[0] :: part[1]]:
        for test in tests:
            yield from worst(world, test, "people", runs, quick)
            if test != "paced" and not world.whole:
                yield from worst(world, test, "open", runs, quick)


def finished(runs: int, part: tuple[int, int], quick: bool) -> Iterator[Row]:
    """The stratified test of finished files, in all its worlds."""
    for world in _validity_strata.WORLDS[part[0] :: part[1]]:
        yield from worst(world, "strata", "people", runs, quick)


def show(rows: list[Row], runs: int) -> list[str]:
    """The table."""
    lines = [
        "| world (its worst case) | test | rest | audits | δ | ε | false | upper 99 % | goal ≤ | accepted |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        goal = f"{r.delta + SLACK:.2f}" if not r.test.startswith("must fail") else "none"
        mark = "" if r.holds or r.test.startswith("must fail") else " ✗"
        lines.append(
            f"| {r.world} | {r.test} | {r.rest} | {r.audits:,} | {r.delta} | {r.eps} | {r.rate:.4f} "
            f"| {r.upper:.4f}{mark}{f' (first: {r.first})' if r.first else ''} | {goal} "
            f"| {math.floor(1000 * r.taken) / 10} % |"
        )
    lines.append(
        f"\nX: one look; S: after every answer; paced: the walk of agent.certify.paced. Of each world the case (δ, ε) "
        f"highest above its δ; {runs:,} audits a case, and ten times as many, with another seed, where the first bound "
        "came out above the goal (both are told). strata: the any-time test of finished files, looked at after every "
        "answer; accepted: audits that ended before no certificate could be false any more; "
        "classes: any false one of three."
    )
    return lines


def speed() -> list[str]:
    """CPU seconds of a certificate of a million items and 50 thresholds, from the order to the settlement."""
    size, eps, delta = 1_000_000, 0.05, 0.05
    rng = np.random.default_rng(0)
    risk = rng.beta(0.6, 2.4, size).astype(np.float64)
    ids = [f"item {i}" for i in range(size)]
    lines = ["| step (1,000,000 items, 50 thresholds) | X, CPU s | S, CPU s |", "|---|---|---|"]
    table: dict[str, list[float]] = {}
    for mode in ("exact", "anytime"):
        clock = time.process_time()

        def lap(name: str) -> None:
            nonlocal clock
            now = time.process_time()
            table.setdefault(name, []).append(now - clock)
            clock = now

        order = certify.order_of(risk, ids, 1)
        lap("order, ties by hash")
        frozen = risk[order]
        wrong = rng.random(size) < frozen
        clock = time.process_time()
        plan = certify.plan(frozen, size, eps, delta, mode=mode, left="people")
        lap("plan")
        picked = certify.draw([ids[i] for i in order[: plan.cuts[-1]].tolist()], 2)
        places = np.array(picked[: plan.draws], np.int64)
        lap("draw, by hash")
        seen = certify.found(plan, places, wrong[places])
        if mode == "exact":
            cut = certify.exact(plan, seen, delta)
        else:
            bets = certify.Anytime(plan, delta)
            for place in places.tolist():
                bets.hear(place, float(wrong[place]))
            cut = bets.accepted
        lap("test")
        certify.settle(plan, cut, seen, frozen, certify.bound(plan, cut, seen, delta if mode == "exact" else None))
        lap("settlement")
    lines += [f"| {name} | {x:.2f} | {s:.2f} |" for name, (x, s) in table.items()]
    both = [sum(column) for column in zip(*table.values(), strict=True)]
    lines.append(f"| all (goal: under 10) | {both[0]:.2f} | {both[1]:.2f} |")
    return lines


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer audits, one δ and ε")
    parser.add_argument("--runs", type=int, default=0, help="audits per case (default 5,000; quick: 400)")
    parser.add_argument("--part", default="0/1", help="N/M: the N-th of M parts of the worlds")
    parser.add_argument(
        "--only", choices=["worlds", "paced", "strata", "votes", "contrast"], help="one part of the table"
    )
    parser.add_argument("--speed", action="store_true", help="a million items instead")
    parser.add_argument("--join", type=Path, nargs="*", help="one table of what parts wrote with --json")
    parser.add_argument("--json", type=Path, help="write the rows here as well")
    asked = parser.parse_args()
    if asked.speed:
        lines = speed()
        print("\n".join(lines))
        _log.append("certificate_validity --speed", lines, asked.quick)
        return
    from eval import _validity_votes as votes

    runs = asked.runs or (400 if asked.quick else FEW)
    first, of = (int(n) for n in asked.part.split("/"))
    if asked.join:
        kept = [json.loads(path.read_text()) for path in asked.join]
        lines = show([Row(**row) for part in kept for row in part["rows"]], runs)
        lines.append(f"{sum(part['cpu_s'] for part in kept):.0f} CPU seconds.")
        print("\n".join(lines))
        _log.append("certificate_validity", lines, asked.quick)
        return
    began, rows = time.process_time(), []
    if asked.only in (None, "worlds", "paced"):
        tests = ("paced",) if asked.only == "paced" else ("X", "S", "paced")
        rows += list(invented(runs, (first, of), asked.quick, tests))
    if asked.only in (None, "strata"):
        rows += list(finished(runs, (first, of), asked.quick))
    if asked.only in (None, "votes"):
        rows += [Row(*row) for row in votes.rows(runs, asked.quick)]
    if asked.only in (None, "contrast"):
        rows += [Row(*row) for row in votes.contrasts(runs)]
    lines = show(rows, runs)
    spent = time.process_time() - began
    lines.append(f"{spent:.0f} CPU seconds.")
    print("\n".join(lines))
    if asked.json:
        asked.json.write_text(json.dumps({"cpu_s": spent, "rows": [asdict(r) for r in rows]}, indent=1))
    name = "certificate_validity" + (f" --only {asked.only}" if asked.only else "")
    _log.append(name, lines, asked.quick or of > 1 or runs < FEW)


if __name__ == "__main__":
    main()
