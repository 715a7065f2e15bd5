"""A saved student as files: a card in JSON and arrays in safetensors. Knows nothing of what they mean."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent import encode
from agent.errors import Damaged, DataError, MissingExtra
from agent.types import Layout

HEAD, CARD = "head.safetensors", "student.json"
FORMAT = 1


def layout_of(card: Mapping[str, Any]) -> Layout:
    """The layout a saved student was trained for."""
    found = card["layout"]
    return Layout(tuple(found["atoms"]), tuple(tuple(choices) for choices in found["choices"]))


def encoder_of(
    folder: str, wanted: Mapping[str, str], device: str, precision: str = "auto", prompt: str = "auto"
) -> encode.Encoder:
    """The encoder a saved student was taught on: that beside it, the installed one, or that of the name.

    Raises:
        ConfigError, MissingExtra: see `encode.find`.
    """
    beside = Path(folder) / encode.BESIDE
    if beside.is_dir():
        near = encode.Encoder(wanted["name"], beside, device, precision, prompt)
        if near.revision == wanted["revision"]:
            return near
    known = wanted["name"] in (encode.PACKAGE, encode.HUB)
    encoder = encode.find("auto", device, precision, prompt) if known else None
    if encoder is None or encoder.revision != wanted["revision"]:
        encoder = encode.find(wanted["name"], device, precision, prompt)
    assert encoder is not None  # a named encoder is found or raises
    return encoder


def write_safe(folder: Path, card: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
    """Weights first, the card last; a kill between the two leaves an older card, and the header's is believed."""
    try:
        from safetensors.numpy import save
    except ImportError as error:
        raise MissingExtra("safetensors", "local", "saving a student") from error

    text = json.dumps(card, ensure_ascii=False, indent=1)
    for name, data in ((HEAD, save(dict(arrays), metadata={"card": text})), (CARD, text.encode())):
        draft = folder / f"{name}.{os.getpid()}.tmp"
        try:
            with draft.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, folder / name)
        finally:
            draft.unlink(missing_ok=True)


def read_safe(folder: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(card, arrays) of a saved student."""
    place = Path(folder)
    if not (place / HEAD).is_file() or not (place / CARD).is_file():
        raise DataError(f"{folder}: no saved student here ({HEAD} and {CARD}); finish a run, or name another folder")
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise MissingExtra("safetensors", "local", "opening a student") from error
    try:
        with safe_open(place / HEAD, framework="numpy") as file:
            card = json.loads((file.metadata() or {})["card"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        if card["format"] != FORMAT:
            raise DataError(f"{folder}: written by another version (format {card['format']}, this one reads {FORMAT})")
        layout_of(card)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{place / HEAD} does not read as a saved student: {type(error).__name__}") from error
    return card, arrays
