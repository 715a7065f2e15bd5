"""Processes that write to one SQLite file take turns. Knows a lock file; knows no SQL.

SQLite lets writers of several processes wait by sleeping up to 100 ms at a time, so one that writes without pause
starves the others; and before version 3.51.3 a checkpoint that coincides with another process's commit may damage
the file. Here a whole transaction, with the checkpoint its commit may bring, is done under a lock of the operating
system, which falls when its process dies.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.errors import Damaged, Pause, UserError

LONGEST_WAIT_S = 60.0
NAP_S = 0.0005


class LostLedger(Damaged, UserError):
    """The ledger's file is not a ledger any more, or is not there."""


class Gate:
    """The lock beside one database file; `None` (PostgreSQL, or a system without flock): everybody may go."""

    def __init__(self, database: str | None) -> None:
        self._file: int | None = None
        self._database, self._known = database, 0
        if database is not None and os.name == "posix":
            self._file = os.open(Path(f"{database}-gate"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Waits for our turn.

        Raises:
            Pause: it does not come for a minute.
            LostLedger: what was written went into a file that was deleted or replaced meanwhile.
        """
        if self._file is None:
            yield
            return
        import fcntl

        end = time.monotonic() + LONGEST_WAIT_S
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise Pause(
                        f"another process has held the ledger for {LONGEST_WAIT_S:.0f} s; end it, then run again"
                    ) from None
                time.sleep(NAP_S)
        try:
            yield
            self._still_there()
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _still_there(self) -> None:
        """A file that was deleted takes rows until it is closed, and nobody finds them: none is acknowledged."""
        try:
            found = os.stat(str(self._database)).st_ino
        except FileNotFoundError:
            found = -1
        self._known = self._known or found
        if found != self._known:
            raise LostLedger(
                f"the ledger {self._database} was deleted or replaced while open, and nothing is saved any more: "
                "put it back from a copy, then start the command again"
            )

    def close(self) -> None:
        """Lets go of the lock file, which stays where it is."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
