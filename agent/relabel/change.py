"""A change of the labels as a map from what was said to what it means now. Knows no ledger, no file and no screen."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from agent import kinds
from agent.errors import Unparsable, UserError
from agent.store.reading import CARRIED
from agent.types import NONE_OF_THESE, Answer, Call, Distribution, Item, Kind, Question, Task, Value

ASKED_AGAIN = 0.2
"""Mass on a label that is not carried from which on a machine's word on the item is not, either."""

UNSAID = 0.02
"""Share that a machine is taken to give a label of kind `multi` which it was not shown."""

FLAG = CARRIED
"""How the flag begins of an answer that was given under other labels; it stands first."""


@dataclass(frozen=True)
class Change:
    """What becomes of each label.

    `labels`: afterwards, name -> description. `became`: label before -> the labels it may be now: one, surely that;
    several, a person or machine must say which. `like`: labels that stay, whose items may bear the added one.
    """

    verb: str
    words: str
    labels: Mapping[str, str]
    became: Mapping[str, tuple[str, ...]]
    like: frozenset[str] = frozenset()

    @property
    def touched(self) -> frozenset[str]:
        """Labels before whose items are asked about again."""
        return frozenset(label for label, now in self.became.items() if len(now) != 1) | self.like

    @property
    def flag(self) -> str:
        return FLAG + self.words

    def value(self, value: Value) -> Value | None:
        """What was said, under the new names; None where it must be said anew."""
        named = [value] if isinstance(value, str) else list(value)
        if not self.touched.isdisjoint(named):
            return None
        now = [self.became[name][0] for name in named]
        return now[0] if isinstance(value, str) else tuple(sorted(set(now)))

    def body(self) -> dict[str, Any]:
        """For the ledger."""
        return {
            "words": self.words,
            "labels": list(self.labels.items()),
            "became": [[label, list(now)] for label, now in self.became.items()],
            "like": sorted(self.like),
        }

    @classmethod
    def read(cls, verb: str, body: Mapping[str, Any]) -> Change:
        """From the ledger."""
        became = {label: tuple(now) for label, now in body["became"]}
        return cls(verb, body["words"], dict(body["labels"]), became, frozenset(body["like"]))


def rename(task: Task, old: str, new: str, said: Mapping[str, str]) -> Change:
    """One label gets another name."""
    _known(task, [old])
    _free(task, [new])
    labels = {new if name == old else name: text for name, text in task.labels.items()}
    return _made(task, "rename", f"rename {old} → {new}", labels, {old: (new,)}, said)


def merge(task: Task, old: Iterable[str], into: str, said: Mapping[str, str]) -> Change:
    """Several labels become one, which stands where the first of them stood."""
    names = list(dict.fromkeys(old))
    _known(task, names)
    if len(names) < 2:
        raise UserError("name two labels or more to merge, as in: tutelage labels merge A B --into C")
    _free(task, [into], names)
    own = task.labels.get(into) or "; ".join(dict.fromkeys(task.labels[n] for n in names if task.labels[n]))
    first = next(name for name in task.labels if name in names)
    labels: dict[str, str] = {}
    for name, text in task.labels.items():
        if name == first:
            labels[into] = own
        elif name not in names:
            labels[name] = text
    return _made(
        task, "merge", f"merge {', '.join(names)} → {into}", labels, dict.fromkeys(names, (into,)), said
    )  # fmt: skip


def split(task: Task, old: str, into: Iterable[str], said: Mapping[str, str]) -> Change:
    """One label becomes several; which of them an item bears must be said anew."""
    names = list(dict.fromkeys(into))
    _known(task, [old])
    if len(names) < 2:
        raise UserError("name two labels or more to split into, as in: tutelage labels split A --into B C")
    _free(task, names, [old])
    labels: dict[str, str] = {}
    for name, text in task.labels.items():
        labels |= {part: text if part == old else "" for part in names} if name == old else {name: text}
    return _made(task, "split", f"split {old} → {', '.join(names)}", labels, {old: tuple(names)}, said)


def add(task: Task, new: str, like: Iterable[str], said: Mapping[str, str]) -> Change:
    """A label more. Items that bear one of `like` may bear it, and are asked about again."""
    names = list(dict.fromkeys(like))
    _known(task, names)
    _free(task, [new])
    words = f"add {new}" + (f" like {', '.join(names)}" if names else "")
    made = _made(task, "add", words, {**task.labels, new: ""}, {}, said)
    return replace(made, like=frozenset(names))


def _made(
    task: Task, verb: str, words: str, labels: Mapping[str, str], became: Mapping[str, tuple[str, ...]],
    said: Mapping[str, str],
) -> Change:  # fmt: skip
    if task.kind not in ("single", "multi"):
        raise UserError(f"labels of kind {task.kind!r} cannot be changed here: edit tutelage.toml; all is asked anew")
    if strangers := [name for name in said if name not in labels]:
        raise UserError(f"--describe {strangers[0]}=…: there will be no such label; there are {', '.join(labels)}")
    described = {name: said.get(name, text) for name, text in labels.items()}
    return Change(verb, words, described, {name: became.get(name, (name,)) for name in task.labels})


def _known(task: Task, names: Iterable[str]) -> None:
    for name in names:
        if name not in task.labels:
            raise UserError(f"there is no label {name!r}; the labels are {', '.join(task.labels)}")


def _free(task: Task, names: Iterable[str], but: Iterable[str] = ()) -> None:
    for name in names:
        if name in task.labels and name not in but:
            raise UserError(f"there is a label {name!r} already: take another name (or merge the two)")


def word(change: Change, kind: Kind, before: Task, item: Item, call: Call, answer: Answer) -> Answer | None:
    """A person's answer under the new labels; None where the question must be put again.

    It keeps its seconds: whoever reads people's time reads it of one set of labels.
    """
    blank = replace(answer, usd=0.0, tokens_in=0, tokens_out=0, tokens_cached=0, requests=0)
    blank = replace(blank, flags=(change.flag, *(flag for flag in answer.flags if not flag.startswith(FLAG))))
    if answer.unsure:
        return None if change.verb == "add" else blank
    try:
        read = kind.parse(before, kind.question(before, item, call.sample), answer)
    except Unparsable:
        return None
    if read is None:
        return None if change.verb == "add" else blank
    now = change.value(kind.value(before, {atom: max(d, key=d.__getitem__) for atom, d in read.items()}))
    return None if now is None else replace(blank, text=_written(now))


def heard(
    change: Change, kind: Kind, before: Task, after: Task, item: Item, call: Call, answer: Answer
) -> Answer | None:
    """A machine's answer under the new labels, so that it is read as the same distribution, summed where labels were
    merged; None where it must be asked again.

    A merged label of kind `multi` is there unless none of its parts is: 1 - Π (1 - p), as if they were independent.
    What a shortlist's "none of these" gets stays with labels that were not shown.

    Raises:
        Unparsable: the answer could not be read under the old labels, either.
    """
    short = bool(answer.options)
    asked = kinds.shown(item, answer.options) if short else kind.question(before, item, call.sample)
    free = replace(answer, usd=0.0, seconds=0.0, tokens_in=0, tokens_out=0, tokens_cached=0, requests=0)
    free = replace(free, flags=(change.flag, *(flag for flag in answer.flags if not flag.startswith(FLAG))))
    read = kind.parse(before, asked, answer)
    if read is None:
        return None if change.verb == "add" else free
    if _doubtful(change, before, read):
        return None
    if before.kind == "multi":
        return _many(change, kind, after, item, call, asked, read, free)
    return _one(change, kind, before, after, item, call, asked, free)


def _doubtful(change: Change, before: Task, read: Distribution) -> bool:
    """Does the answer say, or may it mean, a label that is not carried?"""
    if before.kind == "multi":
        return any(read[label]["yes"] >= ASKED_AGAIN for label in change.touched)
    (mass,) = read.values()
    best = max(mass, key=mass.__getitem__)
    return best in change.touched or any(mass[label] >= ASKED_AGAIN for label in change.touched)


def _one(
    change: Change, kind: Kind, before: Task, after: Task, item: Item, call: Call, asked: Question, free: Answer
) -> Answer:
    scores = kinds.finite(free.logprobs, asked)
    top = max(scores.values(), default=-math.inf)
    soft = top > -math.inf
    if not soft:
        (said,) = (m for m in [kind_choice(kind, before, asked, free)] if m)
        scores, top = {said: 0.0}, 0.0
    mass: dict[str, float] = {}
    for name, score in scores.items():
        now = (name,) if name == NONE_OF_THESE else change.became[name]
        for part in now:
            mass[part] = mass.get(part, 0.0) + math.exp(score - top) / len(now)
    shown: list[str] = []
    for option in asked.options if free.options else ():
        shown += [option.choice] if option.choice == NONE_OF_THESE else change.became[option.choice]
    shown = list(dict.fromkeys(shown))
    if shown and NONE_OF_THESE in mass:
        _moved(change, asked, mass, shown)
    asking = kinds.shown(item, shown) if shown else kind.question(after, item, call.sample)
    best = max(mass, key=mass.__getitem__)
    logs = {o.code: top + math.log(mass[o.choice]) for o in asking.options if mass.get(o.choice, 0.0) > 0}
    return replace(free, text=best, logprobs=logs if soft else None, options=tuple(shown))


def kind_choice(kind: Kind, before: Task, asked: Question, answer: Answer) -> str:
    """The option that a written answer names."""
    if NONE_OF_THESE in {o.choice for o in asked.options} and kinds.Names(asked).led(answer.text) == NONE_OF_THESE:
        return NONE_OF_THESE
    read = kind.parse(before, asked, replace(answer, logprobs=None))
    assert read is not None  # it was read a moment ago
    (mass,) = read.values()
    return max(mass, key=mass.__getitem__)


def _moved(change: Change, asked: Question, mass: dict[str, float], shown: list[str]) -> None:
    """Of what "none of these" got, the share of those hidden labels that are one now with a label that was shown."""
    seen = {option.choice for option in asked.options}
    hidden = [label for label in change.became if label not in seen]
    gone = [change.became[label][0] for label in hidden if change.became[label][0] in shown]
    share = mass[NONE_OF_THESE] / max(len(hidden), 1)
    for name in gone:
        mass[name] = mass.get(name, 0.0) + share
    mass[NONE_OF_THESE] -= share * len(gone)


def _many(
    change: Change, kind: Kind, after: Task, item: Item, call: Call, asked: Question, read: Distribution, free: Answer
) -> Answer:
    no = dict.fromkeys(after.labels, 1.0)
    for label, now in change.became.items():
        for part in now:
            no[part] *= read[label]["no"]
    named = sorted(label for label, p in no.items() if p < 0.5)
    scores = kinds.finite(free.logprobs, asked)
    if not scores or len(scores) != len(asked.options):
        return replace(free, text=json.dumps(named, ensure_ascii=False), logprobs=None)
    old = {part for now in change.became.values() for part in now}
    yes = {label: 1 - p if label in old else UNSAID for label, p in no.items()}
    options = kind.question(after, item, call.sample).options
    logs = {o.code: math.log(max(yes[o.choice], 1e-30)) for o in options}
    return replace(free, text=json.dumps(named, ensure_ascii=False), logprobs=logs)


def _written(value: Value) -> str:
    return value if isinstance(value, str) else json.dumps(list(value), ensure_ascii=False)
