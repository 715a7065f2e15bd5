"""The stratified any-time test that finished files ship, in worlds made to break it. Knows no data set.

A world is a set of predicted risks, the clusters or classes its items belong to, and which of them are wrong: one too
many, or eight more than that (what the audit finds is mended, so an adversary may hope for a certificate between two
errors found). Errors lie still; runs differ in the draw of the audit, and are looked at after every answer. A run is
cut short where so many errors are found that no certificate could be false any more.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from agent.certify import strata
from agent.types import Bools, Doubles, Ints

SIZE = 1000
AT_ONCE = 250  # runs of like length


@dataclass(frozen=True)
class World:
    """size: units; risk: predicted, of a place in (0, 1); where: the eagerness of errors for each unit, from its risk;
    more: wrong labels beyond one too many; copies: items in each cluster, from its place; classes: certified by
    themselves, with Holm's steps, each with one too many and `more`."""

    name: str
    where: Callable[[Doubles, np.random.Generator], Doubles]
    more: int = 0
    size: int = SIZE
    risk: Callable[[Doubles], Doubles] = lambda place: 0.6 * place**2.5
    copies: Callable[[Doubles], Doubles] | None = None
    classes: int = 0


def _even(risk: Doubles, rng: np.random.Generator) -> Doubles:
    return rng.random(len(risk))


def _surest(risk: Doubles, rng: np.random.Generator) -> Doubles:
    return -np.asarray(risk)


def _riskiest(risk: Doubles, rng: np.random.Generator) -> Doubles:
    return np.asarray(risk)


def _reversed(risk: Doubles, rng: np.random.Generator) -> Doubles:
    return _by((np.argsort(np.argsort(-risk)) + 1).astype(np.float64), rng)


def _as_predicted(risk: Doubles, rng: np.random.Generator) -> Doubles:
    return _by(risk, rng)


def _by(weight: Doubles, rng: np.random.Generator) -> Doubles:
    """Keys whose highest are a draw without replacement in proportion to the weights (Efraimidis and Spirakis)."""
    return np.log(rng.random(len(weight))) / np.maximum(weight, 1e-12)


def _sizes(place: Doubles) -> Doubles:
    return np.ceil(np.minimum(0.5 / np.maximum(1 - place, 0.01) ** 0.8, 25))


WORLDS = (
    World("useless score, one too many", _even),
    World("useless score, nine too many", _even, more=8),
    World("reversed score, one too many", _reversed),
    World("reversed score, nine too many", _reversed, more=8),
    World("all errors where it is surest", _surest),
    World("all errors where it is surest, nine too many", _surest, more=8),
    World("all errors where it is least sure", _riskiest, more=8),
    World("errors as predicted, one too many", _as_predicted),
    World("overconfident: risk predicted 0", _even, risk=lambda place: 0.001 * place),
    World("no score", _even, more=3, risk=lambda place: np.full(len(place), 0.5)),
    World("clusters of 1 to 25 copies", _even, copies=_sizes, size=600),
    World("the largest clusters wrong", _riskiest, copies=_sizes, size=600, more=8),
    World("tiny: 40 items", _even, size=40),
    World("three classes, one too many in each", _even, classes=3),
)


def placed(where: Doubles, size: Doubles, wrong: int) -> Doubles:
    """(n,) share of each unit that is wrong: whole units by falling eagerness, the last in part, `wrong` items."""
    order = np.argsort(-where, kind="stable")
    before = np.cumsum(size[order]) - size[order]
    loss = np.zeros(len(size))
    loss[order] = np.clip((wrong - before) / size[order], 0, 1)
    return loss


def false_runs(plan: strata.Plan, orders: Ints, loss: Doubles) -> tuple[Bools, Bools]:
    """(runs,) whether a run was certified while more was wrong than may be; whether it was certified before it could
    not be false any more."""
    truth = float((plan.size * loss).sum())
    found = np.cumsum((plan.size * loss)[orders], axis=1)
    safe = truth - found <= plan.allowed + 1e-6
    last = np.where(safe.any(1), safe.argmax(1) + 1, orders.shape[1])
    false, ended = np.zeros(len(orders), bool), np.zeros(len(orders), bool)
    alike = np.argsort(last, kind="stable")
    for start in range(0, len(alike), AT_ONCE):
        rows = alike[start : start + AT_ONCE]
        some = orders[rows, : int(last[rows].max())]
        answers, mended = strata.rehearse(plan, some, loss[some])
        ended[rows] = answers <= some.shape[1]
        false[rows] = ended[rows] & (truth - mended > plan.allowed + 1e-6)
    return false, ended


def audits(world: World, eps: float, delta: float, runs: int, seed: int) -> tuple[int, float]:
    """(false certificates, share of runs certified before no certificate could be false any more)."""
    rng = np.random.default_rng(seed)
    place = (np.arange(world.size) + 0.5) / world.size
    risk = np.asarray(world.risk(place), np.float64)
    size = np.ones(world.size) if world.copies is None else world.copies(place)
    group = rng.integers(0, max(world.classes, 1), world.size)
    whole = strata.plan(risk, int(eps * size.sum() + 1e-9), delta, size=size)
    units = [np.flatnonzero(group == c) for c in range(max(world.classes, 1))]
    parts = [whole]
    if world.classes:
        # All nulls are true: until one falls, Holm's steps test each class at δ over their number.
        made = [strata.part(whole, risk, u, int(eps * len(u) + 1e-9)) for u in units]
        parts = [dataclasses.replace(part, delta=delta / world.classes) for part in made]
    losses = [
        placed(world.where(risk[u], rng), part.size, part.allowed + 1 + world.more)
        for part, u in zip(parts, units, strict=True)
    ]
    false, ended = 0, 0
    for start in range(0, runs, 5000):
        chance = rng.random((min(5000, runs - start), world.size))
        broken, done = np.zeros(len(chance), bool), np.zeros(len(chance), bool)
        for part, u, loss in zip(parts, units, losses, strict=True):
            keys = -np.log(np.maximum(chance[:, u], 1e-300)) / (part.size * part.weight[part.stratum])
            now = false_runs(part, np.argsort(keys, axis=1), loss)
            broken, done = broken | now[0], done | now[1]
        false, ended = false + int(broken.sum()), ended + int(done.sum())
    return false, ended / runs
