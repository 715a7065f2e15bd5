"""What is noted beside a finished file's certificate: who answered, what the stream says, what to correct. No tests."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from agent.claim.evidence import people_are
from agent.claim.finished.folder import Room
from agent.claim.finished.standing import Standing
from agent.claim.finished.stream import drift
from agent.data import Whole
from agent.data import write as data_write
from agent.types import Value


def noted(room: Room, path: str, standing: Standing) -> Standing:
    """The standing with what else is known of it: who answered in people's place, what the stream says."""
    extra = dict(standing.certificate.extra)
    if said := people_are(room.store):
        extra["people_are"] = said
    if standing.committed.body["columns"]["confidence"] and extra["heard"]:
        extra["drift"] = drift(path, standing.committed.body, extra["heard"])
    return dataclasses.replace(standing, certificate=dataclasses.replace(standing.certificate, extra=extra))


def corrections(room: Room, file: Whole, standing: Standing) -> None:
    """The wrong labels that were found, for whoever mends them: corrections.csv."""
    rows = sorted(standing.corrections)
    if not rows:
        return
    said = [standing.corrections[row] for row in rows]
    columns: dict[str, Sequence[Any]] = {
        "row": [row + 1 for row in rows],
        "id": file.ids(rows),
        "label": [_flat(file.names[file.label[row]]) for row in rows],
        "people said": [_flat(value) for value in said],
    }
    data_write(columns, str(room.folder / "corrections.csv"))


def _flat(value: Value) -> str:
    return value if isinstance(value, str) else "|".join(value)
