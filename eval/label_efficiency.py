"""How far labels go: every way of picking on seven sets, by right answers, by answers 85 % right, and by recorded LLMs.

    python -m eval.label_efficiency --set banking77 [--oracle gold] [--strategies auto,random] [--json FILE]
    python -m eval.label_efficiency --quick

A curve is 50 labels a step up to 1,000, five seeds; accuracy is on test rows that nobody is asked about and whose text
is no pool row's, against gold. The student is `linear` as it comes. "plain" rows are what most tools do: the same
embeddings, hard labels, no names, a fixed penalty. Recorded votes: the pool is banking77's rows that GPT-4 and GPT-3.5
both answered, tests are 3,000 others. Mistakes of the 85 % oracle are made up (`agent.bench.answers`). A pilot of 100
random rows with gold labels tells how right an oracle is and what batches were worth; it is neither taught nor counted.

What was tuned where: `auto` and the floor under the student's penalty on splits of the train rows of banking77, trec6,
ag_news, sst2 and zh_tnews (eval/LOG.md, "tuning of `auto`"), so that these sets' pools were seen, their test rows were
not; clinc150_oos and 20newsgroups were not looked at. The floor came after a first table on test rows had shown that
sst2 failed. The plain rows' penalty, .03 (C = 33), was chosen on banking77's table in favour of those rows: with the
usual C = 1 their mean curve is 15 points lower. The best single strategy is named by these test rows, in its favour.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agent import bench, plugins
from agent.types import Student
from eval import _bench, _kept_curves, _log, _sets

SETS = ("banking77", "clinc150_oos", "trec6", "ag_news", "sst2", "20newsgroups", "zh_tnews")
ORACLES = {
    "gold": "always right",
    "noisy": "85 % right, made up",
    "noisy2": "two votes an item, each 85 % right, made up",
    "gpt-4": "GPT-4, recorded",
    "gpt-3.5": "GPT-3.5, recorded",
    "gpts": "GPT-4 and GPT-3.5 on each item, recorded",
}
PLAIN = ("random", "margin")
"""Strategies that are run with a plain student, too."""
LABELS = 1_000
PLAIN_L2 = 0.03
FURTHER, FURTHER_STEP = 2_000, 100
"""Where random picks have not reached 95 % of full by the end of the curves, they go on so far, in such steps."""
SEEDS, QUICK_SEEDS = 5, 2
TESTED = 3_000
T95 = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 8: 2.36, 10: 2.26}
"""Student's t, 97.5 %, by the number of seeds."""
GOAL_MEAN, GOAL_START, GOAL_NEEDED, GOAL_NOISY = 0.845, 0.60, 0.6, 0.03


@dataclass(frozen=True)
class Case:
    """A set, an oracle, the accuracy with all gold labels, and the curves by row of the table. further: random picks
    on and on, where they had not reached 95 % of full by the end."""

    name: str
    oracle: str
    full: float
    rows: dict[str, list[bench.Curve]]
    further: list[bench.Curve]

    @property
    def random_needs(self) -> float | None:
        """Labels that random picks need for 95 % of full."""
        curves = self.further or self.rows.get("random", [])
        return bench.summary(curves).needed(0.95 * self.full) if curves else None

    def difference(self, ours: str, theirs: str) -> tuple[float, float]:
        """Mean curve of one row less another's, paired by seed, in points, and half of its 95 % interval."""
        gaps = 100 * np.array([a.mean - b.mean for a, b in zip(self.rows[ours], self.rows[theirs], strict=True)])
        error = float(gaps.std(ddof=1) / len(gaps) ** 0.5) if len(gaps) > 1 else float("nan")
        return float(gaps.mean()), T95.get(len(gaps), 2.0) * error


def measure(name: str, oracle: str, strategies: Sequence[str], seeds: int, plan: bench.Plan) -> Case:
    """All curves of a set and an oracle."""
    problem, student, plain, answers = _ready(name, oracle)
    heard = [answers(seed) for seed in range(seeds)]
    hard = bench.Plan(labels=plan.labels, batch=plan.batch, soft=False)
    rows: dict[str, list[bench.Curve]] = {}
    for row in [*strategies, *(f"plain {s}" for s in PLAIN if s in strategies)]:
        strategy = row.removeprefix("plain ")
        who, how = (student, plan) if row == strategy else (plain, hard)

        def curves(strategy: str = strategy, who: Student = who, how: bench.Plan = how) -> list[bench.Curve]:
            return bench.run(problem, who, [strategy], heard.__getitem__, range(seeds), how)

        key = _kept_curves.seal(strategy, problem, heard, seeds, how, PLAIN_L2 if row != strategy else "as it comes")
        rows[row] = _kept_curves.row(f"{name}-{oracle}-{row}", key, curves)
        print(f"{row}: {100 * bench.summary(rows[row]).mean[0]:.1f}", file=sys.stderr, flush=True)
    full = bench.full(problem, student)
    case = Case(name, oracle, full, rows, [])
    if oracle == "gold" and plan.labels == LABELS and "random" in rows and case.random_needs is None:
        on = bench.Plan(labels=FURTHER, batch=FURTHER_STEP)

        def further() -> list[bench.Curve]:
            return bench.run(problem, student, ["random"], answers, range(seeds), on)

        key = _kept_curves.seal("random", problem, heard, seeds, on, "as it comes")
        case = Case(name, oracle, full, rows, _kept_curves.row(f"{name}-{oracle}-further", key, further))
    return case


def _ready(name: str, oracle: str) -> tuple[bench.Problem, Student, Student, Callable[[int], bench.Answers]]:
    """The problem, the student, a plain one that shares its features, and who answers."""
    if oracle.startswith("gpt"):
        return _recorded(oracle)
    problem, student = _bench.load(name)
    plain = _bench.learner(_bench.task(name), l2=PLAIN_L2, names=False)
    if oracle == "gold":
        right = bench.gold(problem)
        return problem, student, plain, lambda seed: right
    doubt = bench.doubts(problem, student)
    votes = 2 if oracle == "noisy2" else 1
    return problem, student, plain, lambda seed: bench.noisy(problem, doubt, 0.85, votes, seed)


def _recorded(oracle: str) -> tuple[bench.Problem, Student, Student, Callable[[int], bench.Answers]]:
    import pyarrow.parquet as pq

    folder = _sets.data_folder() / "banking77"
    rows = pq.read_table(folder / "data.parquet").to_pylist()
    votes = [v for v in pq.read_table(folder / "votes.parquet").to_pylist() if v["label"] is not None]
    said: dict[str, dict[int, str]] = {"gpt-4": {}, "gpt-3.5": {}}
    for vote in votes:
        said["gpt-4" if vote["model"] == "gpt-4" else "gpt-3.5"].setdefault(vote["id"], vote["label"])
    ids = [r["id"] for r in rows if all(r["id"] in one for one in said.values())]
    by_id = {r["id"]: _sets.Row(r["text"], r["label"]) for r in rows}
    asked = {vote["id"] for vote in votes}
    test = _sets.sample([by_id[r["id"]] for r in rows if r["id"] not in asked], TESTED, 0)
    told = _bench.task("banking77")
    clean = {id(row) for row in _bench.apart([by_id[i] for i in ids], test)}
    ids = [i for i in ids if id(by_id[i]) in clean]
    problem, student = _bench.problem(told, [by_id[i] for i in ids], test, "linear")
    heard = said.values() if oracle == "gpts" else [said[oracle]]
    codes = np.stack([_bench.codes([_sets.Row("", one[i]) for i in ids], problem.layout) for one in heard])
    answers = bench.recorded(problem, codes, oracle)
    return problem, student, _bench.learner(told, l2=PLAIN_L2, names=False), lambda seed: answers


def table(case: Case, labels: int) -> list[str]:
    """The case as Markdown."""
    found = {name: bench.summary(curves) for name, curves in case.rows.items()}
    yard = case.random_needs
    seeds = next(iter(found.values())).seeds
    head = f"{case.name}, answers {ORACLES[case.oracle]}; linear student, {seeds} seeds (mean ± sd), against gold"
    columns = f"no label | mean curve | at {labels:,} | labels to 95 % of full | of random's | right answers | CPU s"
    lines = [f"{head}; all labels {100 * case.full:.1f} %", "", f"| picks by | {columns} |", "|---" * 8 + "|"]
    for name, one in sorted(found.items(), key=lambda pair: -pair[1].mean[0]):
        needed = one.needed(0.95 * case.full)
        part = f"{needed / yard:.2f}" if needed and yard else "–"
        lines.append(
            f"| {name} | {100 * one.start[0]:.1f} | {_pair(one.mean)} | {_pair(one.end)} "
            f"| {f'{needed:,.0f}' if needed else f'over {labels:,}'} | {part} | {100 * one.right:.1f} "
            f"| {one.seconds:.1f} |"
        )
    return [*lines, "", *goals(case, found)]


def compact(cases: Sequence[Case]) -> list[str]:
    """All cases in one table, a line each: `auto` beside random picks and the best single strategy."""
    columns = (
        "`auto` | `random` | best single | `auto` − random | `auto` − best single | labels to 95 %: `auto`, `random`"
    )
    lines = [f"| set, answers | {columns} |", "|---" * 7 + "|"]
    for case in cases:
        found = {name: bench.summary(curves) for name, curves in case.rows.items()}
        single = _single(found)
        if not {"auto", "random"} <= found.keys() or not single:
            continue
        best = max(single, key=lambda name: found[name].mean[0])
        gaps = [_gap(*case.difference("auto", other)) for other in ("random", best)]
        counts = [
            f"{n:,.0f}" if n else "not reached" for n in (found["auto"].needed(0.95 * case.full), case.random_needs)
        ]
        means = [_pair(found[name].mean) for name in ("auto", "random")]
        of_best = f"{100 * found[best].mean[0]:.1f} (`{best}`, of {len(single)})"
        cells = [f"{case.name}, {ORACLES[case.oracle]}", *means, of_best, *gaps, ", ".join(counts)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _single(found: dict[str, bench.Summary]) -> list[str]:
    return [name for name in found if name not in ("auto", "random") and not name.startswith("plain ")]


def _gap(gap: float, half: float) -> str:
    return f"{gap:+.1f} ({gap - half:+.1f} to {gap + half:+.1f})"


def _pair(pair: tuple[float, float]) -> str:
    return f"{100 * pair[0]:.1f} ± {100 * pair[1]:.1f}"


def goals(case: Case, found: dict[str, bench.Summary]) -> list[str]:
    """The issue's goals that this case speaks to, each with what was measured."""
    if not {"auto", "random"} <= found.keys():
        return []
    out = [_goal("auto − random ≥ −0.3", *case.difference("auto", "random"), -0.3)]
    if single := _single(found):
        best = max(single, key=lambda name: found[name].mean[0])
        out.append(_goal(f"auto − best single of {len(single)} ({best}) ≥ −0.5", *case.difference("auto", best), -0.5))
    if case.oracle == "gold" and case.name in ("banking77", "clinc150_oos"):
        ours, theirs = found["auto"].needed(0.95 * case.full), case.random_needs
        asked = float((case.further or case.rows["random"])[0].labels[-1])  # random picks need more, where they fail
        part = (ours / (theirs or asked)) if ours else None
        told = "auto never gets there" if part is None else f"{ours:,.0f} against {theirs or asked:,.0f}, {part:.2f}"
        told += "" if theirs else " at most: random has not got there by then"
        met = part is not None and part <= GOAL_NEEDED
        out.append(f"- labels to 95 % of full ≤ {GOAL_NEEDED} × random's: {told} {_met(met)}")
    if case.oracle == "gold" and case.name == "banking77":
        mean, start = found["auto"].mean, found["auto"].start[0]
        out.append(f"- mean curve ≥ {100 * GOAL_MEAN:.1f}: {_pair(mean)} {_met(mean[0] >= GOAL_MEAN)}")
        out.append(f"- no label ≥ {100 * GOAL_START:.0f}: {100 * start:.1f} {_met(start >= GOAL_START)}")
    if case.oracle.startswith("noisy") and case.name in ("banking77", "trec6") and "plain margin" in found:
        out.append(_goal("auto − plain margin ≥ +3", *case.difference("auto", "plain margin"), 100 * GOAL_NOISY))
    return out


def _goal(told: str, gap: float, half: float, least: float) -> str:
    open_still = gap < least <= gap + half
    return (
        f"- {told} points of mean curve: {gap:+.2f} (95 % interval over seeds {gap - half:+.2f} to {gap + half:+.2f}) "
        + _met(gap >= least)
        + (" (within the seeds' noise)" if open_still else "")
    )


def _met(met: bool) -> str:
    return "· met" if met else "· NOT met"


def main(words: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m eval.label_efficiency", description=__doc__)
    parser.add_argument("--set", dest="sets", action="append", choices=SETS)
    parser.add_argument("--oracle", dest="oracles", action="append", choices=list(ORACLES))
    parser.add_argument("--strategies", default=None)
    parser.add_argument("--seeds", type=int, default=None)
    parser.add_argument("--labels", type=int, default=None)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(words)
    names = given.strategies.split(",") if given.strategies else plugins.names("acquire")
    if given.quick and not given.strategies:
        names = ["random", "margin", "auto"]
    labels = given.labels or (300 if given.quick else LABELS)
    seeds = given.seeds or (QUICK_SEEDS if given.quick else SEEDS)
    sets = given.sets or (["trec6"] if given.quick else list(SETS))
    cases: list[Case] = []
    for name in sets:
        for oracle in given.oracles or (["gold", "noisy"] if name != "banking77" or given.quick else list(ORACLES)):
            begun = time.process_time()
            case = measure(name, oracle, names, seeds, bench.Plan(labels=labels, batch=labels // 20))
            lines = [*table(case, labels), "", f"{time.process_time() - begun:.0f} CPU s"]
            print("\n".join(lines), "\n", flush=True)
            _log.append(f"label_efficiency --set {name} --oracle {oracle}", lines, given.quick)
            cases.append(case)
            if given.picture:
                _picture(case, given.picture)
    if len(cases) > 1:
        print("\n".join(compact(cases)))
    if given.json:
        told = [_body(case) for case in cases]
        given.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def _body(case: Case) -> dict[str, Any]:
    rows = {
        name: [{"seed": c.seed, "labels": c.labels.tolist(), "accuracy": c.accuracy.tolist()} for c in curves]
        for name, curves in case.rows.items()
    }
    return {"set": case.name, "oracle": case.oracle, "full": case.full, "rows": rows}


def _picture(case: Case, file: Path) -> None:
    from agent.bench import picture

    found = [bench.summary(curves) for name, curves in case.rows.items() if not name.startswith("plain ")]
    told = f"answers {ORACLES[case.oracle]}; against gold; bands: one standard deviation over {found[0].seeds} seeds"
    title = f"{case.name}: accuracy by labels asked for"
    print(picture.draw(file, title, told, {"linear": found}, {"linear": case.full}))


if __name__ == "__main__":
    main()
