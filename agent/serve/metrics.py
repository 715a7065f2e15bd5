"""Counts of a server, as the text that Prometheus reads. Knows no model. Labels never hold a text."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Histogram:
    """Counts by upper bounds, and the sum."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """One more."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def lines(self, name: str, what: str) -> Iterator[str]:
        """As Prometheus writes it."""
        yield f"# HELP {name} {what}"
        yield f"# TYPE {name} histogram"
        total = 0
        for bound, count in zip((*self.bounds, "+Inf"), self.counts, strict=True):
            total += count
            yield f'{name}_bucket{{le="{bound}"}} {total}'
        yield f"{name}_sum {self.sum:.6f}"
        yield f"{name}_count {total}"


class Metrics:
    """What a server counts."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.seconds = Histogram(SECONDS)
        self.batches = Histogram(SIZES)
        self.items = self.abstained = 0

    def text(self, gauges: Mapping[str, tuple[str, float]]) -> str:
        """The page. gauges: name -> (what it is, value)."""
        lines = ["# HELP tutelage_requests_total Requests answered.", "# TYPE tutelage_requests_total counter"]
        lines += [
            f'tutelage_requests_total{{path="{path}",code="{code}"}} {n}' for (path, code), n in self.requests.items()
        ]
        for name, what, value in (
            ("tutelage_items_total", "Texts labeled.", self.items),
            ("tutelage_abstained_total", "Texts whose label was below the bar.", self.abstained),
        ):
            lines += [f"# HELP {name} {what}", f"# TYPE {name} counter", f"{name} {value}"]
        lines += self.seconds.lines("tutelage_request_seconds", "From the request's head to its answer.")
        lines += self.batches.lines("tutelage_batch_items", "Texts worked on at once.")
        for name, (what, number) in gauges.items():
            lines += [f"# HELP tutelage_{name} {what}", f"# TYPE tutelage_{name} gauge", f"tutelage_{name} {number:g}"]
        return "\n".join(lines) + "\n"
