"""Which labels are taken for one another: by two people, and by a machine against people. Sees nothing of the audit.

What is counted of a pair are the items that both sides gave one of the two, and among them those to which each side
gave another one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from agent import kinds, opinions, prompt
from agent.errors import Unparsable
from agent.store import Store
from agent.types import Answer, Call, Item, Kind, Task, Value

MOST = 20
"""Pairs that are told."""

EXAMPLES = 5

PEOPLE = "people"

Find = Callable[[str], Item]
Names = frozenset[str]


@dataclass
class Count:
    """`differ` of `of` items."""

    differ: int = 0
    of: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """An item on which two sides differ, and who said what."""

    item: str
    said: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass
class Pair:
    """Two labels; `other` "" stands for "not this label" (kind `multi`). `against`: "people", for two of them, or a
    machine's name, for people against it."""

    one: str
    other: str
    against: dict[str, Count] = field(default_factory=dict)
    examples: list[Sample] = field(default_factory=list)

    @property
    def differ(self) -> int:
        return sum(count.differ for count in self.against.values())

    @property
    def rank(self) -> tuple[int, int]:
        """Where people differ there is most to be said."""
        people = self.against.get(PEOPLE, Count())
        return 2 * people.differ + self.differ, people.differ


def confusions(store: Store, find: Find, task: Task, kind: Kind, most: int = MOST) -> list[Pair]:
    """The pairs that are confused most, with up to 5 examples each that nobody is being asked about any more.

    Without the audit, and without what somebody can still take back: they would see what others and machines say of it.
    """
    recipe = prompt.person_recipe(task)
    left = {call.item for call in store.asked(recipe) if call.purpose == "audit"} | opinions.loose(store, recipe)
    asking = prompt.open_recipes(recipe)
    open_now = {call.item for call in store.open_calls(annotator="person") if call.recipe in asking}
    seen = _Seen(open_now)
    words = [word for word in opinions.words(store, recipe) if word.call.item not in left]
    for item, said in opinions.doubled(words, recipe).items():
        told = [(word.answer.who, _names(opinions.label(kind, task, find(item), word.answer))) for word in said]
        known = [(who, names) for who, names in told if names is not None]
        for k, one in enumerate(known):
            for other in known[k + 1 :]:
                seen.enter(PEOPLE, item, one, other)
    first = _first_words(store, recipe, left, find, task, kind)
    for item, rung, machine in _machines(store, recipe, first, find, task, kind):
        seen.enter(rung, item, (PEOPLE, first[item]), (rung, machine))
    return sorted(seen.counted(), key=lambda pair: pair.rank, reverse=True)[:most]


def words(pair: Pair, text: str) -> str:
    """The question that a pair raises. `text`: of an example, "" where there is none to show."""
    such = f"“{' '.join(text.split())}”" if text else "such an item"
    asked = f"Is {such} {pair.one} or {pair.other}?" if pair.other else f"Is {such} {pair.one} or not?"
    counts = []
    for name, count in pair.against.items():
        if count.differ:
            who = "two people" if name == PEOPLE else f"people and {name}"
            counts.append(f"{who} differed on {count.differ:,} of {count.of:,}")
    return f"{asked} {'; '.join(counts).capitalize()}."


def _names(value: Value | None) -> Names | None:
    if value is None:
        return None
    return frozenset([value] if isinstance(value, str) else value)


class _Seen:
    """Pairs as they come up. `hidden`: items that are no examples, for people are being asked about them."""

    def __init__(self, hidden: set[str]) -> None:
        self._hidden = hidden
        self._pairs: dict[tuple[str, str], Pair] = {}
        self._agreed: Counter[tuple[str, str]] = Counter()

    def enter(self, against: str, item: str, one: tuple[str, Names], other: tuple[str, Names]) -> None:
        """An item on which two sides spoke."""
        left, right = one[1] - other[1], other[1] - one[1]
        self._agreed.update((against, name) for name in one[1] & other[1])
        alone = {(name, "") for name in left | right}
        for key in {(min(a, b), max(a, b)) for a in left for b in right} or alone:
            pair = self._pairs.setdefault(key, Pair(*key))
            pair.against.setdefault(against, Count()).differ += 1
            if len(pair.examples) < EXAMPLES and item not in self._hidden | {e.item for e in pair.examples}:
                pair.examples.append(Sample(item, tuple((who, tuple(sorted(names))) for who, names in (one, other))))

    def counted(self) -> list[Pair]:
        """Every pair, with the number of items that both sides gave one of the two."""
        for pair in self._pairs.values():
            for against, count in pair.against.items():
                both = self._agreed[against, pair.one] + (self._agreed[against, pair.other] if pair.other else 0)
                count.of = count.differ + both
        return list(self._pairs.values())


def _first_words(store: Store, recipe: str, left: set[str], find: Find, task: Task, kind: Kind) -> dict[str, Names]:
    """Item -> what the first person said blind of it; without the items `left` out."""
    out: dict[str, Names] = {}
    for _, call, answer in store.answers_since(0, [recipe]):
        if call.item in left or call.item in out or not opinions.blind(answer):
            continue
        names = _names(opinions.label(kind, task, find(call.item), answer))
        if names is not None:
            out[call.item] = names
    return out


def _machines(
    store: Store, recipe: str, asked: Mapping[str, Names], find: Find, task: Task, kind: Kind
) -> Sequence[tuple[str, str, Names]]:
    """(item, machine, what it said last) of the items that people spoke of, as far as it was asked by these labels."""
    old = store.review.outdated()
    # Machines were not asked under these labels before people first were.
    since = min((call.turn for call in store.asked(recipe) if call.turn >= 0), default=0)
    last: dict[tuple[str, str], Names] = {}
    for _, call, answer in store.review.beside(recipe):
        if call.item in asked and call.recipe not in old and call.turn >= since:
            names = _read(find(call.item), task, kind, call, answer)
            if names is not None:
                last[call.item, call.annotator] = names
    return [(item, rung, names) for (item, rung), names in last.items()]


def _read(item: Item, task: Task, kind: Kind, call: Call, answer: Answer) -> Names | None:
    asked = kinds.shown(item, answer.options) if answer.options else kind.question(task, item, call.sample)
    try:
        read = kind.parse(task, asked, answer)
    except Unparsable:
        return None
    if read is None:
        return None
    return _names(kind.value(task, {atom: max(d, key=d.__getitem__) for atom, d in read.items()}))
