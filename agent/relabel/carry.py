"""A change of the labels, from the file and the ledger to the file and the ledger. Asks nobody, and pays for nothing.

The ledger comes first, in one transaction, then the file, by renaming: whoever is killed in between has the labels he
had, with nothing lost, and `finish` (or the same command again) goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent import __version__, prompt
from agent import config as settings
from agent.config import Config
from agent.errors import ConfigError, UserError
from agent.loop.ground import Ground, lock, open_ground
from agent.relabel import file
from agent.relabel.change import Change
from agent.relabel.machines import Carried, machines
from agent.relabel.people import Counts, people
from agent.store import Store
from agent.store.moves import Move
from agent.store.review import Relabel
from agent.types import Decision, Item, Task


@dataclass
class Told:
    """What a change of the labels came to. `kept`: the file as it was; `audited`: answers of the audit that were in."""

    words: str
    people: Counts = field(default_factory=Counts)
    machines: dict[str, Carried] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    kept: Path | None = None
    audited: int = 0


def relabel(path: Path, config: Config, change: Change, overrides: Sequence[str] = (), try_out: bool = False) -> Told:
    """Carries the ledger over and edits the file. `try_out`: only says what would come of it.

    Raises:
        UserError: a run is at work, questions are out in files, a promise stands that this would break.
    """
    told = Told(change.words, lost=file.lost(config, change))
    text = file.edited(path, change)
    now = settings.parse(text, str(path), path.resolve().parent, overrides)
    with lock(config.folder):
        if "://" in config.store_url or Path(config.store_url).exists():
            _carry(config, now, change, told, try_out)
        if not try_out:
            told.kept = file.replaced(path, text)
    return told


def unfinished(config: Config, store: Store) -> Relabel | None:
    """The change of labels that the ledger has and the file has not; None: the two agree."""
    return store.review.moved(prompt.person_recipe(settings.the_task(config)))


def finish(path: Path, config: Config, overrides: Sequence[str] = ()) -> Told | None:
    """Does what a change that was cut off left undone, and carries what came under the old labels since. None: there
    was no change of labels, nothing came since, or the file has gone on to others."""
    with Store.open(config.store_url) as store:
        open_one, every = unfinished(config, store), store.review.relabels()
        recipe = prompt.person_recipe(settings.the_task(config))
    if open_one is not None:
        return relabel(path, config, Change.read(open_one.verb, open_one.body), overrides)
    if not every or every[-1].new != recipe:
        return None
    told = _late(config, every[-1])
    return told if told.people != Counts() else None


def _late(config: Config, last: Relabel) -> Told:
    """Carries people's answers that came under the labels before the last change, after it."""
    change = Change.read(last.verb, last.body)
    told, after = Told(change.words), settings.the_task(config)
    before = Task(after.name, after.kind, dict(last.body["before"]), after.question)
    with lock(config.folder), _opened(config) as ground:
        done = False
        while not done:
            move = _move(config, change, ground.store, last.old, last.new)
            move.body = dict(last.body)
            told.people = people(ground.store, change, ground.kind, before, after, _finder(ground), move)
            done = move.nothing or ground.store.review.relabel(move)
    return told


@contextmanager
def _opened(config: Config) -> Iterator[Ground]:
    # Which texts are alike plays no part here, and takes a while to find out.
    alone = config.model_copy(update={"run": config.run.model_copy(update={"duplicates": False})})
    ground = open_ground(alone, None, None, False, look=True)
    try:
        yield ground
    finally:
        ground.store.close()


def _carry(config: Config, now: Config, change: Change, told: Told, try_out: bool) -> None:
    with _opened(config) as before, _opened(now) as after:
        _refuse(before)
        done = False
        while not done:
            store, move = before.store, _move(now, change, before.store, before.person_recipe, after.person_recipe)
            told.audited = _audited(before)
            move.body = {
                **move.body,
                "before": list(config.task.labels.items()),
                "classes": list(config.goal.classes),
                "audited": told.audited,
            }
            told.machines = machines(change, before, after, move)
            move.body = {**move.body, "recipes": {r: to for m in told.machines.values() for r, to in m.recipes.items()}}
            told.people = people(store, change, before.kind, before.task, after.task, _finder(before), move)
            move.decisions = _decisions(change, before, move.turn[0])
            move.leases = _leases(before, after, move)
            done = try_out or (move.nothing and unfinished(config, store) is not None) or store.review.relabel(move)


def _move(config: Config, change: Change, store: Store, old: str, new: str) -> Move:
    upto, number = store.review.upto(), store.last_turn() + 1
    body: dict[str, Any] = {**change.body(), "flag": change.flag}
    turn = number, config.run.seed, settings.fingerprint(config), __version__
    return Move(change.verb, body, old, new, upto, turn)


def _refuse(ground: Ground) -> None:
    store = ground.store
    if out := store.batches(only_out=True):
        raise UserError(
            f"{len(out)} files of questions are out, asked under the labels as they are: read them back first "
            "(tutelage run --batch), or take them back (tutelage run --batch cancel)"
        )
    if any(one["look"] < 0 for one in store.commitments()):
        raise UserError(
            "what lay behind the walk of an earlier look was put to people, on the promise that the labels stay what "
            "they were: other labels need a run of their own (--set run.dir=other)"
        )


def _audited(ground: Ground) -> int:
    found = ground.store.answers_since(0, [ground.person_recipe])
    return len({call.item for _, call, _ in found if call.purpose == "audit"})


def _finder(ground: Ground) -> Any:
    def find(item: str) -> Item:
        return ground.pool.item(ground.pool.position(item))

    return find


def _decisions(change: Change, ground: Ground, turn: int) -> list[Decision]:
    """The labels as they stand, under the new names; none where it must be said anew."""
    found, out = ground.store.decisions(), []
    rows = zip(found.items, found.actions, found.by, found.values, found.confidences, found.whys, strict=True)
    for item, action, by, value, confidence, why in rows:
        named = [] if value is None else [value] if isinstance(value, str) else value
        if value is None or not set(named) <= set(change.became):
            continue
        now = change.value(value)
        if now is None:
            out.append(Decision(item, "ask", by, None, 0.0, f"to be labeled again: {change.words}", turn))
        else:
            out.append(Decision(item, action, by, now, confidence, why, turn))
    return out


def _leases(before: Ground, after: Ground, move: Move) -> list[tuple[str, str, float]]:
    """Who has an open question in hand keeps it."""
    held = before.store.leases()
    calls = before.store.calls(list(held))
    moved = {(call.item, call.sample): call.key for call in move.calls if call.recipe == after.person_recipe}
    out = []
    for key, (who, left) in held.items():
        call = calls.get(key)
        if call is not None and call.recipe == before.person_recipe and (call.item, call.sample) in moved:
            out.append((moved[call.item, call.sample], who, left))
    return out


def holders(config: Config, store: Store) -> list[str]:
    """Who has a question in hand under today's labels."""
    recipe, held = prompt.person_recipe(settings.the_task(config)), store.leases()
    calls = store.calls(list(held))
    return sorted({who for key, (who, _) in held.items() if key in calls and calls[key].recipe == recipe})


def free(config: Config, store: Store) -> None:
    """Raise where somebody has a question in hand.

    Raises:
        ConfigError: with who it is.
    """
    if names := holders(config, store):
        raise ConfigError(
            f"{', '.join(names)} {'has' if len(names) == 1 else 'have'} questions in hand under today's labels: "
            "let them leave the review page first (a card is free ten minutes after the last keypress), or give --now; "
            "what is answered under the old labels meanwhile is carried by  tutelage labels finish"
        )
