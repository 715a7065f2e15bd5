"""Writes docs/commands.md from the commands' own help: `make docs`. A test says when the page is out of date."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from agent.cli import main

PAGE = Path(__file__).with_name("commands.md")
HEAD = """\
# Commands

What `tutelage VERB --help` says of each verb. stdout is data, stderr is talk; `--json` makes the data JSON.
"""


def sections(context: click.Context) -> Iterator[str]:
    """A section for each command, the group first and its verbs in the order of the help."""
    command = context.command
    shown = click.unstyle(command.get_help(context))
    lines = "\n".join(line.rstrip() for line in shown.splitlines())
    yield f"## {context.command_path}\n\n```text\n{lines}\n```\n"
    if isinstance(command, click.Group):
        for verb in command.list_commands(context):
            inner = command.get_command(context, verb)
            if inner is not None and not inner.hidden:
                yield from sections(context_of(inner, verb, context))


def context_of(command: click.Command, name: str, parent: click.Context | None = None) -> click.Context:
    """A command as called on a terminal of 100 columns."""
    wide = {**command.context_settings, "terminal_width": 100, "max_content_width": 100}
    return click.Context(command, info_name=name, parent=parent, **wide)


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *sections(context_of(main, "tutelage"))])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
