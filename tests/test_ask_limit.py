"""The limit of questions at once, and what a minute bears: in simulated worlds, where time is a number."""

import heapq
import itertools
import random
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.ask.limit import Limit
from agent.ask.pace import Bucket, Pace
from agent.types import Answer, Call


@dataclass
class World:
    """What became of a simulated run: the limits after each answer, most in flight, seconds."""

    limits: list[int]
    peak: int
    seconds: float

    @property
    def settled(self) -> float:
        """The mean limit of the last third."""
        last = self.limits[-len(self.limits) // 3 :]
        return sum(last) / len(last)


def world(
    servers: int, limit: Limit, answers: int = 3000, noise: float = 0.0, fail: float = 0.0, most: int = 0
) -> World:
    """A server that works on `servers` questions at once, half a second each, and lets the others wait in line.

    fail: share of questions that come to nothing; most: with more than so many in flight, every new one is refused.
    """
    rng, now, flight, number = random.Random(1), 0.0, 0, 0
    free, coming, limits, peak = [0.0] * servers, [], [], 0
    limit.begin(0.0)
    while len(limits) < answers:
        while flight < limit.now:
            number, flight = number + 1, flight + 1
            if most and flight > most:
                heapq.heappush(coming, (now + 0.05, number, now, False))
                continue
            end = max(heapq.heappop(free), now) + 0.5 * (rng.lognormvariate(0, noise) if noise else 1.0)
            heapq.heappush(free, end)
            heapq.heappush(coming, (end, number, now, rng.random() >= fail))
        peak = max(peak, flight)
        now, _, sent, good = heapq.heappop(coming)
        full, flight = flight >= limit.now, flight - 1
        if good:
            limit.well(now, sent, full)
            limits.append(limit.now)
        else:
            limit.trouble(now, sent)
    return World(limits, peak, now)


@given(st.integers(1, 120), st.sampled_from([8, 64, 128, 256]))
def test_it_settles_near_what_the_server_works_on_at_once(capacity: int, ceiling: int) -> None:
    seen = world(capacity, Limit(4, ceiling, 120.0))
    able = min(capacity, ceiling)
    assert able / 2 <= seen.settled <= max(2 * able, 4)
    assert seen.peak <= ceiling


@given(st.integers(1, 60), st.sampled_from([0.1, 0.3]))
def test_it_settles_near_it_when_no_two_answers_take_the_same_time(capacity: int, noise: float) -> None:
    seen = world(capacity, Limit(8, 256, 120.0), 4000, noise)
    assert capacity / 2 <= seen.settled <= max(2.5 * capacity, 8)


def test_a_server_that_works_one_by_one_is_not_buried() -> None:
    seen = world(1, Limit(8, 256, 120.0))
    assert seen.peak <= 16
    assert seen.settled < 6


def test_a_server_without_bounds_is_at_full_speed_after_a_round_trip_a_doubling() -> None:
    seen = world(10_000, Limit(8, 256, 120.0))
    assert seen.limits.index(256) == 8 + 16 + 32 + 64 + 128 - 1
    assert seen.settled == 256


def test_it_never_passes_the_ceiling_and_stays_where_it_is_told_to_begin() -> None:
    assert world(10_000, Limit(8, 50, 120.0)).peak == 50
    still = world(1, Limit(64, 64))
    assert set(still.limits) == {64}


def test_refusals_halve_it_once_a_round_trip_and_it_comes_back_one_by_one() -> None:
    limit = Limit(64, 64)
    limit.begin(0.0)
    for _ in range(40):
        limit.trouble(1.0, 0.5)
    assert limit.now == 32  # all of these had been sent before it fell
    for _ in range(4):
        limit.trouble(2.0, 1.5)
    assert limit.now == 16
    now, seen = 2.0, [16]
    for _ in range(12 * 20):  # all in flight are answered at once, half a second later
        sent, now = now, now + 0.5
        for _ in range(limit.now):
            limit.well(now, sent, True)
        seen.append(limit.now)
    assert sorted(seen) == seen
    rises = [later - before for before, later in itertools.pairwise(seen) if later > before]
    assert rises[:4] == [1, 1, 1, 1]
    assert seen[-1] == 64


@given(st.integers(2, 200))
def test_a_server_that_refuses_what_is_too_much_is_asked_about_as_much_as_it_takes(most: int) -> None:
    seen = world(10_000, Limit(8, 256), 6000, most=most)
    assert most / 3 <= seen.settled <= 1.2 * most + 2


def test_a_few_bad_items_are_no_congestion() -> None:
    assert world(10_000, Limit(8, 256), 4000, 0.2, fail=0.02).settled > 200


def test_nothing_grows_when_answers_take_a_quarter_of_their_time() -> None:
    seen = world(4, Limit(4, 256, deadline=1.0), noise=0.1)
    assert seen.peak <= 8


def test_a_limit_that_is_not_made_use_of_says_nothing() -> None:
    limit, now = Limit(8, 256), 0.0
    limit.begin(now)
    for _ in range(1000):
        now += 0.1
        limit.well(now, now - 0.1, False)
    assert limit.now == 8


@given(
    st.integers(1, 5000),
    st.lists(st.tuples(st.floats(0, 5), st.integers(1, 30)), min_size=1, max_size=200),
)
def test_no_minute_takes_more_than_its_limit_and_one_call(a_minute: int, wishes: list[tuple[float, int]]) -> None:
    bucket, now, taken = Bucket(a_minute, 0.0), 0.0, []
    for pause, amount in wishes:
        now += pause
        while (wait := bucket.wait(now, amount)) > 0:
            now += wait + 1e-9
        bucket.take(amount)
        taken.append((now, amount))
    for start, _ in taken:
        assert sum(amount for at, amount in taken if start <= at < start + 60) <= a_minute + 30


def test_a_call_gives_back_what_it_did_not_need() -> None:
    call = Call("key", "recipe", "item", "small", tokens=600, requests=6)
    for answer, billed, tokens, requests in (
        (Answer("A", tokens_in=100, tokens_out=1, requests=1), False, 101, 1),
        (Answer("A"), False, 600, 1),
        (None, False, 0, 1),
        (None, True, 600, 6),
    ):
        for pace, small, rate, took in (
            (Pace(60, None, 0.0), Call("", "", "", "", requests=1), 59 / 60, requests),
            (Pace(None, 6000, 0.0), Call("", "", "", "", tokens=100), 5900 / 60, tokens),
        ):
            pace.take(call)
            pace.correct(call, answer, billed)
            assert pace.wait(0.0, small) * rate == pytest.approx(took)


def test_a_pace_without_limits_never_waits() -> None:
    assert Pace(None, None, 0.0).free
    assert Pace(None, None, 0.0).wait(5.0, Call("", "", "", "", tokens=10**9, requests=99)) == 0.0
