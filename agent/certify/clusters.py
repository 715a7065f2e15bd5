"""Audits by cluster: copies of one text, items of one document. Knows cluster numbers, no texts.

    gather(cluster)                         units of unequal size from (N,) cluster numbers
    plan(units, risk, allowed, delta)       a `strata.Plan` over clusters: size is items, risk that of one item
    share(units, unit, wrong)               the loss that `strata.Test.hear` wants: share of its items that are wrong

When is this needed? Not for correlation: an audit of single items drawn at random is right about a finite pool however
alike its items are. But one answer to a text settles all its copies, and a person who reads a document labels all of
it: then what is drawn is a cluster, and counting its items as so many answers is wrong.

A cluster u of z_u items is drawn with chance ∝ z_u·ω, and L_u is the share of its items that are wrong. Then
L_u·z_u/π_u has the number of wrong labels left as its mean, with no bound on sizes but that of the bet: the test of
`agent.certify.strata` with sizes, valid at any time, for losses anywhere in [0, 1] (Stark 2023, §5; Horvitz and
Thompson 1952). All items of a drawn cluster are labeled by people and leave the population. Who finds the copies (a
hash of the normalised text) is the caller.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agent.certify import strata
from agent.types import Bools, Doubles, Ints


@dataclass(frozen=True, slots=True)
class Units:
    """unit: (N,) cluster of each item, from 0, in order of first appearance. size: (n,) items in each cluster."""

    unit: Ints
    size: Doubles


def gather(cluster: Ints) -> Units:
    """Clusters as units, from any numbers that are equal within a cluster."""
    _, first, at, count = np.unique(cluster, return_index=True, return_inverse=True, return_counts=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return Units(rank[at], count[np.argsort(first)].astype(np.float64))


def plan(units: Units, risk: Doubles, allowed: int, delta: float, *, number: int = strata.STRATA) -> strata.Plan:
    """The audit of clusters.

    Args: risk: (N,) predicted chance of error of each item. allowed: wrong labels (items) that may be left. number: of
        strata, at most.
    Raises:
        ValueError: as `strata.plan`.
    """
    mean = np.bincount(units.unit, risk, len(units.size)) / units.size
    return strata.plan(mean, allowed, delta, strata=number, size=units.size)


def share(units: Units, unit: int, wrong: Bools) -> float:
    """Share of a cluster's items that are wrong, from (N,) flags; items nobody could tell must be flagged wrong."""
    return float(wrong[units.unit == unit].mean())
