"""Everything a run stands on, opened once: task, ledger, pool, annotators, student. Decides nothing."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np

from agent import certify, data, intake, plugins, prompt
from agent import config as settings
from agent.ask import Learnt
from agent.batch import Post
from agent.board import Board
from agent.config import Config, Rung
from agent.errors import ConfigError, DataError
from agent.loop import alike, private
from agent.loop.ways import Ways
from agent.loop.yard import Yard
from agent.mask import Mask
from agent.pool import Pool
from agent.route import Step
from agent.store import Store
from agent.types import Answer, Bools, Budget, Context, Ints, Item, Kind, Layout, Oracle, Student, Task, Traits

Answerer = Callable[[Item, int], Answer]

T = TypeVar("T")


@dataclass
class Machine:
    """A rung that is an oracle. `ways`: how it is asked, fixed once its examples and its form are known; `why` so."""

    rung: Rung
    oracle: Oracle
    traits: Traits
    task: Task
    """The task as it is shown."""
    mask: Mask
    """What it is not shown: items and examples go through this first."""
    ways: Ways | None = None
    why: str = ""
    shown: Bools = field(default_factory=lambda: np.zeros(0, bool))
    """(n,) items shown as examples: it is never asked about them."""
    tired: Bools = field(default_factory=lambda: np.zeros(0, bool))
    """(n,) items that came to nothing in this run, after several attempts: not asked again before the next one."""
    again: Bools = field(default_factory=lambda: np.zeros(0, bool))
    """(n,) items it was asked about once more in this run."""
    learnt: Learnt = field(default_factory=Learnt)
    """Of its speed, from turn to turn."""
    shut: str = ""
    """Why it is not asked any more in this run."""

    @property
    def recipes(self) -> frozenset[str]:
        """Under which its answers count."""
        return self.ways.recipes if self.ways else frozenset()


@dataclass
class Ground:
    """The open run. The student is rung 0 when there is one, people are the last."""

    config: Config
    task: Task
    kind: Kind
    layout: Layout
    store: Store
    pool: Pool
    board: Board
    folder: Path
    taken: intake.Intake
    machines: list[Machine]
    student: Student | None
    person: Rung | None
    person_recipe: str
    answerer: Answerer | None
    people_are: str
    order: Ints
    features: Any = None
    likest: Ints | None = None
    """(n, k) the likest other items of each, by the student's features; None before these are there."""
    ranker: Student | None = None
    """Ranks labels for shortlists where the ladder has no student."""
    student_says: np.ndarray[Any, Any] | None = None
    taught: bytes = b""
    budget: Budget = field(default_factory=Budget)
    """What machines may take in this run."""
    steps: tuple[Any, list[tuple[Step | None, Step | None]]] | None = None
    """What each machine's answer and another vote of it do to the predicted error, and what that was learnt from."""
    outlook: Any = None
    """What the rule last said (`loop.worth.Outlook`); None where items climb by bars."""
    bears: float = 1.0
    """The share of the planned wrong labels that is left of the plan: halved where the audit did not certify it."""
    looked_at: float = 1.0
    """Expected error at the last look at a certificate."""
    values: dict[bytes, Any] = field(default_factory=dict)
    yard: Yard = field(default_factory=Yard)
    enough: str = ""
    """Why machines are not asked any more, though items wait for them."""
    post: Post | None = None
    """Takes questions out in files, where the run was told to."""
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set by the first Ctrl-C: whatever takes long looks at it."""

    @property
    def n(self) -> int:
        return self.board.n

    @property
    def rungs(self) -> list[str]:
        return [rung.name for rung in self.config.rung]

    @property
    def recipes(self) -> Mapping[str, str]:
        """Today's recipe -> machine rung."""
        return {recipe: m.rung.name for m in self.machines for recipe in m.recipes}

    def bars(self) -> list[float]:
        """Each rung's bar; the goal's accuracy where a rung has none; people are always believed."""
        return [
            0.0 if r.person else r.bar if r.bar is not None else self.config.goal.accuracy for r in self.config.rung
        ]

    def machine(self, name: str) -> Machine:
        return next(m for m in self.machines if m.rung.name == name)


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """One run at a time in a run folder; people may review meanwhile.

    Raises:
        ConfigError: another run holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle: IO[str]
    with open(folder / "run.lock", "a+") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            handle.seek(0)
            raise ConfigError(
                f"another run (process {handle.read().strip() or 'unknown'}) is at work in {folder.name}/: "
                "wait for it, stop it, or give this one a folder of its own with --set run.dir=other"
            ) from error
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        yield


def source(config: Config) -> data.Source:
    """The pool as `data` reads it."""
    pool = config.pool
    return data.Source(
        path=config.pool_path,
        text=pool.text,
        id=pool.id,
        gold=pool.gold,
        format=pool.format,
        split=pool.split,
        kind=config.task.kind,
    )


def open_ground(config: Config, people: str | None, limit: int | None, offline: bool, look: bool = False) -> Ground:
    """Open the ledger, take the pool in, build every annotator. Weights are loaded at their first use, not here.

    `look`: only to look at what is there; the pool is as it was last taken in.

    Raises:
        UserError: what the configuration asks for cannot be had; the message says what to change.
    """
    folder = config.folder
    task, kind, layout = settings.the_task(config), settings.kind(config), settings.layout(config)
    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    covers = private.mask_of(config)
    asked = [rung for rung in config.rung if rung.oracle and not rung.person]
    machines = _apart([_machine(rung, task, layout, config, offline, covers) for rung in asked])
    store = Store.open(config.store_url)
    try:
        taken = intake.Intake(0, 0, 0, 0) if look else intake.take_in(source(config), store, folder / "pool")
        pool = Pool(folder / "pool", store.shards())
        _same_seed(store, config)
        n = len(pool) if limit is None else min(limit, len(pool))
        if n == 0:
            raise DataError(f"{config.pool.path}: no row can be labeled; `tutelage doctor` says why each was set aside")
        person_recipe = prompt.person_recipe(task)
        for machine in machines:
            machine.shown, machine.tired, machine.again = (np.zeros(n, bool) for _ in range(3))
        board = Board(task, kind, layout, pool, n, [m.rung.name for m in machines], person_recipe)
        board.first = alike.first_of(pool, n, folder / "cache") if config.run.duplicates else None
        board.restart()
        for item in store.opened(person_recipe):
            if pool.position(item) < n:
                board.opened[pool.position(item)] = True
        answerer, people_are = _people(config, people, task)
        return Ground(
            config=config,
            task=task,
            kind=kind,
            layout=layout,
            store=store,
            pool=pool,
            board=board,
            folder=folder,
            taken=taken,
            machines=machines,
            student=_student(config, task, layout),
            person=config.person,
            person_recipe=person_recipe,
            answerer=answerer,
            people_are=people_are,
            order=np.array(certify.draw(pool.ids[:n], config.run.seed), dtype=np.int64),
        )
    except BaseException:
        store.close()
        raise


async def then_closed(ground: Ground, work: Coroutine[Any, Any, T]) -> T:
    """Whatever the work ends with, every oracle is closed."""
    async with AsyncExitStack() as stack:
        for machine in ground.machines:
            stack.push_async_callback(machine.oracle.close)
        return await work


def _machine(rung: Rung, task: Task, layout: Layout, config: Config, offline: bool, covers: Mask) -> Machine:
    plugin = plugins.load("oracles", str(rung.oracle))
    oracle: Oracle = plugin.build(rung.settings, context(config, task, layout))
    recipe = {**oracle.traits.recipe, "oracle": str(rung.oracle)}
    traits = replace(oracle.traits, annotator=rung.name, recipe=recipe)
    if offline and not traits.local:
        raise ConfigError(f"rung {rung.name!r} asks over the network, which --offline forbids: remove one of the two")
    traits, mask = private.admitted(config, rung, traits, covers)
    return Machine(rung, oracle, traits, mask.task(task), mask)


def _apart(machines: list[Machine]) -> list[Machine]:
    """Two rungs are two annotators even where they share a model and all that is asked of it: the later ones' names
    become part of their recipes. Any other rung can be renamed, and its answers count on."""
    seen: list[Mapping[str, str]] = []
    for machine in machines:
        recipe = machine.traits.recipe
        if recipe in seen:
            machine.traits = replace(machine.traits, recipe={**recipe, "rung": machine.rung.name})
        seen.append(recipe)
    return machines


def context(config: Config, task: Task, layout: Layout) -> Context:
    known = settings.knowledge(config)
    return Context(task, layout, config.run.seed, str(config.folder / "cache"), str(config.root), known)


def _student(config: Config, task: Task, layout: Layout) -> Student | None:
    rung = config.rung[0]
    if rung.student is None:
        return None
    plugin = plugins.load("students", rung.student)
    student: Student = plugin.build(rung.settings, context(config, task, layout))
    return student


def _people(config: Config, people: str | None, task: Task) -> tuple[Answerer | None, str]:
    """Who plays the people, and the words that say so in every output."""
    rung = config.person
    if rung is None:
        return None, ""
    asked = people or rung.settings.people
    if asked is None:
        return None, "people at a screen"
    from agent.oracles import person

    where = asked if asked == "gold" else str(config.root / asked)
    named = "the pool's gold column" if asked == "gold" else f"recorded people's votes in {Path(asked).name}"
    return person.recorded(where, task, config.run.seed), f"simulated from {named}"


def _same_seed(store: Store, config: Config) -> None:
    begun = store.seed()
    if begun is not None and begun != config.run.seed:
        raise ConfigError(
            f"this ledger was begun with seed {begun}, and the audit was drawn with it: set run.seed = {begun}, "
            "or give this run a folder of its own with --set run.dir=other"
        )
