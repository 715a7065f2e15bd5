"""What a report says, as numbers: plain frozen data and the arithmetic on it. Knows no ledger, no file and no words.

The loop fills a `Figures` from the ledger; the page and `status --json` print the same one. Three kinds of number
never mix: agreement with *people* (on items drawn at random), agreement with the pool's *gold* column (a check), and
agreement with one *annotator*. Each carries its interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from fractions import Fraction
from typing import Any, Literal

from agent.agreement import wilson as wilson
from agent.report.asking import Fact
from agent.report.lessons import Ahead, Moves, Strategy
from agent.types import Certificate

FORMAT = 1
"""Version of `to_json`; raised when a key changes its meaning or goes."""

Sort = Literal["student", "llm", "person"]
Who = Literal["people", "votes", "gold", "nobody"]


def down(share: float | Fraction, digits: int = 1) -> str:
    """A share as a percentage, cut downwards: what is claimed of an accuracy is never more than it is."""
    return _percent(share, digits, ROUND_FLOOR)


def up(share: float | Fraction, digits: int = 1) -> str:
    """A share as a percentage, cut upwards: what is admitted of an error is never less than it is."""
    return _percent(share, digits, ROUND_CEILING)


def _percent(share: float | Fraction, digits: int, rounding: str) -> str:
    step = Decimal(1).scaleb(-digits)
    if isinstance(share, Fraction):
        tens = 100 * 10**digits * share
        whole = tens.__floor__() if rounding == ROUND_FLOOR else tens.__ceil__()
        return str((Decimal(whole) * step).quantize(step))
    return str((Decimal(repr(float(share))) * 100).quantize(step, rounding=rounding) + Decimal(0))


@dataclass(frozen=True, slots=True)
class Share:
    """`right` of `of`."""

    right: int
    of: int

    @property
    def rate(self) -> float:
        """right / of; 0 when there is nothing to divide by."""
        return self.right / self.of if self.of else 0.0

    @property
    def exact(self) -> Fraction:
        return Fraction(self.right, self.of) if self.of else Fraction(0)

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's, 95 %."""
        return wilson(self.right, self.of)


@dataclass(frozen=True, slots=True)
class Source:
    """Who settled how many delivered items, by label. For `multi` an item counts once for each label it carries."""

    annotator: str
    sort: Sort
    items: int
    labels: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class People:
    """What people were asked. `who`: live people, votes of real raters on file, the gold column, or nobody.

    `said`: one sentence, shown at the head of the report when people were simulated. `minutes`: time spent;
    `measured`: by the clock of the review page (else answers times the assumed seconds of the person rung). `beside`:
    answers given with a machine's label in sight. `agree`: how they agree with one another; "" where none were doubled.
    """

    who: Who = "nobody"
    said: str = ""
    pilot: int = 0
    audit: int = 0
    escalation: int = 0
    unsure: int = 0
    minutes: float = 0.0
    measured: bool = False
    beside: int = 0
    agree: str = ""

    @property
    def answers(self) -> int:
        return self.pilot + self.audit + self.escalation

    @property
    def simulated(self) -> bool:
        return self.who in ("votes", "gold")


@dataclass(frozen=True, slots=True)
class Network:
    """What machines asked over the network took, and the most they may; `held`: the same of calls still under way."""

    calls: int
    tokens: int
    held_calls: int = 0
    held_tokens: int = 0
    held_usd: float = 0.0
    most_calls: int | None = None
    most_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Spent:
    """What one machine annotator was asked and cost. `usd` includes what failed calls are held to have cost."""

    annotator: str
    answers: int
    errors: int = 0
    tokens_in: int = 0
    tokens_cached: int = 0
    tokens_out: int = 0
    usd: float = 0.0
    served_model: str = ""


@dataclass(frozen=True, slots=True)
class Point:
    """One turn of the learning curve.

    `answers`: answers of all annotators up to this turn. `student`: the student's agreement with people on the pilot
    items (predicted without having seen them); `expected`: mean confidence over the pool, which is no measurement.
    """

    turn: int
    answers: int
    student: Share | None = None
    expected: float | None = None


@dataclass(frozen=True, slots=True)
class Bin:
    """Items whose confidence lay in [low, high): how many, their mean confidence, and how many people agreed with."""

    low: float
    high: float
    n: int
    confidence: float
    right: int


@dataclass(frozen=True, slots=True)
class Confusion:
    """counts[i][j]: items of the random streams that people called labels[i] and were delivered as labels[j]."""

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    atom: str = "label"


@dataclass(frozen=True, slots=True)
class Agreement:
    """One annotator against people on the pilot. `chance`: what guessing with the same label shares would give."""

    annotator: str
    share: Share
    chance: float


@dataclass(frozen=True, slots=True)
class Check:
    """Labels against the pool's gold column: for checking only, nothing is decided by it."""

    what: str
    share: Share


@dataclass(frozen=True, slots=True)
class Range:
    """An estimate and its 95 % interval; shares."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Estimated:
    """What random answers of people estimate, beside the certificate: nothing is decided by it.

    accuracy: of all labels, people's own among them. shares: of each label, as people would give it. answers: of the
    audit. worth: how many answers would estimate the accuracy as well, had machines predicted nothing; 0 where
    every machine label was audited.
    """

    accuracy: Range
    shares: Mapping[str, Range]
    answers: int
    worth: float


@dataclass(frozen=True, slots=True)
class Figures:
    """All a report says. Every part but the head may be empty; the report says so then, or leaves it out.

    `items` = accepted + unsure + waiting + not_asked + undecided (of a run cut short); `rows` = items + set aside +
    repeated rows.
    `set_aside`: reason -> rows. `no_answer`: reason -> items that were asked about in vain.
    `no_certificate`: why there is none, as a full sentence. `files`: name -> what is in it.
    """

    name: str
    labels: Mapping[str, str]
    rows: int
    items: int
    accepted: int
    unsure: int
    waiting: int
    undecided: int = 0
    not_asked: int = 0
    no_answer: Mapping[str, int] = field(default_factory=dict)
    question: str = ""
    kind: str = "single"
    set_aside: Mapping[str, int] = field(default_factory=dict)
    sources: tuple[Source, ...] = ()
    people: People = field(default_factory=People)
    spent: tuple[Spent, ...] = ()
    budget_usd: float | None = None
    network: Network | None = None
    curve: tuple[Point, ...] = ()
    ahead: tuple[Ahead, ...] = ()
    strategies: tuple[Strategy, ...] = ()
    moves: Moves | None = None
    copies: int = 0
    reliability: tuple[Bin, ...] = ()
    confusion: tuple[Confusion, ...] = ()
    agreement: tuple[Agreement, ...] = ()
    asking: tuple[Fact, ...] = ()
    goal_accuracy: float = 0.95
    delta: float = 0.05
    certificate: Certificate | None = None
    no_certificate: str = ""
    estimated: Estimated | None = None
    gold: tuple[Check, ...] = ()
    stopped: str = ""
    next_steps: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    turns: int = 0
    seed: int = 0
    made: str = ""
    version: str = ""

    @property
    def usd(self) -> float:
        return sum(s.usd for s in self.spent)

    @property
    def calls(self) -> int:
        return sum(s.answers + s.errors for s in self.spent)


def bins(confidence: Sequence[float], right: Sequence[bool], count: int = 10) -> tuple[Bin, ...]:
    """Reliability bins of equal width over [0, 1]; empty ones are left out. One entry an item of the random streams.

    Raises:
        ValueError: the two differ in length, or a confidence lies outside [0, 1].
    """
    groups: dict[int, list[tuple[float, bool]]] = {}
    for c, r in zip(confidence, right, strict=True):
        if not 0 <= c <= 1:
            raise ValueError(f"confidence {c} is not between 0 and 1")
        groups.setdefault(min(int(c * count), count - 1), []).append((float(c), bool(r)))
    return tuple(
        Bin(b / count, (b + 1) / count, len(g), sum(c for c, _ in g) / len(g), sum(r for _, r in g))
        for b, g in sorted(groups.items())
    )


def ece(reliability: Sequence[Bin]) -> float:
    """Expected calibration error: mean |share right − confidence|, weighted by items (Guo et al. 2017, eq. 3)."""
    total = sum(b.n for b in reliability)
    return sum(abs(b.right - b.n * b.confidence) for b in reliability) / total if total else 0.0


def confusion(pairs: Sequence[tuple[str, str]], labels: Sequence[str], atom: str = "label") -> Confusion:
    """Pairs (what people said, what was delivered) counted; KeyError for a label that is not in `labels`."""
    at = {label: i for i, label in enumerate(labels)}
    counts = [[0] * len(at) for _ in at]
    for said, delivered in pairs:
        counts[at[said]][at[delivered]] += 1
    return Confusion(tuple(labels), tuple(tuple(row) for row in counts), atom)


def chance(said: Sequence[str], annotated: Sequence[str]) -> float:
    """Agreement of two annotators who keep their label shares but answer independently (Cohen 1960, p_c)."""
    if not said or not annotated:
        return 0.0
    return sum(said.count(x) * annotated.count(x) for x in set(said)) / (len(said) * len(annotated))


def to_json(figures: Figures) -> dict[str, Any]:
    """Figures as JSON-able data, shares with their intervals; `format` is the version of this shape."""
    return {"format": FORMAT, **_plain(figures)}


def _plain(value: Any) -> Any:
    if isinstance(value, Share):
        low, high = value.interval
        return {"right": value.right, "of": value.of, "rate": value.rate, "low": low, "high": high}
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value.item() if hasattr(value, "item") else value  # numpy's scalars as Python's
