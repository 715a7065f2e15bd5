"""What is shown while a run is under way: one line that stays on a terminal, lines every few seconds elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.console import Console

FEW, EARLY = 10, 30.0
"""Answers, or seconds, after which a time to go is told."""

EVERY = 5.0
"""Seconds between lines where there is no terminal."""


SILENT = 15.0
"""Seconds without an answer after which that is told, and no time to go."""


class Told(Protocol):
    """An event of the loop."""

    @property
    def kind(self) -> str: ...
    @property
    def turn(self) -> int: ...
    @property
    def text(self) -> str: ...
    @property
    def done(self) -> int: ...
    @property
    def total(self) -> int: ...
    @property
    def numbers(self) -> Mapping[str, Any]: ...


def money(usd: float, budget: float | None) -> str:
    """Dollars spent, of how many; cents where they are few."""
    return f"{dollars(usd)} of {dollars(budget)}" if budget is not None else f"{dollars(usd)}, no limit"


def dollars(usd: float) -> str:
    """Dollars; to four digits where there are fewer than one."""
    whole = abs(100 * usd - round(100 * usd)) < 1e-6
    return f"${usd:,.2f}" if usd >= 1 or whole else f"${usd:.4f}"


def span(seconds: float) -> str:
    """A time to go, in the unit people would use."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@dataclass
class State:
    """What the events told so far. `usd` counts what earlier runs spent, too; `numbers` begin with where they ended."""

    budget: float | None
    usd: float = 0.0
    turn: int = 0
    items: int = 0
    answers: int = 0
    doing: str = ""
    rung: str = ""
    done: int = 0
    total: int = 0
    began: float = 0.0
    heard: float = float("inf")
    numbers: dict[str, Any] = field(default_factory=dict)

    def take(self, event: Told, now: float) -> None:
        """Take one event in."""
        self.turn = max(self.turn, event.turn)
        self.numbers |= {k: v for k, v in event.numbers.items() if k not in ("rung", "usd")}
        if event.kind == "intake":
            self.items, self.doing = event.done, f"{event.done:,} item{'s' * (event.done != 1)} in the pool"
        elif event.kind == "turn":
            self.doing, self.total = "", 0
        elif event.kind == "decide":
            self.items = event.total or self.items
        elif event.kind == "ask":
            self.rung = str(event.numbers.get("rung", ""))
            self.doing, self.done, self.total, self.began, self.heard = event.text, 0, event.total, now, now
        elif event.kind == "answer":
            self.heard = now if event.done > self.done else self.heard
            self.answers += event.done > self.done
            self.done, self.total = event.done, event.total
            self.usd += float(event.numbers.get("usd", 0.0) or 0.0)
        elif event.kind in ("embed", "batch"):
            self.doing, self.done, self.total, self.began = event.text, event.done, event.total, now
            self.heard = float("inf")
        else:
            self.doing, self.total = event.text if event.kind in ("train", "form") else "", 0

    def line(self, now: float) -> str:
        """Where the run stands, in one line."""
        accepted = {k: v for k, v in dict(self.numbers.get("accepted", {})).items() if v}
        unsure, waiting = int(self.numbers.get("unsure", 0)), int(self.numbers.get("waiting", 0))
        by = ", ".join(f"{k} {v:,}" for k, v in accepted.items())
        parts = [f"turn {self.turn}"] if self.turn else []
        if self.items:
            parts.append(f"{sum(accepted.values()):,} of {self.items:,} accepted" + (f" ({by})" if by else ""))
        parts += [f"{unsure:,} best guess{'es' * (unsure != 1)}"] if unsure else []
        parts += [f"{waiting:,} wait{'s' * (waiting == 1)} for people"] if waiting else []
        parts += [f"{silent:,} not asked"] if (silent := int(self.numbers.get("not_asked", 0))) else []
        parts += [f"{self.answers:,} answer{'s' * (self.answers != 1)}", money(self.usd, self.budget)]
        agreed = dict(self.numbers.get("agreement", {})).get("student")
        if agreed and agreed[1]:
            parts.append(f"student right on {agreed[0]} of {agreed[1]} pilot items")
        if self.doing:
            parts.append(self.doing + self._left(now))
        return " · ".join(parts)

    def _left(self, now: float) -> str:
        if not self.total or not self.done:
            return ""
        past = now - self.began
        left = past / self.done * (self.total - self.done)
        if now - self.heard > SILENT:  # else the time to go would only grow
            return f": {self.done:,} of {self.total:,}, no answer for {span(now - self.heard)}"
        told = left >= 1 and (self.done >= FEW or past >= EARLY)  # the first answers come late, and foretell nothing
        return f": {self.done:,} of {self.total:,}" + (f", {span(left)} left" if told else "")


class Progress:
    """Shows a run; call it with every event. A context: on leaving, the terminal is as it was.

    `before`: the figures earlier runs ended with; empty when there were none.
    """

    def __init__(self, budget: float | None, before: Mapping[str, Any], quiet: bool = False) -> None:
        from rich.console import Console

        known = {key: before[key] for key in ("accepted", "unsure", "waiting") if key in before}
        self.state = State(budget, float(before.get("usd", 0.0)), numbers=known)
        self._console: Console = Console(stderr=True, highlight=False)
        self._live = _live(self._console, self._now) if not quiet and self._console.is_terminal else None
        self._quiet = quiet
        self._last = float("-inf")

    def __call__(self, event: Told) -> None:
        now = time.monotonic()
        self.state.take(event, now)
        if self._quiet or self._live is not None:
            return
        if event.kind in ("intake", "form", "decide") or now - self._last >= EVERY:
            self._last = now
            self._console.print(self.state.line(now), markup=False, soft_wrap=True)

    def __enter__(self) -> Progress:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def _now(self) -> str:
        return self.state.line(time.monotonic())


def _live(console: Console, line: Callable[[], str]) -> Any:
    """A line that redraws itself; gone when it stops, for the summary says it all."""
    from rich.live import Live
    from rich.spinner import Spinner
    from rich.text import Text

    spinner = Spinner("dots")

    def picture() -> Spinner:
        spinner.update(text=Text(line()))
        return spinner

    return Live(get_renderable=picture, console=console, refresh_per_second=4, transient=True)
