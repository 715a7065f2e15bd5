"""One call measured: CPU seconds and peak memory beyond what was held before. Imports the standard library only.

Both sides of `eval/selection.py` are measured by it, each cell in a process of its own, on one thread.
"""

from __future__ import annotations

import json
import re
import resource
import signal
import statistics
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

SECONDS, GIGABYTES = 60, 5
"""A cell that takes more is cut off."""
AGAIN = 2.0
"""Quick cells are repeated until so many CPU seconds are spent, at most five times; the median is told."""
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def held(field: str) -> int:
    """A line of this process's status, in bytes."""
    found = re.search(rf"^{field}:\s+(\d+) kB", STATUS.read_text(), re.MULTILINE)
    return int(found.group(1)) * 1024 if found else 0


def spent() -> float:
    """CPU seconds of this process, user and system.

    Once a limit of CPU is set, the process clock itself only moves with the kernel's ticks; these books stay exact.
    """
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measured(work: Callable[[], object], mapped: bool = False) -> None:
    """Run `work` and print a line of JSON: cpu and bytes, or what was in the way.

    mapped: the input is memory-mapped, so only memory of the process's own counts, looked at every 2 ms.
    """
    _limit()
    seconds: list[float] = []
    peak = 0
    try:
        while not seconds or (sum(seconds) < AGAIN and len(seconds) < 5):
            cpu, extra = _once(work, mapped)
            seconds.append(cpu)
            peak = max(peak, extra)
    except MemoryError:
        print(json.dumps({"why": f"wants over {GIGABYTES} GB"}))
    else:
        print(json.dumps({"cpu": statistics.median(seconds), "bytes": peak, "runs": len(seconds)}))


def _once(work: Callable[[], object], mapped: bool) -> tuple[float, int]:
    field = "RssAnon" if mapped else "VmRSS"
    before, seen, over = held(field), [0], threading.Event()

    def look() -> None:
        while not over.wait(0.002):
            seen.append(held(field))

    watcher = threading.Thread(target=look, daemon=True)
    if mapped:
        watcher.start()
    CLEAR.write_text("5")  # the peak starts from here
    began = spent()
    work()
    took = spent() - began
    over.set()
    return took, max(0, (max(seen) if mapped else held("VmHWM")) - before)


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (held("VmSize") + GIGABYTES * 2**30, resource.RLIM_INFINITY))
    until = int(spent()) + SECONDS + 1

    def late(number: int, frame: FrameType | None) -> None:
        print(json.dumps({"why": f"> {SECONDS} s"}), flush=True)
        sys.stdout.flush()
        signal.raise_signal(signal.SIGKILL)

    signal.signal(signal.SIGXCPU, late)
    resource.setrlimit(resource.RLIMIT_CPU, (until, until + 20))
