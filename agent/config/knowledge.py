"""`[knowledge]`: what the user knows of the labels besides their names, label by label. Knows no student."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from agent.config.models import KnownConfig
from agent.config.words import Complaints, dotted, nearest, shown


def read(raw: Any, labels: Iterable[str], complaints: Complaints) -> dict[str, KnownConfig]:
    """The tables `[knowledge.LABEL]`, checked; what is wrong with them becomes complaints.

    Args:
        raw: what stands under `knowledge` in the file. labels: the task's.
    """
    known = list(labels)
    out: dict[str, KnownConfig] = {}
    for label, table in raw.items():
        where: list[str | int] = ["knowledge", label]
        if label not in known:
            near = nearest(label, known, "knowledge") or f"; known: {', '.join(known)}"
            complaints.add(where, f"{shown(where, table)}: there is no such label in task.labels{near}")
            continue
        if not isinstance(table, dict):
            complaints.add(where, f"{shown(where, table)}: must be a table, as in [{dotted(where)}]")
            continue
        try:
            out[label] = KnownConfig.model_validate_json(json.dumps(table, default=str))
        except ValidationError as error:
            complaints.invalid(where, error, KnownConfig.model_fields)
    return out
