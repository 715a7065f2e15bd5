"""How each machine was asked, in words: for the report and for `status`. Knows what a turn noted, and no ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Fact:
    """What is told, its figure, and what it means."""

    what: str
    figure: str
    means: str


def facts(noted: Mapping[str, Mapping[str, Any]]) -> tuple[Fact, ...]:
    """`noted`: annotator -> what `agent.loop.measure.asking` found; whatever is absent has nothing to tell."""
    out: list[Fact] = []
    for name, told in noted.items():
        if told.get("form"):
            form, _, why = str(told["form"]).partition(": ")
            out.append(Fact(f"form of {name}", form, why))
        changed, twice = told.get("flips", (0, 0))
        if twice:
            words = f"{changed:,} of {twice:,}, asked again in another order or prompt, got another label"
            out.append(Fact(f"flips of {name}", f"{changed / twice:.1%}", words))
        hits, of = told.get("recall", (0, 0))
        if of:
            words = f"of {of:,} pilot items {hits:,} had people's label among the {told.get('shortlist', 0)} shown"
            out.append(Fact(f"shortlist of {name}", f"{hits / of:.1%}", words))
        if told.get("none"):
            out.append(Fact(f"none of these, said {name}", f"{told['none']:,}", "were asked about all labels next"))
        if told.get("cut"):
            out.append(Fact(f"texts cut for {name}", f"{told['cut']:,}", "too long: the middle was left out"))
        if told.get("parts"):
            out.append(Fact(f"texts in parts for {name}", f"{told['parts']:,}", "too long: a question for each part"))
    return tuple(out)
