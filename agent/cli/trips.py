"""`tutelage review --export` and `--import`: questions out to other tools, answers back. Knows no format."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING

from agent.cli.house import BAD_INPUT, DONE, Common

if TYPE_CHECKING:
    from agent.config import Config
    from agent.pool import Pool
    from agent.store import Store

FORMS = ("label-studio", "argilla", "prodigy", "csv")
CSV = "csv"


def export(
    common: Common,
    config: Config,
    store: Store,
    pool: Pool,
    out: str,
    form: str | None,
    force: bool,
    after: Callable[[], str],
) -> int:
    """Write the open questions, and say what to do with the file. `after`: the next step where none is open."""
    from agent.review.queue import number
    from agent.review.trips import tools

    count, how = tools.export(config, store, pool, out, form or CSV, force)
    body = {"wrote": out if count else None, "questions": count, "how": how}
    if not count:
        common.show(body, f"no question is open: {out} was not written; next: {after()}")
        return DONE
    back = shlex.quote(out) if form in (None, CSV) else "FILE"
    give = f"then give it back with  tutelage review --import {back}{common.flags}"
    common.show(body, f"{number(count, 'open question')} in {out}\n{how}\n{give}")
    return DONE


def take(
    common: Common, config: Config, store: Store, pool: Pool, back: str, form: str | None, who: str | None, login: str
) -> int:
    """Read answers. The good rows are taken, whatever the others say; those make the exit code.

    Args:
        who: as told with --who. login: who answered where neither the file nor --who says.
    """
    from agent.review.trips import tools

    report = tools.take(config, store, pool, back, form, who, login)
    common.show(dataclasses.asdict(report), str(report))
    return BAD_INPUT if report.rejected else DONE
