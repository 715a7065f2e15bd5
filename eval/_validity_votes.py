"""Rows of the validity table beside the invented worlds: real votes made systematically wrong, and what must fail.

Knows data sets and `eval._worlds`; keeps nothing of a set but votes and labels as numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from agent import certify
from agent.certify import gate
from agent.types import Bools, Doubles
from eval import _sets, _worlds
from eval._worlds import World, clopper

SETS = ("llm_pac_stance", "llm_fpb", "llm_css_emotion", "llm_css_stance_trump", "llm_css_humor", "llm_css_politeness")
Line = tuple[str, str, str, int, float, float, float, float, float]


def votes(name: str) -> tuple[Doubles, Bools]:
    """(risk, wrong) in the frozen order, of LLM votes in which one class was called another throughout.

    Who votes for the class that is voted for most votes for the next one instead, as surely as before. The label is the
    majority; risk is one less the confidence told where there is one, else the share of votes against the label.

    Raises:
        FileNotFoundError: the set does not lie in the data folder.
    """
    import pyarrow.parquet as pq

    folder = _sets.data_folder() / name
    truth = {r["id"]: r["label"] for r in pq.read_table(folder / "items.parquet", columns=["id", "label"]).to_pylist()}
    heard: dict[int, list[tuple[str, float | None]]] = {}
    for row in pq.read_table(folder / "votes.parquet", columns=["id", "label", "confidence"]).to_pylist():
        if row["label"] is not None and row["id"] in truth:
            heard.setdefault(row["id"], []).append((row["label"], row["confidence"]))
    common = [label for label, _ in Counter(v for every in heard.values() for v, _ in every).most_common(2)]
    ids = sorted(heard)
    risk, wrong = np.zeros(len(ids)), np.zeros(len(ids), bool)
    for i, item in enumerate(ids):
        said = [(common[1] if label == common[0] else label, sure) for label, sure in heard[item]]
        label, count = Counter(v for v, _ in said).most_common(1)[0]
        told = [sure for v, sure in said if v == label and sure is not None]
        risk[i] = 1 - (float(np.mean(told)) if told else count / len(said))
        wrong[i] = label != truth[item]
    order = certify.order_of(risk, [str(i) for i in ids], 3)
    return risk[order], wrong[order]


def rows(runs: int, quick: bool) -> Iterator[Line]:
    """One line per set, test and what is left; sets that are absent are left out."""
    for name in SETS[:2] if quick else SETS:
        try:
            risk, wrong = votes(name)
        except FileNotFoundError:
            continue
        world = World(name, len(risk), lambda p, r, g, w=wrong: w, risk=lambda place, r=risk: r)  # type: ignore[misc]
        for test, left in (("X", "people"), ("X", "open"), ("S", "people"), ("S", "open"), ("paced", "people")):
            cases = []
            for eps in (0.05, 0.1, 0.2):
                false, taken, more = *_run(world, test, left, eps, runs, 0), runs  # type: ignore[arg-type]
                if clopper(false, runs) > 0.06:
                    false, taken, more = *_run(world, test, left, eps, 10 * runs, 1), 10 * runs  # type: ignore[arg-type]
                cases.append((false / more, eps, clopper(false, more), taken, more))
            rate, eps, upper, taken, more = max(cases)
            shown = f"{name}, one class flipped ({wrong.mean():.0%} wrong)"
            yield shown, test, left, more, 0.05, eps, rate, upper, taken


def _run(world: World, test: str, left: _worlds.Left, eps: float, runs: int, seed: int) -> tuple[int, float]:
    if test == "paced":
        return _worlds.pacing(world, eps, 0.05, runs, seed)
    return (_worlds.exact if test == "X" else _worlds.anytime)(world, eps, 0.05, left, runs, seed)


def contrasts(runs: int) -> Iterator[Line]:
    """What must fail, at δ = .05."""
    size, eps, delta = 1500, 0.05, 0.05
    allowed = int(eps * size)
    one = certify.Plan(np.array([size]), np.array([allowed]), 400, np.zeros(1, np.int64))
    rng = np.random.default_rng(1)
    last = np.arange(size) >= size - allowed - 1  # exactly one error too many, where the score is least sure
    for name, false in (
        ("exact test, looked at after every 25 answers", _peeked(one, last, runs, delta, rng)),
        ("audit in proportion to confidence", _by_confidence(one, last, runs, delta, rng)),
        ("the largest cut that passes", _largest(runs, delta, rng)),
    ):
        yield name, "must fail", "people", runs, delta, eps, false / runs, clopper(false, runs), false / runs


def _peeked(plan: certify.Plan, wrong: Bools, runs: int, delta: float, rng: np.random.Generator) -> int:
    false = 0
    for ranks in _worlds.draws(plan, runs, rng):
        ever = np.zeros(len(ranks), bool)
        for upto in range(25, plan.draws + 1, 25):
            drawn, bad = _worlds.counts(plan, ranks[:, :upto], wrong[ranks[:, :upto]])
            ever |= (gate.chances(plan, drawn, bad) <= delta)[:, 0]
        false += int(ever.sum())
    return false


def _by_confidence(plan: certify.Plan, wrong: Bools, runs: int, delta: float, rng: np.random.Generator) -> int:
    sure = 1 - 0.6 * ((np.arange(len(wrong)) + 0.5) / len(wrong)) ** 2.5
    false = 0
    for start in range(0, runs, _worlds.AT_ONCE):
        # Efraimidis and Spirakis: the smallest exponential variables with these rates are a draw by these weights.
        keys = rng.exponential(size=(min(_worlds.AT_ONCE, runs - start), len(wrong))) / sure
        ranks = np.argpartition(keys, plan.draws, axis=1)[:, : plan.draws]
        drawn, bad = _worlds.counts(plan, ranks, wrong[ranks])
        false += int((gate.chances(plan, drawn, bad) <= delta).sum())
    return false


def _largest(runs: int, delta: float, rng: np.random.Generator) -> int:
    plan, wrong = _worlds.doubling(0.1)
    total = np.concatenate([[0], np.cumsum(wrong)])[plan.cuts]
    false = 0
    for ranks in _worlds.draws(plan, runs, rng):
        drawn, bad = _worlds.counts(plan, ranks, wrong[ranks])
        passed = gate.chances(plan, drawn, bad) <= delta
        largest = passed.shape[1] - 1 - np.argmax(passed[:, ::-1], axis=1)
        false += int((passed.any(axis=1) & (total >= plan.least)[largest]).sum())
    return false
