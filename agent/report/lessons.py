"""What is told of how the student learned, as plain numbers. Knows no ledger."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ahead:
    """A point of the forecast: the student's agreement with people expected at so many answers, and nine in ten."""

    answers: int
    rate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Strategy:
    """What a strategy's batches were worth: `gain` and its standard error `error` in log-loss a hundred answers, on
    items drawn at random that the student was not taught."""

    name: str
    batches: int
    answers: int
    gain: float
    error: float


@dataclass(frozen=True, slots=True)
class Moves:
    """Labels that the last turn's answers changed, and the share of labels that stayed."""

    changed: int
    answers: int
    stable: float
