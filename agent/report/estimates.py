"""How right the labels are, and how often each label occurs, estimated from the audit. Decides nothing, asks nobody.

The audited items are a uniform sample of the machine labels, so prediction-powered inference may lean on what machines
predicted everywhere (`agent.estimate.ppi`). What people said themselves is known and has no error.
"""

from __future__ import annotations

import numpy as np

from agent import claim, estimate
from agent import config as settings
from agent.claim.promise import Frozen
from agent.config import Config
from agent.pool import Pool
from agent.report.figures import Estimated, Range
from agent.types import Ints, Kind, Task, Value


def estimates(config: Config, pool: Pool, evidence: claim.Evidence) -> Estimated | None:
    """Accuracy of all delivered labels, and label shares as people would give them; None without an audit answer.

    Audited items that nobody could tell, or answered, count as wrong, as they do in the certificate; of label shares
    they say nothing.
    """
    frozen = claim.freeze(config, pool, evidence)
    rows = np.array([i for i in evidence.audit if frozen.rank[i] >= 0], np.int64)
    told = [i for i in rows.tolist() if evidence.audit[i] is not None]
    if not told:
        return None
    kind, task, n = settings.kind(config), settings.the_task(config), len(pool)
    wrong = np.array([_wrong(evidence.audit[i], evidence.labels[i], kind, task) for i in rows.tolist()])
    risk = frozen.risk
    found = estimate.ppi(wrong, risk[frozen.rank[rows]], risk)
    mended = sum(evidence.audit[i] is not None and w > 0 for i, w in zip(rows.tolist(), wrong.tolist(), strict=True))
    # The errors that the audit found are put right when the labels are taken away.
    bad = [max(len(risk) * share - mended, 0.0) + frozen.lost for share in (found.value, found.low, found.high)]
    at, best, worst = (1 - some / n for some in bad)
    heard = np.array(told, np.int64)
    shares = {label: _share(label, evidence, frozen, heard, len(task.labels)) for label in task.labels}
    return Estimated(Range(at, worst, best), shares, len(rows), found.worth)


def _wrong(said: Value | None, given: Value | None, kind: Kind, task: Task) -> float:
    return 1.0 if said is None or given is None else float(kind.loss(task, given, said) > 0)


def _share(label: str, evidence: claim.Evidence, frozen: Frozen, told: Ints, labels: int) -> Range:
    """How many of all items that people or machines speak of people would give this label."""
    given = np.array([_has(evidence.labels[i], label) for i in frozen.order.tolist()], bool)
    ranks = frozen.rank[told]
    said = np.array([_has(evidence.audit[i], label) for i in told.tolist()], bool)
    gains, losses = np.where(given, 0.0, frozen.risk / max(labels - 1, 1)), np.where(given, frozen.risk, 0.0)
    gained = estimate.ppi((said & ~given[ranks]).astype(float), gains[ranks], gains)
    lost = estimate.ppi((~said & given[ranks]).astype(float), losses[ranks], losses)
    found = estimate.corrected(float(given.mean()), gained, lost)
    known = sum(_has(word, label) for word in evidence.said.values())
    units, of = len(frozen.order), len(frozen.order) + len(evidence.said)
    return Range(*((known + units * share) / of for share in (found.value, found.low, found.high)))


def _has(value: Value | None, label: str) -> bool:
    return value == label if isinstance(value, str) else label in (value or ())
