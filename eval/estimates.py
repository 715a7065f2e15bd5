"""How few answers an estimate needs, who may stand in for people: `python -m eval.estimates [--quick] [--json FILE]`.

Recorded answers of real models. Every seed draws a pilot of 100 items at random, which calibrates the score (isotonic
regression with a prior) and leaves the population; then about 300 answers, by each design, for the share of wrong
labels among the rest. "audits" is the square of the mean width of the 95 % intervals relative to uniform sampling: how
many answers give the same width; coverage says whether that width is honest. Then the Alt-Test, Krippendorff's α and
the ceiling that disagreement sets, where several people answered.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agent import agreement, estimate
from agent.types import Doubles, Ints
from eval import _log, _sets

SEEDS, QUICK = 1_000, 200
PILOT, ANSWERS = 100, 300
MIX = 0.2
"""The part of uniform sampling in the active design: no item may be left without a chance."""
PSEUDO = 40
"""Answers' worth of the overall error rate that the calibration begins with."""
SETS = ("llm_pac_stance", "pac_imagenetv2", "banking77", "llm_fpb", "llm_babe")
PEOPLE = ("llm_alt_cebab_aspects", "llm_alt_mtbench", "votes_alt_10k_prompts", "votes_alt_summeval")
DESIGNS = ("uniform", "PPI++", "strata after", "IPW+PPI", "strata Neyman")
GOAL = {
    ("llm_pac_stance", "PPI++"): 0.90, ("llm_pac_stance", "IPW+PPI"): 0.82, ("llm_pac_stance", "strata Neyman"): 0.82,
    ("pac_imagenetv2", "PPI++"): 0.66, ("pac_imagenetv2", "IPW+PPI"): 0.59, ("pac_imagenetv2", "strata Neyman"): 0.59,
    ("banking77", "PPI++"): 0.81, ("banking77", "IPW+PPI"): 0.75, ("banking77", "strata Neyman"): 0.74,
}  # fmt: skip
"""What a prototype measured (audits relative to uniform)."""
PUBLISHED = {
    "llm_alt_cebab_aspects": (0, {
        "gemini_flash": (0.70, 0.91), "gemini_pro": (0.90, 0.94), "gpt-4o": (0.90, 0.93), "llama-31": (0.60, 0.89),
        "gpt-4o-mini": (0.50, 0.90), "mistral-v03": (0.10, 0.81),
    }),
    "llm_alt_mtbench": (1, {
        "gemini_flash": (0.0, 0.72), "gemini_pro": (0.0, 0.76), "gpt-4o": (0.0, 0.77), "llama-31": (0.0, 0.69),
        "gpt-4o-mini": (0.0, 0.74), "mistral-v03": (0.0, 0.68),
    }),
}  # fmt: skip
"""Set -> which ε its authors used (0: .1, 1: .2), machine -> their ω and ρ. The other sets they scored as numbers."""


@dataclass(frozen=True, slots=True)
class World:
    """One set: wrong (n,) of the labels to be delivered, 0 or 1; score (n,), higher is surer."""

    name: str
    wrong: Doubles
    score: Doubles


def _rows(name: str, file: str) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    path = _sets.data_folder() / name / file
    if not path.is_file():
        raise FileNotFoundError(f"{path} is absent: set TUTELAGE_DATA to the folder of the sets")
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def world(name: str) -> World:
    """The labels of the best model, and how sure it, or the other voters with it, are.

    stance, imagenetv2: the model's own confidence. The others: the share of the other voters that say the same.
    """
    file = "data.parquet" if name == "banking77" else "items.parquet"
    truth = {row["id"]: row["label"] for row in _rows(name, file) if name != "banking77" or row["part"] == "test"}
    by: dict[tuple[str, str], dict[int, Any]] = {}
    sure: dict[int, float] = {}
    for row in _rows(name, "votes.parquet"):
        if row["id"] in truth:
            by.setdefault((row["model"], row["prompt"]), {}).setdefault(row["id"], row["label"])
            if row["confidence"] is not None:
                sure[row["id"]] = row["confidence"]
    voters = {who: said for who, said in by.items() if len(said) >= 0.95 * max(map(len, by.values()))}
    items = sorted(set.intersection(*(set(said) for said in voters.values())))
    right = {who: np.mean([said[i] == truth[i] for i in items]) for who, said in voters.items()}
    best = max(right, key=lambda who: float(right[who]))
    if len(voters) > 1:
        others = [said for who, said in voters.items() if who != best]
        score = [float(np.mean([said[i] == voters[best][i] for said in others])) for i in items]
    else:
        score = [sure[i] for i in items]
    wrong = np.array([voters[best][i] != truth[i] for i in items], float)
    return World(name, wrong, np.array(score, float))


def risk(score: Doubles, seen: Ints, wrong: Doubles) -> Doubles:
    """(n,) predicted chance of error: isotonic in the score.

    From the pilot's answers and `PSEUDO` made-up ones, which spread the pilot's error rate evenly over the ranks.
    """
    from sklearn.isotonic import IsotonicRegression

    mean = (wrong[seen].sum() + 0.5) / (len(seen) + 1)
    spots = np.quantile(score, (np.arange(PSEUDO) + 0.5) / PSEUDO)
    fitted = IsotonicRegression(increasing=False, out_of_bounds="clip", y_min=0.002, y_max=0.998)
    fitted.fit(np.concatenate([score[seen], spots]), np.concatenate([wrong[seen], np.full(PSEUDO, mean)]))
    out: Doubles = fitted.predict(score)
    return out


def active(chance_of_error: Doubles, answers: int) -> Doubles:
    """(N,) inclusion probabilities as the predicted standard deviation, mixed with uniform, `answers` on average."""
    spread = np.sqrt(chance_of_error * (1 - chance_of_error))
    pi: Doubles = np.minimum(answers * ((1 - MIX) * spread / spread.sum() + MIX / len(spread)), 1.0)
    return pi


def once(it: World, seed: int) -> list[estimate.Estimate]:
    """Every design's estimate of the share of wrong labels outside the pilot; the last entry holds the truth."""
    rng = np.random.default_rng(seed)
    n = len(it.wrong)
    order = rng.permutation(n)
    guess = risk(it.score, order[:PILOT], it.wrong)
    rest = np.sort(order[PILOT:])
    wrong, guess = it.wrong[rest], guess[rest]
    size = len(rest)
    answers = min(ANSWERS, size // 2)
    drawn = rng.choice(size, answers, replace=False)
    # The score breaks what ties the calibration made: within a flat stretch a surer item is still the surer one.
    stratum = estimate.strata(np.lexsort((-it.score[rest], guess)).argsort().astype(float))
    sizes = np.bincount(stratum)
    pi = active(guess, answers)
    some = np.flatnonzero(rng.random(size) < pi)
    spread = np.sqrt(np.bincount(stratum, weights=guess * (1 - guess)) / sizes)
    share = estimate.neyman(sizes, spread, answers)
    each = np.concatenate(
        [rng.choice(np.flatnonzero(stratum == h), take, replace=False) for h, take in enumerate(share.tolist())]
    )
    truth = float(wrong.mean())
    return [
        estimate.plain(wrong[drawn], size),
        estimate.ppi(wrong[drawn], guess[drawn], guess),
        estimate.stratified(wrong[drawn], stratum[drawn], sizes),
        estimate.ppi(wrong[some], guess[some], guess, chance=pi[some]),
        estimate.stratified(wrong[each], stratum[each], sizes, np.bincount(stratum, weights=guess) / sizes),
        estimate.Estimate(truth, truth, truth, size, 0.0),
    ]


@dataclass(frozen=True, slots=True)
class Cell:
    """One design on one set. audits: for the same width, relative to uniform; error: mean squared, relative, too."""

    design: str
    audits: float
    error: float
    covers: float
    bias: float


def cells(it: World, seeds: int) -> list[Cell]:
    runs = [once(it, seed) for seed in range(seeds)]
    truth = np.array([run[-1].value for run in runs])
    out: list[Cell] = []
    for number, design in enumerate(DESIGNS):
        value = np.array([run[number].value for run in runs])
        low, high = (np.array([getattr(run[number], end) for run in runs]) for end in ("low", "high"))
        width, square = float((high - low).mean()), float(((value - truth) ** 2).mean())
        if not out:
            plain = width, square
        covers = float(((low <= truth) & (truth <= high)).mean())
        out.append(Cell(design, (width / plain[0]) ** 2, square / plain[1], covers, float((value - truth).mean())))
    return out


@dataclass(frozen=True, slots=True)
class Standing:
    """One machine on one set with several people an item: ω at ε = .1 and .2, and ρ."""

    name: str
    machine: str
    wins: tuple[float, float]
    advantage: float
    people: int


@dataclass(frozen=True, slots=True)
class Crowd:
    """What people's own answers say of a set. ceiling: at the measured agreement, and at its upper end."""

    name: str
    alpha: agreement.Alpha
    pairs: agreement.Pairs
    labels: int
    ceiling: tuple[float, float]


def crowd(name: str) -> tuple[Crowd, list[Standing]]:
    """How people agree with one another, and the Alt-Test of every machine."""
    said = _rows(name, "humans.parquet")
    labels = {label: number for number, label in enumerate(sorted({row["label"] for row in said}))}
    ids = sorted({row["id"] for row in said})
    where = {one: number for number, one in enumerate(ids)}
    who = {one: number for number, one in enumerate(sorted({row["annotator"] for row in said}))}
    votes = np.full((len(ids), len(who)), -1, np.int64)
    for row in said:
        votes[where[row["id"]], who[row["annotator"]]] = labels[row["label"]]
    machines: dict[str, Ints] = {}
    for row in _rows(name, "votes.parquet"):
        if row["id"] in where:
            column = machines.setdefault(row["model"], np.full(len(ids), -1, np.int64))
            column[where[row["id"]]] = labels.get(row["label"], -1)
    standings = []
    for machine, column in sorted(machines.items()):
        tests = [agreement.alt_test(votes, column, epsilon) for epsilon in (0.1, 0.2)]
        standings.append(Standing(name, machine, (tests[0].wins, tests[1].wins), tests[0].advantage, tests[0].people))
    same = agreement.pairs(votes)
    most = tuple(agreement.ceiling(share, len(labels)) for share in (same.value, same.high))
    return Crowd(name, agreement.alpha(votes), same, len(labels), (most[0], most[1])), standings


def table(found: dict[str, tuple[World, list[Cell]]], seeds: int) -> list[str]:
    """Designs as Markdown."""
    lines = [
        "| set (items, wrong) | " + " | ".join(f"{d}: audits (goal), coverage" for d in DESIGNS) + " |",
        "|---|" + "---|" * len(DESIGNS),
    ]
    for name, (it, row) in found.items():
        told = []
        for cell in row:
            goal = GOAL.get((name, cell.design))
            told.append(f"{cell.audits:.2f}{f' ({goal:.2f})' if goal else ''}, {cell.covers:.3f}")
        lines.append(f"| {name} ({len(it.wrong):,}, {it.wrong.mean():.1%}) | " + " | ".join(told) + " |")
    error = 100 * (0.95 * 0.05 / seeds) ** 0.5
    note = (
        f"{seeds:,} seeds; {PILOT} pilot answers for every design, then {ANSWERS} (IPW: so many on average). Coverage "
        f"of 95 % intervals, standard error {error:.1f} points. Scores: the model's confidence (stance, imagenetv2) or "
        "the share of other voters that say the same; the labels are those of the voter with the most right."
    )
    return [*lines, "", note]


def people_table(found: list[tuple[Crowd, list[Standing]]]) -> list[str]:
    """Agreement, ceilings and the Alt-Test as Markdown."""
    lines = ["| set | α (95 %) | two people agree (95 %) | labels can reach at most | machine: ω at ε = .1, .2; ρ |"]
    lines.append("|---|---|---|---|---|")
    for it, standings in found:
        a, s = it.alpha, it.pairs
        head = f"{it.name} ({s.items:,} items, {standings[0].people} people)"
        tests = "; ".join(f"{x.machine} {x.wins[0]:.2f}, {x.wins[1]:.2f}; {x.advantage:.2f}" for x in standings)
        lines.append(
            f"| {head} | {a.value:.2f} ({a.low:.2f}–{a.high:.2f}) | "
            f"{s.value:.2f} ({s.low:.2f}–{s.high:.2f}) | {it.ceiling[0]:.2f} ({it.ceiling[1]:.2f}) | {tests} |"
        )
    same, of = _as_published(found)
    note = (
        "Against single people's answers. In brackets behind the ceiling: at the interval's upper end. ω and ρ are the "
        f"authors' own to two digits in {same} of {of} cases that they published with the same score."
    )
    return [*lines, "", note]


def _as_published(found: list[tuple[Crowd, list[Standing]]]) -> tuple[int, int]:
    """How many of our results are the published ones, of how many."""
    pairs = [
        (PUBLISHED[it.name][1][one.machine], (one.wins[PUBLISHED[it.name][0]], one.advantage))
        for it, standings in found
        if it.name in PUBLISHED
        for one in standings
    ]
    return sum(all(abs(a - b) <= 0.0051 for a, b in zip(*pair, strict=True)) for pair in pairs), len(pairs)


def main() -> None:
    """Measure, print, and write down."""
    parser = argparse.ArgumentParser(prog="python -m eval.estimates", description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} seeds; not logged")
    args = parser.parse_args()
    seeds, began = (QUICK if args.quick else args.seeds), time.perf_counter()
    found: dict[str, tuple[World, list[Cell]]] = {}
    for name in SETS:
        it = world(name)
        found[name] = it, cells(it, seeds)
    crowds = [crowd(name) for name in PEOPLE]
    lines = [*table(found, seeds), "", *people_table(crowds), "", f"{time.perf_counter() - began:.0f} s"]
    print("\n".join(lines))
    if args.json:
        body = {
            "designs": {name: [asdict(cell) for cell in row] for name, (_, row) in found.items()},
            "people": [{**asdict(it), "machines": [asdict(one) for one in tests]} for it, tests in crowds],
        }
        args.json.write_text(json.dumps(body, indent=1) + "\n")
    _log.append("estimates", lines, quick=args.quick)


if __name__ == "__main__":
    main()
