"""What the peers' clients share: the texts, the question, and how they are measured. Imports the standard library only.

Each client is a process of its own, kept on one core; the server has the other.
"""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

IN_FLIGHT = 256
LABELS = ("positive", "negative")
PROMPT = (
    "You label texts. Choose the one label that fits best: positive or negative. Positive: the writer is pleased with "
    "what was bought, would buy it again or tells others to. Negative: the writer regrets it, sends it back or warns "
    "others. Answer with the label and nothing else.\n\nText: "
)


def texts(count: int) -> list[str]:
    """Different short texts of one length."""
    return [
        f"Order {number:07d} came on time, works as it should, and the colour is as shown." for number in range(count)
    ]


def offline_vocabulary() -> None:
    """Some peers count tokens with a vocabulary fetched from the network; the package litellm, which they need anyway,
    ships it. To be called before they are imported."""
    found = importlib.util.find_spec("litellm")
    if found and found.origin:
        os.environ["TIKTOKEN_CACHE_DIR"] = str(Path(found.origin).parent / "litellm_core_utils" / "tokenizers")


def measured(work: Callable[[str, int], Sequence[object]]) -> None:
    """Run `work(url, n)` for the arguments URL and N; print seconds, CPU seconds and how many labels came back."""
    url, count = sys.argv[1], int(sys.argv[2])
    os.sched_setaffinity(0, {0})
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    labels = work(url, count)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    good = sum(str(label).strip().lower() == "positive" for label in labels)
    print(json.dumps({"labels": good, "seconds": seconds, "cpu": cpu}))
