"""One person at the queue: which card is next, what is answered, taken back, skipped. Keeps nothing that is not in the
ledger: the card in hand is the person's own lease, and what can be taken back are the person's last answers.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from agent import opinions, prompt
from agent.errors import Unparsable, UserError
from agent.review.queue import LEASE, Card, Mate, Queue, written
from agent.store.cards import Closing, Put, Said
from agent.store.rows import plain
from agent.types import Answer, Call, Value

AHEAD = 24
"""Questions looked at for the next card, beside those that other people were seen to hold."""
EVERY = 1_000
"""More than anybody holds."""
EXTRAS = 16
"""Late answers that are kept about one item, and times one question is taken back, at most."""

Status = Literal["saved", "again", "late", "gone"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an answer. "saved"; "again": this person's answer to it was saved before, and counts once; "late":
    somebody else's stands, this one is kept as an extra opinion; "gone": the question was withdrawn.

    key: of the card. mates: keys of the near-duplicates that got the same answer.
    """

    status: Status
    key: str
    mates: tuple[str, ...] = ()


class Desk:
    """One person at a queue. Every answer is committed when the method returns. guide: the guidelines' version."""

    def __init__(self, queue: Queue, who: str, guide: int = 0) -> None:
        self.queue = queue
        self.who = plain(who)  # as the ledger spells it
        self.guide = guide
        self._ledger = queue.store.review

    def next_card(self) -> Card | None:
        """The card in hand, else the next one, leased to this person; None when nothing is open that is nobody's."""
        return next(iter(self._cards(1)), None)

    def ahead(self, n: int = 2) -> list[Card]:
        """The `n` cards after the one in hand, leased too."""
        return self._cards(1 + n)[1 : 1 + n]

    def card(self, key: str) -> Card | None:
        """A card that this person holds."""
        held = [one for one, _ in self._ledger.mine(self.who)]
        return next(iter(self._shown([key] if key in held else [])), None)

    def _cards(self, n: int) -> list[Card]:
        self.queue.refresh()
        held = self._mine()
        keys = [key for key, _ in held]
        if len(keys) < n:
            keys = self._more(keys, n)
        elif held[0][1] < LEASE / 2:
            keys = self._hold(n)
        return self._shown(keys[:n])

    def _mine(self) -> list[tuple[str, float]]:
        """(key, seconds left) of what this person holds; what is not for them any more, or was asked under labels that
        have changed since, is given back."""
        held = self._ledger.mine(self.who)
        with self.queue.lock:
            known = all(self.queue.book.call(key) is not None for key, _ in held)
        if not known:
            self.queue.refresh(0)
        with self.queue.lock:
            calls = [(key, self.queue.book.call(key)) for key, _ in held]
            lost = [key for key, call in calls if call is None or not self.queue.book.may(self.who, call)]
        if lost:
            self._give(lost)
        return [(key, left) for key, left in held if key not in lost]

    def _more(self, keys: list[str], n: int) -> list[str]:
        """Lease up to `n` where there are as many, also among those that came since the last look at the ledger."""
        for fresh in (False, True):
            if fresh:
                self.queue.refresh(0)
            if any(key not in keys for most in (AHEAD, None) for key in self.queue.candidates(self.who, most)):
                keys = self._hold(n)
            if len(keys) >= n:
                break
        return keys

    def _hold(self, n: int) -> list[str]:
        near = self.queue.candidates(self.who, AHEAD)
        show = self.queue.showing(self.who, near)
        held = self._ledger.hold(self.who, near, n, LEASE, show)
        if len(held.mine) < n:  # most of them are closed or other people's by now
            every = self.queue.candidates(self.who, None)
            if len(every) > len(near):
                show = self.queue.showing(self.who, every)
                held = self._ledger.hold(self.who, every, n, LEASE, show)
        self.queue.saw(self.who, held, show)
        return held.mine

    def _shown(self, keys: Sequence[str]) -> list[Card]:
        """Cards of these keys."""
        queue = self.queue
        with queue.lock:
            calls = [call for call in map(queue.book.call, keys) if call is not None]
            done = queue.book.count[self.who]
            total = done + queue.book.left()
            told = {call.key for call in calls if queue.book.guessed(self.who, call.item)}
            groups = [[(key, queue.book.call(key)) for key in queue.mates(call, self.who)] for call in calls]
        return [
            Card(
                call.key,
                queue.item(call.item),
                queue.task,
                done + 1,
                total,
                queue.guess(call) if call.key in told else None,
                tuple(Mate(key, queue.item(mate.item)) for key, mate in group if mate is not None),
            )
            for call, group in zip(calls, groups, strict=True)
        ]

    def answer(
        self,
        key: str,
        value: Value | None,
        seconds: float = 0.0,
        flags: Sequence[str] = (),
        mates: Sequence[str] = (),
        guess: Value | None = None,
    ) -> Outcome:
        """Commit an answer, and lease as many cards as it frees; `value` None: cannot tell.

        Args:
            seconds: the time it took. mates: keys of the card's group that get the same answer. guess: the machines'
                label that was shown.
        Raises:
            UserError: `value` is no label of the task.
        """
        self._check(value)
        call = self._known(key)
        if call is None:
            self._give([key])
            return Outcome("gone", key)
        given = self._answer(value, seconds, self._flags(call, flags, guess))
        alike = self.queue.mates(call, self.who) if mates else []
        also = replace(given, seconds=0.0, flags=(*given.flags, opinions.GROUP))
        said = Said(
            self.who,
            key,
            given,
            self.queue.book.recipes,
            prompt.key,
            [(mate, also) for mate in alike if mate in mates],
            _samples(call, prompt.extra_recipe(self.queue.recipe), 0),
        )
        near = [one for one in self.queue.candidates(self.who, AHEAD) if one != key]
        show = self.queue.showing(self.who, near)
        status, saved, held = self._ledger.say(said, near, LEASE, show)
        if status not in ("saved", "again"):
            self.queue.refresh(0)  # what they may not be asked any more
        with self.queue.lock:
            self.queue.saw(self.who, held, show)
            if status == "saved":
                for one in (key, *saved):
                    self._closed(one, "ok", also.flags if one != key else given.flags, given.unsure)
        return Outcome(status, key, tuple(saved))  # type: ignore[arg-type]

    def _check(self, value: Value | None) -> None:
        if value is not None:
            try:
                self.queue.kind.atoms(self.queue.task, value)
            except Unparsable as error:
                raise UserError(f"this answer is {error}; take one of the labels shown") from error

    def _known(self, key: str) -> Call | None:
        """The question, looked up in the ledger where another process has put it since."""
        with self.queue.lock:
            call = self.queue.book.call(key)
        if call is None:
            self.queue.refresh(0)
            with self.queue.lock:
                call = self.queue.book.call(key)
        return call

    def _answer(self, value: Value | None, seconds: float, flags: Sequence[str]) -> Answer:
        text = "" if value is None else written(value)
        return Answer(text, unsure=value is None, who=self.who, seconds=seconds, flags=tuple(flags), guide=self.guide)

    def _flags(self, call: Call, flags: Sequence[str], guess: Value | None) -> list[str]:
        """The flags of the answer, with the machines' label where it stood on the card. What was shown before, on the
        item's page or on an earlier card, the ledger knows and adds."""
        if self.queue.assisted and guess is not None and call.purpose == "escalation":
            return [*flags, f"{opinions.ASSISTED}: {written(guess)}"]
        return list(flags)

    def _closed(self, key: str, status: str, flags: Sequence[str] = (), unsure: bool = False) -> None:
        self.queue.book.close(Closing(0, key, status, self.who, time.time(), tuple(flags), unsure))

    def undo(self) -> Card | None:
        """Take this person's last answer back and ask it again, with all that was confirmed with it; None when there is
        none (at most the last 20, whichever process took them).

        The answer stays in the ledger, marked as withdrawn; the same question is asked under a new key.
        """
        self.queue.refresh(0)
        with self.queue.lock:
            keys = self.queue.book.last(self.who)
            calls = [call for call in map(self.queue.book.call, keys) if call is not None]
        pairs = [(call.key, _samples(call, call.recipe, call.sample + 1)) for call in calls]
        again = self._ledger.take_back(self.who, pairs, LEASE) if pairs else []
        if not again:
            return None
        with self.queue.lock:
            for call in again:
                self.queue.book.put(Put(0, 0.0, call))
            for call in calls:
                self._closed(call.key, "withdrawn")
        return next(iter(self._shown([again[0].key])), None)

    def skip(self, key: str) -> None:
        """Lay a card at the end for this person; others may have it."""
        with self.queue.lock:
            skipped = self.queue.skipped.setdefault(self.who, [])
            skipped[:] = [one for one in skipped if one != key] + [key]
        self._give([key])

    def keep(self, key: str) -> bool:
        """Extend the leases of all cards held; False when this one is answered, somebody else's by now, or not for
        this person."""
        call = self._known(key)
        with self.queue.lock:
            if call is None or not self.queue.book.may(self.who, call):
                return False
        held = self._ledger.hold(self.who, [key], EVERY, LEASE)
        self.queue.saw(self.who, held)
        return key in held.mine

    def leave(self) -> None:
        """Give all cards back, unanswered."""
        self._give([key for key, _ in self._ledger.mine(self.who)])

    def _give(self, keys: Sequence[str]) -> None:
        self._ledger.let_go(self.who, keys)
        self.queue.left_off(keys)

    def answered(self) -> int:
        """How many answers of this person stand."""
        self.queue.refresh()
        with self.queue.lock:
            return self.queue.book.count[self.who]


def _samples(call: Call, recipe: str, first: int) -> list[Call]:
    """The same question under this recipe, with samples from `first` on."""
    numbers = range(first, first + EXTRAS)
    return [replace(call, key=prompt.key(recipe, call.item, n), recipe=recipe, sample=n, usd=0.0) for n in numbers]
