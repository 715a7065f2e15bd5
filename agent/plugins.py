"""A name to an object: a module of this package, `package.module:function`, then an entry point.

Built-in plug-ins come in by the same door as a user's own.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from difflib import get_close_matches
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from agent.errors import PluginError

ROOMS = ("kinds", "oracles", "students", "acquire")


def names(room: str) -> list[str]:
    """All plug-ins of a room: the modules of `agent/<room>/` and the entry points `tutelage.<room>`."""
    package = importlib.import_module(f"agent.{room}")
    found = {m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_")}
    found |= {e.name for e in entry_points(group=f"tutelage.{room}")}
    return sorted(found)


def load(room: str, name: str) -> Any:
    """The module (or object) that plays `name` in `room`.

    `name` is a module of `agent/<room>/`, "package.module:object", or an entry point of group `tutelage.<room>`.

    Raises:
        PluginError: nothing answers to the name; lists what does, nearest first.
    """
    if ":" in name:
        return _path(room, name)
    module = f"agent.{room}.{name}"
    if name.isidentifier() and importlib.util.find_spec(module) is not None:
        return importlib.import_module(module)
    for entry in entry_points(group=f"tutelage.{room}"):
        if entry.name == name:
            return entry.load()
    known = names(room)
    near = get_close_matches(name, known, 1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    raise PluginError(f"no {room} plug-in is called {name!r}{hint} Known: {', '.join(known)}, or 'package.module:name'")


def named(room: str, name: str, file: str | Path) -> Any:
    """As `load`, for a name that stands in a file, perhaps of a stranger: no code is imported that was not installed.

    `name` is a module of `agent/<room>/` or an installed package's entry point, never "package.module:object".

    Raises:
        PluginError: it is neither. `file` is named, where the name stands.
    """
    known = names(room)
    if ":" in name or name not in known:
        shown = repr(name[:60])
        raise PluginError(
            f"{file} names {shown}, which is none of {room} here ({', '.join(known)}). Code that a file names is not "
            f"run; a package of your own is used once it has an entry point 'tutelage.{room}'"
        )
    return load(room, name)


def _path(room: str, name: str) -> Any:
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise PluginError(f"{room} plug-in {name!r} cannot be imported: {error}") from error
