"""Review at a terminal: one item, one decision, one key. Knows cards and keys; nothing of why an item is asked.

Each answer is committed before the next card is shown, so a closed window loses nothing that was answered.
"""

from __future__ import annotations

import sys
import time
from typing import TextIO

from rich.console import Console

from agent import config as settings
from agent.config import Config
from agent.review import guide, show
from agent.review.desk import Desk
from agent.review.keys import BACK, CLEAR, ENTER, PASTED, Hand, keyboard
from agent.review.names import DIGITS, assign, find
from agent.review.queue import LEASE, Card, Items, Queue, number
from agent.store import Store
from agent.types import Value

COMMANDS = "usfnxgm?q"
NOT_SAVED = {
    "late": "somebody else answered that card meanwhile; theirs counts, yours is kept as a second opinion",
    "again": "that answer was saved before",
    "gone": "that question was taken back meanwhile",
}
RENEW = 60.0
"""Seconds after which a key press extends the lease."""


class _Quit(Exception):
    """The person wants to stop."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, after what was saved has been said. `answered`: how many answers this sitting left in the ledger."""

    def __init__(self, answered: int) -> None:
        super().__init__()
        self.answered = answered


def session(
    config: Config,
    store: Store,
    pool: Items,
    who: str,
    limit: int | None = None,
    stream: TextIO | None = None,
    console: Console | None = None,
) -> int:
    """Show cards and take answers until nothing is open, `limit` are answered, or the person stops.

    `stream`: where keys or lines come from (standard input). The end of input stops in order, and so does Ctrl-C.

    Returns: how many answers this sitting left in the ledger.
    Raises:
        Interrupted: the person pressed Ctrl-C; the summary has been shown.
    """
    out = console or Console()
    task, kind, asked = settings.the_task(config), settings.kind(config), config.review
    queue = Queue(store, pool, task, kind, config.run.seed, asked.order, asked.assisted)
    desk = Desk(queue, who, guide.current(store, config).version)
    before = desk.answered()
    cut = False
    with keyboard(stream or sys.stdin, out.file) as hand:
        sitting = Sitting(desk, hand, out, config.task.kind != "single", before)
        try:
            sitting.run(limit)
        except (_Quit, EOFError):
            pass
        except KeyboardInterrupt:
            cut = True
        finally:
            desk.leave()
    for line in sitting.summary():
        out.print(line, highlight=False)
    if cut:
        raise Interrupted(desk.answered() - before)
    return desk.answered() - before


def _time(minutes: float) -> str:
    """Minutes, or seconds when there is not one."""
    if minutes < 1:
        return number(round(60 * minutes), "second")
    return f"{minutes:.1f} minutes" if minutes < 10 else f"{round(minutes)} minutes"


class Sitting:
    """The cards one person sees, one after another."""

    def __init__(self, desk: Desk, hand: Hand, console: Console, many: bool, before: int) -> None:
        self.card: Card | None = None
        self._desk = desk
        self._hand = hand
        self._console = console
        self._many = many
        self._before = before
        self._labels = list(desk.queue.task.labels)
        self._keys = assign(self._labels) if len(self._labels) <= len(DIGITS) else {}
        self._said: list[tuple[float, bool]] = []
        """Seconds, and whether it could not be told, of each answer that stands."""
        self._messages: list[str] = []
        self._asked = self._again = False
        self._reset()

    def _reset(self) -> None:
        self._typed = ""
        self._chosen: list[str] = []
        self._flags: list[str] = []
        self._whole = self._guidelines = self._help = self._asked = False
        self._since = self._renewed = time.monotonic()

    def run(self, limit: int | None) -> None:
        """Until there is no card, or `limit` are answered."""
        while limit is None or self._desk.answered() - self._before < limit:
            if self.card is None:
                self.card = self._desk.next_card()
                self._reset()
            if self.card is None:
                return
            self._draw(self.card)
            self._messages = []
            token = self._hand.read(typing=not self._keys)
            self._renew(self.card)
            self._take(self.card, token)

    def summary(self) -> list[str]:
        """What was done, and what is left, in plain words."""
        spent, left = sum(seconds for seconds, _ in self._said) / 60, self._desk.queue.left()
        n, unsure = len(self._said), sum(unsure for _, unsure in self._said)
        said = f" ({unsure} could not be told)" if unsure else ""
        lines = [f"Answered {n}{said} in {_time(spent)}."]
        if not left:
            return [*lines, "Nothing is waiting for people now: `tutelage run` goes on."]
        pace = f", about {_time(left * spent / n)} at this pace" if n else ""
        elsewhere = "" if self.card or n else " They may be on other people's screens."
        return [*lines, f"{number(left, 'open question')} left{pace}.{elsewhere}"]

    def _draw(self, card: Card) -> None:
        view = show.View(
            keys=self._keys,
            many=self._many,
            chosen=self._chosen,
            typed=self._typed,
            matches=[] if self._keys else find(self._labels, self._typed),
            whole=self._whole,
            guidelines=self._guidelines,
            help=self._help,
            messages=[*(f"marked: {flag}" for flag in self._flags), *self._messages],
        )
        show.card(self._console, card, view)

    def _renew(self, card: Card) -> None:
        if time.monotonic() - self._renewed > RENEW:
            self._desk.keep(card.key)
            self._renewed = time.monotonic()

    def _take(self, card: Card, token: str) -> None:
        """One key, or one line."""
        self._again, self._asked = self._asked, False
        if token == PASTED and not self._hand.lines:
            if self._console.is_terminal:
                self._console.bell()
            self._messages.append("pasted text ignored: press one key at a time")
        elif self._hand.lines:
            self._word(card, token)
        elif self._keys:
            self._press(card, token)
        elif token == ENTER:
            typed, self._typed = self._typed, ""
            self._word(card, typed)
        elif token == BACK:
            self._typed = self._typed[:-1]
        elif token == CLEAR:
            self._typed = ""
        elif token.isprintable():
            self._typed += token

    def _press(self, card: Card, key: str) -> None:
        if key in self._keys:
            self._choose(card, self._keys[key])
        elif key == ENTER:
            self._confirm(card)
        elif key in COMMANDS:
            self._command(card, key)
        else:
            self._messages.append(f"{key!r} does nothing here; ? shows the keys")

    def _word(self, card: Card, line: str) -> None:
        """A line: a label's name or number, a command, or a part of a name where there are many labels."""
        text = line.strip()
        named = [label for label in self._labels if label.casefold() == text.casefold()]
        head, _, reason = text.removeprefix(".").partition(" ")
        if not text:
            self._confirm(card)
        elif named:
            self._choose(card, text if text in named else named[0])
        elif self._keys and text.replace(" ", "").isdigit():
            self._numbers(card, text.replace(" ", ""))
        elif (len(head) == 1 and head in COMMANDS) and (head == "f" or not reason):
            self._command(card, head, reason)
        elif not self._keys and (found := find(self._labels, text)):
            self._choose(card, found[0])
        else:
            self._messages.append(f"no label is called {text[:60]!r}; ? shows the keys")

    def _numbers(self, card: Card, digits: str) -> None:
        """Numbers on a line: one label, or all labels of the set at once."""
        if any(digit not in self._keys for digit in digits) or (len(digits) > 1 and not self._many):
            self._messages.append(f"{digits} is not the number of a label")
            return
        for digit in digits:
            self._choose(card, self._keys[digit])
        if self._many:
            self._confirm(card)

    def _choose(self, card: Card, label: str) -> None:
        if not self._many:
            self._answer(card, label)
        elif label in self._chosen:
            self._chosen.remove(label)
        else:
            self._chosen.append(label)

    def _confirm(self, card: Card) -> None:
        """Enter: done with several labels. With none chosen it must come twice, for it may have slipped."""
        if not self._many:
            return
        if not self._chosen and not self._again:
            self._asked = True
            self._messages.append("no label at all? Enter again")
            return
        self._answer(card, tuple(sorted(self._chosen)))

    def _none(self, card: Card) -> None:
        """None of the labels: with several labels a label set like any other, else it cannot be told."""
        if self._many and self._chosen:
            self._messages.append("labels are chosen: switch them off first, or save them with Enter")
        else:
            self._answer(card, () if self._many else None)

    def _answer(self, card: Card, value: Value | None) -> None:
        seconds = time.monotonic() - self._since
        flags = [*self._flags, *(["idle"] if seconds > LEASE else [])]
        outcome = self._desk.answer(card.key, value, min(seconds, LEASE), flags, guess=card.guess)
        self.card = None
        if outcome.status != "saved":
            self._messages.append(NOT_SAVED[outcome.status])
            return
        self._said.append((min(seconds, LEASE), value is None))
        told = "cannot tell" if value is None else value if isinstance(value, str) else ", ".join(value) or "no label"
        self._messages.append(f"saved: {told}   (u takes it back)")

    def _command(self, card: Card, key: str, reason: str = "") -> None:
        if key == "q":
            raise _Quit
        if key == "n":
            self._none(card)
        elif key == "x":
            self._answer(card, None)
        elif key == "u":
            self._undo(card)
        elif key == "s":
            self._desk.skip(card.key)
            self.card = None
            self._messages.append(
                "skipped: it comes back at the end. A card nobody answers may count as a wrong label."
            )
        elif key == "f":
            self._flag(reason)
        elif key == "g":
            self._guidelines = not self._guidelines
        elif key == "m":
            self._whole = not self._whole
        else:
            self._help = not self._help

    def _undo(self, card: Card) -> None:
        again = self._desk.undo()
        if again is None:
            self._messages.append("there is nothing to take back")
            return
        self._said = self._said[:-1]
        self.card = again
        self._reset()
        self._messages.append("taken back: answer it again")

    def _flag(self, reason: str) -> None:
        if not reason:
            self._console.print("Why? (one line, then Enter) ", end="", highlight=False)
            reason = self._hand.line().strip()
        if reason:
            self._flags.append(f"flagged: {reason[:500]}")
        self._messages.append(
            "now answer it, or x when it cannot be told" if reason else "no reason given: not flagged"
        )
