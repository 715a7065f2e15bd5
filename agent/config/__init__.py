"""tutelage.toml, strict and frozen, and what the rooms want of it. Knows what may be said, not what it does.

`load` gives a `Config`; `the_task` and `layout` the nouns of `types`; `fingerprint` tells two configurations apart.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any, cast

from agent import plugins
from agent.config.models import (
    Config,
    ExampleConfig,
    Goal,
    KnownConfig,
    PoolConfig,
    Privacy,
    Review,
    Run,
    Rung,
    TaskConfig,
)
from agent.config.read import load, parse
from agent.types import Example, Kind, Known, Layout, Task

__all__ = [
    "Config",
    "ExampleConfig",
    "Goal",
    "KnownConfig",
    "PoolConfig",
    "Privacy",
    "Review",
    "Run",
    "Rung",
    "TaskConfig",
    "fingerprint",
    "kind",
    "knowledge",
    "layout",
    "load",
    "parse",
    "the_task",
]


def the_task(config: Config) -> Task:
    """The task as the other rooms know it. An example of kind "single" has a name as its value, others sorted names."""
    task = config.task
    examples = tuple(
        Example(e.text, e.label[0] if task.kind == "single" else tuple(sorted(e.label))) for e in task.examples
    )
    return Task(task.name, task.kind, dict(task.labels), task.question, task.guidelines, examples)


def knowledge(config: Config) -> dict[str, Known]:
    """What the user knows of the labels, by label."""
    return {label: Known(known.keywords, known.examples) for label, known in config.knowledge.items()}


def kind(config: Config) -> Kind:
    """The plug-in that knows this kind of label.

    Raises:
        PluginError: there is none of that name.
    """
    return cast(Kind, plugins.load("kinds", config.task.kind))


def layout(config: Config) -> Layout:
    """Which columns belong to which atom."""
    return kind(config).choices(the_task(config))


def fingerprint(config: Config) -> str:
    """sha256 (64 hex digits) of all that could change a label; where files stand does not count."""
    rungs = [rung.model_dump(mode="json", exclude={"settings"}) | {"settings": _plain(rung)} for rung in config.rung]
    tree = {
        "task": config.task.model_dump(mode="json"),
        "labels": list(config.task.labels),
        "pool": config.pool.model_dump(mode="json", include={"text", "id", "gold", "split"}),
        "goal": config.goal.model_dump(mode="json", exclude={"test", "left", "classes", "audit_twice"}),
        "rung": rungs,
        "run": config.run.model_dump(mode="json", exclude={"dir", "store"}),
    }
    if config.privacy.mask:
        tree["privacy"] = config.privacy.model_dump(mode="json", exclude={"egress"})
    if config.knowledge:
        tree["knowledge"] = {label: known.model_dump(mode="json") for label, known in config.knowledge.items()}
    text = json.dumps(tree, sort_keys=True, ensure_ascii=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(rung: Rung) -> dict[str, Any]:
    return dataclasses.asdict(rung.settings) if dataclasses.is_dataclass(rung.settings) else {}  # type: ignore[arg-type]
