"""How right the labels are, and how often each label occurs, estimated from the audit. Decides nothing, asks nobody.

The audited items are a uniform sample of the machine labels, so prediction-powered inference may lean on what machines
predicted everywhere (`agent.estimate.ppi`). What people said themselves is known and has no error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite

import numpy as np

from agent import claim, estimate
from agent import config as settings
from agent.claim.proof import audit_of
from agent.config import Config
from agent.pool import Pool
from agent.report.figures import Estimated, Range
from agent.types import Bools, Doubles, Ints, Task, Value


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
    given = _columns([evidence.labels[i] for i in frozen.order.tolist()], task)
    said = _columns([evidence.audit[i] for i in told.tolist()], task)
    known = _columns(list(evidence.said.values()), task)
    shares = {
        label: _share(
            given(label), said(label), frozen.rank[told], risk / max(len(task.labels) - 1, 1), risk, known(label)
        )
        for label in task.labels
    }
    # Where every machine label was audited nothing is estimated any more: no number of answers would tell as much.
    return Estimated(Range(at, worst, best), shares, len(audit.rows), found.worth if isfinite(found.worth) else 0.0)


def _share(given: Bools, said: Bools, ranks: Ints, gains: Doubles, losses: Doubles, known: Bools) -> Range:
    """How many of the items that people or machines labeled people would give a label.

    given: (U,) the machines' labels, in the order, are it. said: (s,) people say so of the audited ones, at `ranks`.
    gains, losses: (U,) predicted chance that a label is to be added, or to go. known: people's own labels are it.
    """
    gains, losses = np.where(given, 0.0, gains), np.where(given, losses, 0.0)
    gained = estimate.ppi((said & ~given[ranks]).astype(float), gains[ranks], gains)
    lost = estimate.ppi((~said & given[ranks]).astype(float), losses[ranks], losses)
    found = estimate.corrected(float(given.mean()), gained, lost)
    own, units = int(known.sum()), len(given)
    return Range(*((own + units * share) / (units + len(known)) for share in (found.value, found.low, found.high)))


def _columns(values: Sequence[Value | None], task: Task) -> Callable[[str], Bools]:
    """Label -> (n,) whether a value is it, or has it."""
    if task.kind == "multi":
        return lambda label: np.array([label in (value or ()) for value in values], bool)
    number = {label: k for k, label in enumerate(task.labels)}
    codes = np.array([number.get(str(value), -1) for value in values], np.int64)
    return lambda label: codes == number[label]
