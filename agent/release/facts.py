"""What a model's card says of its run: read from the ledger, and measured on audited items. Asks and decides nothing.

The audit is drawn at random and teaches nobody, so what the saved student says of audited items is said of items it has
not seen. As in the report, nothing of the audit is told before a certificate of these very labels was made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from agent import claim
from agent import config as settings
from agent.config import Config
from agent.errors import DataError
from agent.pool import Pool
from agent.store import Store
from agent.types import Certificate, Floats, Layout

BARS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
BINS = 10
ROWS = 1_000
"""Items of the pool that coverage and the ONNX files are measured on, drawn at random."""


@dataclass(frozen=True, slots=True)
class Bar:
    """Labels at or above a probability: `share` of `rows` drawn from the pool, `right` of `audited` by people."""

    at: float
    share: float
    audited: int
    right: int


@dataclass(frozen=True, slots=True)
class Facts:
    """All a card says of the run. Nothing in it is the text of an item.

    settled: annotator -> items whose label it settled. given: label -> items that carry it. lines: the certificate in
    words; none: why there is none. ece: expected calibration error on the audit (Guo et al. 2017, eq. 3), None without.
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
    bars: Sequence[Bar] = ()
    audited: int = 0
    ece: float | None = None


def drawn(pool: Pool, seed: int) -> list[int]:
    """Positions of at most `ROWS` items, drawn at random."""
    n = len(pool)
    return [int(i) for i in np.sort(np.random.default_rng(seed).permutation(n)[:ROWS])]


def gather(
    config: Config, store: Store, pool: Pool, student: Any, said: Floats, told: Mapping[str, Sequence[str]]
) -> Facts:
    """The facts of a run.

    Args:
        student: as opened. said: (rows, width) what it says of the items `drawn`. told: what lies in teachers.json.
    """
    task, decided = settings.the_task(config), store.decisions()
    settled = Counter(by for by, action in zip(decided.by, decided.actions, strict=True) if action == "accept")
    values = (value for value in decided.values if value is not None)
    given = Counter(label for value in values for label in (value if isinstance(value, tuple) else (value,)))
    evidence, made, why = _certificate(config, store, pool)
    sure = surest(said, student.layout)
    confidence, right = _audited(config, pool, student, evidence) if made and evidence else ([], [])
    at = np.array(confidence)
    good = np.array(right, dtype=bool)
    bars = [Bar(bar, float((sure >= bar).mean()), int((at >= bar).sum()), int(good[at >= bar].sum())) for bar in BARS]
    return Facts(
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
        rows=len(said),
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


def _audited(config: Config, pool: Pool, student: Any, evidence: claim.Evidence) -> tuple[list[float], list[bool]]:
    """What the student says of each audited item: how sure, and whether people said the same."""
    task, kind = settings.the_task(config), settings.kind(config)
    words = {i: word for i, word in evidence.audit.items() if word is not None}
    if not words:
        return [], []
    said = student.predict(student.features(pool.items(list(words))))
    right = [
        kind.loss(task, kind.value(task, student.layout.best(row)), word) == 0
        for row, word in zip(said, words.values(), strict=True)
    ]
    return np.minimum(surest(said, student.layout), 1.0).tolist(), right
