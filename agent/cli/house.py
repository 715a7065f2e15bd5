"""How every verb behaves: its common options, its two voices, and what an error says and exits with. Knows no verb."""

from __future__ import annotations

import errno
import json
import logging
import os
import shlex
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from agent import errors

if TYPE_CHECKING:
    from agent.config import Config

DONE, OUR_FAULT, BAD_INPUT, PAUSED, WAITING, UNCERTIFIED, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130
FORMAT = 1
"""The number under "tutelage" in every JSON document; raised when a key changes its meaning."""

F = TypeVar("F", bound=Callable[..., Any])


@dataclass
class Common:
    """The options every verb takes. stdout is data (`show`), stderr is talk (`say`)."""

    path: str = "tutelage.toml"
    given: bool = False
    overrides: list[str] = field(default_factory=list)
    as_json: bool = False
    quiet: bool = False
    folder: str = ""
    """The run folder, once the configuration is read: what errors of the disk name."""

    def config(self) -> Config:
        """The configuration, with `--set` and `--seed` put over it."""
        from agent import config

        read = config.load(self.path, self.overrides)
        self.folder = str(read.folder)
        return read

    @property
    def flags(self) -> str:
        """What must follow a verb so that it means the same configuration."""
        return f" -c {shlex.quote(self.path)}" if self.path != "tutelage.toml" else ""

    def say(self, text: str) -> None:
        """Talk, on stderr; nothing with --quiet."""
        if not self.quiet:
            click.echo(text, err=True)

    def show(self, body: Mapping[str, Any], text: str) -> None:
        """The result, on stdout: `text` for people, or with --json `body`."""
        if self.as_json:
            document = {"tutelage": FORMAT, **body}
            click.echo(json.dumps(document, ensure_ascii=False, default=str, allow_nan=False, indent=1))
        elif text:
            click.echo(text)

    def fail(self, code: int, words: str) -> None:
        """An error, on stderr; with --json it stands on stdout, too."""
        click.echo(words, err=True)
        if self.as_json:
            self.show({"error": words.removeprefix("error: "), "code": code}, "")


def many(count: int, noun: str, nouns: str = "") -> str:
    """ "1 row", "2 rows"; `nouns`: the plural, where it is more than an s."""
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"


def span(seconds: float) -> str:
    """A length of time in the unit that fits."""
    for size, unit in ((172_800, "days"), (5_400, "h"), (90, "min")):
        if seconds >= size:
            per = {"days": 86_400, "h": 3_600, "min": 60}[unit]
            return f"{seconds / per:.1f} {unit}" if seconds / per < 10 else f"{seconds / per:,.0f} {unit}"
    return f"{seconds:.0f} s"


@contextmanager
def _silence() -> Iterator[None]:
    """No warning and no line of a log, of whatever library."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _kept(name: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """A callback that puts an option's value into the context's `Common`."""

    def keep(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
        common = context.ensure_object(Common)
        source = context.get_parameter_source(str(parameter.name))
        if name == "seed":
            if value is not None:
                common.overrides.append(f"run.seed={value}")
        elif name == "overrides":
            common.overrides[:0] = value
        else:
            setattr(common, name, value)
        if name == "quiet" and value:
            context.with_resource(_silence())
        if name == "path":
            common.given = source is click.core.ParameterSource.COMMANDLINE
        return value

    return keep


def common(verb: F) -> F:
    """Give a verb the common options; it receives them as its first argument, a `Common`."""
    options = [
        click.option("-c", "--config", "common_path", default="tutelage.toml", metavar="FILE", expose_value=False,
                     show_default=True, callback=_kept("path"), help="The configuration."),
        click.option("--set", "common_overrides", multiple=True, metavar="KEY=VALUE", expose_value=False,
                     callback=_kept("overrides"), help="Change one setting, as in --set goal.accuracy=0.9."),
        click.option("--seed", type=click.IntRange(min=0), expose_value=False, callback=_kept("seed"),
                     help="The seed of everything random; the same as --set run.seed=N."),
        click.option("--json", "common_as_json", is_flag=True, expose_value=False, callback=_kept("as_json"),
                     help="Print the result as JSON."),
        click.option("-q", "--quiet", is_flag=True, expose_value=False, callback=_kept("quiet"),
                     help="Say nothing on stderr but errors."),
    ]  # fmt: skip
    made: Any = click.make_pass_decorator(Common, ensure=True)(verb)
    for option in reversed(options):
        made = option(made)
    return made  # type: ignore[no-any-return]


class House(click.Group):
    """The group of verbs. Any error leaves it as one line in plain words and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb; errors become exit codes here and nowhere else. TUTELAGE_DEBUG=1 shows where they came from."""
        common = ctx.ensure_object(Common)
        asked = [*getattr(ctx, "_protected_args", ()), *ctx.args]
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a sign must not end a run
        try:
            return super().invoke(ctx)
        except click.exceptions.Exit:
            raise
        except click.ClickException as error:
            if common.as_json or "--json" in asked:
                common.as_json = True
                common.show({"error": error.format_message(), "code": error.exit_code}, "")
            raise
        except click.Abort:
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:
            _give_up_stdout()  # whoever read us has seen enough
            ctx.exit(DONE)
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the last door: nothing passes as a traceback
            if os.environ.get("TUTELAGE_DEBUG", "") not in ("", "0"):
                traceback.print_exc()
            if isinstance(error, OSError) and _in_writing_stdout(error):
                _unwritten(ctx, error)
            common.fail(*explain(error, common.folder))
            ctx.exit(explain(error)[0])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click; the help goes out here, and its reader may be gone or its disk full."""
        try:
            return super().parse_args(ctx, args)
        except BrokenPipeError:
            _give_up_stdout()
            ctx.exit(DONE)
        except OSError as error:
            _unwritten(ctx, error)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click, and names the nearest verb when there is none of that name."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            near = get_close_matches(args[0], self.list_commands(ctx), 1)
            hint = f"did you mean {near[0]!r}?" if near else f"the verbs are {', '.join(self.list_commands(ctx))}."
            ctx.fail(f"there is no verb {args[0]!r}; {hint}")
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs in the order in which they are used."""
        del ctx
        return list(self.commands)


def _in_writing_stdout(error: OSError) -> bool:
    """Whether it was our own output that could not be written: such an error names no file."""
    last = traceback.extract_tb(error.__traceback__)[-1:]
    return error.filename is None and any(f.name == "echo" or "sys.stdout" in (f.line or "") for f in last)


def _unwritten(ctx: click.Context, error: OSError) -> NoReturn:
    _give_up_stdout()
    click.echo(f"error: standard output cannot be written: {error.strerror}", err=True)
    ctx.exit(BAD_INPUT)


def _give_up_stdout() -> None:
    """What was not written goes nowhere: Python would complain once more when it flushes at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def explain(error: BaseException, folder: str = "") -> tuple[int, str]:
    """The exit code of an error, and what is said of it. Never a text of the pool, never a secret.

    `folder`: the run folder, named where its disk or its ledger is the trouble.
    """
    at = f" (the run folder is {folder})" if folder and folder not in str(error) else ""
    if isinstance(error, errors.Damaged) and isinstance(error, errors.UserError):
        return BAD_INPUT, f"error: {error}{at}"
    if isinstance(error, errors.StoreFull):
        return PAUSED, f"paused: {error}; the same command goes on from here{at}"
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, str(error) or "interrupted; what was paid for is kept, the same command goes on from here"
    if isinstance(error, errors.UserError):
        return BAD_INPUT, "\n".join(f"error: {line}" for line in str(error).splitlines()) or "error: bad input"
    if isinstance(error, errors.Pause):
        return PAUSED, f"paused: {error}; the same command goes on from here"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = f" of {error.filename}" if error.filename else ""
        return PAUSED, f"paused: the disk{where} is full; make room, then the same command goes on from here{at}"
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return BAD_INPUT, f"error: {error.filename}: {error.strerror}"
    if isinstance(error, errors.TutelageError):
        return OUR_FAULT, f"error: {error}"
    ours = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    frames = traceback.extract_tb(error.__traceback__)
    frame = next((f for f in reversed(frames) if f.filename.startswith(ours)), frames[-1] if frames else None)
    where = f" in {os.path.relpath(frame.filename, os.path.dirname(ours))}, line {frame.lineno}" if frame else ""
    return OUR_FAULT, (
        f"error: a fault of tutelage itself: {type(error).__name__}{where}. What was paid for is kept. "
        "TUTELAGE_DEBUG=1 before the command shows more; please report it"
    )
