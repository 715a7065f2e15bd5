"""The student as a product: a folder that tutelage, sentence-transformers, transformers and ONNX Runtime open.

Copies what a run saved and adds to it; changes neither the run nor its ledger.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent import plugins, teach
from agent.config import Config
from agent.errors import MissingExtra
from agent.pool import Pool
from agent.release import card, facts, graph
from agent.release.graph import Parity
from agent.release.parts import CARD, Parts, parts_of, read_card, write_modules
from agent.store import Store

__all__ = ["Parity", "Released", "add"]

README = "README.md"
THRESHOLDS = "thresholds.json"
"""The bar of `--abstain certified`, where there is one."""


@dataclass(frozen=True)
class Released:
    """What was added. onnx: file name -> how it compares with the student; `why_no_onnx` where there is none."""

    student: str
    onnx: Mapping[str, Parity] = field(default_factory=dict)
    why_no_onnx: str = ""


def add(folder: Path, config: Config, store: Store, pool: Pool, onnx: bool | None) -> Released:
    """Add the encoder, the head as a module, ONNX files and the card to a copy of a saved student.

    Args:
        folder: the copy; only what measures it is taken out. onnx: write ONNX files where the student can have
            any; None: where the packages for them are installed, too.

    Raises:
        MissingExtra: ONNX files are wanted, and a package for them is not installed.
        DataError, Damaged: the student does not open. PluginError: its card names one that is not installed.
    """
    name = str(read_card(folder)["student"])
    student: Any = plugins.named("students", name, CARD).load_from(str(folder), cache=str(config.folder / "cache"))
    items = pool.items(facts.drawn(pool, config.run.seed))
    said = student.predict(student.features(items))
    parts = parts_of(folder, student)
    found: Mapping[str, Parity] = {}
    why = _why_not(name, parts, onnx)
    if parts is not None:
        write_modules(parts, folder)
        if not why:
            found = graph.write(parts, folder, [item.text for item in items], said)
    about = facts.gather(config, store, pool, student, said, _teachers(folder), folder)
    (folder / teach.UNSEEN).unlink(missing_ok=True)  # of no use without the run's ledger
    if about.certified is not None:
        bar = {
            "bar": about.certified.at,
            "accuracy": about.goal,
            "delta": about.delta,
            "audited": about.certified.audited,
        }
        (folder / THRESHOLDS).write_text(json.dumps({"certified": bar}, indent=1) + "\n", encoding="utf-8")
    (folder / README).write_text(card.write(about, name, parts, found, why), encoding="utf-8")
    return Released(name, found, why)


def _why_not(name: str, parts: Parts | None, onnx: bool | None) -> str:
    """Why there will be no ONNX file; empty where there will be one.

    Raises:
        MissingExtra: one is wanted, and a package for it is not installed.
    """
    if parts is None:
        return f"a student of the kind {name} is no encoder with a head; its own files are small and quick as they are"
    if onnx is False:
        return "none was asked for"
    try:
        graph.ready()
    except MissingExtra as error:
        if onnx:
            raise
        return str(error)
    return ""


def _teachers(folder: Path) -> Mapping[str, Sequence[str]]:
    try:
        told: Mapping[str, Sequence[str]] = json.loads((folder / teach.TEACHERS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return told
