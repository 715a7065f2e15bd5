"""How right the labels are, and how often each label occurs, estimated from the audit. Decides nothing, asks nobody.

The audited items are a uniform sample of the machine labels, so prediction-powered inference may lean on what machines
predicted everywhere (`agent.estimate.ppi`). What people said themselves is known and has no error.
"""

from __future__ import annotations

import numpy as np

from agent import claim, estimate
from agent import config as settings
from agent.claim.promise import Frozen
from agent.claim.proof import audit_of
from agent.config import Config
from agent.pool import Pool
from agent.report.figures import Estimated, Range
from agent.types import Ints, Value


def estimates(config: Config, pool: Pool, evidence: claim.Evidence) -> Estimated | None:
    """Accuracy of all delivered labels, and label shares as people would give them; None without an audit answer.

    Audited items that nobody could tell, or answered, count as wrong, as they do in the certificate; of label shares
    they say nothing.
    """
    frozen = claim.freeze(config, pool, evidence)
    audit = audit_of(config, evidence, frozen, config.goal.test)
    told = audit.rows[~audit.missing]
    if not len(told):
        return None
    task, n, risk = settings.the_task(config), len(pool), frozen.risk
    found = estimate.ppi((audit.wrong | audit.missing).astype(float), risk[frozen.rank[audit.rows]], risk)
    # The errors that the audit found are put right when the labels are taken away.
    mended = int(audit.wrong.sum())
    bad = [max(len(risk) * share - mended, 0.0) + frozen.lost for share in (found.value, found.low, found.high)]
    at, best, worst = (1 - some / n for some in bad)
    shares = {label: _share(label, evidence, frozen, told, len(task.labels)) for label in task.labels}
    return Estimated(Range(at, worst, best), shares, len(audit.rows), found.worth)


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
