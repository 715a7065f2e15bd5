"""Share of a set that needs no person's label, by scores of our own: `python -m eval.saving_own [--quick] [--json F]`.

A run: a uniform pilot; rounds of people's labels for what would go to people anyway (`agent.certify.rounds`), all
learned anew after each; labels and order frozen; an audit drawn from the rest; the walk (`agent.certify.walk`); people
label what lies behind. Pilot, rounds, audit and the rest all count. Held against the set's own labels.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from agent.certify import rounds, walk
from agent.types import Bools, Ints
from eval import _log, _scores

DELTA = 0.05
PILOT, ROUND = 60, 0.1
"""Items of the pilot, and share of the set that people label a round. Chosen on llm_fpb and llm_babe."""
GOALS = {"llm_pac_stance": 40.0, "banking77": 55.0}
CHOSEN_ON = ("llm_fpb", "llm_babe")
REST = ("discourse", "emotion", "figurative", "humor", "politeness", "stance_trump", "tempowic", "toxicity_forecast")
SETS = (*GOALS, *CHOSEN_ON, *(f"llm_css_{name}" for name in REST))


@dataclass(frozen=True)
class Line:
    """One row of the table: means over seeds, in percent where not said otherwise."""

    name: str
    eps: float
    seeds: int
    saved: float
    sd: float
    violations: float
    rounds: float
    audited: float
    seconds: float


@dataclass(frozen=True)
class Frozen:
    """What the rounds end with. order: items left, surest first; wrong: (U,) in that order."""

    order: Ints
    wrong: Bools
    aim: rounds.Aim
    rounds: int


def run_rounds(data: _scores.Pool, eps: float, seed: int) -> Frozen:
    """Pilot and rounds until it is time to freeze."""
    rng = np.random.default_rng(seed)
    n = data.n
    spoken, random, chance = np.zeros(n, bool), np.zeros(n, bool), np.ones(n)
    first = rng.choice(n, min(PILOT, n // 5), replace=False)
    spoken[first] = random[first] = True
    chance[first] = len(first) / n
    for number in range(n):
        scored = _scores.score(data, spoken, chance)
        risk = _scores.risk(data, scored, random)
        turn = rounds.next_round(risk, spoken, n, eps, DELTA, round(ROUND * n), seed * 1_000 + number)
        if len(turn.rows) == 0:
            break
        spoken[turn.rows] = True
        chance[turn.rows] = turn.chances
        random[turn.rows[turn.chances < 1]] = True
    left = np.flatnonzero(~spoken)
    order = left[np.lexsort((rng.random(len(left)), risk[left]))]
    return Frozen(order, scored.label[order] != data.gold[order], turn.aim, number)


def certify(frozen: Frozen, n: int, eps: float, seed: int) -> tuple[float, int, int]:
    """Share saved, wrong labels left, and audits answered."""
    units, aim = len(frozen.order), frozen.aim
    allowed = int(np.floor(eps * n + 1e-9))
    if units <= allowed:
        return units / n, int(frozen.wrong.sum()), 0
    ranks = np.sort(np.random.default_rng([seed, 1]).choice(units, aim.draws, replace=False))
    most = walk.may_find(units, aim.draws, allowed, DELTA)
    end = int(walk.end_of(units, most, ranks, frozen.wrong[ranks]))
    inside = ranks[ranks < end]
    left = int(frozen.wrong[:end].sum()) - int(frozen.wrong[inside].sum())
    return (end - len(inside)) / n, left, len(inside)


def measure(data: _scores.Pool, eps: float, seeds: Sequence[int]) -> tuple[Line, list[tuple[float, bool]]]:
    """One row, and each seed's share saved and whether the promise was broken."""
    began, each, counts, audits = time.process_time(), [], [], []
    for seed in seeds:
        frozen = run_rounds(data, eps, seed)
        saved, left, audited = certify(frozen, data.n, eps, seed)
        each.append((saved, left > np.floor(eps * data.n + 1e-9)))
        counts.append(frozen.rounds)
        audits.append(audited / data.n)
    saved_, broken = np.array([s for s, _ in each]), np.array([b for _, b in each])
    spent = (time.process_time() - began) / len(each)
    line = Line(
        data.name,
        eps,
        len(each),
        100 * float(saved_.mean()),
        100 * float(saved_.std()),
        float(broken.mean()),
        float(np.mean(counts)),
        100 * float(np.mean(audits)),
        spent,
    )
    return line, each


HEAD = (
    "set",
    "ε",
    "needs no person's label, % (mean ± sd; 95 % interval of the mean)",
    "goal",
    "promise broken",
    "rounds",
    "audited, %",
    "seeds",
    "CPU s a seed",
)
NOTE = """
Against the set's own labels, δ = .05; every person's label counts. Sources: recorded votes and what the model said of
its confidence, a ridge head on MiniLM vectors taught by people, one taught by the votes, neighbours; no metadata.
* pilot, size of a round, least answers, exploration and ridge were chosen on these two; llm_pac_stance was looked at
while this was built, and no number was chosen by it. 77 choices are pooled by shared exponents only."""


def table(lines: Sequence[Line]) -> list[str]:
    """Markdown."""
    out = [f"| {' | '.join(HEAD)} |", "|" + " --- |" * len(HEAD)]
    for one in lines:
        half = 1.96 * one.sd / one.seeds**0.5
        goal = f"≥ {GOALS[one.name]:.0f}" if one.name in GOALS and one.eps == 0.05 else ""
        name = one.name + (" *" if one.name in CHOSEN_ON else "")
        out.append(
            f"| {name} | {one.eps:.2f} | {one.saved:.1f} ± {one.sd:.1f} ({one.saved - half:.1f} to "
            f"{one.saved + half:.1f}) | {goal} | {one.violations:.3f} (≤ {DELTA}) | {one.rounds:.1f} | "
            f"{one.audited:.1f} | {one.seeds} | {one.seconds:.2f} |"
        )
    return [*out, *NOTE.splitlines()]


def main() -> None:
    """Print the table, append it to the log."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three seeds of the small sets, ε = .05")
    parser.add_argument("--sets", default="", help="names by commas; all when left out")
    parser.add_argument("--eps", default="0.05", help="by commas")
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--from-seed", type=int, default=0)
    parser.add_argument("--json", default="", help="also write every run to this file")
    args = parser.parse_args()
    names = args.sets.split(",") if args.sets else ([*CHOSEN_ON, "llm_pac_stance"] if args.quick else list(SETS))
    seeds = range(args.from_seed, args.from_seed + (3 if args.quick else args.seeds))
    lines, runs = [], []
    for name in names:
        data = _scores.load(name)
        for eps in map(float, args.eps.split(",")):
            line, each = measure(data, eps, seeds)
            lines.append(line)
            runs.append({**asdict(line), "from_seed": args.from_seed, "runs": each})
            print(table([line])[2], flush=True)
    print("\n".join(table(lines)))
    if args.json:
        Path(args.json).write_text(json.dumps(runs, default=float), encoding="utf-8")
    _log.append("saving_own", table(lines), args.quick)


if __name__ == "__main__":
    main()
