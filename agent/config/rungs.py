"""A `[[rung]]` table to a `Rung` with its plug-in's settings. Knows no plug-in by name but "person"."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from agent import plugins
from agent.config.models import Rung, RungKeys
from agent.config.words import Complaints, dotted
from agent.errors import PluginError, UserError

COMMON = tuple(RungKeys.model_fields)
ASKING = COMMON[COMMON.index("samples") :]
"""How an oracle is asked: nothing for a student, nor for people."""


def name_them(tables: Sequence[dict[str, Any]]) -> None:
    """Give nameless rungs a name in place: "student", or the oracle's plug-in; numbered when it is taken."""
    taken = {t["name"] for t in tables if isinstance(t.get("name"), str)}
    for table in tables:
        if "name" in table:
            continue
        word = "student" if "student" in table else str(table.get("oracle", "rung"))
        word = re.sub(r"[^A-Za-z0-9_.-]+", "-", word.rpartition(":")[2]).strip("-._") or "rung"
        name, number = word, 2
        while name in taken:
            name, number = f"{word}-{number}", number + 1
        table["name"] = name
        taken.add(name)


def place(number: int, table: Mapping[str, Any]) -> list[str | int]:
    """Where a rung stands, as the user would call it: by its name when it has one."""
    return ["rung", table["name"] if isinstance(table.get("name"), str) else number]


def read(number: int, table: Mapping[str, Any], complaints: Complaints) -> Rung | None:
    """One rung; None when there was something to complain about."""
    before = len(complaints.lines)
    path = place(number, table)
    common = {key: table[key] for key in COMMON if key in table}
    rest = {key: value for key, value in table.items() if key not in COMMON}
    keys = None
    try:
        keys = RungKeys.model_validate_json(json.dumps(common, default=str))
    except ValidationError as error:
        complaints.invalid(path, error)
    if ("student" in table) == ("oracle" in table):
        complaints.add(
            path,
            f"{dotted(path)} must name either a student or an oracle: write student = "
            '"linear", oracle = "openai" or oracle = "person"',
        )
    if keys is None or len(complaints.lines) > before:
        return None
    plugin = _plugin(path, keys, complaints)
    settings = None if plugin is None else _settings([*path], plugin.Settings, rest, complaints)
    if keys.student is not None:
        for key in ASKING:
            if key in common:
                complaints.add([*path, key], f"{dotted(path)}.{key} is for oracles only: remove it from the student")
    if len(complaints.lines) > before:
        return None
    return Rung(**keys.model_dump(), settings=settings)


def _plugin(path: list[str | int], keys: RungKeys, complaints: Complaints) -> Any:
    """The plug-in, something with `Settings` and `build`; None after a complaint."""
    room, name = ("students", keys.student) if keys.student is not None else ("oracles", keys.oracle)
    try:
        plugin = plugins.load(room, str(name))
    except PluginError as error:
        complaints.add([*path, room[:-1]], f"{dotted(path)}.{room[:-1]}: {error}")
        return None
    if not dataclasses.is_dataclass(getattr(plugin, "Settings", None)) or not hasattr(plugin, "build"):
        words = "is no plug-in: it needs a dataclass Settings and a function build(settings, context)"
        complaints.add([*path, room[:-1]], f"{dotted(path)}.{room[:-1]}: {name!r} {words}")
        return None
    return plugin


def _settings(path: list[str | int], kind: Any, table: Mapping[str, Any], complaints: Complaints) -> Any:
    """An instance of the plug-in's dataclass, its types checked strictly; None after a complaint."""
    before = len(complaints.lines)
    hints = get_type_hints(kind, include_extras=True)
    fields = {f.name: f for f in dataclasses.fields(kind) if f.init}
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in fields:
            complaints.unknown([*path, key], value, [*COMMON, *fields])
            continue
        try:
            # JSON mode: a TOML list may fill a tuple, yet "3" never fills an int.
            values[key] = TypeAdapter(hints[key]).validate_json(json.dumps(value, default=str), strict=True)
        except ValidationError as error:
            complaints.invalid([*path, key], error)
    for key, f in fields.items():
        if key not in table and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            complaints.add([*path, key], f'rung.{path[1]}.{key} is missing: add it, as in {key} = "…"')
    if len(complaints.lines) > before:
        return None
    try:
        return kind(**values)
    except (ValueError, TypeError, UserError) as error:
        complaints.add(path, f"{dotted(path)}: {error}")
        return None


def ladder(rungs: Sequence[Rung], complaints: Complaints) -> None:
    """What must hold of the rungs together."""
    names = [rung.name for rung in rungs]
    for name in sorted({n for n in names if names.count(n) > 1}):
        complaints.add(["rung"], f"rung: the name {name!r} stands there twice: give each rung a name of its own")
    people = [rung.name for rung in rungs if rung.person]
    students = [rung.name for rung in rungs if rung.student is not None]
    if len(people) > 1:
        complaints.add(["rung"], "rung: two person rungs: keep one, at the end")
    elif people and not rungs[-1].person:
        complaints.add(["rung"], f"rung.{people[0]}: people are the last word: move this rung to the end")
    if len(students) > 1:
        complaints.add(["rung"], f"rung.{students[1]}: a second student: keep one, at the beginning")
    elif students and rungs[0].student is None:
        complaints.add(["rung"], f"rung.{students[0]}: the student is asked first: move it to the top")
    if len(students) == len(rungs):
        complaints.add(["rung"], 'rung: the student has nobody to learn from: add a [[rung]] with oracle = "person"')
    for rung in rungs:
        if (rung.name == "person") != rung.person and len(people) < 2:
            words = "only the person rung is called person, and always so: change the name"
            complaints.add(["rung", rung.name, "name"], f"rung.{rung.name}.name: {words}")
        if rung.person and not 0 < rung.settings.seconds < float("inf"):
            key = f"rung.{rung.name}.seconds"
            complaints.add(["rung", rung.name, "seconds"], f"{key} must be more than 0: write how long an answer takes")
        if rung.person and rung.bar is not None:
            words = "people are the last word and need no bar: remove it"
            complaints.add(["rung", rung.name, "bar"], f"rung.{rung.name}.bar: {words}")
