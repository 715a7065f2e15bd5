"""How many people's answers certify one finished set? `python -m eval.audits [--quick] [--json FILE]`.

`--rows 1,2,v` does some rows of the table (v: violations), `--runs` sets the seeds a cell.

N labels are frozen, a share `truth` of them is right, δ = .05: how many answers until "at least `target` of them are
right" is certified? First the ways that fix the number before (the smallest number that certifies with chance 80 %, and
with 50 % for Hoeffding's rivals), then those that may be looked at after every answer (median / 90th of 100 seeds).
Bounds are on labels as frozen for Hoeffding, Clopper–Pearson, the exact test and plain betting; ours counts what the
audit finds as mended, and the column "ours, unmended" says what that is worth.

Simulated risks: logit-normal and calibrated, AUROC .80 and .85. Real risks: labels of a real model with the risk that
other models' votes (or its own confidence) predict, `eval/_risks.py`; right and wrong ones are resampled separately to
N labels with the truth of the row, so that the AUROC is the real one and the predicted level is wrong (it is that of
the whole set). `useless`: the simulated risks of AUROC .80, handed to the labels at random.

Violations: worlds that must not be certified (limit + 1 wrong ones, and more by what an audit may mend), 2,500 answers
with a look after each; the share of runs that ever certified what is not so. The bets were
chosen in simulated worlds of the same kind (AUROC .80 and .85, N = 10,000, truth 97 and 98 %), with other seeds; no
real set was looked at for it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agent.certify import strata
from eval import _log, _risks

Doubles = NDArray[np.float64]
DELTA = 0.05
ROWS = (
    (10_000, 0.95, 0.97),
    (10_000, 0.95, 0.98),
    (10_000, 0.95, 0.99),
    (10_000, 0.90, 0.95),
    (10_000, 0.98, 0.99),
    (2_000, 0.95, 0.98),
)
GOAL = {0: 450, 1: 150}
PLAIN = (0.15, 0.3, 0.45, 0.6, 0.75, 0.88)
REAL = ("banking77", "llm_babe", "llm_fpb", "pac_imagenetv2", "llm_pac_stance")
MOST = 2500
BATCH = 200
FEW = 200  # seeds a cell; below it nothing is logged as a result


@dataclass(frozen=True, slots=True)
class Cell:
    """One way to audit in one row: answers at the median and at the 90th of 100, runs, and those given up."""

    way: str
    row: int
    median: float
    high: float
    runs: int
    given_up: int


def hoeffding(target: float, truth: float) -> int:
    """Answers for a one-sided Hoeffding bound to reach the target, at the expected number of errors."""
    return int(np.ceil(np.log(1 / DELTA) / (2 * (truth - target) ** 2)))


def fixed(n: int, target: float, truth: float, power: float, exact: bool) -> int:
    """Smallest audit of one look that certifies with chance `power`: hypergeometric, or Clopper–Pearson's binomial."""
    from scipy.stats import binom, hypergeom

    null, wrong = int((1 - target) * n + 1e-9) + 1, round((1 - truth) * n)
    for audited in range(20, n):
        k = np.arange(0, 200)
        cdf = hypergeom.cdf(k, n, null, audited) if exact else binom.cdf(k, audited, null / n)
        most = int((cdf <= DELTA).sum()) - 1
        if most < 0:
            continue
        chance = hypergeom.cdf(most, n, wrong, audited) if exact else binom.cdf(most, audited, wrong / n)
        if chance >= power:
            return audited
    return n


def plain(wrong: NDArray[np.bool_], null: int) -> NDArray[np.int64]:
    """The prototype's mixture of bets, uniform, unmended: answers until certified, from (runs, n) draws."""
    runs, most = wrong.shape[0], min(MOST, wrong.shape[1])
    n, logs, found = wrong.shape[1], np.zeros((runs, len(PLAIN))), np.zeros(runs)
    answers, rho = np.full(runs, MOST + 1), np.array(PLAIN) * null / n
    for t in range(most):
        q = np.clip((null - found) / (n - t), 1e-12, 1 - 1e-12)[:, None]
        eta = np.minimum(rho, q)
        logs += np.where(wrong[:, t, None], np.log(eta / q), np.log((1 - eta) / (1 - q)))
        found += wrong[:, t]
        sure = (np.exp(np.minimum(logs, 600)).mean(1) >= 1 / DELTA) & (answers > MOST)
        answers[sure] = t + 1
    return answers


def calibrated(n: int, wrong: int, auroc: float) -> Doubles:
    """(n,) risks, logit-normal, whose sum is `wrong` and whose AUROC for errors drawn by them is `auroc`."""
    from scipy.optimize import brentq
    from scipy.special import expit, ndtri

    z = ndtri((np.arange(n) + 0.5) / n)

    def risks(spread: float) -> Doubles:
        level = brentq(lambda a: float(expit(a + spread * z).mean()) - wrong / n, -40, 5)
        return np.asarray(expit(level + spread * z))

    def ranked(spread: float) -> float:
        p = risks(spread)  # ascending
        right = np.cumsum(1 - p) - (1 - p) / 2
        return float((p * right).sum() / (p.sum() * (1 - p).sum())) - auroc

    return risks(brentq(ranked, 0.01, 6))


def drawn_wrong(risk: Doubles, wrong: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """(n,) errors drawn by the risks, exactly `wrong` of them: too many are taken back, too few added by their odds."""
    e = rng.random(len(risk)) < risk
    over = int(e.sum()) - wrong
    if over > 0:
        e[rng.choice(np.flatnonzero(e), over, replace=False)] = False
    elif over < 0:
        rest = np.flatnonzero(~e)
        odds = risk[rest] / (1 - risk[rest])
        e[rng.choice(rest, -over, replace=False, p=odds / odds.sum())] = True
    return e


World = Callable[[np.random.Generator, int], tuple[Doubles, NDArray[np.bool_]]]


def simulated(n: int, wrong: int, auroc: float, useless: bool = False) -> World:
    """Worlds with calibrated risks: (n,) risks, and (runs, n) errors drawn by them anew for every run."""
    risk = calibrated(n, wrong, auroc)

    def draw(rng: np.random.Generator, runs: int) -> tuple[Doubles, NDArray[np.bool_]]:
        return risk, np.stack(
            [drawn_wrong(rng.permutation(risk) if useless else risk, wrong, rng) for _ in range(runs)]
        )

    return draw


def resampled(labels: _risks.Labels, n: int, wrong: int) -> World:
    """Worlds of n labels of a real set, `wrong` of them wrong, resampled for every batch of runs."""
    bad, good = np.flatnonzero(labels.wrong), np.flatnonzero(~labels.wrong)

    def draw(rng: np.random.Generator, runs: int) -> tuple[Doubles, NDArray[np.bool_]]:
        chosen = np.concatenate([rng.choice(bad, wrong), rng.choice(good, n - wrong)])
        return labels.risk[chosen], np.tile(np.arange(n) < wrong, (runs, 1))

    return draw


def audits(
    world: World, allowed: int, runs: int, seed: int, uniform: bool = False, mended: bool = True
) -> tuple[Doubles, Doubles]:
    """(runs,) answers until certified (MOST + 1: given up) and wrong labels found by then."""
    rng = np.random.default_rng(seed)
    counts, finds = [], []
    for start in range(0, runs, BATCH):
        risk, wrong = world(rng, min(BATCH, runs - start))
        plan = strata.plan(np.full(len(risk), 0.5) if uniform else risk, allowed, DELTA)
        most = min(MOST, len(risk))
        orders = np.stack([strata.order(plan, rng.random(len(risk)))[:most] for _ in wrong])
        count, found = strata.rehearse(plan, orders, np.take_along_axis(wrong, orders, 1), mended=mended)
        counts.append(np.where(count > most, MOST + 1, count))
        finds.append(found)
    return np.concatenate(counts).astype(float), np.concatenate(finds)


def ways(row: int, real: dict[str, _risks.Labels]) -> dict[str, tuple[World, bool, bool]]:
    """What is simulated in a row: world, whether the draw is uniform, whether what was found counts as mended."""
    n, _, truth = ROWS[row]
    wrong = round((1 - truth) * n)
    made = {auroc: simulated(n, wrong, auroc) for auroc in (0.80, 0.85)}
    table = {
        "ours uniform, unmended": (made[0.80], True, False),
        "ours uniform": (made[0.80], True, True),
        "ours .80, unmended": (made[0.80], False, False),
        "ours .80": (made[0.80], False, True),
        "ours .85": (made[0.85], False, True),
        "ours useless": (simulated(n, wrong, 0.80, useless=True), False, True),
    }
    return table | {f"ours {name}": (resampled(found, n, wrong), False, True) for name, found in real.items()}


def measure(rows: list[int], runs: int, real: dict[str, _risks.Labels]) -> list[Cell]:
    """All simulated cells of these rows."""
    cells = []
    for row in rows:
        n, target, truth = ROWS[row]
        allowed, wrong = int((1 - target) * n + 1e-9), round((1 - truth) * n)
        rng = np.random.default_rng(100 + row)
        flags = np.stack([rng.permutation(np.arange(n) < wrong) for _ in range(runs)])
        results = {"plain betting": plain(flags, allowed + 1).astype(float)}
        for number, (way, (world, uniform, mended)) in enumerate(ways(row, real).items()):
            results[way] = audits(world, allowed, runs, 1000 * row + number, uniform, mended)[0]
        for way, count in results.items():
            half, high = np.quantile(count, [0.5, 0.9])
            cells.append(Cell(way, row, float(half), float(high), runs, int((count > MOST).sum())))
    return cells


def violations(runs: int, real: dict[str, _risks.Labels]) -> dict[str, list[tuple[int, int]]]:
    """(limit + 1 + more wrong labels, false certificates) of each way, in the worlds of row 1 and row 6."""
    found: dict[str, list[tuple[int, int]]] = {}
    for row in (0, 5):
        n, target, _ = ROWS[row]
        allowed = int((1 - target) * n + 1e-9)
        for more in (0, 8, 25):
            wrong = allowed + 1 + more
            worlds: dict[str, tuple[World, bool]] = {
                "uniform": (simulated(n, wrong, 0.80), True),
                ".80": (simulated(n, wrong, 0.80), False),
                "useless": (simulated(n, wrong, 0.80, useless=True), False),
            }
            worlds |= {name: (resampled(labels, n, wrong), False) for name, labels in list(real.items())[:1]}
            for way, (world, uniform) in worlds.items():
                count, mended = audits(world, allowed, runs, 77 + more, uniform)
                false = int(((count <= MOST) & (wrong - mended > allowed)).sum())
                found.setdefault(f"{way}, N = {n:,}", []).append((wrong, false))
    return found


def table(cells: list[Cell], real: dict[str, _risks.Labels], runs: int) -> list[str]:
    """Answers by way and row, as Markdown."""
    rows = sorted({cell.row for cell in cells})
    names = [f"{ROWS[r][0]:,}: {ROWS[r][1]:.0%}, truth {ROWS[r][2]:.0%}" for r in rows]
    lines = ["| way | " + " | ".join(names) + " |", "| --- |" + " --- |" * len(rows)]
    lines.append("| Hoeffding | " + " | ".join(f"{hoeffding(*ROWS[r][1:]):,}" for r in rows) + " |")
    for exact, name in ((False, "Clopper–Pearson, fixed n"), (True, "exact, fixed n")):
        for power in (0.8, 0.5):
            counts = " | ".join(f"{fixed(*ROWS[r], power, exact):,}" for r in rows)
            lines.append(f"| {name}, chance {power:.0%} | {counts} |")
    for way in dict.fromkeys(cell.way for cell in cells):
        here = {cell.row: cell for cell in cells if cell.way == way}
        told = " | ".join(
            f"{here[r].median:,.0f} / {here[r].high:,.0f}" + (f" ({here[r].given_up} gave up)" * (here[r].given_up > 0))
            for r in rows
        )
        name = way.removeprefix("ours ")
        auroc = f" (AUROC {real[name].auroc:.2f})" if name in real else ""
        lines.append(f"| {way}{auroc} | {told} |")
    lines.append("| goal, stratified | " + " | ".join(str(GOAL.get(r, "")) for r in rows) + " |")
    lines += ["", f"Median / 90th of 100 over {runs:,} seeds; δ = {DELTA}; given up after {MOST:,} answers."]
    return lines


def report(
    cells: list[Cell], bad: dict[str, list[tuple[int, int]]], real: dict[str, _risks.Labels], runs: int
) -> list[str]:
    """The tables, as Markdown."""
    lines = table(cells, real, runs) if cells else []
    if bad:
        lines += ["", f"| false certificates of {bad_runs(runs):,} | wrong labels: runs |", "| --- | --- |"]
        lines += [f"| {way} | " + ", ".join(f"{w:,}: {k}" for w, k in counts) + " |" for way, counts in bad.items()]
        worst = max(k for counts in bad.values() for _, k in counts) / bad_runs(runs)
        lines += ["", f"Worst share of false certificates: {worst:.3f} (limit {DELTA})."]
    return lines


def bad_runs(runs: int) -> int:
    """Runs a world that must not be certified."""
    return max(20, runs // 2)


def main() -> None:
    """Measure, print, log."""
    options = argparse.ArgumentParser(description="How many people's answers certify one finished set?")
    options.add_argument("--quick", action="store_true")
    options.add_argument("--json", type=Path)
    options.add_argument("--runs", type=int, default=1000, help="seeds a cell")
    options.add_argument("--rows", default="1,2,3,4,5,6", help="rows of the table, and v for violations")
    chosen = options.parse_args()
    asked = ["1", "2", "v"] if chosen.quick else chosen.rows.split(",") + ["v"] * (chosen.rows.count(",") == 5)
    runs = 60 if chosen.quick else chosen.runs
    real = {}
    for name in REAL[:1] if chosen.quick else REAL:
        try:
            real[name] = _risks.load(name)
        except FileNotFoundError as absent:
            print(f"left out: {absent}")
    cells = measure([int(r) - 1 for r in asked if r != "v"], runs, real)
    bad = violations(bad_runs(runs), real) if "v" in asked else {}
    lines = report(cells, bad, real, runs)
    print("\n".join(lines))
    _log.append("audits", lines, quick=runs < FEW)
    if chosen.json:
        chosen.json.write_text(json.dumps({"cells": [asdict(c) for c in cells], "violations": bad}, indent=1) + "\n")


if __name__ == "__main__":
    main()
