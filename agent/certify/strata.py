"""An audit of one frozen set of labels that may be looked at after every answer. Knows positions and counts only.

    plan(risk, allowed, delta)      fixed before the first answer; no risk known: `plan(np.full(n, .5), …)` is uniform
    order(plan, chances(ids, seed)) the committed order in which people are asked
    Test(plan).hear(i, wrong)       an answer to the next item of that order; `.certified`, `.wrong_at_most`
    part(plan, risk, units, allowed)   the same audit read for some of the units, such as those of one class
    forecast(plan, risk, seed)      how many answers that will take (median, 90th of 100), if the risks are true

**The claim.** N labels were frozen, T of them are wrong. The k wrong ones that the audit finds are mended, so T − k
remain. The test certifies "T − k ≤ allowed", and it is wrong with chance at most δ, whatever the labels, the risks and
the moment of looking.

**Why.** For each of a ladder of limits, from allowed + 1 upwards, a stake is bet against "T ≥ limit"; it is a
supermartingale under that null (proof: `agent.certify._betting`), so that it ever grows by 1/δ has chance ≤ δ. Let
G be the largest limit that is ≤ T. As long as that one stake stays below 1/δ, which has chance ≥ 1 − δ, the bound
"lowest limit from which all upwards are refused, less one" is never below T: it holds at all times at once, for T
and so for T − k. No credit is fixed before, nothing is paid for several limits: only one of them can be G.

**Which item next.** Items lie in strata of like predicted risk p (Dalenius and Hodges 1959: equal sums of
√(p(1−p))). If π_s is the share of draws of stratum s, bets grow at most by min over the nulls q of Σ π_s·KL(p_s‖q_s)
an answer. The largest of these minima (von Neumann) lies where KL(p_s‖q_s) is the same in all strata, with
Σ m_s·q_s = allowed + 1, and π_s ∝ m_s·q_s(1 − q_s)/(q_s − p_s). For a small distance this is Neyman's m_s·√(p(1 − p))
(1934); for small risks it is much flatter, which Neyman's rule is not: on 10,000 labels at 98 % right it would cost
half as many audits again as this one. Weights depend on the risks alone, so the whole order is committed at once:
sorted by −log(u_i)/(size·weight) with u_i from a seeded hash, which draws without replacement, at each step in
proportion to the weights left (Efraimidis and Spirakis 2006).

**What is believed** matters for the price, never for the promise: 90 % of each stake goes to bettors who believe the
predicted risks, at .35, .65 and 1 of their level, 10 % to bettors who believe in equal risks. Levels below the
predicted one are on purpose: they end more audits early than Kelly's bet. The level itself is taken to lie between .2
and .6 of the limit. Without risks (one stratum): .25, .45, .65 of the limit, in equal parts. Chosen in simulated
worlds only.

Sources: Waudby-Smith & Ramdas 2024 (JRSS B 86:1); Waudby-Smith, Stark & Ramdas 2021 (RiLACS); Stark 2023 (ALPHA);
Spertus & Stark 2022 (stratified audits by betting); Ottoboni et al. 2018 (SUITE).

**Units may be clusters**: copies of one text, items of one document. Not for correlation: an audit of single items
drawn at random is right about a finite pool however alike they are. But one answer to a text settles all its copies;
then what is drawn is a cluster, and counting its items as so many answers is wrong. A cluster of z items is drawn with
chance ∝ z·weight, and what is heard of it is the share of its items that are wrong (Stark 2023, §5; Horvitz and
Thompson 1952). All its items are labeled by people and leave the population.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agent.certify._betting import Bets, Game
from agent.certify.draw import salted
from agent.types import Bools, Doubles, Ints

STRATA = 10
BLUR = 0.05  # of every risk is the mean risk: a predicted zero is never taken at its word
ABOUT, BROAD, TRUST = (0.35, 0.65, 1.0), (0.25, 0.45, 0.65), 0.9
HOPE = (0.2, 0.6)  # of the limit: the total that is bet on lies between, or there were no hope and no need
LADDER = (
    *(0.008 * j for j in range(7)),
    0.058,
    0.07,
    0.09,
    0.12,
    0.18,
    0.3,
    0.6,
    1.2,
    2.5,
    6.0,
)  # of `allowed`, above it
SETTINGS = 12  # times the bets are set anew in an audit of everything


@dataclass(frozen=True, slots=True)
class Plan:
    """Fixed, and to be sealed, before the first audit answer.

    allowed: wrong labels that may be left. delta: risk of a false certificate. stratum: (n,) of each unit. size: (n,)
    items in each unit, ones unless units are clusters. weight: (S,) chance of an item of the stratum to be drawn next,
    against others. believed: (C, S) chances of error that are bet on. prior: (C,) shares of the stake.
    """

    allowed: int
    delta: float
    stratum: Ints
    size: Doubles
    weight: Doubles
    believed: Doubles
    prior: Doubles

    def game(self) -> Game:
        """What the bets need of it."""
        steps = np.unique(np.floor(self.allowed * np.array(LADDER)))
        mass = np.asarray(np.bincount(self.stratum, self.size, len(self.weight)), dtype=np.float64)
        limits = self.allowed + 1 + steps[steps < mass.sum()]
        every = max(1, len(self.stratum) // SETTINGS)
        return Game(mass, self.weight, self.believed, self.prior, limits, every)


def plan(risk: Doubles, allowed: int, delta: float, *, strata: int = STRATA, size: Doubles | None = None) -> Plan:
    """The audit of n units: who is drawn how eagerly, and what is bet.

    Args:
        risk: (n,) predicted chance of error of each unit, in [0, 1]; for a cluster, of one item of it. Where it is the
            same everywhere the audit is uniform.
        allowed: wrong labels that may be left, floor(eps·N) ≥ 0. delta: in (0, 1). strata: at most so many.
        size: (n,) items in each unit, > 0; None: 1 each.
    Raises:
        ValueError: values outside these ranges.
    """
    if len(risk) == 0 or not np.all((risk >= 0) & (risk <= 1)):
        raise ValueError("risk must hold at least one chance, all between 0 and 1")
    if not 0 < delta < 1 or allowed < 0 or strata < 1:
        raise ValueError(f"delta {delta} must lie between 0 and 1, allowed {allowed} be ≥ 0, strata {strata} be ≥ 1")
    sizes = np.ones(len(risk)) if size is None else np.asarray(size, dtype=np.float64)
    if sizes.shape != risk.shape or not np.all(sizes > 0):
        raise ValueError("size must hold a number above 0 for each unit")
    mean = float((sizes * risk).sum() / sizes.sum())
    guess = np.clip((1 - BLUR) * risk + BLUR * mean, 1e-5, 0.999)
    stratum = layers(guess, sizes, strata)
    mass = np.asarray(np.bincount(stratum, sizes), dtype=np.float64)
    p = np.bincount(stratum, sizes * guess) / mass
    weight = eagerness(shifted(p, mass, _total(p, mass, allowed)), mass, allowed + 1.0)
    believed, prior = _bettors(p, mass, allowed)
    return Plan(allowed, delta, stratum, sizes, weight / weight.max(), believed, prior)


def part(whole: Plan, risk: Doubles, units: Ints, allowed: int) -> Plan:
    """The same audit, read for some of the units only: a certificate of their own from the answers they get anyway.

    Draws that fall among the units are, at each step, in proportion to the same weights among them alone, so their
    test needs no other draw. Unit j of the part is `units[j]` of the whole.

    Args: risk: (n,) as given to `plan`. units: (m,) at least one. allowed: wrong labels that may be left among them.
    """
    kept, stratum = np.unique(whole.stratum[units], return_inverse=True)
    size = whole.size[units]
    mass = np.asarray(np.bincount(stratum, size), dtype=np.float64)
    p = np.clip(np.bincount(stratum, size * risk[units]) / mass, 1e-5, 0.999)
    believed, prior = _bettors(p, mass, allowed)
    return Plan(allowed, whole.delta, np.asarray(stratum, dtype=np.int64), size, whole.weight[kept], believed, prior)


def _total(p: Doubles, mass: Doubles, allowed: int) -> float:
    """How many wrong labels are bet on: as predicted, between the ends of HOPE."""
    return float(np.clip((mass * p).sum(), HOPE[0] * (allowed + 1), HOPE[1] * (allowed + 1)))


def _bettors(p: Doubles, mass: Doubles, allowed: int) -> tuple[Doubles, Doubles]:
    """What is believed (C, S), and the shares of the stake (C,)."""
    items = float(mass.sum())
    flat = [np.full(len(mass), min(level * (allowed + 1) / items, 0.9)) for level in BROAD]
    if len(mass) == 1:
        return np.array(flat), np.full(len(BROAD), 1 / len(BROAD))
    total = _total(p, mass, allowed)
    about = [shifted(p, mass, min(level * total, 0.9 * items)) for level in ABOUT]
    prior = np.repeat([TRUST / len(ABOUT), (1 - TRUST) / len(BROAD)], [len(ABOUT), len(BROAD)])
    return np.clip(np.array(about + flat), 1e-6, 0.999), prior


def layers(risk: Doubles, size: Doubles, strata: int) -> Ints:
    """(n,) stratum of each unit from 0, by rising risk; equal sums of √(p(1−p)); equal risks share a stratum."""
    values, at = np.unique(risk, return_inverse=True)
    spread = np.bincount(at, size) * np.sqrt(values * (1 - values))
    middle = np.cumsum(spread) - spread / 2
    cut = np.minimum((middle / spread.sum() * strata).astype(np.int64), strata - 1)
    return np.asarray(np.unique(cut, return_inverse=True)[1][at], dtype=np.int64)


def shifted(p: Doubles, mass: Doubles, total: float) -> Doubles:
    """The chances p, their odds all multiplied by one number such that Σ mass·p = total."""
    odds = np.log(p / (1 - p))
    low, high = -40.0, 40.0
    for _ in range(80):
        middle = (low + high) / 2
        over = float((mass / (1 + np.exp(-(odds + middle)))).sum()) > total
        low, high = (low, middle) if over else (middle, high)
    return np.asarray(1 / (1 + np.exp(-(odds + low))))


def eagerness(p: Doubles, mass: Doubles, null: float) -> Doubles:
    """(S,) weight of an item in each stratum: q(1−q)/(q−p), KL(p‖q) equal in all strata, Σ mass·q = null."""
    if float(mass.sum()) <= null:
        return np.ones(len(p))
    low, high = math.log(1e-12), math.log(50.0)
    for _ in range(80):
        middle = (low + high) / 2
        over = float((mass * _apart(p, math.exp(middle))).sum()) > null
        low, high = (low, middle) if over else (middle, high)
    q = _apart(p, math.exp(low))
    return np.asarray(q * (1 - q) / np.maximum(q - p, 1e-12))


def _apart(p: Doubles, far: float) -> Doubles:
    """The q > p with KL(p‖q) = far, by halving."""
    low, high = p.copy(), np.ones_like(p)
    for _ in range(60):
        q = (low + high) / 2
        over = p * np.log(p / q) + (1 - p) * np.log((1 - p) / np.maximum(1 - q, 1e-300)) > far
        low, high = np.where(over, low, q), np.where(over, q, high)
    return np.asarray(np.minimum(high, 1 - 1e-9))


def chances(ids: Sequence[str], seed: int) -> Doubles:
    """(n,) a number in (0, 1) for each id, that depends on nothing but the id and the seed."""
    raw = salted("strata", seed, ids)
    return np.array([(int.from_bytes(r[:8], "big") + 0.5) / 2**64 for r in raw], dtype=np.float64)


def order(plan: Plan, chance: Doubles) -> Ints:
    """(n,) units in the order in which they are to be audited, from (n,) independent numbers in (0, 1)."""
    return np.argsort(-np.log(np.maximum(chance, 1e-300)) / (plan.size * plan.weight[plan.stratum]), kind="stable")


class Test:
    """The audit as it goes. Answers are heard in the committed order, none left out."""

    __test__ = False  # no test of pytest's

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._bets = Bets(plan.game())
        self._heard: set[int] = set()

    def hear(self, unit: int, wrong: float) -> None:
        """One answer: of unit `unit`, the share `wrong` in [0, 1] is wrong. Skipped, or cannot tell: 1.

        Raises:
            ValueError: a share outside [0, 1], or a unit heard already.
        """
        if not 0 <= wrong <= 1:
            raise ValueError(f"wrong {wrong} must lie between 0 and 1")
        if unit in self._heard:
            raise ValueError(f"unit {unit} was heard already: each is audited once")
        self._heard.add(unit)
        at = np.array([self.plan.stratum[unit]])
        self._bets.hear(at, np.array([float(wrong)]), np.array([self.plan.size[unit]]))

    @property
    def heard(self) -> int:
        """Units audited so far."""
        return len(self._heard)

    @property
    def found(self) -> float:
        """Wrong labels found so far: they are mended."""
        return float(self._bets.found[0])

    def left(self, delta: float) -> int:
        """Wrong labels left once those found are mended, at most, at any time with confidence 1 − delta."""
        unheard = float(self._bets.mass[0].sum())
        return max(0, math.floor(min(float(self._bets.bound(delta)[0]) - self.found, unheard) + 1e-6))

    @property
    def wrong_at_most(self) -> int:
        """`left` with the plan's own delta."""
        return self.left(self.plan.delta)

    @property
    def p(self) -> float:
        """p-value, valid at any time, of "more than `allowed` labels were wrong when they were frozen"."""
        return float(np.exp(-self._bets.best[0, 0]))

    @property
    def certified(self) -> bool:
        """Whether at most `allowed` wrong labels are left, with confidence 1 − delta, now and for good."""
        return self.wrong_at_most <= self.plan.allowed


def rehearse(plan: Plan, orders: Ints, wrong: Bools | Doubles, *, mended: bool = True) -> tuple[Ints, Doubles]:
    """Many audits at once of known worlds: after how many answers each certifies, and wrong labels found by then.

    Args: orders: (runs, most) units in drawn order. wrong: (runs, most) whether each of them is wrong, or
        what share of it.
        mended: whether what was found counts as mended; if not, the claim is about the labels as frozen.
    Returns: (runs,) answers, `most` + 1 where it did not; (runs,) found.
    """
    runs, most = orders.shape
    answers, found = np.full(runs, most + 1), np.zeros(runs)
    bets, live = Bets(plan.game(), runs), np.arange(runs)
    for t in range(most):
        unit = orders[live, t]
        bets.hear(plan.stratum[unit], wrong[live, t].astype(np.float64), plan.size[unit])
        found[live] = bets.found
        left = np.minimum(bets.bound(plan.delta) - bets.found, bets.mass.sum(1)) if mended else bets.bound(plan.delta)
        done = left <= plan.allowed + 1e-6
        if done.any():
            answers[live[done]] = t + 1
            bets.keep(~done)
            live = live[~done]
        if len(live) == 0:
            break
    return answers, found


def forecast(plan: Plan, risk: Doubles, seed: int, runs: int = 100, most: int = 3000) -> tuple[int, int]:
    """Answers until the certificate, median and 90th of 100 runs, in worlds where the predicted risks are true.

    Args: risk: (n,) as given to `plan`. most: answers after which a run is given up (its count is then `most` + 1).
    """
    rng = np.random.default_rng(seed)
    most = min(most, len(risk))
    orders = np.stack([order(plan, rng.random(len(risk)))[:most] for _ in range(runs)])
    answers, _ = rehearse(plan, orders, rng.random(orders.shape) < risk[orders])
    return int(np.quantile(answers, 0.5)), int(np.quantile(answers, 0.9))
