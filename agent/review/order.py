"""The order in which people are asked: a function of what is open, of what it is worth, and of a seed. Knows no ledger.

The pilot comes first, in the order of reservation. Then what repairs (escalation) by what an answer is worth, similar
items together in runs, and between the runs assorted stretches in which audit cards lie among single escalations: never
more of them than of escalations, in the order of the seeded draw. Audit cards that find no company come last.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agent import certify

RUN = 8
"""Similar items in a row, at most."""
NEAR = 0.5
"""What the last of a run is worth of what its first is, at least."""
STRETCH = 4
"""Cards between two runs, at least, while there are any."""
BLIND = 0.5
"""Share of escalations that stay blind in assisted mode."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An item that is asked about. seq: grows in the order of reservation; worth: wrong labels an answer is expected to
    mend, or how doubtful the label is; leader: the item whose likes it is, "" for none."""

    item: str
    purpose: str
    turn: int
    seq: int
    worth: float = 0.0
    leader: str = ""


@dataclass(frozen=True, slots=True)
class Arranged:
    """items: all of them in order; runs: what stands in runs, the items of each."""

    items: list[str]
    runs: list[list[str]]


def arrange(entries: Iterable[Entry], seed: int) -> Arranged:
    """Every item once. Entries of turn -1 (the audit of a finished file, in its order of draw) come as the pilot."""
    told = sorted(entries, key=lambda entry: entry.seq)
    first = [entry.item for entry in told if entry.purpose == "pilot" or entry.turn < 0]
    rest = [entry for entry in told if entry.purpose != "pilot" and entry.turn >= 0]
    audit = [entry.item for entry in rest if entry.purpose == "audit"]
    drawn = [audit[i] for i in certify.draw(audit, seed)]
    chosen = sorted((entry for entry in rest if entry.purpose != "audit"), key=lambda entry: -entry.worth)
    runs, singles = _runs(chosen, len(drawn))
    company = _company([entry.item for entry in singles], drawn, seed)
    items = [*first, *_merged(runs, singles, company)]
    mixed = sum(map(len, company.values())) - len(singles)
    return Arranged([*items, *drawn[mixed:]], [[entry.item for entry in run] for run in runs])


def blind(item: str, seed: int) -> bool:
    """Whether an escalation about this item shows no guess in assisted mode: by the item's own hash alone, so that it
    is the same whatever else is asked, and a card that is blind does not mean that it measures."""
    return int.from_bytes(_rank("blind", seed, item)[:8], "big") < BLIND * 2**64


def _runs(chosen: Sequence[Entry], audit: int) -> tuple[list[list[Entry]], list[Entry]]:
    """Runs of similar items and single ones, both by worth. The least worth runs are dissolved while audit cards lack
    company, until half of all are single."""
    alike: dict[str, list[Entry]] = {}
    for entry in chosen:
        alike.setdefault(entry.leader or entry.item, []).append(entry)
    parts = [part for same in alike.values() for part in _parts(same)]
    parts.sort(key=lambda part: -part[0].worth)
    runs = [part for part in parts if len(part) > 1]
    want = min(audit, len(chosen) // 2)
    single = len(chosen) - sum(map(len, runs))
    while single < want:
        single += len(runs.pop())
    inside = {entry.item for run in runs for entry in run}
    return runs, [entry for entry in chosen if entry.item not in inside]


def _parts(same: Sequence[Entry]) -> list[list[Entry]]:
    """Similar items, best first, in runs whose last is worth `NEAR` of the first: no run holds up what is better."""
    parts: list[list[Entry]] = []
    for entry in same:
        if parts and len(parts[-1]) < RUN and entry.worth >= NEAR * parts[-1][0].worth:
            parts[-1].append(entry)
        else:
            parts.append([entry])
    return parts


def _company(singles: Sequence[str], drawn: Sequence[str], seed: int) -> dict[str, list[str]]:
    """Single item -> it and the audit card beside it, if any, in the order in which the two are shown."""
    mixed = min(len(drawn), len(singles))
    chosen = set(sorted(singles, key=lambda item: _rank("beside", seed, item))[:mixed])
    audit = iter(drawn)
    company: dict[str, list[str]] = {}
    for item in singles:
        pair = [item, next(audit)] if item in chosen else [item]
        company[item] = pair[::-1] if _rank("before", seed, item)[0] & 1 else pair
    return company


def _merged(runs: Sequence[Sequence[Entry]], singles: Sequence[Entry], company: dict[str, list[str]]) -> list[str]:
    """Runs and singles by worth, a stretch of singles and their company between any two runs while there are any."""
    out: list[str] = []
    since = STRETCH  # cards since the last run
    i = 0
    for run in runs:
        while i < len(singles) and (since < STRETCH or singles[i].worth > run[0].worth):
            pair = company[singles[i].item]
            out += pair
            since += len(pair)
            i += 1
        out += [entry.item for entry in run]
        since = 0
    return out + [item for entry in singles[i:] for item in company[entry.item]]


def _rank(use: str, seed: int, item: str) -> bytes:
    return hashlib.sha256(f"{use}\0{seed}\0{item}".encode("utf-8", "surrogatepass")).digest()
