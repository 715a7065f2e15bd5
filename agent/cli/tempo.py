"""How far a long file is: rows, rows a second and the time to go, on stderr. Knows no model."""

from __future__ import annotations

import glob
import os
import sys
from time import monotonic

import click

from agent.cli.house import Common
from agent.cli.progress import span

EARLY = 2.0
"""Seconds before anything is said: short files pass in silence."""
ON_TERMINAL, ELSEWHERE = 0.2, 10.0
"""Seconds between two lines."""
PARQUET = (".parquet", ".pq")


class Tempo:
    """Tells how far it is. For one file it counts its rows first, once it is seen to take long; of a pipe or of several
    files it tells the rate only."""

    def __init__(self, common: Common, path: str) -> None:
        self._quiet = common.quiet or path == "-"
        self._path = path
        self._live = sys.stderr.isatty()
        self._began = self._last = monotonic()
        self._total: int | None = None
        self._shown = False

    def reached(self, rows: int, place: int) -> None:
        """rows labeled so far; place: the number of the last row in its file."""
        now = monotonic()
        every = ON_TERMINAL if self._live else ELSEWHERE
        if self._quiet or now - self._began < EARLY or (self._shown and now - self._last < every):
            return
        if self._total is None:
            self._total = _rows(self._path)
        self._last, self._shown = now, True
        rate = rows / (now - self._began)
        text = f"{rows:,} rows, {rate:,.0f}/s"
        if self._total:
            left = (now - self._began) * max(self._total - place, 0) / max(place, 1)
            text = f"{rows:,} of about {self._total:,} rows, {rate:,.0f}/s, {span(left)} to go"
        click.echo(f"\r\033[K{text}" if self._live else text, err=True, nl=not self._live)

    def end(self) -> None:
        """The line of a terminal is left."""
        if self._shown and self._live:
            click.echo("\r\033[K", err=True, nl=False)


def _rows(path: str) -> int:
    """About how many rows a file has: lines, or what Parquet says; 0 where it cannot be told."""
    path = os.path.expanduser(path)
    if not os.path.isfile(path) or glob.has_magic(path):
        return 0
    if path.casefold().endswith(PARQUET):
        import pyarrow.parquet as pq

        return int(pq.read_metadata(path).num_rows)
    with open(path, "rb") as stream:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: stream.read(1 << 20), b""))
