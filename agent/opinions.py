"""What several people said of the same item, each blind and on their own. Knows the ledger's answers; no machine.

Blind are answers of people who were shown nothing of what machines or others said: not those given beside a machine's
label ("assisted: …"), not those confirmed with a near-duplicate's ("group"), and not those of who settled a difference
with both answers in sight ("settled"). Only blind ones are counted for or against anybody.

No figure tells what the audit's answers say before a look was paid for them, and none tells somebody what another one
said while they can still take their own word back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from agent import agreement, prompt
from agent.errors import Unparsable
from agent.pool import Pool
from agent.store import Store
from agent.store.review import GONE
from agent.types import Answer, Call, Ints, Item, Kind, Task, Value

ASSISTED, GROUP, SETTLED = "assisted", "group", "settled"
"""Flags (before a colon) of answers that are not blind."""
ELSEWHERE = ("carried", SETTLED, "sheet", "import")
"""Flags (before a colon) of answers that were given at no desk: none of these is taken back there."""
FEW = 20
"""Items below which nothing is said of agreement."""
UNDO = 20
"""How many answers of a person can be taken back."""
MATES = 9
"""Near-duplicates that may be confirmed with a card, at most."""
LAST = UNDO * (MATES + 1)
"""How many answers those may be."""


@dataclass(frozen=True, slots=True)
class Word:
    """A person's answer that stands. seq: the answer's number in the ledger."""

    seq: int
    call: Call
    answer: Answer


def marked(answer: Answer, *names: str) -> bool:
    """Whether an answer bears one of these flags; what follows a colon in a flag does not count."""
    return any(flag.partition(":")[0] in names for flag in answer.flags)


def blind(answer: Answer) -> bool:
    """Whether somebody gave this answer, and gave it blind."""
    return bool(answer.who) and not marked(answer, ASSISTED, GROUP, SETTLED)


def words(store: Store, recipe: str) -> list[Word]:
    """What people said of the items that more than one of them was asked about, or answered, in the order it came.

    Under their recipe, as second ones and as late ones. What was taken back is left out.
    """
    second, extra = prompt.second_recipe(recipe), prompt.extra_recipe(recipe)
    return [Word(*row) for row in store.review.settling.several((recipe, second, extra), (second, extra))]


def doubled(found: Sequence[Word], recipe: str) -> dict[str, list[Word]]:
    """Item -> the blind answers of two people or more: each one's first, in the order in which they came.

    Of the answers to first questions the first counts. Where one was put once more, because its label was doubted, the
    next is no random pair with it.
    """
    by: dict[str, dict[str, Word]] = {}
    first: set[str] = set()
    for word in found:
        item, again = word.call.item, word.call.recipe != recipe
        if blind(word.answer) and (again or item not in first):
            by.setdefault(item, {}).setdefault(word.answer.who, word)
            first |= set() if again else {item}
    return {item: list(said.values()) for item, said in by.items() if len(said) > 1}


def counted(store: Store, recipe: str) -> tuple[dict[str, list[Word]], int]:
    """What `doubled` gives of the words that figures may rest on, and how many items are left out for now.

    Left out is what people said of the audit after the last answer that a certificate has read, and the items on which
    somebody who may come in can still take their answer back.
    """
    found = words(store, recipe)
    every = doubled(found, recipe)
    read = max((int(one["body"].get("extra", {}).get("answers_up_to", -1)) for one in store.certificates()), default=-1)
    audited = {word.call.item for word in found if word.call.purpose == "audit"}
    told = doubled([word for word in found if word.seq <= read or word.call.item not in audited], recipe)
    held = loose(store, recipe) if told else set()
    told = {item: said for item, said in told.items() if item not in held}
    return told, len(every.keys() - told.keys())


def loose(store: Store, recipe: str) -> set[str]:
    """Items on which somebody can still take their answer back."""
    recipes, out = (recipe, prompt.second_recipe(recipe)), set[str]()
    for person in store.review.people().values():
        groups = 0
        for _, item, flags in store.review.settling.recent(person.name, recipes, LAST) if person.role != GONE else ():
            names = {flag.partition(":")[0] for flag in flags}
            if not names & set(ELSEWHERE):
                out.add(item)
                groups += GROUP not in names
            if groups == UNDO:
                break
    return out


def label(kind: Kind, task: Task, item: Item, answer: Answer) -> Value | None:
    """The label a person gave; None: could not tell, or it cannot be read."""
    if answer.unsure:
        return None
    try:
        read = kind.parse(task, kind.question(task, item, 0), answer)
    except Unparsable:
        return None
    return None if read is None else kind.value(task, {atom: max(d, key=d.__getitem__) for atom, d in read.items()})


Said = dict[str, dict[str, Value]]
"""Item -> person -> label."""


def labels(
    twice: Mapping[str, Sequence[Word]], kind: Kind, task: Task, item: Callable[[str], Item]
) -> dict[str, dict[str, Value | None]]:
    """Item -> person -> label of what `doubled` found; None: could not tell. `item`: the item of an id.

    People answer with names, which mean the same on every item: each different answer is read once.
    """
    known: dict[str, Value | None] = {}
    out: dict[str, dict[str, Value | None]] = {}
    for one, said in twice.items():
        for word in said:
            if word.answer.text not in known and not word.answer.unsure:
                known[word.answer.text] = label(kind, task, item(one), word.answer)
        out[one] = {w.answer.who: None if w.answer.unsure else known[w.answer.text] for w in said}
    return out


def table(said: Mapping[str, Mapping[str, Value | None]]) -> tuple[Ints, list[str], dict[Value, int]]:
    """(n, J) votes as numbers of labels, −1 for none, rows as in `said`; the people; labels by number."""
    people = sorted({who for answers in said.values() for who in answers})
    column = {who: number for number, who in enumerate(people)}
    numbers: dict[Value, int] = {}
    votes = np.full((len(said), len(people)), -1, np.int64)
    for row, answers in enumerate(said.values()):
        for who, value in answers.items():
            if value is not None:
                votes[row, column[who]] = numbers.setdefault(value, len(numbers))
    return votes, people, numbers


@dataclass(frozen=True, slots=True)
class OfLabel:
    """How people agree on one label: of `said` answers that gave it on items with several, the share that another one's
    answer bears out (specific agreement: Dice 1945; Fleiss 1981, §13), with Wilson's interval over `items`."""

    name: str
    said: int
    items: int
    share: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """How people agree where several answered the same item, blind. alpha: Krippendorff's, with its bootstrap interval;
    share: how often two of them say the same. Both are (value, low, high), None where there is nothing to tell.

    doubled: items that several answered; items: those of them with labels of two or more; unsure: those where somebody
    could not tell. enough: there are `FEW` such items or more. later: items that are left out for now (`counted`).
    """

    doubled: int
    items: int
    people: int
    unsure: int
    enough: bool
    alpha: tuple[float, float, float] | None
    share: tuple[float, float, float] | None
    labels: tuple[OfLabel, ...] = ()
    later: int = 0


def agreed(said: Mapping[str, Mapping[str, Value | None]], task: Task) -> Agreement:
    """Agreement of people, from what `labels` gave. "Cannot tell" is no label: it counts in `unsure` only."""
    votes, people, numbers = table(said)
    several = (votes >= 0).sum(axis=1) >= 2
    items, unsure = int(several.sum()), sum(any(v is None for v in answers.values()) for answers in said.values())
    if items < FEW:
        return Agreement(len(said), items, len(people), unsure, False, None, None)
    a, same = agreement.alpha(votes), agreement.pairs(votes)
    return Agreement(
        doubled=len(said),
        items=items,
        people=len(people),
        unsure=unsure,
        enough=True,
        alpha=(a.value, a.low, a.high) if math.isfinite(a.value + a.low + a.high) else None,
        share=(same.value, same.low, same.high),
        labels=tuple(_by_label(votes[several], numbers, task)),
    )


def _by_label(votes: Ints, numbers: Mapping[Value, int], task: Task) -> list[OfLabel]:
    given = votes >= 0
    each = given.sum(axis=1)
    out = []
    for name in task.labels:
        codes = [code for value, code in numbers.items() if name in ((value,) if isinstance(value, str) else value)]
        counts = (np.isin(votes, codes) & given).sum(axis=1)
        total, items = int(counts.sum()), int((counts > 0).sum())
        if total:
            share = float((counts * (counts - 1) / (each - 1)).sum() / total)
            out.append(OfLabel(name, total, items, share, *agreement.wilson(share * items, items)))
    return out


def of_run(store: Store, pool: Pool, task: Task, kind: Kind) -> Agreement:
    """How people agree in a run, under today's labels."""
    twice, later = counted(store, prompt.person_recipe(task))
    found = agreed(labels(twice, kind, task, lambda one: pool.item(pool.position(one))), task)
    return replace(found, later=later)


def told(found: Agreement) -> str:
    """The agreement in a sentence."""
    if not found.enough or found.share is None:
        there = f"{found.items:,} of the {FEW} items it takes have labels of two people or more"
        more = held_back(found.later) or "review.overlap puts a share of the questions to a second person"
        return f"not enough doubled answers: {there}; {more}"
    value, low, high = (100 * one for one in found.share)
    alpha = "; Krippendorff's α cannot be told, as all labels are the same"
    if found.alpha is not None:
        a, down, up = found.alpha
        alpha = f"; Krippendorff's α = {a:.2f} ({down:.2f} to {up:.2f})"
    return f"two people say the same in {value:.0f} % ({low:.0f} to {high:.0f} %) of {found.items:,} items{alpha}"


def held_back(later: int) -> str:
    """What is left out for now, and until when; "" where nothing is."""
    if not later:
        return ""
    items = f"{later:,} more item{'s' * (later > 1)}"
    return (
        f"{items} count once nobody can take back what they said there (each one's last {UNDO} answers), those of the "
        "audit once a certificate has read them (tutelage certify)"
    )
