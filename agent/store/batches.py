"""Files of requests on their way: which calls are out in them, and what became of each. Knows rows, and no file.

A batch comes to one state after another: `reserved` (its calls are promised to it, with their money), `written` (the
file is on disk), `sending` (it is about to be handed in), `refused` (it was not taken on), `sent` (`job` is its number
there), and in the end `read` or `void`. A call is out while the last state of its batch is none of these two.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import func, insert, select
from sqlalchemy.engine import Connection

from agent.store.rows import plain, to_json
from agent.store.tables import batches

Stage = Literal["reserved", "written", "sending", "refused", "sent", "read", "void"]
OVER = ("read", "void")


@dataclass(frozen=True, slots=True)
class Batch:
    """A file of requests as the ledger knows it. `notes`: all that was noted of it, later notes over earlier ones."""

    name: str
    annotator: str
    stage: Stage
    keys: tuple[str, ...]
    job: str = ""
    notes: Mapping[str, Any] | None = None

    @property
    def out(self) -> bool:
        """Whether its answers are still to come."""
        return self.stage not in OVER


def all_of(connection: Connection, only_out: bool = False) -> list[Batch]:
    """Every batch as it stands now, oldest first; `only_out`: those whose answers are still to come."""
    over = select(batches.c.name).where(batches.c.state.in_(OVER))
    query = select(batches.c.name, batches.c.annotator, batches.c.state, batches.c.job, batches.c.body)
    if only_out:
        query = query.where(batches.c.name.not_in(over))
    found: dict[str, Batch] = {}
    for name, annotator, stage, job, body in connection.execute(query.order_by(batches.c.seq)):
        before = found.get(name)
        notes = json.loads(body)
        keys = tuple(notes.pop("keys", ())) if before is None else before.keys
        notes = {**((before.notes or {}) if before else {}), **notes}
        found[name] = Batch(name, annotator, stage, keys, job or (before.job if before else ""), notes)
    return list(found.values())


def away(connection: Connection) -> dict[str, str]:
    """Call -> the batch it is out in."""
    return {key: batch.name for batch in all_of(connection, only_out=True) for key in batch.keys}


def begin(connection: Connection, annotator: str, keys: list[str], notes: Mapping[str, Any]) -> str:
    """A new batch of these calls; its name is the annotator's with the next number."""
    names = select(func.count(batches.c.name.distinct())).where(batches.c.annotator == annotator)
    name = f"{annotator}-{int(connection.execute(names).scalar_one()) + 1:04}"
    note(connection, Batch(name, annotator, "reserved", ()), "reserved", notes={**notes, "keys": keys})
    return name


def note(
    connection: Connection, batch: Batch, stage: Stage, job: str = "", notes: Mapping[str, Any] | None = None
) -> None:
    """The batch came to this stage. Raises IntegrityError when it did before."""
    row = {"name": batch.name, "annotator": plain(batch.annotator), "state": stage, "job": plain(job)}
    connection.execute(insert(batches), row | {"body": to_json(dict(notes or {})), "at": time.time()})
