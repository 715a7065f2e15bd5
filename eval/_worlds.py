"""Worlds made to break a certificate, and thousands of audits of each at once. Knows `agent.certify`, no data set.

A world is a frozen order: predicted risks, and which labels are wrong; most place their wrong labels by the plan they
are going to be tested with, where it hurts most. Runs differ in the draw of the audit only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from agent import certify
from agent.certify import gate, paced, walk
from agent.types import Bools, Doubles, Ints

Mode = Literal["exact", "anytime"]
Left = Literal["people", "open"]
Wrong = Callable[[certify.Plan, Doubles, np.random.Generator], Bools]
AT_ONCE = 500  # runs
WHOLE = 100  # of them


@dataclass(frozen=True)
class World:
    """size: items; wrong: which labels are wrong, given the plan; risk: what was predicted of a place in (0, 1);
    silent: the share of wrong labels met that nobody answers; whole: one prefix, a finished file."""

    name: str
    size: int
    wrong: Wrong
    risk: Callable[[Doubles], Doubles] = lambda place: 0.6 * place**2.5
    silent: float = 0.0
    whole: bool = False


def enough(plan: certify.Plan, cut: int) -> int:
    """The fewest wrong labels that make the test of this cut a test of a true "it is bad"."""
    if plan.limit is not None:
        return int(plan.allowed[cut]) + 1 + max(plan.limit, 0)
    return int(plan.least[cut])


def middle(plan: certify.Plan) -> int:
    """Index of the first cut, from the middle on, that is long enough to be bad."""
    half = len(plan.cuts) // 2
    return next((j for j in range(half, len(plan.cuts)) if plan.cuts[j] >= enough(plan, j)), len(plan.cuts) - 1)


def at(size: int, places: Ints) -> Bools:
    """Wrong at these places."""
    out = np.zeros(size, bool)
    out[np.asarray(places, np.int64)] = True
    return out


def _spread(plan: certify.Plan, risk: Doubles, rng: np.random.Generator) -> Bools:
    cut = middle(plan)
    size = int(plan.cuts[cut])
    return at(len(risk), rng.choice(size, min(enough(plan, cut), size), replace=False))


def _front(plan: certify.Plan, risk: Doubles, rng: np.random.Generator) -> Bools:
    return at(len(risk), np.arange(min(enough(plan, middle(plan)), len(risk))))


def _edge(plan: certify.Plan, risk: Doubles, rng: np.random.Generator) -> Bools:
    cut = middle(plan)
    size = int(plan.cuts[cut])
    return at(len(risk), np.arange(max(size - enough(plan, cut), 0), size))


def _behind(plan: certify.Plan, risk: Doubles, rng: np.random.Generator) -> Bools:
    size = int(plan.cuts[middle(plan)])
    return at(len(risk), np.arange(size, len(risk)))


def _rescue(plan: certify.Plan, risk: Doubles, rng: np.random.Generator) -> Bools:
    cut = next((j for j in range(len(plan.cuts)) if plan.cuts[j] >= enough(plan, j)), len(plan.cuts) - 1)
    size = int(plan.cuts[cut])
    return at(len(risk), rng.choice(size, min(enough(plan, cut), size), replace=False))


def _every_cut(plan: certify.Plan, risk: Doubles, rng: np.random.Generator) -> Bools:
    """As many wrong as make a prefix bad, by one at each cut from the middle on."""
    out = _spread(plan, risk, rng)
    for cut in range(middle(plan) + 1, len(plan.cuts)):
        size = int(plan.cuts[cut])
        missing = enough(plan, cut) - int(out[:size].sum())
        free = np.flatnonzero(~out[:size])
        out[rng.choice(free, min(max(missing, 0), len(free)), replace=False)] = True
    return out


def _clusters(plan: certify.Plan, risk: Doubles, rng: np.random.Generator) -> Bools:
    group = np.arange(len(risk)) // 25
    return np.asarray((rng.random(group[-1] + 1) < 0.12)[group], bool)


WORLDS = (
    World("useless score", 1000, lambda p, r, g: g.random(len(r)) < 0.2),
    World("useless score, right at the limit", 1000, lambda p, r, g: g.permutation(_spread(p, r, g))),
    World("cliff", 1000, lambda p, r, g: np.arange(len(r)) >= 0.35 * len(r)),
    World("one error too many, spread", 1000, _spread),
    World("one too many, surest first", 1000, _front),
    World("one too many, just before a cut", 1000, _edge),
    World("all wrong just behind a cut", 1000, _behind),
    World("one too many at every cut", 1000, _every_cut),
    World("bad at first, right after", 1000, _rescue),
    World("reversed score", 1000, lambda p, r, g: g.random(len(r)) < 0.6 * (1 - np.arange(len(r)) / len(r))),
    World("ties: three levels", 1000, _spread, risk=lambda place: np.array([0.02, 0.1, 0.5])[(3 * place).astype(int)]),
    World("overconfident: risk predicted 0", 1000, _spread, risk=lambda place: 0.001 * place),
    World("clusters of 25 duplicates", 1000, _clusters),
    World("tiny: 40 items", 40, _spread),
    World("fewer than 5 may be wrong", 80, _spread),
    World("people skip half of the errors", 1000, _spread, silent=0.5),
    World("finished file, one too many", 1000, _spread, whole=True),
    World("all right", 1000, lambda p, r, g: np.zeros(len(r), bool)),
    World("all wrong", 1000, lambda p, r, g: np.ones(len(r), bool)),
)


def doubling(eps: float) -> tuple[certify.Plan, Bools]:
    """Cuts each twice as long as the last, and in each of them just one wrong label too many: what passes somewhere
    by chance is bad, and there are many chances."""
    cuts = 50 * 2 ** np.arange(6)
    allowed = np.floor(eps * cuts + 1e-9).astype(np.int64)
    plan = certify.Plan(cuts, allowed, 800, np.zeros(6, np.int64), eps)
    steps = np.diff(np.concatenate([[0], plan.least]))
    starts = np.concatenate([[0], cuts[:-1]])
    return plan, at(int(cuts[-1]), np.concatenate([a + np.arange(k) for a, k in zip(starts, steps, strict=True)]))


def planned(world: World, eps: float, delta: float, mode: Mode, left: Left) -> tuple[certify.Plan, Doubles]:
    """The plan of a world and the predicted risks in its order."""
    place = (np.arange(world.size) + 0.5) / world.size
    raw = np.asarray(world.risk(place), np.float64)
    risk = raw[certify.order_of(raw, [f"item {i}" for i in range(world.size)], 7)]
    if world.whole:
        n, draws = np.array([world.size], np.int64), world.size // 5
        credit = np.array([int(0.9 * eps * draws)], np.int64)
        return certify.Plan(n, np.floor(eps * n + 1e-9).astype(np.int64), draws, credit), risk
    people = world.size // 10 if left == "open" else 0
    return certify.plan(risk, world.size, eps, delta, people=people, mode=mode, left=left), risk


def draws(plan: certify.Plan, runs: int, rng: np.random.Generator) -> Iterator[Ints]:
    """(≤ AT_ONCE, draws) places drawn without replacement inside the reach, in the order of the draw."""
    reach = int(plan.cuts[-1])
    for start in range(0, runs, AT_ONCE):
        keys = rng.random((min(AT_ONCE, runs - start), reach), dtype=np.float32)
        if 0 < plan.draws < reach:
            first = np.argpartition(keys, plan.draws - 1, axis=1)[:, : plan.draws]
            yield np.take_along_axis(first, np.argsort(np.take_along_axis(keys, first, axis=1), axis=1), axis=1)
        else:
            yield np.argsort(keys, axis=1)[:, : plan.draws]


def counts(plan: certify.Plan, ranks: Ints, wrong: Bools) -> tuple[Ints, Ints]:
    """(runs, C) drawn and wrong inside each cut. ranks, wrong: (runs, s)."""
    bins = np.searchsorted(plan.cuts, ranks, side="right") + len(plan.cuts) * np.arange(len(ranks))[:, None]
    size = len(plan.cuts) * len(ranks)
    drawn = np.bincount(bins.ravel(), minlength=size).reshape(len(ranks), -1)
    bad = np.bincount(bins.ravel(), weights=wrong.ravel(), minlength=size).astype(np.int64).reshape(len(ranks), -1)
    return drawn.cumsum(axis=1), bad.cumsum(axis=1)


def finish(plan: certify.Plan, risk: Doubles, errors: Bools, seen: certify.Found, cut: int, delta: float | None) -> int:
    """How many more labels are wrong in what is delivered in the end than may be; people do what they are asked."""
    settled = certify.settle(plan, cut, seen, risk, certify.bound(plan, cut, seen, delta) if cut >= 0 else None)
    unseen = errors.copy()
    unseen[seen.answered] = False
    if settled.owed:
        met = np.cumsum(unseen[settled.to_people])
        unseen[settled.to_people[: int(np.searchsorted(met, settled.owed)) + 1]] = False
    else:
        unseen[settled.to_people] = False
    behind = settled.accepted - int(plan.cuts[cut]) if cut >= 0 else 0
    allowed = int(plan.allowed[max(cut, 0)]) + int(plan.grows * behind + 1e-9)
    return int(unseen[: settled.accepted].sum()) - allowed


def exact(world: World, eps: float, delta: float, left: Left, runs: int, seed: int = 0) -> tuple[int, float]:
    """(false certificates, mean share accepted) of GATE-X over `runs` audits.

    The first `WHOLE` audits of a case are settled to the end, and of the others those in which a true hypothesis was
    rejected; that in all others no more stay wrong than may is counted out in tests/test_gate.py.
    """
    rng = np.random.default_rng(seed)
    plan, risk = planned(world, eps, delta, "exact", left)
    errors = np.asarray(world.wrong(plan, risk, rng), bool)
    total = np.concatenate([[0], np.cumsum(errors)])
    false, taken, done = 0, 0, 0
    for ranks in draws(plan, runs, rng):
        ranks = np.sort(ranks, axis=1)
        wrong = errors[ranks]
        silent = wrong & (rng.random(ranks.shape) < world.silent) if world.silent else np.zeros_like(wrong)
        cuts, suspect, drawn, bad, lost = look(plan, ranks, wrong, silent, delta, total)
        taken += int(np.where(cuts >= 0, plan.cuts[cuts], 0).sum())
        suspect[: max(WHOLE - done, 0)] = True
        done += len(ranks)
        for i in np.flatnonzero(suspect).tolist():
            mended = bad[i] - lost[i]
            seen = certify.Found(drawn[i], bad[i], mended, ranks[i][~silent[i]], ranks[i][wrong[i]])
            false += finish(plan, risk, errors, seen, int(cuts[i]), delta) > 0
    return false, taken / runs / world.size


def look(
    plan: certify.Plan, ranks: Ints, wrong: Bools, silent: Bools, delta: float, total: Ints
) -> tuple[Ints, Bools, Ints, Ints, Ints]:
    """(runs,) accepted cut; whether a true hypothesis was rejected; (runs, C) drawn, wrong and unanswered.

    ranks: (runs, s) ascending; total: (U + 1,) wrong labels in each prefix.
    """
    drawn, bad = counts(plan, ranks, wrong)
    lost = counts(plan, ranks, silent)[1] if silent.any() else np.zeros_like(bad)
    if plan.limit is None:
        cuts = gate.last_in_a_row(gate.chances(plan, drawn, bad) <= delta)
        return cuts, (cuts >= 0) & (total[plan.cuts] >= plan.least)[cuts], drawn, bad, lost
    reach, limit = int(plan.cuts[-1]), plan.limit
    ends = walk.end_of(reach, limit, ranks, wrong)
    cuts = gate.last_in_a_row((plan.cuts <= ends[:, None]) | (plan.cuts - (drawn - lost) <= plan.allowed))
    escaped = total[ends] - np.sum((ranks < ends[:, None]) & wrong, axis=1)
    most = {k: certify.wrong_at_most(reach, plan.draws, k, delta) for k in np.unique(bad[:, -1]).tolist() if k <= limit}
    beyond = np.array([k in most and total[reach] > most[k] for k in bad[:, -1].tolist()], bool)
    return cuts, (escaped > plan.allowed[0]) | beyond, drawn, bad, lost


def anytime(world: World, eps: float, delta: float, left: Left, runs: int, seed: int = 0) -> tuple[int, float]:
    """(false certificates, mean share accepted at the end) of GATE-S, looked at after every answer.

    The adversary stops as soon as a bad prefix is accepted; a look that would be honest later does not help.
    """
    rng = np.random.default_rng(seed)
    plan, risk = planned(world, eps, delta, "anytime", left)
    errors = np.asarray(world.wrong(plan, risk, rng), bool)
    total = np.concatenate([[0], np.cumsum(errors)])[plan.cuts]
    bad = np.flatnonzero(total >= plan.least)
    limits = boundary(plan, delta)
    false, taken = 0, 0
    for ranks in draws(plan, runs, rng):
        ever = looks(plan, ranks, errors[ranks], limits)
        last = gate.last_in_a_row(ever)
        taken += int(np.where(last >= 0, plan.cuts[last], 0).sum())
        false += int((last >= bad[0]).sum()) if len(bad) else 0
    return false, taken / runs / world.size


def pacing(world: World, eps: float, delta: float, runs: int, seed: int = 0) -> tuple[int, float]:
    """(false certificates, mean share accepted) of the paced walk, whose adversary may leave it at any place.

    What is passed unseen only grows, so he leaves it at the end. Only the coins of wrong labels matter; the first
    `WHOLE` walks are walked item by item as well.
    """
    rng = np.random.default_rng(seed)
    plan, risk = planned(world, eps, delta, "exact", "people")
    errors = np.asarray(world.wrong(plan, risk, rng), bool)
    places, allowed = np.flatnonzero(errors), int(eps * world.size + 1e-9)
    share = paced.shares(allowed, delta)
    dense = np.append(share, 0.0)
    coin = rng.random((runs, len(places)))
    state, missed = np.zeros(runs, np.int64), np.zeros(runs, np.int64)
    end = np.full(runs, world.size if len(share) else 0)
    for column, place in enumerate(places.tolist()):
        on = state < len(share)
        hit = on & (coin[:, column] < dense[state])
        missed += on & ~hit
        state += hit
        end[hit & (state == len(share))] = place
    for run in range(min(runs, WHOLE)):
        every = rng.random(world.size)
        every[places] = coin[run]
        length, audited = paced.walk(share, every, errors)
        if len(share) and (length, int((errors & ~audited)[:length].sum())) != (end[run], missed[run]):
            raise AssertionError(f"{world.name}: the walk item by item ends elsewhere than by wrong labels alone")
    return int((missed > allowed).sum()), float(end.mean()) / world.size


def boundary(plan: certify.Plan, delta: float) -> Ints:
    """(C, draws + 1) the most wrong ones among so many drawn with which a cut is accepted; −1: none."""
    size, least = plan.cuts[:, None], plan.least[:, None]
    drawn = np.broadcast_to(np.arange(plan.draws + 1), (len(plan.cuts), plan.draws + 1))
    drawn = np.minimum(drawn, size)
    low, high = np.full(drawn.shape, -1), drawn.copy()
    while (low < high).any():
        half = (low + high + 1) // 2
        ok = certify.evidence(size, least, drawn, half) >= 1 / delta
        low, high = np.where(ok, half, low), np.where(ok, high, half - 1)
    return low


def looks(plan: certify.Plan, ranks: Ints, wrong: Bools, limits: Ints) -> Bools:
    """(runs, C) whether a cut was ever accepted on its own, looked at after every answer."""
    runs, every = len(ranks), np.arange(len(plan.cuts))
    drawn, bad = (np.zeros((runs, len(plan.cuts)), np.int64) for _ in range(2))
    ever = np.broadcast_to(limits[:, 0] >= 0, drawn.shape).copy()
    for step in range(ranks.shape[1]):
        inside = ranks[:, step, None] < plan.cuts
        drawn += inside
        bad += inside & wrong[:, step, None]
        ever |= bad <= limits[every, drawn]
    return ever


def clopper(false: int, runs: int, confidence: float = 0.99) -> float:
    """Upper Clopper-Pearson bound on a rate."""
    from scipy.stats import beta

    return 1.0 if false == runs else float(beta.ppf(confidence, false + 1, runs - false))
