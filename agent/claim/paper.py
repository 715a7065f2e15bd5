"""A certificate as JSON and as a file. Knows nothing of what it says."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.types import Certificate


def plain(certificate: Certificate) -> dict[str, Any]:
    """As JSON holds it: what is not known is null."""
    body: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(certificate)))
    estimate = body["accuracy_estimate"]
    return {**body, "accuracy_estimate": estimate if estimate == estimate else None}


def write(body: Mapping[str, Any], path: Path) -> None:
    """As JSON, whole or not at all."""
    draft = path.with_suffix(f".{os.getpid()}.tmp")
    draft.write_text(json.dumps({"tutelage": 1, **body}, indent=2, sort_keys=True) + "\n")
    draft.replace(path)
