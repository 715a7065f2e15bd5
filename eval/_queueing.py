"""A queue to people replayed on recorded answers: the loop's own start, then answers in one order after the other.

The start is a run of the product with people's pilot and audit and nothing else: machines' recorded answers, student,
belief. From there on people's words are put into the board's arrays instead of the ledger; teaching, belief and worths
are the loop's own. Gold plays the people. Knows no table.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agent import aggregate, certify, loop
from agent import config as settings
from agent.belief import Belief, believe
from agent.board import ESCALATION
from agent.certify import walk
from agent.loop import forming, turn, valuing
from agent.loop.ground import open_ground
from agent.loop.measure import columns, soft
from agent.review import order as page
from agent.types import Bools, Ints
from eval import _sets

SECONDS = 6.0
PILOT = 100
TARGET, DELTA = 0.95, 0.05


@dataclass(frozen=True)
class Recorded:
    """A set with recorded answers: its folder, the part of its rows, whose answers, the question; the audit's size,
    whether anything was tuned on it, how many rows are taken."""

    folder: str
    part: str
    model: str
    prompt: str
    question: str
    audit: int
    tuned: bool
    most: int | None = None


BANK = "What does the customer of the bank want?"
SETS = {
    "banking77": Recorded("banking77", "test", "gpt-4", "fewshot_ocats", BANK, 300, False),
    "llm_pac_stance": Recorded("llm_pac_stance", "", "gpt-4o", "pac", "Where does the text stand?", 300, False),
    "llm_babe": Recorded("llm_babe", "", "gpt_4", "zero-shot", "Is the sentence biased?", 300, True),
    "banking77 dev": Recorded("banking77", "dev", "gpt-4", "fewshot_ocats", BANK, 100, True),
}
QUICK = {"300 of llm_babe": Recorded("llm_babe", "", "gpt_4", "zero-shot", "Is the sentence biased?", 60, True, 300)}


def prepare(name: str, folder: Path) -> Path:
    """The pool, the recorded answers and a configuration as files; made once. The folder they are in."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    one, home = {**SETS, **QUICK}[name], folder / name.replace(" ", "")
    if (home / "tutelage.toml").exists():
        return home
    home.mkdir(parents=True, exist_ok=True)
    source = _sets.data_folder() / one.folder
    table = pq.read_table(source / ("data.parquet" if one.part else "items.parquet")).to_pylist()
    votes = {
        v["id"]: v["label"]
        for v in pq.read_table(source / "votes.parquet").to_pylist()
        if (v["model"], v["prompt"]) == (one.model, one.prompt)
    }
    rows = [r for r in table if r["id"] in votes and (not one.part or r["part"] == one.part)][: one.most]
    pool = [{"id": str(r["id"]), "text": r["text"], "label": r["label"]} for r in rows]
    said = [{"id": str(r["id"]), "label": votes[r["id"]]} for r in rows if votes[r["id"]] is not None]
    pq.write_table(pa.Table.from_pylist(pool), home / "pool.parquet")
    pq.write_table(pa.Table.from_pylist(said), home / "votes.parquet")
    labels = sorted({r["label"] for r in table})
    names = "\n".join(f"{json.dumps(n)} = {json.dumps(n.replace('_', ' ').replace('?', ''))}" for n in labels)
    (home / "tutelage.toml").write_text(
        f"""
[task]
question = "{one.question}"
[task.labels]
{names}
[pool]
path = "pool.parquet"
text = ["text"]
id = "id"
gold = "label"
[[rung]]
student = "linear"
[[rung]]
oracle = "replay"
path = "votes.parquet"
[[rung]]
oracle = "person"
seconds = {SECONDS}
people = "gold"
"""
    )
    return home


def _config(home: Path, seed: int, questions: float, audit: int) -> Any:
    minutes = questions * SECONDS / 60
    told = [f"run.dir=s{seed}", f"run.seed={seed}", f"goal.person_minutes={minutes}"]
    return settings.load(home / "tutelage.toml", [*told, f"goal.pilot={PILOT}", f"goal.audit={audit}"])


class Bench:
    """The start of one seed, and a way back to it."""

    def __init__(self, name: str, folder: Path, seed: int) -> None:
        home, audit = prepare(name, folder), {**SETS, **QUICK}[name].audit
        config, cache = _config(home, seed, PILOT + audit + 0.5, audit), home / "cache"
        if not (config.folder / "model" / "student.json").exists():
            shutil.rmtree(config.folder, ignore_errors=True)
            if cache.exists():
                shutil.copytree(cache, config.folder / "cache")
            loop.run(config)
            if not cache.exists():
                shutil.copytree(config.folder / "cache", cache)
        ground = self.ground = open_ground(config, None, None, True)
        forming.begin(ground)
        turn.recall(ground)
        ground.board.refresh(ground.store, ground.recipes)
        self.truth = np.array([columns(ground, label) for label in ground.pool.gold()])
        drawn = ground.board.audit.answered
        self.audit = np.array([i for i in ground.order.tolist() if drawn[i]], np.int64)
        self.start = self.refresh()
        self._kept = copy.deepcopy(self._state())

    def _state(self) -> tuple[Any, ...]:
        ground = self.ground
        return vars(ground.student), ground.board.people, ground.yard, ground.student_says, ground.taught

    def restart(self) -> Belief:
        """Forget everything that people said in an order."""
        ground = self.ground
        student, ground.board.people, ground.yard, ground.student_says, ground.taught = copy.deepcopy(self._kept)
        vars(ground.student).clear()
        vars(ground.student).update(student)
        return self.start

    def refresh(self) -> Belief:
        """Teach and believe, as a turn does."""
        ground = self.ground
        turn.teach_student(ground, lambda event: None, 0)
        return believe(ground.board, ground.student_says, soft(ground), True, ground.likest)

    def hear(self, rows: Ints) -> None:
        """People say what gold says."""
        people = self.ground.board.people
        people.answered[rows], people.stream[rows] = True, ESCALATION
        for atom, columns_of in enumerate(self.ground.layout.slices):
            people.said[rows, columns_of.start + self.truth[rows, atom]] = 1.0

    def wrong(self, belief: Belief) -> Bools:
        """(n,) the label in hand is not gold's."""
        out: Bools = (aggregate.choices(belief.posterior, self.ground.layout) != self.truth).any(axis=1)
        return out

    def certified(self, belief: Belief) -> bool:
        """Whether the first look would certify all labels now: the audit of what no person repaired."""
        spoken, n = self.ground.board.spoken, self.ground.n
        drawn, wrong = self.audit[~spoken[self.audit]], self.wrong(belief)
        found = int(wrong[drawn].sum())
        risk = certify.risk_of_look(DELTA, 1)
        most = certify.wrong_at_most(int((~spoken).sum()), len(drawn), found, risk)
        return bool(most - found <= (1 - TARGET) * n + 1e-9)

    def behind(self, belief: Belief, seed: int) -> int:
        """Labels that people would still have to give if a walk were taken now and the rest behind it went to them."""
        spoken, wrong = self.ground.board.spoken, self.wrong(belief)
        free = np.flatnonzero(~spoken)
        order = free[np.lexsort((np.random.default_rng(seed).random(len(free)), -belief.confidence[free]))]
        ranks = np.flatnonzero(np.isin(order, self.audit))
        allowed = int((1 - TARGET) * self.ground.n + 1e-9)
        most = walk.may_find(len(order), len(ranks), allowed, certify.risk_of_look(DELTA, 1))
        end = int(walk.end_of(len(order), most, ranks, wrong[order[ranks]]))
        return len(order) - end - int((ranks >= end).sum())


ORDERS = ("first in, first out", "least confidence", "value", "value, likes together")


def replay(bench: Bench, name: str, batch: int, seed: int) -> dict[str, float]:
    """Answer the queue in an order until the target is reached and certified.

    Into the queue goes what is below the goal's bar, when it first is. Returns people's answers to repair until 95 % of
    the labels were right (`right`), until a look certified it (`certified`; `in_all`: with pilot and audit, each item
    once), and the fewest with which a walk and its rest would have (`walk`, `walk_in_all`).
    """
    ground, belief = bench.ground, bench.restart()
    allowed, arrived = (1 - TARGET) * ground.n + 1e-9, np.full(ground.n, np.inf)
    count = beyond = 0
    out: dict[str, float] = {"n": ground.n, "walk": np.inf, "walk_in_all": np.inf}
    while "right" not in out or "certified" not in out:
        wrong, can = bench.wrong(belief), ~ground.board.spoken & ~ground.board.copies
        new = can & np.isinf(arrived) & (belief.confidence < TARGET)
        arrived[new] = count
        rows = np.flatnonzero(can & np.isfinite(arrived))
        rows = rows if len(rows) else np.flatnonzero(can)  # nothing is in doubt any more: all else follows
        out.setdefault("queue", float(len(rows)))
        out.setdefault("wrong", float(wrong.sum()))
        if "certified" not in out and (bench.certified(belief) or not len(rows)):
            out.update(certified=count, in_all=PILOT + len(bench.audit) + beyond)
        rest = bench.behind(belief, seed)
        out["walk"] = min(out["walk"], count + rest)
        out["walk_in_all"] = min(out["walk_in_all"], PILOT + len(bench.audit) + beyond + rest)
        take = _first(bench, belief, name, rows, arrived, batch)
        left = wrong.sum() - np.concatenate([[0], np.cumsum(wrong[take])])
        if "right" not in out and ((left <= allowed).any() or not len(take)):
            out["right"] = float(count + int(np.argmax(left <= allowed)))
        bench.hear(take)
        count, beyond = count + len(take), beyond + int((~np.isin(take, bench.audit)).sum())
        belief = bench.refresh()
    return {key: float(value) for key, value in out.items()}


def _first(bench: Bench, belief: Belief, name: str, rows: Ints, arrived: np.ndarray[Any, Any], batch: int) -> Ints:
    """The next `batch` of the queue."""
    if name == ORDERS[0]:
        return rows[np.lexsort((rows, arrived[rows]))][:batch]
    if name == ORDERS[1]:
        return rows[np.argsort(belief.confidence[rows], kind="stable")][:batch]
    if name == ORDERS[2]:
        return np.array(valuing.in_turn(bench.ground, belief, rows, batch)[:batch], np.int64)
    return _as_shown(valuing.worths(bench.ground, belief, rows))[:batch]


def _as_shown(worths: Sequence[tuple[int, float, int]]) -> Ints:
    """In the order of the review queue, were there no audit cards in it."""
    entries = [
        page.Entry(str(row), "escalation", 0, k, worth, str(lead)) for k, (row, worth, lead) in enumerate(worths)
    ]
    return np.array([int(item) for item in page.arrange(entries, 0).items], np.int64)
