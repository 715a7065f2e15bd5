"""`tutelage plugins`: the rooms and who can be named in them. Loads each to read its first line."""

from __future__ import annotations

import re

import click

from agent.cli.house import Common, common

_INWARD = re.compile(r"^(Kind|Oracle|Student) `\w+`: | Knows (no|nothing|neither)\b[^.]*\.(?=$|\s)")
"""What a first line tells those who work on the plug-in, not those who name it."""

_PLAINER = {
    ("oracles", "person"): "People, who answer by `tutelage review`, or whose answers were recorded before.",
    ("oracles", "scripted"): "For trying out: answers by a Python function, or from gold with seeded errors.",
    ("oracles", "small"): "A small language model in this process: no server, no charge.",
}


@click.command()
@common
def plugins(common: Common) -> None:
    """List the plug-ins: kinds of labels, oracles, students and acquisition functions.

    Entry points `tutelage.kinds`, `tutelage.oracles` and so on add more, and 'package.module:name' always works.

    \b
    Example:
      tutelage plugins
      tutelage plugins --json
    """
    from agent import plugins as doors

    found: dict[str, dict[str, str]] = {room: {} for room in doors.ROOMS}
    for room in doors.ROOMS:
        for name in doors.names(room):
            found[room][name] = _first_line(room, name)
    lines: list[str] = []
    for room, named in found.items():
        lines += [f"{room}", *(f"  {name:<14} {line}" for name, line in sorted(named.items())), ""]
    common.show({"plugins": found}, "\n".join(lines).rstrip())


def _first_line(room: str, name: str) -> str:
    from agent import plugins as doors

    try:
        text = (doors.load(room, name).__doc__ or "").strip()
    except Exception as error:  # noqa: BLE001 - a plug-in of somebody else must not hide the others
        return f"cannot be loaded: {type(error).__name__}: {error}"
    first = text.splitlines()[0] if text else ""
    line = _INWARD.sub("", first)
    # What followed a prefix begins the line now; a name at its beginning is left as it is spelled.
    return _PLAINER.get((room, name), line if first.startswith(line) else line[:1].upper() + line[1:])
