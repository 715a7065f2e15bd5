"""What a claim about a run's labels rests on, read from the ledger. Computes no bound.

Items fall in three. What people said of those they were asked about (pilot, escalations, opened audit items) is their
own word, right by definition. What they were asked and could not tell, or have not answered, counts as wrong. The rest
are a machine's labels, and the audited among them are a uniform sample of them. See `certify` for the argument.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from agent import certify, opinions, prompt
from agent import config as settings
from agent.config import Config
from agent.errors import DataError, Unparsable
from agent.pool import Pool
from agent.store import Store
from agent.types import Doubles, Value


@dataclass(frozen=True)
class Evidence:
    """What the claim rests on. Positions are the pool's.

    labels: as they stand, people's words in their place; None where nothing was decided. said: by people, of items they
    were asked about to teach or repair. lost: such items without an answer. audit: of the others, what people said of
    them, in the order of the draw; None: could not tell, or no answer. silent: those without an answer. waiting: how
    many of the others are open. risk: (n,) predicted chance of error. second: what a second person said of items drawn
    for the audit; twice: items that were put to one, those among them that people repaired since. upto: number of the
    last answer that was read. terms: what was written down before the first audit question was put; empty in a ledger
    that has no such row. settled: what a third person said of items drawn for the audit where two differed. beside: how
    many of the labels people gave were given beside a machine's. alone: items whose two words are one
    person's, which are no pair.
    """

    labels: list[Value | None]
    said: Mapping[int, Value]
    lost: frozenset[int]
    audit: Mapping[int, Value | None]
    silent: frozenset[int]
    waiting: int
    risk: Doubles
    second: Mapping[int, Value | None]
    twice: tuple[int, ...]
    turn: int
    upto: int
    who: tuple[str, ...]
    terms: Mapping[str, Any] = field(default_factory=dict)
    settled: Mapping[int, Value | None] = field(default_factory=dict)
    beside: int = 0
    alone: frozenset[int] = frozenset()

    def word(self, i: int) -> Value | None:
        """What a person said of an item, in the audit or else; None: nobody could tell, or has answered."""
        return self.said.get(i, self.audit.get(i))


def person_recipe(config: Config) -> str:
    """Under which recipe people answer."""
    return prompt.person_recipe(settings.the_task(config))


def gather(config: Config, store: Store, pool: Pool, turn: int | None = None, upto: int | None = None) -> Evidence:
    """Read the evidence as of the end of `turn` and answer number `upto` (None: now).

    Raises:
        DataError: nothing was decided yet.
    """
    decided = store.decisions(turn)
    if len(decided) == 0:
        raise DataError("nothing is labeled yet, so there is nothing to certify: run `tutelage run` first")
    labels: list[Value | None] = [None] * len(pool)
    risk = np.ones(len(pool))
    for item, value, confidence in zip(decided.items, decided.values, decided.confidences, strict=True):
        labels[pool.position(item)] = value
        risk[pool.position(item)] = min(max(1.0 - confidence, 0.0), 1.0)
    recipe = person_recipe(config)
    words, who, seen, beside, by = _words(config, store, pool, upto, recipe)
    again, _, later, _, other = _words(config, store, pool, upto, prompt.second_recipe(recipe))
    ruled, _, last_ruled, _, _ = _words(config, store, pool, upto, prompt.settled_recipe(recipe))
    seconds = {pool.position(call.item) for call in store.asked(prompt.second_recipe(recipe))}
    opened = {pool.position(item) for item, t in store.opened(recipe).items() if turn is None or t <= turn}
    asked = [c for c in store.asked(recipe) if turn is None or c.turn <= turn]
    last = max([*decided.turns, *(c.turn for c in asked)])
    place = {i: rank for rank, i in enumerate(certify.draw(pool.ids, config.run.seed))}
    drawn = sorted({pool.position(c.item) for c in asked if c.purpose == "audit"}, key=place.__getitem__)
    repairs = {pool.position(c.item) for c in asked if c.purpose != "audit"} | (opened & set(drawn))
    said = {i: word for i in repairs if (word := words.get(i)) is not None}
    for i, word in said.items():
        labels[i] = word
    audit = {i: words.get(i) for i in drawn if i not in repairs}
    return Evidence(
        labels=labels,
        said=said,
        lost=frozenset(repairs - set(said)),
        audit=audit,
        silent=frozenset(i for i in audit if i not in words),
        waiting=sum(i not in words for i in repairs),
        risk=risk,
        # Those that were repaired stay: without them the pairs would be no sample of all items.
        second={i: word for i, word in again.items() if i in seconds},
        twice=tuple(i for i in drawn if i in seconds),
        turn=last,
        upto=max(seen, later, last_ruled),
        who=who,
        terms=terms_of(store, turn),
        settled={i: word for i, word in ruled.items() if i in seconds & set(drawn)},
        beside=len(beside & set(said)),
        alone=frozenset(i for i, name in other.items() if name and by.get(i) == name),
    )


def terms_of(store: Store, turn: int | None = None) -> Mapping[str, Any]:
    """The terms that stand in the ledger's row for look 0; empty: there is none. `relabels` are added to them: changes
    of the labels, up to `turn`, that were made when answers of the audit were in, and `relabelings`, in how many ways
    the labels could have been changed by so many. A new name is no such change."""
    terms: Mapping[str, Any] = next((c["body"] for c in store.commitments() if c["look"] == 0), {})
    found = {
        f"{one.body['words']} ({one.body['audited']:,} answers of the audit were in)": one.body
        for one in store.review.relabels()
        if one.verb != "rename" and one.body["audited"] and (turn is None or one.body["turn"] <= turn)
    }
    if not found:
        return terms
    ways = math.prod(_ways(body) for body in found.values())
    return {**terms, "relabels": list(found), "relabelings": ways}


def _ways(body: Mapping[str, Any]) -> int:
    """In how many ways this change could have been made: to which labels (those merged, split, or likened to), how
    many, by which of three verbs."""
    now = Counter(after[0] for _, after in body["became"] if len(after) == 1)
    many = max(now.values(), default=1)
    chosen = many if many > 1 else sum(len(after) != 1 for _, after in body["became"]) or len(body["like"])
    labels = len(body["before"])
    return 3 * labels * max(math.comb(labels, chosen), 1)


def as_labeled(config: Config, store: Store, turn: int) -> Config:
    """The configuration with the labels that there were in a turn, whatever they were changed to since."""
    later = next((one for one in store.review.relabels() if one.body["turn"] > turn), None)
    if later is None:
        return config
    task = config.task.model_copy(update={"labels": dict(later.body["before"]), "examples": ()})
    goal = config.goal.model_copy(update={"classes": tuple(later.body["classes"])})
    return config.model_copy(update={"task": task, "goal": goal})


def _words(
    config: Config, store: Store, pool: Pool, upto: int | None, recipe: str
) -> tuple[dict[int, Value | None], tuple[str, ...], int, set[int], dict[int, str]]:
    """What people said of each item (None: cannot tell), who they were, the number of the last answer read, of which
    items the word that counts was given beside a machine's label, and who gave each one's.

    The last word counts that says something and was not taken back, whichever of an item's questions it answers.
    """
    task, kind = settings.the_task(config), settings.kind(config)
    stand: dict[int, dict[int, Value | None]] = {}
    who: dict[tuple[int, int], str] = {}
    shown: set[tuple[int, int]] = set()
    seen = 0
    for seq, status, call, answer in store.events_since(0, [recipe]):
        if upto is not None and seq > upto:
            break
        seen, i = seq, pool.position(call.item)
        said = stand.setdefault(i, {})
        said.pop(call.sample, None)
        if status != "ok":
            continue
        who[i, call.sample] = answer.who
        said[call.sample] = None
        beside = opinions.marked(answer, opinions.ASSISTED)
        shown |= {(i, call.sample)} if beside else set()
        # What measures is never shown with a guess. Were it, it would count as wrong.
        if not answer.unsure and not (beside and call.purpose == "audit"):
            try:
                read = kind.parse(task, kind.question(task, pool.item(i), call.sample), answer)
            except Unparsable:
                read = None
            if read is not None:
                said[call.sample] = kind.value(task, {atom: max(d, key=d.__getitem__) for atom, d in read.items()})
    words = {i: next((w for w in reversed(said.values()) if w is not None), None) for i, said in stand.items() if said}
    last = {i: next((n for n in reversed(said) if said[n] is not None), -1) for i, said in stand.items()}
    by = {i: who[i, last[i] if last[i] in said else next(reversed(said))] for i, said in stand.items() if said}
    people = tuple(sorted(set(who.values())))
    return words, people, seen, {i for i, sample in shown if last[i] == sample}, by


def seal(pool: Pool, evidence: Evidence) -> str:
    """The hash of all labels as they stand."""
    ids = pool.ids
    return certify.sha256_of((ids[i], json.dumps(evidence.labels[i])) for i in range(len(pool)))


def people_are(store: Store) -> str:
    """Who answered for people in this ledger. One simulated run makes the whole of it simulated."""
    told = [str(o["people_are"]) for o in store.outcomes() if o.get("people_are")]
    return next((words for words in reversed(told) if words.startswith("simulated")), told[-1] if told else "")
