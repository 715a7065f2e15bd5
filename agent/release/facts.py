"""What a model's card says of its run: read from the ledger, and measured on audited items. Asks and decides nothing.

The audit is drawn at random, and twins of the student that were not taught an audited item speak of it. As in the
report, nothing of the audit is told before a certificate of these very labels was made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from agent import certify, claim, teach
from agent import config as settings
from agent.config import Config
from agent.errors import DataError
from agent.pool import Pool
from agent.store import Store
from agent.types import Certificate, Floats, Layout

BARS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
BINS = 10
NOT_YET = "no audit answer of people is shown before a certificate"
ROWS = 1_000
"""Items of the pool that coverage and the ONNX files are measured on, drawn at random."""


@dataclass(frozen=True, slots=True)
class Bar:
    """Labels at or above a probability: `share` of the `rows` of a card, `right` of `audited` by people."""

    at: float
    share: float
    audited: int
    right: int


@dataclass(frozen=True, slots=True)
class Facts:
    """All a card says of the run. Nothing in it is the text of an item.

    settled: annotator -> items whose label it settled. given: label -> items that carry it. lines: the certificate in
    words; none: why there is none. rows: how many items shares are of. twins: whether twins that were not taught them
    spoke of those. audited: items of the audit that are counted; unmeasured: why there are none. ece: expected
    calibration error on them (Guo et al. 2017, eq. 3), None without. delta: risk of the certified bar.
    """

    name: str
    question: str
    kind: str
    labels: Mapping[str, str]
    items: int
    settled: Mapping[str, int] = field(default_factory=dict)
    given: Mapping[str, int] = field(default_factory=dict)
    taught_by: Sequence[str] = ()
    kept_out: Sequence[str] = ()
    people: str = ""
    lines: Sequence[str] = ()
    none: str = ""
    rows: int = 0
    twins: bool = False
    unmeasured: str = ""
    bars: Sequence[Bar] = ()
    audited: int = 0
    ece: float | None = None
    certified: Bar | None = None
    goal: float = 0.0
    delta: float = 0.0


def drawn(pool: Pool, seed: int) -> list[int]:
    """Positions of at most `ROWS` items, drawn at random."""
    n = len(pool)
    return [int(i) for i in np.sort(np.random.default_rng(seed).permutation(n)[:ROWS])]


def gather(
    config: Config,
    store: Store,
    pool: Pool,
    student: Any,
    said: Floats,
    told: Mapping[str, Sequence[str]],
    folder: Path,
) -> Facts:
    """The facts of a run.

    Args:
        folder: the run's model folder. student: as opened. said: (rows, width) what it says of the items `drawn`: what
            shares are of where no twins' words lie in the folder.
        told: what lies in teachers.json.
    """
    task, decided = settings.the_task(config), store.decisions()
    settled = Counter(by for by, action in zip(decided.by, decided.actions, strict=True) if action == "accept")
    values = (value for value in decided.values if value is not None)
    given = Counter(label for value in values for label in (value if isinstance(value, tuple) else (value,)))
    evidence, made, why = _certificate(config, store, pool)
    unseen = teach.unseen(folder)
    sure = surest(np.stack(list(unseen.values())) if unseen else said, student.layout)
    confidence: list[float] = []
    right: list[bool] = []
    lacks = NOT_YET
    if made and evidence:
        confidence, right, lacks = _audited(config, store, pool, student, evidence, unseen)
    at = np.array(confidence)
    good = np.array(right, dtype=bool)
    bars = [Bar(bar, float((sure >= bar).mean()), int((at >= bar).sum()), int(good[at >= bar].sum())) for bar in BARS]
    goal = config.goal
    delta = (certify.risk_of_look(goal.delta, len(store.certificates())) if made else goal.delta) / 2
    return Facts(
        certified=certified(bars, goal.accuracy, delta) if right else None,
        goal=goal.accuracy,
        delta=delta,
        name=task.name or config.root.name,
        question=task.question,
        kind=task.kind,
        labels=task.labels,
        items=len(pool),
        settled=dict(settled.most_common()),
        given={label: given.get(label, 0) for label in task.labels},
        taught_by=told.get("taught_by", ()),
        kept_out=told.get("kept_out", ()),
        people=claim.people_are(store),
        lines=claim.lines(made) if made else (),
        none=why,
        rows=len(sure),
        twins=bool(unseen),
        unmeasured=lacks,
        bars=bars,
        audited=len(right),
        ece=ece(at, good) if right else None,
    )


def surest(said: Floats, layout: Layout) -> Floats:
    """(n,) the probability of the whole label: the product over atoms of the likeliest choice's."""
    out = np.ones(len(said), dtype=np.float32)
    for atom in layout.slices:
        out *= said[:, atom].max(axis=1)
    return out


def ece(confidence: Floats, right: Any) -> float:
    """Mean |share right − confidence| over ten bins of confidence, weighted by items (Guo et al. 2017, eq. 3)."""
    cell = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = [abs(float(right[cell == b].sum() - confidence[cell == b].sum())) for b in range(BINS)]
    return sum(gaps) / len(confidence)


def _certificate(config: Config, store: Store, pool: Pool) -> tuple[claim.Evidence | None, Certificate | None, str]:
    """The evidence, and the certificate of the labels as they are or why there is none."""
    looks = store.certificates()
    if not looks:
        return None, None, "none was made: `tutelage certify` makes it once people have answered the audit"
    try:
        evidence = claim.gather(config, store, pool)
    except DataError:
        return None, None, "nothing is labeled yet"
    seal = claim.seal(pool, evidence)
    same = next((look["body"] for look in reversed(looks) if look["labels_sha256"] == seal), None)
    if same is None:
        return evidence, None, "the labels have changed since they were certified: `tutelage certify` looks again"
    return evidence, Certificate(**same), ""


def _audited(
    config: Config,
    store: Store,
    pool: Pool,
    student: Any,
    evidence: claim.Evidence,
    unseen: Mapping[str, Floats],
) -> tuple[list[float], list[bool], str]:
    """What is said of each item of the random order that people were audited on: how sure, and whether people agree.

    And why there is nothing, where there is nothing.

    All of the order up to the last audited item counts but the pilot, repaired ones too: a uniform draw of the pool. An
    item that nobody could tell, or answered, counts as wrong. It is the student's twins that speak, which were not
    taught the item: the student itself has heard machines on some.
    """
    task, kind = settings.the_task(config), settings.kind(config)
    purpose: dict[int, str] = {}
    for call in store.asked(claim.person_recipe(config)):
        purpose.setdefault(pool.position(call.item), call.purpose)
    order = certify.draw(pool.ids, config.run.seed)
    ranks = [rank for rank, i in enumerate(order) if purpose.get(i) == "audit"]
    rows = [i for i in order[: max(ranks, default=-1) + 1] if purpose.get(i) != "pilot"]
    if not rows:
        return [], [], "no item was audited by people"
    if any(pool.ids[i] not in unseen for i in rows):
        return [], [], "of some audited items it is not known what the model says untaught; `tutelage run` mends it"
    said = np.stack([unseen[pool.ids[i]] for i in rows])
    right = []
    for i, row in zip(rows, said, strict=True):
        word = evidence.word(i)
        right.append(word is not None and kind.loss(task, kind.value(task, student.layout.best(row)), word) == 0)
    return np.minimum(surest(said, student.layout), 1.0).tolist(), right, ""


def certified(bars: Sequence[Bar], accuracy: float, delta: float) -> Bar | None:
    """The lowest bar above which at least `accuracy` of the labels are right, with 1 − delta confidence; None: none is.

    Bars are tested from the highest down, each by the exact bound of Clopper & Pearson at the whole of delta, and the
    first that fails ends it (fixed sequence: Bauer 1991; Angelopoulos et al. 2021). A bar above which so few were
    audited that all of them right would not do is passed over: how many they are depends on no answer.
    """
    from scipy.stats import beta

    found = None
    for bar in sorted(bars, key=lambda b: -b.at):
        if not bar.audited or delta ** (1 / bar.audited) < accuracy:
            continue
        low = float(beta.ppf(delta, bar.right, bar.audited - bar.right + 1)) if bar.right else 0.0
        if low < accuracy:
            break
        found = bar
    return found
