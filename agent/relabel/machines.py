"""Machines' answers under other labels, for the ways in which they are asked. Asks nobody."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from agent import prompt
from agent.errors import Unparsable
from agent.loop import examples, forming
from agent.loop.examples import Examples
from agent.loop.ground import Ground, Machine
from agent.loop.ways import Form, Ways, make, nothing
from agent.relabel.change import Change, heard
from agent.store.moves import Move
from agent.types import Answer, Call


@dataclass
class Carried:
    """Of one machine: items whose answers are carried, items that it is asked about again, and why all of them are."""

    items: int = 0
    again: int = 0
    why: str = ""
    recipes: dict[str, str] = field(default_factory=dict)


Row = tuple[int, str, Call, Answer]


def machines(change: Change, before: Ground, after: Ground, move: Move) -> dict[str, Carried]:
    """Adds the rows to `move`; by machine what became of its answers."""
    out: dict[str, Carried] = {}
    for old, new in zip(before.machines, after.machines, strict=True):
        found = out[old.rung.name] = _recipes(change, before, old, after, new, move)
        rows: dict[str, list[Row]] = defaultdict(list)
        for row in before.store.events_since(0, list(found.recipes)):
            if row[1] != "withdrawn":
                rows[row[2].item].append(row)
        there = {call.key for recipe in set(found.recipes.values()) for call in after.store.asked(recipe)}
        closed = {call.key for _, _, call, _ in after.store.events_since(0, list(set(found.recipes.values())))}
        for item, said in rows.items():
            now = [_word(change, before, after, row) for row in said]
            if any(word is None for word in now):
                found.again += 1
                continue
            found.items += 1
            for (_, _, call, _), (status, answer, error) in zip(said, filter(None, now), strict=True):
                recipe = found.recipes[call.recipe]
                key = prompt.key(recipe, item, call.sample)
                if key in closed:
                    continue
                if key not in there:
                    there.add(key)
                    free = {"usd": 0.0, "tokens": 0, "requests": 0}
                    move.calls.append(replace(call, key=key, recipe=recipe, **free))  # type: ignore[arg-type]
                closed.add(key)
                move.answers.append((key, answer, status, error))
    return out


def _word(change: Change, before: Ground, after: Ground, row: Row) -> tuple[Any, Answer, str] | None:
    """What closed a call, under the new labels; None where the machine must be asked again."""
    _, status, call, answer = row
    nothing_came = Answer("", flags=(change.flag,))
    if status == "failed":
        return None if change.verb == "add" else ("failed", nothing_came, "it failed under the labels before, too")
    item = before.pool.item(before.pool.position(call.item))
    try:
        now = heard(change, before.kind, before.task, after.task, item, call, answer)
    except Unparsable:
        unread = "the answer could not be read under the labels before, either"
        return None if change.verb == "add" else ("failed", nothing_came, unread)
    return None if now is None else ("ok", now, "")


def _recipes(change: Change, before: Ground, old: Machine, after: Ground, new: Machine, move: Move) -> Carried:
    """Recipe before -> recipe after, of every way in which the machine is or may have been asked; what was fixed of it
    is noted under the new labels."""
    kept, known = examples.kept(before, old), examples.kept(after, new)
    chosen = kept.examples and _mapped(change, kept.examples)
    found = Carried()
    if kept.examples is not None and chosen is None:
        found.why = "an example that it is shown bears a label that is said anew"
    elif fixed := _fixed(before, kept, chosen, known):
        move.outcomes.append(examples.note(after, new, fixed))
    shown = known.examples or chosen
    for form in [kept.form] if kept.form else forming.candidates(before, old):
        if any(form.shots) and (kept.examples is None or shown is None):
            continue
        was, now = _ways(before, old, form, kept.examples), _ways(after, new, form, shown)
        for (block, variant, short), way in was.known.items():
            to = now.known.get((block, variant, short)) or now.known.get((block, variant, False))
            if to is not None and to.recipe != way.recipe:
                found.recipes[way.recipe] = to.recipe
    return found


def _fixed(before: Ground, kept: examples.Kept, chosen: Examples | None, known: examples.Kept) -> Mapping[str, Any]:
    out: dict[str, Any] = {}
    if chosen is not None and known.examples is None:
        out["examples"] = chosen.body(before.pool.ids)
    if kept.form is not None and known.form is None:
        out |= examples.of_form(kept.form, kept.why)
    return out


def _mapped(change: Change, chosen: Examples) -> Examples | None:
    """The examples under the new labels; None where one that is shown bears a label that is said anew."""
    values = [change.value(value) for value in chosen.values]
    if any(values[k] is None for some in chosen.lists for k in some):
        return None
    # One that is shown to nobody keeps its old name: only its item counts.
    return replace(
        chosen, values=tuple(now or was for now, was in zip(values, chosen.values, strict=True))
    )  # fmt: skip


def _ways(ground: Ground, machine: Machine, form: Form, chosen: Examples | None) -> Ways:
    lists = [()] if chosen is None or not any(form.shots) else chosen.of(ground, machine)
    own = {count: lists if count else [()] * len(lists) for count in form.shots}
    size = forming.size(ground, machine)
    return make(machine.task, machine.rung, machine.traits, form, size, own, nothing(ground.n))
