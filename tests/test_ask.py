"""ask: against an oracle that follows a script, on a real ledger."""

import asyncio
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from agent.ask import Asked, Learnt, Policy, ask
from agent.errors import CallFailed, EndpointDown, MissingExtra, StoreFull, Transient
from agent.store import Store
from agent.types import Answer, Budget, Call, Item, Most, Part, Prompt, Question, Traits

Step = Answer | Exception | str
"""What the oracle does when asked: an answer, an error to raise, or "hang"."""


class Script:
    """An oracle that does, for a key, one step after the other (the last again and again), and keeps count."""

    def __init__(self, steps: Callable[[str, int], Step], in_flight: int = 4, seconds: float = 0.001) -> None:
        self.traits = Traits(annotator="small", recipe={}, in_flight=in_flight)
        self.asked: Counter[str] = Counter()
        self.peak = 0
        self._now = 0
        self._steps = steps
        self._seconds = seconds

    def most(self, prompt: Prompt) -> Most:
        return Most(0.01)

    async def answer(self, prompt: Prompt) -> Answer:
        self.asked[prompt.key] += 1
        self._now += 1
        self.peak = max(self.peak, self._now)
        try:
            step = self._steps(prompt.key, self.asked[prompt.key])
            await asyncio.sleep(3600 if step == "hang" else self._seconds)
        finally:
            self._now -= 1
        if isinstance(step, Exception):
            raise step
        assert isinstance(step, Answer)
        return step

    async def close(self) -> None:
        return None


GOOD = Answer("A", {"A": -0.1}, usd=0.004, tokens_in=10, tokens_out=1)
FAST = Policy(wait_s=0.001, longest_wait_s=0.01, deadline_s=5, grace_s=2)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "ledger.db") as store:
        yield store
        assert store.verify() == []


def jobs(n: int, usd: float = 0.01) -> list[tuple[Call, Prompt]]:
    made = []
    for i in range(n):
        item = Item(f"item{i}", (Part("text/plain", "secret words"),))
        call = Call(f"key{i}", "recipe", item.id, "small", usd=usd)
        made.append((call, Prompt(call.key, Question(item, ()), ())))
    return made


def run(store: Store, oracle: Script, count: int = 10, policy: Policy = FAST, usd: float = 0.01) -> Asked:
    return asyncio.run(ask(store, oracle, jobs(count, usd), policy))


def bodies(store: Store, status: str) -> list[str]:
    """The raw bodies of the rows of a status, by SQL: what a stranger would find in the file."""
    query = text("SELECT body FROM answers WHERE status = :status ORDER BY seq")
    return asyncio.run(store.do(lambda connection: list(connection.execute(query, {"status": status}).scalars())))


def test_everything_is_answered_once_and_paid_at_its_own_price(store: Store) -> None:
    oracle = Script(lambda key, time: GOOD, in_flight=7)
    told: list[tuple[str, str]] = []
    asked = asyncio.run(ask(store, oracle, jobs(50), FAST, lambda kind, call, answer: told.append((kind, call.key))))
    assert asked == Asked(answered=50)
    assert oracle.peak == 7
    assert set(oracle.asked.values()) == {1}
    assert len(store.answers_since(0)) == 50
    assert store.spend().usd == pytest.approx(50 * 0.004)
    assert store.spend().reserved == 0
    assert sorted(told) == sorted(("answered", f"key{i}") for i in range(50))


def test_asking_again_asks_nobody(store: Store) -> None:
    run(store, Script(lambda key, time: GOOD))
    again = Script(lambda key, time: GOOD)
    assert run(store, again) == Asked(already=10)
    assert not again.asked


def test_no_jobs_no_trouble(store: Store) -> None:
    assert run(store, Script(lambda key, time: GOOD), 0) == Asked()


def test_the_same_question_twice_in_one_list_is_asked_once(store: Store) -> None:
    oracle = Script(lambda key, time: GOOD)
    assert asyncio.run(ask(store, oracle, jobs(3) * 2, FAST)) == Asked(answered=3)
    assert set(oracle.asked.values()) == {1}


def test_trouble_that_passes_is_asked_again(store: Store) -> None:
    oracle = Script(lambda key, time: GOOD if time == 3 else Transient("503"))
    assert run(store, oracle) == Asked(answered=10)
    assert set(oracle.asked.values()) == {3}
    spend = store.spend()
    assert (spend.errors, spend.usd) == (20, pytest.approx(10 * 0.004))


def test_attempts_that_may_have_been_billed_cost_the_reserved_price(store: Store) -> None:
    run(store, Script(lambda key, time: GOOD if time == 2 else Transient("cut", billed=True)))
    assert store.spend().usd == pytest.approx(10 * (0.01 + 0.004))


def test_out_of_attempts_stays_open(store: Store) -> None:
    policy = Policy(attempts=3, wait_s=0.001, breaker=1000)
    assert run(store, Script(lambda key, time: Transient("503")), 10, policy) == Asked(given_up=10)
    assert store.spend().errors == 30
    assert len(store.open_calls()) == 10
    assert run(store, Script(lambda key, time: GOOD)) == Asked(answered=10)


def test_a_failed_call_is_not_asked_again(store: Store) -> None:
    oracle = Script(lambda key, time: CallFailed("too long") if key == "key3" else GOOD)
    assert run(store, oracle) == Asked(answered=9, failed=1)
    assert run(store, oracle) == Asked(already=10)
    assert oracle.asked["key3"] == 1


def test_a_plug_in_that_breaks_leaves_its_call_open_and_does_not_tell_the_text(store: Store) -> None:
    oracle = Script(lambda key, time: KeyError("secret words") if key == "key3" else GOOD)
    assert run(store, oracle) == Asked(answered=9, given_up=1)
    assert [call.key for call in store.open_calls()] == ["key3"]
    (body,) = bodies(store, "error")
    assert "KeyError" in body
    assert "secret" not in body


def test_a_plug_in_that_only_breaks_pauses_the_run(store: Store) -> None:
    oracle = Script(lambda key, time: ValueError("no"), in_flight=1)
    asked = run(store, oracle, 100)
    assert (asked.given_up, asked.failed) == (20, 0)
    assert "ValueError" in asked.paused
    assert run(store, Script(lambda key, time: GOOD), 100) == Asked(answered=100)


def test_a_set_up_error_ends_the_run_and_charges_nothing(store: Store) -> None:
    oracle = Script(lambda key, time: MissingExtra("vllm", "vllm", "oracle vllm"), in_flight=1)
    with pytest.raises(MissingExtra):
        run(store, oracle)
    assert store.spend().usd == 0


def test_a_doomed_quota_costs_at_most_one_call_a_place(store: Store) -> None:
    oracle = Script(lambda key, time: EndpointDown("quota spent: top up the account"), in_flight=8)
    asked = run(store, oracle, 200)
    assert asked == Asked(paused="quota spent: top up the account")
    assert sum(oracle.asked.values()) <= 8
    assert (store.spend().usd, store.spend().reserved) == (0, 0)
    assert run(store, Script(lambda key, time: GOOD), 200) == Asked(answered=200)


def test_what_is_in_flight_when_the_endpoint_goes_down_still_comes_in(store: Store) -> None:
    oracle = Script(lambda key, time: EndpointDown("gone") if key == "key5" else GOOD, in_flight=6, seconds=0.02)
    asked = run(store, oracle, 100)
    assert asked.paused == "gone"
    assert asked.answered == sum(oracle.asked.values()) - 1 == len(store.answers_since(0))


def test_the_breaker_opens_after_calls_in_a_row_came_to_nothing(store: Store) -> None:
    oracle = Script(lambda key, time: Transient("503"), in_flight=2)
    asked = run(store, oracle, 100, Policy(attempts=2, wait_s=0.001, breaker=5))
    assert asked.paused.startswith("5 calls in a row")
    assert asked.given_up <= 7
    assert sum(oracle.asked.values()) <= 14
    assert store.spend().reserved == 0


def test_an_endpoint_that_asks_for_too_long_a_wait_is_down(store: Store) -> None:
    oracle = Script(lambda key, time: Transient("429", after=3600.0), in_flight=4)
    asked = run(store, oracle, 100)
    assert "3600 s" in asked.paused
    assert sum(oracle.asked.values()) <= 4


def test_no_attempt_before_the_time_the_endpoint_asked_for(store: Store) -> None:
    times: dict[str, list[float]] = {}

    def steps(key: str, time_: int) -> Step:
        times.setdefault(key, []).append(time.monotonic())
        return GOOD if time_ == 2 else Transient("429", after=0.2)

    assert run(store, Script(steps, in_flight=4), 4) == Asked(answered=4)
    waits = [later - first for first, later in times.values()]
    assert min(waits) >= 0.2
    assert len({round(wait, 3) for wait in waits}) > 1  # jitter spreads them


def test_a_hanging_engine_meets_the_deadline_and_is_charged(store: Store) -> None:
    oracle = Script(lambda key, time: "hang" if time == 1 else GOOD, in_flight=10)
    assert run(store, oracle, 10, Policy(deadline_s=0.05, wait_s=0.001)) == Asked(answered=10)
    assert store.spend().usd == pytest.approx(10 * (0.01 + 0.004))


def test_the_budget_holds_and_cheap_answers_make_room(store: Store) -> None:
    # Five calls fit at the reserved price of 0.01; each then costs 0.004, so in the end 11 do: 11 * 0.004 + 0.01 > 0.05
    asked = run(store, Script(lambda key, time: GOOD, in_flight=8), 100, Policy(budget=Budget(0.05)))
    assert asked == Asked(answered=11, refused_by_budget=89)
    assert store.spend().usd <= 0.05


def test_retries_do_not_break_the_budget(store: Store) -> None:
    policy = Policy(budget=Budget(1.0), attempts=4, wait_s=0.001, breaker=10**6)
    oracle = Script(lambda key, time: Transient("cut", billed=True), in_flight=64)
    asked = run(store, oracle, 500, policy)
    assert asked.refused_by_budget > 0
    assert sum(oracle.asked.values()) == 100  # every attempt costs 0.01, and all the money is used
    assert store.spend().usd == pytest.approx(1.0)


def test_calls_that_cost_nothing_need_no_budget(store: Store) -> None:
    free = Script(lambda key, time: Answer("A"))
    assert run(store, free, 10, Policy(budget=Budget(0.0)), usd=0.0) == Asked(answered=10)


def test_an_interruption_lets_answers_in_and_leaves_the_rest_open(store: Store) -> None:
    all_in_flight = asyncio.Event()

    def steps(key: str, time_: int) -> Step:
        if len(oracle.asked) == 10:
            all_in_flight.set()
        return "hang" if key in ("key0", "key1") else GOOD

    oracle = Script(steps, in_flight=10, seconds=0.3)

    async def interrupted() -> None:
        task = asyncio.create_task(ask(store, oracle, jobs(100), Policy(grace_s=1.0)))
        await all_in_flight.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(interrupted())
    assert len(oracle.asked) == 10
    assert len(store.answers_since(0)) == 8
    assert store.spend().reserved == pytest.approx(0.02)  # two may have been charged; those never sent do not count
    assert store.cut_short(["small"]) == 2
    assert store.spend().usd == pytest.approx(8 * 0.004 + 0.02)
    assert run(store, Script(lambda key, time: GOOD), 100) == Asked(answered=92, already=8)


def test_a_full_disk_ends_the_run_with_its_mend(store: Store) -> None:
    def limit(pages: int) -> None:
        asyncio.run(store.do(lambda connection: connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}").all()))

    oracle = Script(lambda key, time: Answer("A" * 20_000, usd=0.001), in_flight=4)
    limit(150)
    with pytest.raises(StoreFull, match="free space"):
        run(store, oracle, 200)
    acknowledged = len(store.answers_since(0))
    assert 0 < acknowledged < 200
    limit(1_000_000)
    store.cut_short(["small"])
    assert run(store, oracle, 200).answered == 200 - acknowledged


class Far(Script):
    """The same, as an endpoint beyond this process."""

    def __init__(
        self, steps: Callable[[str, int], Step], in_flight: int, seconds: float = 0.001, a_minute: int | None = None
    ) -> None:
        super().__init__(steps, in_flight, seconds)
        self.traits = Traits("small", {}, in_flight=in_flight, hosts=("far",), requests_per_minute=a_minute)


def test_an_endpoint_is_asked_little_at_first_and_as_much_as_it_takes_when_that_pays(store: Store) -> None:
    oracle = Far(lambda key, time: GOOD, in_flight=40, seconds=0.05)
    first = asyncio.run(ask(store, oracle, jobs(6), FAST))
    assert (first.limit, oracle.peak) == (8, 6)
    more = asyncio.run(ask(store, oracle, jobs(400), FAST))
    assert more.answered == 394 and more.already == 6
    assert 8 < oracle.peak <= 40


def test_a_doomed_quota_costs_less_than_a_call_a_place_where_many_could_be_asked(store: Store) -> None:
    oracle = Far(lambda key, time: EndpointDown("quota spent: top up the account"), in_flight=256)
    assert run(store, oracle, 1000).paused == "quota spent: top up the account"
    assert sum(oracle.asked.values()) <= 8


def test_what_was_learnt_of_a_server_is_where_the_next_time_begins(store: Store) -> None:
    oracle, known = Far(lambda key, time: GOOD, in_flight=40, seconds=0.05), Learnt()
    first = asyncio.run(ask(store, oracle, jobs(400), FAST, learnt=known))
    oracle.peak = 0
    asyncio.run(ask(store, oracle, jobs(412)[400:], FAST, learnt=known))
    assert oracle.peak == min(first.limit, 12) > 8


def test_trouble_lowers_the_limit_and_is_asked_again_within_it(store: Store) -> None:
    def steps(key: str, time: int) -> Step:
        return GOOD if oracle._now <= 5 else Transient("429")

    oracle = Far(steps, in_flight=64, seconds=0.01)
    asked = asyncio.run(ask(store, oracle, jobs(300), Policy(attempts=50, wait_s=0.001, longest_wait_s=0.01)))
    assert asked == Asked(answered=300)
    assert asked.limit <= 12
    assert sum(oracle.asked.values()) < 600


def test_jobs_are_taken_as_they_are_wanted(store: Store) -> None:
    taken = 0

    def lazily() -> Iterator[tuple[Call, Prompt]]:
        nonlocal taken
        for job in jobs(500):
            taken += 1
            yield job

    ahead: list[int] = []
    oracle = Script(lambda key, time: GOOD, in_flight=4)
    asked = asyncio.run(
        ask(store, oracle, lazily(), FAST, lambda kind, call, answer: ahead.append(taken - len(oracle.asked)))
    )
    assert asked == Asked(answered=500)
    assert max(ahead) <= 2 * 4 + 8 + 4


def test_when_nothing_comes_back_any_more_the_run_pauses_long_before_all_attempts_are_spent(store: Store) -> None:
    oracle = Script(lambda key, time: GOOD if key in ("key0", "key1") else "hang", in_flight=4)
    asked = run(store, oracle, 100, Policy(deadline_s=0.2, stall_s=0.5, wait_s=0.001, attempts=1000, breaker=10**6))
    assert "no answer has come" in asked.paused
    assert asked.answered == 2
    assert sum(oracle.asked.values()) < 40
    assert store.spend().reserved == 0
    # whatever was under way may have been charged
    assert store.spend().usd == pytest.approx(2 * 0.004 + 0.01 * (sum(oracle.asked.values()) - 2))


def test_a_slow_oracle_that_answers_is_no_stall(store: Store) -> None:
    oracle = Script(lambda key, time: GOOD, in_flight=1, seconds=0.05)
    assert run(store, oracle, 10, Policy(deadline_s=0.1, stall_s=0.2)) == Asked(answered=10)


def test_an_oracle_may_give_its_questions_longer_than_we_do(store: Store) -> None:
    oracle = Script(lambda key, time: GOOD, in_flight=10, seconds=0.2)
    oracle.traits = replace(oracle.traits, deadline_s=30.0)
    assert run(store, oracle, 10, Policy(deadline_s=0.05, attempts=1)) == Asked(answered=10)


def test_a_limit_a_minute_is_kept(store: Store) -> None:
    sent: list[float] = []

    def steps(key: str, now: int) -> Step:
        sent.append(time.monotonic())
        return GOOD

    assert run(store, Far(steps, in_flight=8, a_minute=1200), 30) == Asked(answered=30)
    assert sent[-1] - sent[0] >= 10 / 20  # twenty at once, and then twenty a second


def test_rows_of_failed_attempts_say_what_they_may_have_taken(store: Store) -> None:
    steps: dict[str, Step] = {
        "key0": Transient("cut", billed=True),
        "key1": Transient("429"),
        "key2": CallFailed("no answer", billed=True),
        "key3": CallFailed("too long", billed=False),
        "key4": KeyError("a fault of the plug-in"),
    }
    asked_for = [(replace(call, tokens=500, requests=6), prompt) for call, prompt in jobs(5)]
    asyncio.run(ask(store, Script(lambda key, time: steps[key]), asked_for, Policy(attempts=1)))
    query = text("SELECT key, usd, tokens_in, requests FROM answers ORDER BY key")
    rows = asyncio.run(store.do(lambda connection: [tuple(row) for row in connection.execute(query)]))
    taken = {key: (usd, tokens, requests) for key, usd, tokens, requests in rows}
    full, one = (0.01, 500, 6), (0.0, 0, 1)
    assert taken == {"key0": full, "key1": one, "key2": full, "key3": one, "key4": full}


def test_no_more_connections_than_this_process_may_open_files(tmp_path: Path) -> None:
    script = """
import resource, logging, sys
from agent.ask import Learnt, Policy
from agent.types import Traits
logging.basicConfig(stream=sys.stdout, format="%(message)s")
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
class Far:
    traits = Traits("small", {}, in_flight=512, hosts=("far",))
learnt = Learnt()
for _ in range(3):
    learnt.begin(Far.traits, Policy(start=512))
print(learnt.limit.now)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    said, limit = done.stdout.splitlines()
    assert limit == "192"
    assert "ulimit -n 576" in said


def test_where_every_call_fails_from_the_first_it_is_not_the_items(store: Store) -> None:
    asked = run(store, Script(lambda key, time: CallFailed("the model answered nothing"), in_flight=1), 100)
    assert FAST.unread <= asked.given_up <= FAST.unread + 1  # one more was under way
    assert asked.failed == 0 and "the first 20 questions all failed" in asked.paused
    assert "the model answered nothing" in asked.paused
    assert run(store, Script(lambda key, time: GOOD), 100) == Asked(answered=100)


@pytest.mark.parametrize("in_flight", [1, 8])
def test_a_server_that_refuses_everything_after_a_while_costs_no_item(store: Store, in_flight: int) -> None:
    refused = CallFailed("too long", billed=False)
    oracle = Script(lambda key, time: GOOD if int(key[3:]) < 5 else refused, in_flight=in_flight)
    asked = run(store, oracle, 200)
    assert (asked.answered, asked.failed) == (5, 0)
    assert FAST.unread <= asked.given_up <= FAST.unread + in_flight
    assert "questions in a row failed after others" in asked.paused and "too long" in asked.paused
    assert (store.spend().usd, store.spend().reserved) == (pytest.approx(5 * GOOD.usd), 0)
    assert run(store, Script(lambda key, time: GOOD), 200) == Asked(answered=195, already=5)


def test_bad_items_are_closed_once_the_server_has_answered_another(store: Store) -> None:
    bad = {f"key{i}" for i in (*range(1, 16), *range(30, 45))}
    told: list[str] = []
    oracle = Script(lambda key, time: CallFailed("too long") if key in bad else GOOD, in_flight=1)
    asked = asyncio.run(ask(store, oracle, jobs(60), FAST, lambda kind, call, answer: told.append(kind)))
    assert asked == Asked(answered=30, failed=30)
    assert Counter(told) == {"answered": 30, "failed": 30}
    assert store.spend().usd == pytest.approx(30 * GOOD.usd + 30 * 0.01)


class Slow(Script):
    """The same, as an engine that takes its time before it may be asked."""

    loads: Step = "hang"
    loaded = 0

    async def ready(self) -> None:
        self.loaded += 1
        await asyncio.sleep(3600 if self.loads == "hang" else 0.6)
        if isinstance(self.loads, Exception):
            raise self.loads

    async def answer(self, prompt: Prompt) -> Answer:
        assert self.loaded
        return await super().answer(prompt)


def test_an_engine_may_load_longer_than_a_question_may_take(store: Store) -> None:
    oracle = Slow(lambda key, time: GOOD, in_flight=4)
    oracle.loads = GOOD
    assert run(store, oracle, 10, Policy(deadline_s=0.1, stall_s=0.2, attempts=1)) == Asked(answered=10)
    assert (oracle.loaded, store.spend().errors) == (1, 0)


def test_where_there_is_nothing_to_ask_nothing_is_loaded(store: Store) -> None:
    run(store, Script(lambda key, time: GOOD))
    oracle = Slow(lambda key, time: GOOD)
    assert run(store, oracle) == Asked(already=10) and oracle.loaded == 0


@pytest.mark.parametrize("error", [EndpointDown("cannot start"), MissingExtra("vllm", "vllm", "oracle vllm")])
def test_an_engine_that_cannot_be_loaded_is_asked_nothing(store: Store, error: Exception) -> None:
    oracle = Slow(lambda key, time: GOOD, in_flight=4)
    oracle.loads = error
    if isinstance(error, EndpointDown):
        assert run(store, oracle) == Asked(paused="cannot start")
    else:
        with pytest.raises(MissingExtra):
            run(store, oracle)
    assert not oracle.asked and store.spend().usd == 0


def test_an_engine_that_is_loading_can_be_interrupted(store: Store) -> None:
    async def main() -> None:
        work = asyncio.create_task(ask(store, Slow(lambda key, time: GOOD), jobs(4), Policy(grace_s=60.0)))
        await asyncio.sleep(0.2)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(work, 20)

    asyncio.run(main())
    assert store.answers_since(0) == []


PARKED = Transient("left alone for 0 s", after=0.0, sent=False)


def test_what_was_not_sent_is_no_attempt_and_books_nothing(store: Store) -> None:
    oracle = Script(lambda key, time: replace(GOOD, requests=1) if time > 12 else PARKED)
    made = [(replace(call, requests=1), prompt) for call, prompt in jobs(10)]
    policy = replace(FAST, attempts=3)
    assert asyncio.run(ask(store, oracle, made, policy)) == Asked(answered=10)
    assert set(oracle.asked.values()) == {13}
    spend = store.spend()
    assert (spend.errors, spend.reserved) == (0, 0)
    assert (spend.usd, spend.total.requests) == (pytest.approx(10 * GOOD.usd), 10)


def test_unsent_attempts_do_not_use_up_those_that_follow_real_trouble(store: Store) -> None:
    def steps(key: str, time: int) -> Step:
        return Transient("503") if time == 1 else PARKED if time < 9 else GOOD

    assert run(store, Script(steps), 10, replace(FAST, attempts=2)) == Asked(answered=10)
    assert store.spend().errors == 10


def test_an_endpoint_that_stays_parked_is_a_pause_with_nothing_reserved(store: Store) -> None:
    policy = replace(FAST, stall_s=0.4, deadline_s=0.2)
    asked = run(store, Script(lambda key, time: PARKED), 10, policy)
    assert "no answer has come" in asked.paused and "left alone" in asked.paused
    assert store.spend().reserved == 0
    assert run(store, Script(lambda key, time: GOOD)) == Asked(answered=10)


def test_an_interruption_while_an_endpoint_is_left_alone_frees_what_was_reserved(store: Store) -> None:
    async def main() -> None:
        parked = Transient("left alone for 60 s", after=60.0, sent=False)
        work = asyncio.create_task(ask(store, Script(lambda key, time: parked), jobs(4), FAST))
        await asyncio.sleep(0.2)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work

    asyncio.run(main())
    assert (store.spend().usd, store.spend().reserved) == (0, 0)
