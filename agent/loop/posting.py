"""The loop's questions in batch files instead of on the wire: what `tutelage run --batch` does in a turn and before it.

Knows which machine can be asked so, and what its answers must be; the files are `agent.batch`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

from agent.batch import Filed, Post, Sent
from agent.loop.ground import Ground, Machine
from agent.types import Answer, Budget, Call, Prompt

Mode = Literal["", "files", "submit", "cancel"]
SHOWN = 3
"""How many batches are named when the run ends waiting for them."""

Tell = Callable[[str], None]
Progress = Callable[[str, int, int], None]


def post(ground: Ground, mode: Mode, tell: Tell, progress: Progress) -> Post:
    """The post of this run; its files lie in the run folder."""
    return Post(ground.store, ground.folder / "batch", mode == "submit", tell, progress)


def filed(machine: Machine, submit: bool) -> Filed | None:
    """The machine's oracle, where its questions can be put into files (and handed in, where that is wanted)."""
    oracle = machine.oracle
    return oracle if isinstance(oracle, Filed) and (not submit or hasattr(oracle.settings, "base_url")) else None


async def put(
    ground: Ground,
    machine: Machine,
    at: Post,
    oracle: Filed,
    jobs: Iterable[tuple[Call, Prompt]],
    budget: Budget | None,
) -> Sent:
    """Puts jobs into files; calls that came to nothing too often are not asked again in this run."""
    sent = await at.put(machine.rung.name, oracle, jobs, budget)
    for call in sent.tired:
        machine.tired[ground.pool.position(call.item)] = True
    return sent


async def collect(ground: Ground, at: Post) -> Sent:
    """Before the first turn: what earlier runs put into files. Nothing else is asked while answers are to come."""
    whole = await bring(ground, at)
    names = {machine.rung.name for machine in ground.machines}
    for batch in ground.store.batches(only_out=True):
        if batch.annotator not in names:
            at.tell(f"batch {batch.name} is of rung {batch.annotator}, which is gone: tutelage run --batch cancel")
    return whole


async def bring(ground: Ground, at: Post) -> Sent:
    """Hands in what all rungs have to hand in, waits for it where that is wanted, and reads back what has come."""
    machines = {m.rung.name: (m, oracle) for m in ground.machines if (oracle := filed(m, at.submit)) is not None}
    oracles = {name: oracle for name, (_, oracle) in machines.items()}
    return await at.collect(oracles, {name: check(ground, m) for name, (m, _) in machines.items()})


async def cancel(ground: Ground, at: Post) -> Sent:
    """Takes back all that is out."""
    machines = {machine.rung.name: machine for machine in ground.machines}
    oracles = {name: oracle for name, m in machines.items() if (oracle := filed(m, True)) is not None}
    return await at.cancel(oracles, {name: check(ground, m) for name, m in machines.items()})


def check(ground: Ground, machine: Machine) -> Callable[[Call, Prompt, Answer], object]:
    """Whether an answer is one of the options. One of an older recipe counts for nothing today and is not judged."""

    def read(call: Call, prompt: Prompt, answer: Answer) -> object:
        if call.recipe not in machine.recipes:
            return None
        return ground.kind.parse(ground.task, prompt.question, answer)

    return read


def mend(ground: Ground) -> str:
    """How questions that came to nothing are asked anew: not in a file, once so many held them in vain."""
    return "run again to ask them anew" if ground.post is None else "run without --batch to ask them one by one"


def words(waiting: list[str]) -> str:
    """Why the run ends waiting."""
    many = "a batch" if len(waiting) == 1 else f"{len(waiting):,} batches"
    more = f"; and {len(waiting) - SHOWN:,} more" if len(waiting) > SHOWN else ""
    return f"waiting for the answers of {many}: {'; '.join(waiting[:SHOWN])}{more}; then run again"
