"""People's answers needed by the order in which the queue is answered: `python -m eval.review_order`.

Recorded answers of one machine, a student, people's pilot of 100 and an audit of 300 (100 of the small set) are where
each order begins. In the queue is whatever falls below the goal's bar of .95; people (played by gold) answer it in an
order, 50 at a time, and after each 50 the student, the belief and the order are made anew. Counted are people's answers
to repair until 95 % of all labels are right, and until a look at the audit certifies that.

Pieces: `--sets` and `--seeds` say what to measure now, `--json FILE` gathers; the table tells all that FILE holds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

from eval import _log
from eval._queueing import ORDERS, QUICK, SETS, Bench, replay

GOAL = 0.7
BATCH = 50
FIGURES = {
    "right": "95 % right",
    "certified": "certified",
    "in_all": "certified, pilot and audit counted",
    "walk": "walk and its rest",
    "walk_in_all": "walk and its rest, pilot and audit counted",
}
Runs = dict[str, dict[str, dict[str, dict[str, float]]]]
"""Set -> seed -> order -> figures."""


def measure(runs: Runs, sets: Sequence[str], seeds: Sequence[int], folder: Path, keep: Path | None) -> None:
    """What is asked for and not there yet; written down after each order."""
    for name in sets:
        for seed in seeds:
            held = runs.setdefault(name, {}).setdefault(str(seed), {})
            missing = [order for order in ORDERS if order not in held]
            bench = Bench(name, folder, seed) if missing else None
            for order in missing if bench else []:
                assert bench is not None
                held[order] = replay(bench, order, BATCH, seed)
                print(name, seed, order, held[order], flush=True)
                if keep is not None:
                    keep.write_text(json.dumps(runs, indent=1) + "\n")
            if bench is not None:
                bench.ground.store.close()


def cell(held: Sequence[dict[str, dict[str, float]]], order: str, figure: str) -> str:
    """Answers, mean ± sd over seeds, and the ratio to first in, first out: of each seed's pair, mean ± sd."""
    there = [one for one in held if order in one]
    if not there:
        return ""
    values = [one[order][figure] for one in there]
    ratios = [one[order][figure] / max(one[ORDERS[0]][figure], 1.0) for one in there]
    few = f" [{len(there)} seeds]" if len(there) < len(held) else ""
    told = f"{statistics.mean(values):,.0f} ± {_sd(values):,.0f}{few}"
    return told if order == ORDERS[0] else f"{told} ({statistics.mean(ratios):.3f} ± {_sd(ratios):.3f})"


def _sd(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


def table(runs: Runs) -> list[str]:
    """The figures as Markdown."""
    lines = [
        "| data (n, seeds; wrong at first, in the queue) | people's answers until | " + " | ".join(ORDERS) + " | goal |"
    ]
    lines.append("|" + "---|" * (len(ORDERS) + 3))
    for name in {**SETS, **QUICK}:
        held = [one for one in runs.get(name, {}).values() if ORDERS[0] in one]
        if not held:
            continue
        first = [one[ORDERS[0]] for one in held]
        wrong, queue = (statistics.mean(one[key] for one in first) for key in ("wrong", "queue"))
        tuned = " (tuned on)" if {**SETS, **QUICK}[name].tuned else ""
        head = f"{name}{tuned} ({first[0]['n']:,.0f}, {len(held)}; {wrong:,.0f}, {queue:,.0f})"
        for figure, words in FIGURES.items():
            goal = f"≤ {GOAL}" if figure in ("right", "certified") else ""
            told = " | ".join(cell(held, order, figure) for order in ORDERS)
            lines.append(f"| {head} | {words} | {told} | {goal} |")
            head = ""
    return [*lines, "", *NOTES.splitlines()]


NOTES = """
Mean ± sd over seeds; in brackets the ratio to first in, first out, of each seed by itself. Simulated: gold plays the
people. First in, first out: by when an item fell below the bar, equals in the pool's order. "Certified": answers after
which a first look at the audit would certify all labels (goal.left = "open", exact test), seen every 50 answers;
"walk": the fewest answers with which a walk at one of these moments, and its rest, would have done (goal.left =
"people"), the best moment chosen in hindsight, for every order alike. Pilot and audit are the same for all orders; an
audited item that is repaired counts once where they are counted. The worth of an answer (agent/voi.py: SPREAD, TAUGHT,
SAME) was chosen on banking77's dev part and on llm_babe; the test part of banking77 and llm_pac_stance were not looked
at for it, but for one seed of the former with first in first out and least confidence. "Likes together" is the page's
order (agent/review/order.py) without audit cards.""".strip()


def main() -> None:
    """Measure, print, log."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--quick", action="store_true", help="300 items of one set, one seed")
    options.add_argument("--json", type=Path, help="gather the figures there")
    options.add_argument("--sets", default=",".join(SETS))
    options.add_argument("--seeds", default="0,1,2,3,4")
    options.add_argument("--folder", type=Path, help="keep the runs that orders begin with")
    options.add_argument("--log", action="store_true", help="write the table into the log: after the last piece")
    chosen = options.parse_args()
    sets = list(QUICK) if chosen.quick else [name for name in chosen.sets.split(",") if name]
    seeds = [0] if chosen.quick else [int(seed) for seed in chosen.seeds.split(",")]
    runs: Runs = json.loads(chosen.json.read_text()) if chosen.json and chosen.json.exists() else {}
    with tempfile.TemporaryDirectory() as temporary:
        measure(runs, sets, seeds, chosen.folder or Path(temporary), chosen.json)
    lines = table(runs)
    print("\n".join(lines))
    _log.append("review_order", lines, quick=chosen.quick or not chosen.log)


if __name__ == "__main__":
    main()
