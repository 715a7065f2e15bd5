"""Long computations in a process of their own, so that no key waits for them. Knows how to start one, and no page.

A thread would hold Python's one lock for seconds; a child at a low priority holds nothing. What it finds is kept until
the ledger has changed, and it is not begun again before nine times its own length has passed: it takes a tenth of a
core at the most.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.config import Config
from agent.errors import TutelageError

REST = 9.0
"""So many times its own length a computation rests."""
LONGEST = 600.0
"""Seconds after which one is given up."""
TOP = 15
"""Labels that are listed as likely wrong."""

_one_at_a_time = threading.Lock()
_one_explanation = threading.Lock()


@dataclass
class Aside:
    """One computation and what it found last. key: of what state; made: unix seconds; took: seconds; trouble: why the
    last one came to nothing; busy: one is under way."""

    work: str
    found: dict[str, Any] | None = None
    key: object = None
    made: float = 0.0
    took: float = 0.0
    trouble: str = ""
    busy: bool = False
    _ready: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _next: float = float("-inf")

    def want(self, key: object, config: Config, *words: str, rests: bool = True) -> None:
        """See to it that what is found is of state `key`: begins where it is not, and returns at once."""
        with self._lock:
            if self.busy or (key == self.key and (self.found or self.trouble)):
                return
            if rests and time.monotonic() < self._next:
                return
            self.busy = True
            self._ready.clear()
        threading.Thread(target=self._do, args=(key, config, words), daemon=True).start()

    def wait(self, seconds: float) -> None:
        """Until what was begun has ended, but no longer."""
        if self.busy:
            self._ready.wait(seconds)

    def _do(self, key: object, config: Config, words: tuple[str, ...]) -> None:
        with _one_explanation if self.work == "explain" else _one_at_a_time:
            begun = time.monotonic()
            try:
                found, trouble = child(self.work, config, *words), ""
            except TutelageError as error:
                found, trouble = None, str(error)
            took = time.monotonic() - begun
        with self._lock:
            self.found = found or self.found
            self.key, self.trouble, self.took, self.busy = key, trouble, took, False
            self.made = time.time() if found else self.made
            self._next = time.monotonic() + REST * took
        self._ready.set()


def child(work: str, config: Config, *words: str) -> dict[str, Any]:
    """Do one of `WORKS` in a child of this process.

    Raises:
        TutelageError: what the child said, or that it came to nothing.
    """
    told = pickle.dumps((work, config, words))
    around = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    # -P: else a random.py that lies in the folder of the data would be run.
    command, out, err = [sys.executable, "-P", "-m", "agent.web.beside"], subprocess.PIPE, subprocess.DEVNULL
    try:
        done = subprocess.run(command, input=told, stdout=out, stderr=err, env=around, timeout=LONGEST, check=False)
        body: dict[str, Any] = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise TutelageError(f"this took longer than {LONGEST / 60:.0f} minutes and was given up") from None
    except ValueError:
        raise TutelageError("the figures could not be read: see what  tutelage status  says") from None
    if "trouble" in body:
        raise TutelageError(body["trouble"])
    found: dict[str, Any] = body["found"]
    return found


def _overview(config: Config, flags: str = "") -> dict[str, Any]:
    from agent.report.overview import overview

    return overview(config, flags)


def _doubts(config: Config) -> dict[str, Any]:
    """As `tutelage suspects` finds them, without their texts; nothing that lies in the audit or is being asked."""
    from agent.loop import doubts
    from agent.loop.explain import Look
    from agent.report.overview import kept_apart

    look = Look(config)
    try:
        found = doubts.ranked(look)
        apart = kept_apart(config, look.ground.store)
        ids = look.ground.pool.ids
        told = (one for one in doubts.tell(look, found, TOP + len(apart)) if ids[one.row] not in apart)
        rows = [
            {"item": ids[one.row], "label": one.label, "by": one.by, "rather": one.instead, "chance_wrong": one.chance}
            for one, _ in zip(told, range(TOP), strict=False)
        ]
        return {"rows": rows, "labels": len(found.rows), "expected": float(found.chance.sum())}
    finally:
        look.close()


def _explain(config: Config, item: str) -> dict[str, Any]:
    """As `tutelage route --explain`: everybody's word and what is weighed."""
    from agent.loop import explain

    look = explain.Look(config)
    try:
        return explain.item(look, look.ground.pool.position(item))
    finally:
        look.close()


WORKS: Mapping[str, Callable[..., dict[str, Any]]] = {"overview": _overview, "doubts": _doubts, "explain": _explain}


def _main() -> None:
    """The child: reads what to do from its parent, and gives it back as JSON."""
    os.nice(10)
    work, config, words = pickle.load(sys.stdin.buffer)  # from the process that started this one
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else prints must not be taken for the answer
    try:
        body: dict[str, Any] = {"found": WORKS[work](config, *words)}
    except TutelageError as error:
        body = {"trouble": str(error)}
    except Exception as error:  # noqa: BLE001 - what it says may hold the text of an item
        body = {"trouble": f"the computation ended in {type(error).__name__}; see what  tutelage status  says"}
    json.dump(body, answers)
    answers.close()


if __name__ == "__main__":
    _main()
