"""What machines are asked: the pilot's items, and picks among those that wait for them. Knows nothing of the audit.

Inclusion probabilities are recorded with every call.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from agent import prompt
from agent.belief import Belief
from agent.loop import picking, short, worth
from agent.loop.ground import Ground, Machine
from agent.loop.people import share
from agent.loop.ways import PART, Ways
from agent.route import ASK, KNOWN, Routes
from agent.types import Call, Floats, Ints, Item, Picks, Prompt, Stream

Job = tuple[Call, Prompt]

AHEAD = 16_384
"""Questions whose items are read at once: an item takes a tenth of the room of its prompt."""

EXPLORE = 0.05
"""Questions to a machine that are drawn at random from all it was not asked about, as a share of the chosen ones."""


AGAIN = 40
"""Pilot items on which a machine is asked for another vote, to learn what that is worth; large pools only."""


class Jobs(Protocol):
    """Questions to a machine."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Job]: ...


def prompt_of(
    ground: Ground, machine: Machine, ways: Ways, row: int, item: Item, variant: int, sample: int, labels: Sequence[str]
) -> tuple[str, Prompt]:
    """The recipe, and what this machine is sent about an item (as the machine may see it).

    `labels`: its shortlist, where the machine has one.
    """
    way = ways.of(row, variant, _full(ground, machine, row))
    if way.short:
        question = short.question(ground.kind, machine.task, item, sample, labels, way.traits.readout == "words")
    else:
        question = ground.kind.question(machine.task, item, sample)
    part = sample // PART
    return way.recipe, prompt.render(machine.task, question, way.traits, way.recipe, sample, way.shots, part=part)


def _full(ground: Ground, machine: Machine, row: int) -> bool:
    """Is the item to be asked about with all labels, because it was none of those on the shortlist?"""
    return bool(ground.board.machine[machine.rung.name].none[row])


@dataclass(frozen=True, slots=True)
class Piece:
    """Questions of one purpose, in one form: arrays of one length, with an entry a question."""

    ways: Ways
    purpose: Stream
    turn: int
    rows: Ints
    variants: Ints
    samples: Ints
    chances: Floats


@dataclass(frozen=True, slots=True)
class Planned:
    """Questions that are made when they are pulled: the prompts of a large pool would not fit in memory, nor would
    anybody wait for them before the first is sent."""

    ground: Ground
    machine: Machine
    pieces: tuple[Piece, ...]

    def __len__(self) -> int:
        return sum(len(piece.rows) for piece in self.pieces)

    def __iter__(self) -> Iterator[Job]:
        for piece in self.pieces:
            for begin in range(0, len(piece.rows), AHEAD):
                yield from self._made(piece, slice(begin, begin + AHEAD))

    def __add__(self, other: Planned) -> Planned:
        return replace(self, pieces=self.pieces + other.pieces)

    def _made(self, piece: Piece, part: slice) -> Iterator[Job]:
        ground, machine = self.ground, self.machine
        rows = list(dict.fromkeys(piece.rows[part].tolist()))
        lists, items = (
            short.lists(ground, piece.ways.short, rows),
            dict(zip(rows, ground.pool.items(rows), strict=True)),
        )
        columns = (piece.rows, piece.variants, piece.samples, piece.chances)
        last, item = -1, None
        for row, variant, sample, chance in zip(*(column[part].tolist() for column in columns), strict=True):
            if item is None or row != last:
                last, item = row, machine.mask.item(items[row])
            labels = lists.get(row, ())
            recipe, text = prompt_of(ground, machine, piece.ways, row, item, variant, sample, labels)
            most = machine.oracle.most(text)
            call = Call(
                key=text.key,
                recipe=recipe,
                item=item.id,
                annotator=machine.rung.name,
                sample=sample,
                purpose=piece.purpose,
                probability=chance,
                usd=most.usd,
                turn=piece.turn,
                tokens=most.tokens,
                requests=most.requests,
            )
            yield call, text


def jobs(
    ground: Ground, machine: Machine, picks: Picks, purpose: Stream, turn: int, ways: Ways | None = None, begin: int = 0
) -> Planned:
    """Calls and prompts for items: `samples` of each, for every part of its text; each holds the most it can take.

    `ways`: the machine's own, unless another form is tried. `begin`: the first sample that is asked. Items that share
    their examples follow one another, so that an engine finds the prefix in its cache.
    """
    ways = ways or machine.ways
    assert ways is not None
    order = np.arange(len(picks.rows)) if ways.blocks is None else np.argsort(ways.blocks[picks.rows], kind="stable")
    rows = picks.rows[order]
    parts = _parts(ground, machine, ways, rows)
    asked = {count: np.array(list(ways.asked(count))[begin:], np.int64) for count in set(parts)}
    pairs = np.concatenate([np.zeros((0, 2), np.int64), *(asked[count] for count in parts)])
    times = np.array([len(asked[count]) for count in parts], np.int64)
    chances = np.repeat(picks.probabilities[order], times)
    piece = Piece(ways, purpose, turn, np.repeat(rows, times), pairs[:, 0], pairs[:, 1], chances)
    return Planned(ground, machine, (piece,))


def _parts(ground: Ground, machine: Machine, ways: Ways, rows: Ints) -> list[int]:
    """In how many parts each item is asked about."""
    if machine.rung.overflow != "chunk":
        return [1] * len(rows)
    traits, out = ways.of(0, 0, False).traits, list[int]()
    for begin in range(0, len(rows), AHEAD):
        items = map(machine.mask.item, ground.pool.items(rows[begin : begin + AHEAD].tolist()))
        out += [prompt.parts(item, traits) for item in items]
    return out


def unfinished(ground: Ground, machine: Machine) -> list[Job]:
    """Calls of today's recipes that were under way when the last run died. Those of older ones stay as they are: they
    hold no money, and count again should their settings come back."""
    ways = machine.ways
    if ways is None:
        return []
    found = [
        (call, ground.pool.position(call.item))
        for call in ground.store.open_calls(annotator=machine.rung.name)
        if call.recipe in ways.recipes
    ]
    found = [(call, row) for call, row in found if row < ground.n]
    lists = short.lists(ground, ways.short, [row for _, row in found])
    out = []
    for call, row in found:
        variant = ways.variant(row, call.recipe, _full(ground, machine, row))
        if variant is not None:  # else its item is in another block now, and is asked there
            item, labels = machine.mask.item(ground.pool.item(row)), lists.get(row, ())
            out.append((call, prompt_of(ground, machine, ways, row, item, variant, call.sample, labels)[1]))
    return out


def pilot_chance(ground: Ground) -> float:
    """The chance with which an item was drawn into the pilot."""
    return min(share(ground).pilot / ground.n, 1.0)


def calibration_rows(ground: Ground, machine: Machine) -> Picks:
    """Pilot items this machine has not been asked about: what it says of them says how much it is to be believed."""
    board = ground.board
    done = board.machine[machine.rung.name].done | machine.tired
    rows = np.flatnonzero(board.pilot & ~done & ~machine.shown)
    return Picks(rows, np.full(len(rows), pilot_chance(ground), np.float32))


def machine_picks(
    ground: Ground, machine: Machine, number: int, routes: Routes, belief: Belief, turn: int, first: bool
) -> Picks:
    """Which items to ask this rung about now: of those waiting for it, and EXPLORE of as many at random.

    Of those waiting by the acquisition function for the first machine rung (its answers teach), for later ones (they
    repair) those first where an answer is expected to save most. At random: from all that it was not asked about,
    each with the same chance, which is recorded. It keeps what answers are worth from being learnt of doubtful items
    only.
    """
    waits = (routes.action == ASK) & (routes.rung == number)
    waiting = np.flatnonzero(waits if routes.again is None else waits & ~routes.again)
    want = min(batch(ground, turn), len(waiting))
    if want == 0:
        return Picks(waiting, np.ones(0, np.float32))
    if first:
        picks = picking.pick(ground, machine.rung.name, belief, waiting, want, turn)
    else:
        doubt = -belief.confidence if routes.saves is None else routes.saves
        order = np.lexsort((belief.confidence[waiting], -doubt[waiting]))[:want]
        picks = Picks(waiting[order], np.ones(want, np.float32))
    board = ground.board
    done = board.machine[machine.rung.name].done | machine.tired | machine.shown | board.spoken | board.doubtful
    done |= board.copies
    done[picks.rows] = True
    others = np.flatnonzero(~done)
    drawn = min(math.ceil(EXPLORE * want), len(others))
    seed = np.random.SeedSequence([ground.config.run.seed, turn, number])
    rows = np.random.default_rng(seed).choice(others, drawn, replace=False)
    if first:
        picking.drawn(ground, rows)
    chances = np.full(drawn, drawn / max(len(others), 1), np.float32)
    return Picks(np.concatenate([picks.rows, rows]), np.concatenate([picks.probabilities, chances]))


def another_votes(ground: Ground, machine: Machine, number: int, routes: Routes, turn: int) -> Planned | None:
    """Another sample of the machine's, in another order or prompt: where the rule asks for it, and on a few pilot items
    by which it is learnt what that is worth."""
    if machine.ways is None or ground.person is None:
        return None
    able = worth.may_vote_again(ground, machine)
    rows, chances = np.zeros(0, np.int64), np.zeros(0, np.float32)
    heard = ground.board.machine[machine.rung.name]
    had = 0 if heard.earlier is None else int((heard.votes > ground.board.word[machine.rung.name]).sum())
    if had < KNOWN and ground.board.pilot.sum() >= AGAIN and EXPLORE * ground.n >= AGAIN:
        rows = ground.order[(able & ground.board.pilot)[ground.order]][: AGAIN - had]
        chances = np.full(len(rows), AGAIN / ground.n, np.float32)
    if routes.again is not None and routes.saves is not None:
        wanted = np.flatnonzero(routes.again & (routes.action == ASK) & (routes.rung == number) & able)
        wanted = wanted[np.argsort(-routes.saves[wanted], kind="stable")][: batch(ground, turn)]
        rows, chances = np.concatenate([rows, wanted]), np.concatenate([chances, np.ones(len(wanted), np.float32)])
    if not len(rows):
        return None
    machine.again[rows] = True
    more = replace(machine.ways, samples=machine.ways.samples + 1)
    return jobs(ground, machine, Picks(rows, chances), "escalation", turn, more, begin=machine.ways.samples)


def batch(ground: Ground, turn: int) -> int:
    """Items a turn. They grow by half: early answers change the student most, late ones hardly."""
    if ground.config.run.batch is not None:
        return ground.config.run.batch
    if ground.student is None:
        return max(ground.n, 1)
    first = max(100, ground.n // 20)
    return int(min(first * 1.5 ** max(turn - 1, 0), 20_000))
