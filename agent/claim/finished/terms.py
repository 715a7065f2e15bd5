"""What is asked of an audit of a finished file, and what it promises before the first answer. Sees no answer."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from agent import certify
from agent.certify import strata
from agent.claim.classes import within
from agent.data import Wanted, Whole
from agent.errors import DataError
from agent.types import Bools, Doubles, Ints

POWER = 0.8
"""How likely the exact test's one look is to certify labels that are half as wrong as the target bears."""


@dataclass(frozen=True)
class Terms:
    """What the user says; None: as was committed before, or the default. `audit`: questions of the exact test. `after`:
    the file of the stream's block before this one."""

    wanted: Wanted = field(default_factory=Wanted)
    target: float | None = None
    delta: float | None = None
    test: str | None = None
    seed: int | None = None
    audit: int | None = None
    question: str = ""
    guidelines: str = ""
    labels: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    after: str = ""
    left: str | None = None


@dataclass(frozen=True)
class Units:
    """What is drawn: rows, or clusters of rows. risk, size: (u,) predicted share of wrong rows, and rows, of a unit."""

    risk: Doubles
    size: Doubles | None
    rows: Ints | None = None
    starts: Ints | None = None

    def __len__(self) -> int:
        return len(self.risk)

    def rows_of(self, unit: int) -> Ints:
        """The rows of a unit, from 0."""
        if self.rows is None or self.starts is None:
            return np.array([unit], np.int64)
        return self.rows[self.starts[unit] : self.starts[unit + 1]]


@dataclass(frozen=True)
class Promise:
    """What was promised, with what follows from it: units, and the order in which they are asked about."""

    body: Mapping[str, Any]
    units: Units
    order: Ints

    @property
    def exact(self) -> bool:
        """Whether it is looked at once, when all is answered."""
        return bool(self.body["test"] == "exact")

    @property
    def most(self) -> int:
        """How many units may be asked about."""
        return int(self.body["draws"]) if self.exact else len(self.order)


@dataclass(frozen=True)
class Committed(Promise):
    """The promise to test all labels as they are. order: the order of the draw."""

    plan: strata.Plan


def units_of(whole: Whole) -> Units:
    """Rows, or clusters where the file tells them."""
    risk = np.full(whole.rows, 0.5) if whole.confidence is None else 1.0 - whole.confidence
    if whole.cluster is None:
        return Units(risk, None)
    rows = np.argsort(whole.cluster, kind="stable")
    starts = np.flatnonzero(np.diff(whole.cluster[rows], prepend=-1, append=whole.cluster.max() + 1))
    size = np.diff(starts)
    mean = np.add.reduceat(risk[rows], starts[:-1]) / size
    return Units(mean, size.astype(np.float64), rows.astype(np.int64), starts.astype(np.int64))


def item_id(whole: Whole, row: int) -> str:
    """The name of a row in the ledger: another file's rows have other names, so no answer counts for another file."""
    return f"{whole.sha256[:24]}-{row + 1}"


def commit(
    whole: Whole, terms: Terms, questions: str, look: int, earlier: Mapping[str, Any] | None = None
) -> Committed:
    """The promise of one look at this file. Deterministic: `verify` makes it again from the file and the terms.

    questions: the hash of what people are asked. look: its number in the file's whole stream. earlier: a promise whose
    terms hold where none are told.

    Raises:
        DataError: the terms do not go with the file.
    """
    before = earlier or {}
    target = first_of(terms.target, before.get("target"), 0.95)
    delta, test = first_of(terms.delta, before.get("delta"), 0.05), first_of(terms.test, before.get("test"), "anytime")
    seed = first_of(terms.seed, before.get("seed"), 0)
    spent = certify.risk_of_look(delta, look)
    units, allowed = units_of(whole), math.floor((1 - target) * whole.rows + 1e-9)
    if test == "exact" and units.size is not None:
        raise DataError("clusters are audited with the any-time test: leave out --test exact, or --cluster")
    even = np.full(len(units), 0.5)
    plan = strata.plan(even if test == "exact" else units.risk, allowed, spent, size=units.size)
    firsts = range(whole.rows) if units.rows is None or units.starts is None else units.rows[units.starts[:-1]].tolist()
    ids = [item_id(whole, row) for row in firsts]
    # Another look draws anew: its terms may have been chosen with the answers to the first draw in sight.
    order = strata.order(plan, strata.chances(ids if look == 1 else [f"{one}/{look}" for one in ids], seed))
    draws = _draws(whole, target, spent, terms.audit or before.get("draws") or None) if test == "exact" else 0
    body = opening(whole, before, questions, delta, look, allowed) | {
        "target": target,
        "test": test,
        "seed": seed,
        "classes": _classes(whole, terms, before),
        "units": len(units),
        "strata": np.bincount(plan.stratum).tolist(),
        "draws": draws,
        "order_sha256": hashlib.sha256(order.astype("<i8").tobytes()).hexdigest(),
    }
    return Committed(body, units, order, plan)


def opening(
    whole: Whole, before: Mapping[str, Any], questions: str, delta: float, look: int, allowed: int
) -> dict[str, Any]:
    """What every commitment of a file says, whatever the test: which file, which look, which risk, what may stay."""
    return {
        "of": "file",
        "sha256": whole.sha256,
        "rows": whole.rows,
        "columns": told(whole.wanted),
        "labels_sha256": labels_sha256(whole),
        "questions": questions,
        "delta": delta,
        "look": look,
        "block": int(before.get("block", 1)),
        "after": before.get("after"),
        "risk_of_this_look": certify.risk_of_look(delta, look),
        "allowed": allowed,
    }


def _classes(whole: Whole, terms: Terms, before: Mapping[str, Any]) -> list[str]:
    """The classes that are certified by themselves, too."""
    named = list(terms.classes) or list(before.get("classes", []))
    for name in named:
        if not any(within(value, name) for value in whole.names[: int(whole.label.max()) + 1]):
            raise DataError(f"--class {name}: no row of {whole.path} has this label in column {whole.wanted.label!r}")
    if named and whole.cluster is not None:
        raise DataError("classes are audited row by row: leave out --class, or --cluster")
    return named


def first_of(*values: Any) -> Any:
    """The first that is told."""
    return next((value for value in values if value is not None), None)


def told(wanted: Wanted) -> dict[str, Any]:
    """The columns, as a promise names them."""
    found = dataclasses.asdict(wanted)
    del found["truth"]
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]


def wanted_of(body: Mapping[str, Any], truth: str | None = None) -> Wanted:
    """The columns of a promise."""
    told = dict(body["columns"])
    told["confidence"] = told["confidence"] or ""
    return Wanted(**{**told, "text": tuple(told["text"]), "truth": truth})


def labels_sha256(whole: Whole) -> str:
    """The seal of all labels, in the file's order."""
    names = [json.dumps(name) for name in whole.names[: int(whole.label.max()) + 1]]
    used = hashlib.sha256(whole.label.astype("<i8").tobytes()).hexdigest()
    return certify.sha256_of([names, [used]])


def _draws(whole: Whole, target: float, delta: float, told: int | None) -> int:
    """Audits of the exact test: as told, or the fewest that certify with chance `POWER` what is half as wrong."""
    fewest = _fewest(whole.rows, target, delta)
    if told is not None:
        if not fewest <= told <= whole.rows:
            raise DataError(
                f"--audit {told}: of {whole.rows:,} rows at least {fewest:,} must be audited to certify "
                f"{100 * target:.4g} % at all, and no more than there are"
            )
        return told
    low, high = fewest, whole.rows
    while low < high:
        middle = (low + high) // 2
        needed = certify.accuracy_needed(whole.rows, middle, target, delta, POWER)
        low, high = (low, middle) if needed is not None and needed <= (1 + target) / 2 else (middle + 1, high)
    return low


def _fewest(rows: int, target: float, delta: float) -> int:
    """Audits without which nothing is certified, were no label wrong."""
    allowed = math.floor((1 - target) * rows + 1e-9)
    low, high = 0, rows
    while low < high:
        middle = (low + high) // 2
        enough = certify.wrong_at_most(rows, middle, 0, delta) <= allowed
        low, high = (low, middle) if enough else (middle + 1, high)
    return low


def forecast(made: Committed, accuracies: Sequence[float]) -> dict[float, tuple[int, int]]:
    """Questions until the certificate if the labels are so right: median and 90th of 100 simulated audits each."""
    plan, risk, units = made.plan, made.units.risk, len(made.units)
    share = min(1.0, 10_000 / units)
    kept: Bools = np.zeros(units, bool)
    kept[np.argsort(risk, kind="stable")[:: max(1, round(1 / share))]] = True
    size = None if made.units.size is None else made.units.size[kept]
    part = float(plan.size[kept].sum() / plan.size.sum())
    small = strata.plan(risk[kept], max(math.floor(plan.allowed * part), 0), plan.delta, size=size)
    mass = np.bincount(small.stratum, small.size).astype(np.float64)
    about = np.clip(np.bincount(small.stratum, small.size * risk[kept]) / mass, 1e-4, 0.9999).astype(np.float64)
    out = {}
    for accuracy in accuracies:
        wrong = strata.shifted(about, mass, (1 - accuracy) * float(mass.sum()))[small.stratum]
        out[accuracy] = strata.forecast(small, wrong, seed=0)
    return out
