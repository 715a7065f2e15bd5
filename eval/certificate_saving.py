"""Labels that no person need give, by the recorded confidence alone: `python -m eval.certificate_saving`.

Two recorded sets, each with people's label, one machine's label and its confidence. Wanted: at most a share ε of all
labels wrong, with probability 95 %. Everything behind the accepted prefix goes to people; saved = 1 − (all labels that
people gave, pilot and audits among them) / N. Equal confidences stand in a random order, the same for every method.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agent.certify import gate, paced
from agent.certify.anytime import Anytime
from agent.certify.plan import plan as plan_of
from agent.claim.finished.paced import SPARE
from agent.posterior.risk import recalibrate
from eval import _log, _pac, _product, _sets

ROOT = Path(__file__).parent.parent
SETS = {"llm_pac_stance": 0.32, "pac_imagenetv2": 0.42}
"""Goal for the saved share at ε = δ = 0.05."""
LEVELS = (0.03, 0.05, 0.10)
DELTA = 0.05
Unseen = NDArray[np.bool_]
Method = Callable[[NDArray[np.float64], NDArray[np.bool_], float, np.random.Generator], Unseen]


@dataclass(frozen=True, slots=True)
class Cell:
    """One method on one set: shares in percent, seeds."""

    name: str
    eps: float
    method: str
    saved: float
    sd: float
    violations: float
    seeds: int

    def __str__(self) -> str:
        saved = math.floor(10 * self.saved) / 10  # never rounded up
        return f"{saved:.1f} ± {self.sd:.1f} ({self.violations:.1f})"


@cache
def load(name: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Confidence of every item, and whether the machine's label is not people's."""
    import pyarrow.parquet as pq

    folder = _sets.data_folder() / name
    if not folder.is_dir():
        raise SystemExit(f"{folder} is absent: set TUTELAGE_DATA to the folder that holds {name}")
    items = pq.read_table(folder / "items.parquet", columns=["id", "label"]).to_pydict()
    votes = pq.read_table(folder / "votes.parquet", columns=["id", "label", "confidence"]).to_pydict()
    gold = dict(zip(items["id"], items["label"], strict=True))
    wrong = [label != gold[i] for i, label in zip(votes["id"], votes["label"], strict=True)]
    return np.array(votes["confidence"], np.float64), np.array(wrong, bool)


def arranged(sure: NDArray[np.float64], seed: int) -> tuple[NDArray[np.int64], np.random.Generator]:
    """Surest first, equal ones in the random order of this seed; and a generator for the method."""
    tie, own = np.random.default_rng([seed, 1]), np.random.default_rng([seed, 2])
    return np.lexsort((tie.random(len(sure)), -sure)), own


def by_pac(k: int, bound: _pac.Bound = "betting") -> Method:
    """PAC labeling with K draws."""

    def run(risk: NDArray[np.float64], wrong: NDArray[np.bool_], eps: float, rng: np.random.Generator) -> Unseen:
        return _pac.label(np.linspace(1, 0, len(wrong)), wrong, k, eps, DELTA, rng, bound)

    return run


def by_pace(risk: NDArray[np.float64], wrong: NDArray[np.bool_], eps: float, rng: np.random.Generator) -> Unseen:
    """The paced walk: no pilot, no risks."""
    allowed = math.floor(eps * len(wrong) + 1e-9)
    length, audited = paced.walk(shares_of(allowed), rng.random(len(wrong)), wrong)
    unseen = ~audited
    unseen[length:] = False
    if not length:
        unseen[:allowed] = True
    return unseen


@cache
def shares_of(allowed: int) -> NDArray[np.float64]:
    """`paced.shares`, once for each number."""
    return paced.shares(allowed, DELTA)


def by_walk(risk: NDArray[np.float64], wrong: NDArray[np.bool_], eps: float, rng: np.random.Generator) -> Unseen:
    """GATE-X: one look, planned by the confidences as they are."""
    made = plan_of(risk, len(wrong), eps, DELTA, mode="exact", left="people")
    ranks = np.sort(rng.choice(int(made.cuts[-1]), made.draws, replace=False))
    seen = gate.found(made, ranks, wrong[ranks])
    return _settled(made, gate.exact(made, seen, DELTA), seen, risk, wrong)


def by_bets(risk: NDArray[np.float64], wrong: NDArray[np.bool_], eps: float, rng: np.random.Generator) -> Unseen:
    """GATE-S: looked at after every answer. A pilot of 60 (200 from 5,000 items on) in the first 90 % of the order."""
    n = len(wrong)
    pilot = rng.choice(int(0.9 * n), 60 if n < 5000 else 200, replace=False)
    left = np.setdiff1d(np.arange(n), pilot)
    believed = recalibrate(risk, risk[pilot], wrong[pilot].astype(np.float64), np.ones(len(pilot)))[left]
    made = plan_of(believed, n, eps, DELTA, people=len(pilot), mode="anytime", left="people")
    game, ranks = Anytime(made, DELTA), rng.permutation(int(made.cuts[-1]))[: made.draws]
    for rank in ranks.tolist():
        game.hear(rank, float(wrong[left[rank]]))
    seen = gate.found(made, ranks, wrong[left[ranks]])
    unseen = np.zeros(n, bool)
    unseen[left] = _settled(made, game.accepted, seen, believed, wrong[left])
    return unseen


def _settled(
    made: gate.Plan, cut: int, seen: gate.Found, risk: NDArray[np.float64], wrong: NDArray[np.bool_]
) -> Unseen:
    """What is delivered unseen once people gave what the credit owes."""
    done = gate.settle(made, cut, seen, risk)
    unseen = np.zeros(len(wrong), bool)
    unseen[: done.accepted] = True
    unseen[seen.answered] = False
    if done.owed:
        paid = np.cumsum(wrong[done.to_people]) < done.owed
        unseen[done.to_people[: int(paid.sum()) + 1]] = False
    if cut < 0:
        unseen[: int(made.allowed[0])] = True
        unseen[seen.answered] = False
    return unseen


def measure(name: str, method: str, run: Method, eps: float, seeds: int) -> Cell:
    """A method over many seeds."""
    sure, wrong = load(name)
    saved, bad = [], []
    for seed in range(seeds):
        order, own = arranged(sure, seed)
        unseen = run(1 - sure[order], wrong[order], eps, own)
        saved.append(unseen.mean())
        bad.append((unseen & wrong[order]).sum() > math.floor(eps * len(wrong) + 1e-9))
    return Cell(
        name, eps, method, 100 * float(np.mean(saved)), 100 * float(np.std(saved)), 100 * float(np.mean(bad)), seeds
    )


def bargain(name: str, eps: float, seeds: int) -> Cell | str:
    """The peer in its own environment; what went wrong, in words."""
    home = ROOT / ".venv-peer-bargain"
    if not (home / ".ready").exists():
        return "bargain: not installed (make peers)"
    sure, wrong = load(name)
    given = {"score": sure.tolist(), "right": (~wrong).tolist(), "target": 1 - eps, "delta": DELTA}
    done = subprocess.run(
        [str(home / "bin" / "python"), "-m", "eval.peers.bargain"],
        cwd=ROOT,
        input=json.dumps({**given, "seeds": list(range(seeds))}),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        return f"bargain: {(done.stderr.strip().splitlines() or ['ended without a word'])[-1][:200]}"
    runs = np.array(json.loads(done.stdout.strip().splitlines()[-1]))
    bad = runs[:, 1] * len(wrong) > math.floor(eps * len(wrong) + 1e-9) + 1e-6
    return Cell(name, eps, "BARGAIN", 100 * runs[:, 0].mean(), 100 * runs[:, 0].std(), 100 * bad.mean(), seeds)


def ceiling(name: str, eps: float) -> float:
    """The largest share of the order whose wrong labels are few enough, in percent, on average over tie-breaks."""
    sure, wrong = load(name)
    allowed = math.floor(eps * len(wrong) + 1e-9)
    return 100 * float(np.mean([(np.cumsum(wrong[arranged(sure, s)[0]]) <= allowed).mean() for s in range(50)]))


def row(name: str, eps: float, quick: bool, seeds: int) -> tuple[list[Cell], list[str]]:
    """All methods on one set at one ε."""
    n = len(load(name)[1])
    peers, words = bargain(name, eps, 1 if quick else 50), []
    cells = [peers] if isinstance(peers, Cell) else []
    words += [peers] if isinstance(peers, str) else []
    some = seeds if quick else 200
    cells.append(measure(name, "PAC", by_pac(_pac.authors(n)), eps, some))
    for kind in ("betting", "clt"):
        tried = [(s, measure(name, f"PAC best, {kind}", by_pac(int(s * n), kind), eps, some)) for s in _pac.SHARES]
        share, best = max(tried, key=lambda pair: pair[1].saved)
        cells.append(best)
        words.append(f"{name}, ε {eps:g}: best K in hindsight with the {kind} bound is {int(share * n)}")
    cells.append(measure(name, "GATE-S", by_bets, eps, some))
    cells.append(measure(name, "GATE-X", by_walk, eps, some))
    cells.append(measure(name, "paced", by_pace, eps, seeds if quick else 2000))
    return cells, words


def by_product(name: str, eps: float, seeds: int) -> Cell:
    """The same walk as `tutelage certify FILE --left people` takes it."""
    sure, wrong = load(name)
    unseen = _product.runs(sure, wrong, eps, DELTA, seeds)
    saved = 100 * unseen.mean(axis=1)
    bad = 100 * float(((unseen & wrong).sum(axis=1) > math.floor(eps * len(wrong) + 1e-9)).mean())
    return Cell(name, eps, "product", float(saved.mean()), float(saved.std()), bad, seeds)


def product(names: Sequence[str], levels: Sequence[float], seeds: int) -> tuple[list[Cell], list[str]]:
    """The product's own steps beside the walk as it is measured above: figures, and the table's lines."""
    cells, lines = [], ["| data, ε | as the command takes it | paced walk alone |", "|---|---|---|"]
    for name in names:
        for eps in levels:
            pair = [by_product(name, eps, seeds), measure(name, "paced", by_pace, eps, seeds)]
            cells += pair
            lines.append(f"| {name}, {eps:g} | {pair[0]} | {pair[1]} |")
    said = f"{seeds} seeds each, of their own; one in {SPARE} of the wrong labels that may stay is kept for rows"
    return cells, [*lines, "", f"Percent saved, mean ± sd (violations in percent). {said} without anybody's answer."]


HEADS = {
    "BARGAIN": "BARGAIN",
    "PAC": "PAC labeling, authors' K",
    "PAC best, betting": "PAC, best K in hindsight",
    "PAC best, clt": "PAC with its CLT bound, best K",
    "GATE-S": "ours, GATE-S",
    "GATE-X": "ours, GATE-X",
    "paced": "ours, paced walk",
}
NOTES = """
Percent of the set that no person labeled, mean ± sd over seeds (violations in percent; 5 is promised). Seeds: BARGAIN
50 (it is slow), paced walk 2,000, others 200. PAC: own implementation of the paper, uniform draws, the betting bound
of Waudby-Smith and Ramdas; its CLT bound promises nothing at these sizes (see violations). GATE-S has a pilot of 60
(200 of 10,000), whose labels count as people's; GATE-X and the paced walk have none. The paced walk uses δ up exactly:
5.0 is what is to be expected of it wherever errors do not run out, with a standard error of 0.5 here. Its constants
were chosen on six recorded sets (llm_mmlu with five models, votes_mrpc), not on these two; that this procedure was
taken at all was decided with figures of all eight in view.""".strip()


def table(cells: list[Cell]) -> list[str]:
    """The figures as Markdown."""
    lines = ["| data, ε | " + " | ".join(HEADS.values()) + " | goal | ceiling |", "|" + "---|" * (len(HEADS) + 3)]
    for name, eps in dict.fromkeys((c.name, c.eps) for c in cells):
        mine = {c.method: str(c) for c in cells if (c.name, c.eps) == (name, eps)}
        goal = f"{100 * SETS[name]:.0f}" if eps == 0.05 else "ahead of PAC's best K"
        figures = " | ".join(mine.get(head, "") for head in HEADS)
        lines.append(f"| {name}, {eps:g} | {figures} | {goal} | {ceiling(name, eps):.1f} |")
    return lines


def main() -> None:
    """Measure, print, log."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few seeds, ε = 0.05 only")
    parser.add_argument("--product", action="store_true", help="the steps of `tutelage certify FILE --left people`")
    parser.add_argument("--set", choices=SETS, help="only this one")
    parser.add_argument("--eps", type=float, choices=LEVELS, help="only this one")
    parser.add_argument("--json", metavar="FILE", help="write the figures there, too")
    options = parser.parse_args()
    levels = (options.eps,) if options.eps else (0.05,) if options.quick else LEVELS
    names = (options.set,) if options.set else tuple(SETS)
    if options.product:
        cells, lines = product(names, levels, 20 if options.quick else 200)
    else:
        rows = [row(name, eps, options.quick, 20) for name in names for eps in levels]
        cells = [cell for got, _ in rows for cell in got]
        words = [word for _, said in rows for word in said]
        lines = [*table(cells), "", *NOTES.splitlines(), "", *dict.fromkeys(words)]
    print("\n".join(lines))
    if options.json:
        Path(options.json).write_text(json.dumps([asdict(c) for c in cells], indent=1))
    _log.append("certificate_saving" + " --product" * options.product, lines, options.quick)


if __name__ == "__main__":
    main()
