"""What a saved student is made of: an encoder's folder and a linear head. Knows the files, no plug-in."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agent import encode
from agent.errors import DataError
from agent.types import Floats, Layout

CARD, HEAD = "student.json", "head.safetensors"
DENSE = "dense"
"""The folder of the head as a module of sentence-transformers."""
TAKEN = (".json", ".txt", ".model", ".safetensors")
"""Endings of an encoder's files that are taken along: weights, settings, tokenizer."""
ONE = "One text, to hear whether a copy of the encoder says the same."
LEFT = ("onnx", "openvino", "data_config.json")


@dataclass(frozen=True)
class Parts:
    """A student of an encoder and a head: probabilities are softmax(vector · weight + bias) within each atom.

    encoder: opened, not loaded. place: where its folder lies in the exported one. weight: (d, width); bias: (width,).
    """

    encoder: encode.Encoder
    place: str
    weight: Floats
    bias: Floats
    layout: Layout


def read_card(folder: Path) -> dict[str, Any]:
    """The card of a saved student."""
    card: dict[str, Any] = json.loads((folder / CARD).read_text(encoding="utf-8"))
    return card


def layout_of(card: Mapping[str, Any]) -> Layout:
    """The atoms and choices the student's columns stand for."""
    found = card["layout"]
    return Layout(tuple(found["atoms"]), tuple(tuple(choices) for choices in found["choices"]))


def parts_of(folder: Path, student: Any) -> Parts | None:
    """The encoder and head of a saved student, or None for one that is made otherwise (or was taught nothing).

    student: what its plug-in's `load_from` opened.
    """
    from safetensors.numpy import load_file

    card, arrays = read_card(folder), load_file(folder / HEAD)
    if "encoder" not in card or "head.weight" not in arrays:
        return None
    head = arrays["head.weight"] / np.float32(card.get("temperature", 1.0))
    if card.get("tuned"):
        place = str(card["tuned"])
        encoder: encode.Encoder | None = encode.Encoder(card["encoder"]["name"], folder / place)
    else:
        place, encoder = encode.BESIDE, _used(student)
    return None if encoder is None else Parts(encoder, place, head[:-1], head[-1], layout_of(card))


def _used(student: Any) -> encode.Encoder | None:
    """The encoder a student embeds with, where it tells."""
    found = getattr(student, "encoder", None)
    return found if isinstance(found, encode.Encoder) else None


def write_modules(parts: Parts, target: Path) -> None:
    """Lay the encoder, its settings and the head down as sentence-transformers and transformers read them.

    `target/encoder` is the encoder as it was found: SentenceTransformer and AutoModel open it. `target` itself is the
    same and the head, so that SentenceTransformer gives logits.

    Raises:
        DataError: the encoder's copy does not embed as the encoder does.
    """
    from safetensors.numpy import save_file

    place = target / parts.place
    if not place.is_dir():
        copy_encoder(parts.encoder.folder, place)
        _compare(parts.encoder, place)
    modules = _modules(parts, target)
    if not modules[-1]["type"].endswith(".Normalize"):
        modules.append({"path": "normalize", "type": "sentence_transformers.models.Normalize"})
    modules.append({"path": DENSE, "type": "sentence_transformers.models.Dense"})
    numbered = [{**row, "idx": number, "name": str(number)} for number, row in enumerate(modules)]
    _write(target / "modules.json", numbered)
    prompts = {"default_prompt_name": "text", "prompts": {"text": parts.encoder.prompt}} if parts.encoder.prompt else {}
    _write(target / "config_sentence_transformers.json", {"model_type": "SentenceTransformer", **prompts})
    (target / DENSE).mkdir()
    d, width = parts.weight.shape
    identity = "torch.nn.modules.linear.Identity"
    shape = {"in_features": d, "out_features": width, "bias": True, "activation_function": identity}
    _write(target / DENSE / "config.json", shape)
    arrays = {"linear.weight": np.ascontiguousarray(parts.weight.T), "linear.bias": np.ascontiguousarray(parts.bias)}
    save_file(arrays, target / DENSE / "model.safetensors", metadata={"format": "pt"})


def _modules(parts: Parts, target: Path) -> list[dict[str, Any]]:
    """The encoder's steps, as `target/modules.json` names them.

    A plain folder of transformers has no list of them. What sentence-transformers puts behind it (the mean over tokens)
    is saved beside: with a file more the encoder would have another revision.
    """
    listed = target / parts.place / "modules.json"
    if listed.is_file():
        plain = json.loads(listed.read_text(encoding="utf-8"))
        return [{**row, "path": "/".join(filter(None, (parts.place, row["path"])))} for row in plain]
    rows = []
    for number, step in enumerate(parts.encoder.model):
        path = f"{number}_{type(step).__name__}" if number else parts.place
        if number:
            (target / path).mkdir()
            step.save(str(target / path))
        rows.append({"path": path, "type": f"{type(step).__module__}.{type(step).__name__}"})
    return rows


def _compare(encoder: encode.Encoder, place: Path) -> None:
    """Whether a copy is whole: the same files, and the same vector of a text."""
    copy = encode.Encoder(encoder.name, place, encoder.device, encoder.precision, encoder.prompt or "none")
    try:
        same = copy.revision == encoder.revision
        same = same and float((copy.embed([ONE]) * encoder.embed([ONE])).sum()) > 0.999
    except (OSError, ValueError, RuntimeError, KeyError, TypeError):
        same = False
    if not same:
        raise DataError(
            f"the encoder {encoder.name} does not work from a copy of its files ({', '.join(TAKEN)}), so the model "
            "cannot leave this machine with it: take another encoder"
        )


def copy_encoder(source: Path, target: Path) -> None:
    """Copy weights, settings and tokenizer of an encoder; links of a hub cache become files. Its revision stays."""
    for path in sorted(source.rglob("*")):
        inside = path.relative_to(source)
        if path.is_file() and path.suffix in TAKEN and not set(inside.parts) & set(LEFT):
            (target / inside).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / inside)


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
