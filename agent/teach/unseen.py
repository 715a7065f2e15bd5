"""What a student says of items it was not taught: a small file beside it. Knows folders and arrays, no labels."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agent.errors import MissingExtra
from agent.types import Floats

UNSEEN = "unseen.safetensors"
"""Lies in a run's model folder: what twins that were not taught them say of the first items of the random order."""


def keep(folder: Path, ids: Sequence[str], said: Floats) -> None:
    """Lay beside a saved student what its twins say of these items, (n, width). Takes an older one's place at once."""
    draft = folder / f".{UNSEEN}.tmp"
    body = {"said": np.ascontiguousarray(said, dtype=np.float32)}
    draft.write_bytes(_safetensors().save(body, metadata={"ids": json.dumps(list(ids))}))
    draft.replace(folder / UNSEEN)


def unseen(folder: Path) -> Mapping[str, Floats]:
    """Item -> (width,) what twins that were not taught it say of it; empty where nothing lies beside the student."""
    try:
        with _safetensors(reading=True)(folder / UNSEEN, framework="numpy") as file:
            ids, said = json.loads((file.metadata() or {})["ids"]), file.get_tensor("said")
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return dict(zip(ids, said, strict=True))


def _safetensors(reading: bool = False) -> Any:
    try:
        import safetensors
        import safetensors.numpy
    except ImportError as error:
        raise MissingExtra("safetensors", "local", "saving a student") from error
    return safetensors.safe_open if reading else safetensors.numpy
