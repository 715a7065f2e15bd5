"""The budget in dollars, tokens and calls: never exceeded, whoever writes; ledgers from before there were three."""

import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.cli import limits
from agent.errors import MissingExtra, UserError
from agent.oracles import _bodies, _weights
from agent.store import Store
from agent.types import Answer, Budget, Call, Item, Message, Prompt, Question


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "ledger.db") as store:
        yield store


def call(i: int | str, usd: float = 0.01, tokens: int = 100, requests: int = 1, annotator: str = "far") -> Call:
    return Call(f"key{i}", "r", f"item{i}", annotator, usd=usd, tokens=tokens, requests=requests)


def names(calls: list[Call]) -> list[str]:
    return [c.key for c in calls]


# What is granted -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("budget", "granted", "short"),
    [
        (Budget(usd=0.025), 2, "usd"),
        (Budget(tokens=399), 3, "tokens"),
        (Budget(calls=4), 4, "calls"),
        (Budget(usd=0.03, tokens=200, calls=1), 1, "calls"),
        (Budget(usd=0.05, tokens=500, calls=5), 5, ""),
        (Budget(), 5, ""),
        (None, 5, ""),
    ],
)
def test_each_of_the_three_can_run_out(store: Store, budget: Budget | None, granted: int, short: str) -> None:
    import asyncio

    result = asyncio.run(store.areserve([call(i) for i in range(5)], budget))
    assert (len(result.granted), len(result.refused), result.short) == (granted, 5 - granted, short)


def test_an_engine_in_this_process_is_outside_tokens_and_calls(store: Store) -> None:
    inside = [call(i, usd=0.0, tokens=10**9, requests=0, annotator="small") for i in range(3)]
    tight = Budget(usd=1.0, tokens=100, calls=1)
    assert names(store.reserve([call("a"), call("b"), *inside], tight)) == ["keya", "key0", "key1", "key2"]
    store.record_now("key0", Answer("A", tokens_in=500, tokens_out=1))
    store.record_now("keya", Answer("A", usd=0.01, tokens_in=90, tokens_out=1, requests=1))
    total = store.spend().total
    assert (total.tokens, total.requests, total.held_tokens, total.held_requests) == (91, 1, 0, 0)
    assert total.tokens_in == 590
    assert store.reserve([call("c", tokens=9)], tight) == []
    assert names(store.reserve([call("c", tokens=9)], Budget(tokens=100, calls=2))) == ["keyc"]


def test_what_takes_nothing_of_what_is_limited_passes_those_that_do_not_fit(store: Store) -> None:
    dear, free = call(1, usd=2.0), call(2, usd=0.0)
    assert names(store.reserve([dear, call(3, usd=0.5), free], Budget(usd=1.0))) == ["key2"]


def test_what_came_back_replaces_what_was_put_by(store: Store) -> None:
    budget = Budget(tokens=250, calls=3)
    assert names(store.reserve([call(1), call(2), call(3)], budget)) == ["key1", "key2"]
    store.record_now("key1", Answer("A", usd=0.001, tokens_in=40, tokens_out=2, requests=1))
    store.record_now("key2", Answer(""), "error", "refused before it was sent")
    assert store.spend().total.tokens == 42
    assert names(store.reserve([call(2), call(3)], budget)) == ["key2", "key3"]
    assert store.reserve([call(4)], budget) == []
    usage = store.spend().by["far"]
    assert (usage.tokens, usage.requests, usage.held_tokens, usage.held_requests) == (42, 1, 200, 2)
    assert store.cut_short(["far"]) == 2
    usage = store.spend().by["far"]
    assert (usage.tokens, usage.requests, usage.held_tokens, usage.held_requests) == (242, 3, 0, 0)


def test_a_call_that_grew_dearer_is_topped_up(store: Store) -> None:
    budget = Budget(usd=1.0, tokens=1000, calls=10)
    store.reserve([call(1, usd=0.5, tokens=100, requests=1)], budget)
    assert names(store.reserve([call(1, usd=0.1, tokens=900, requests=6)], budget)) == ["key1"]
    usage = store.spend().total
    assert (usage.reserved, usage.held_tokens, usage.held_requests) == (0.5, 900, 6)
    assert store.reserve([call(1, usd=0.1, tokens=1001, requests=6)], budget) == []


# Whatever happens ----------------------------------------------------------------------------------------------------

KEYS = st.integers(0, 9)
STEP = st.one_of(
    st.tuples(st.just("reserve"), st.lists(KEYS, min_size=1, max_size=6), st.integers(1, 3)),
    st.tuples(st.sampled_from(["ok", "error", "billed", "failed", "withdrawn"]), KEYS, st.floats(0, 1)),
    st.tuples(st.just("cut"), st.just(0), st.just(0)),
    st.tuples(st.just("reopen"), st.just(0), st.just(0)),
)
LIMITS = st.builds(
    Budget,
    st.one_of(st.none(), st.floats(0.01, 0.3)),
    st.one_of(st.none(), st.integers(0, 3000)),
    st.one_of(st.none(), st.integers(0, 25)),
)


def wish(i: int, factor: int) -> Call:
    """Key 9 is an engine in this process."""
    return call(i, 0.003 * (i + 1) * factor, 60 * (i + 1) * factor, 0 if i == 9 else factor)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.booleans(), STEP), max_size=25), budget=LIMITS)
def test_no_order_of_events_in_two_ledgers_breaks_any_of_the_three(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[bool, tuple[str, object, object]]], budget: Budget
) -> None:
    path = tmp_path_factory.mktemp("two") / "ledger.db"
    both = [Store.open(path), Store.open(path)]
    held: dict[str, Call] = {}
    try:
        for first, (verb, what, much) in steps:
            store = both[first]
            if verb == "reserve":
                wanted = [wish(i, int(str(much))) for i in dict.fromkeys(what)]  # type: ignore[call-overload]
                for one in store.reserve(wanted, budget):
                    before = held.get(one.key, one)
                    held[one.key] = max(before, one, key=lambda c: c.tokens)
            elif verb == "cut":
                store.cut_short(["far"])
                held.clear()
            elif verb == "reopen":
                both[first].close()
                both[first] = Store.open(path)
            elif (one_held := held.pop(f"key{what}", None)) is not None:
                end(store, one_held, verb, float(str(much)))
            within(both[not first], budget, held)
        for store in both:
            knows_all(store, budget)
        assert both[0].verify() == []
    finally:
        for store in both:
            store.close()


def end(store: Store, held: Call, verb: str, share: float) -> None:
    """An attempt comes to an end having taken no more than it might."""
    if verb == "withdrawn":
        store.withdraw(held.key, "ann")
        return
    share = {"billed": 1.0, "ok": share, "failed": share}.get(verb, 0.0)
    sent = held.requests and (max(1, int(held.requests * share)) if share else 0)
    took = Answer("", usd=held.usd * share, tokens_in=int(held.tokens * share), requests=sent)
    store.record_now(held.key, took, "error" if verb in ("error", "billed") else verb)  # type: ignore[arg-type]


def committed(store: Store) -> tuple[float, int, int]:
    """By SQL over all rows, not from the running sums."""
    total = store.spend().total
    return total.usd + total.reserved, total.tokens + total.held_tokens, total.requests + total.held_requests


def within(store: Store, budget: Budget, held: dict[str, Call]) -> None:
    usd, tokens, requests = committed(store)
    assert budget.usd is None or usd <= budget.usd + 1e-9
    assert budget.tokens is None or tokens <= budget.tokens
    assert budget.calls is None or requests <= budget.calls
    total = store.spend().total
    assert total.reserved == pytest.approx(sum(c.usd for c in held.values()))
    assert total.held_tokens == sum(c.tokens for c in held.values() if c.requests)
    assert total.held_requests == sum(c.requests for c in held.values())


def knows_all(store: Store, budget: Budget) -> None:
    """The running sums are those of the tables: exactly what is left is granted, and not one more."""
    usd, tokens, requests = committed(store)
    fits = call("probe", 0.25, 7, 2)
    for less in (Budget(usd + 0.2499, None, None), Budget(None, tokens + 6, None), Budget(None, None, requests + 1)):
        assert store.reserve([fits], less) == []
    assert store.reserve([fits], Budget(usd + 0.2501, tokens + 7, requests + 2)) == [fits]
    store.record_now("keyprobe", Answer(""), "error", "given back")


SPENDER = """
    import asyncio, random, sys
    from agent.store import Store
    from agent.types import Answer, Budget, Call
    path, name = sys.argv[1:]
    chance = random.Random(name)
    budget = Budget(5.0, 50_000, 700)
    async def one(store, i):
        call = Call(f"{name}{i}", "r", "item", "far", usd=0.01, tokens=200, requests=2)
        for attempt in range(3):
            if not (await store.areserve([call], budget)).granted:
                return
            await asyncio.sleep(chance.random() / 500)
            if chance.random() < 0.3:
                await store.record(call.key, Answer("", usd=0.01, tokens_in=200, requests=2), "error", "time-out")
            else:
                used = int(200 * chance.random())
                await store.record(call.key, Answer("A", usd=0.001, tokens_in=used, requests=1))
                return
    async def main(store):
        places = asyncio.Semaphore(256)
        async def placed(i):
            async with places:
                await one(store, i)
        await asyncio.gather(*(placed(i) for i in range(500)))
    with Store.open(path) as store:
        asyncio.run(main(store))
"""


def test_two_processes_with_256_in_flight_and_retries_stay_within_all_three(store: Store, tmp_path: Path) -> None:
    command = [sys.executable, "-c", textwrap.dedent(SPENDER), str(tmp_path / "ledger.db")]
    processes = [subprocess.Popen([*command, name]) for name in ("one", "two")]
    most = (0.0, 0, 0)
    while any(process.poll() is None for process in processes):
        now = committed(store)
        most = (max(most[0], now[0]), max(most[1], now[1]), max(most[2], now[2]))
        time.sleep(0.01)
    assert [process.returncode for process in processes] == [0, 0]
    assert most[0] <= 5.0 + 1e-9 and most[1] <= 50_000 and most[2] <= 700
    total = store.spend().total
    assert 300 < total.requests <= 700
    assert (total.reserved, total.held_tokens, total.held_requests) == (0, 0, 0)
    assert store.verify() == []


# A ledger of version 1 -----------------------------------------------------------------------------------------------

VERSION_1 = """
CREATE TABLE meta (name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE calls (seq INTEGER NOT NULL PRIMARY KEY, "key" TEXT NOT NULL UNIQUE, recipe TEXT NOT NULL,
  item TEXT NOT NULL, annotator TEXT NOT NULL, sample INTEGER NOT NULL, purpose TEXT NOT NULL,
  probability FLOAT NOT NULL, usd FLOAT NOT NULL, turn INTEGER NOT NULL, at FLOAT NOT NULL);
CREATE TABLE retries (seq INTEGER NOT NULL PRIMARY KEY, "key" TEXT NOT NULL, usd FLOAT NOT NULL,
  "after" INTEGER NOT NULL, at FLOAT NOT NULL);
CREATE TABLE answers (seq INTEGER NOT NULL PRIMARY KEY, "key" TEXT NOT NULL, status TEXT NOT NULL,
  body TEXT NOT NULL, usd FLOAT NOT NULL, tokens_in INTEGER NOT NULL, tokens_out INTEGER NOT NULL,
  tokens_cached INTEGER NOT NULL, served_model TEXT NOT NULL, who TEXT NOT NULL, seconds FLOAT NOT NULL,
  at FLOAT NOT NULL);
CREATE TRIGGER meta_no_update BEFORE UPDATE ON meta BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER calls_no_update BEFORE UPDATE ON calls BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER answers_no_delete BEFORE DELETE ON answers BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
INSERT INTO meta VALUES ('schema', '1');
INSERT INTO calls VALUES (1, 'key1', 'r', 'item1', 'far', 0, 'pick', 1.0, 0.4, 1, 0);
INSERT INTO calls VALUES (2, 'key2', 'r', 'item2', 'far', 0, 'pick', 1.0, 0.3, 1, 0);
INSERT INTO calls VALUES (3, 'key3', 'r', 'item3', 'far', 0, 'pick', 1.0, 0.2, 1, 0);
INSERT INTO answers VALUES (1, 'key1', 'ok', '{"text":"A"}', 0.1, 30, 2, 0, 'm', '', 0.5, 0);
INSERT INTO answers VALUES (2, 'key3', 'error', '{"text":""}', 0.0, 0, 0, 0, '', '', 0, 0);
INSERT INTO retries VALUES (1, 'key3', 0.2, 2, 0);
"""


def test_a_ledger_of_version_1_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    old = sqlite3.connect(path)
    old.executescript(VERSION_1)
    old.close()
    for _ in range(2):  # brought up once, then as any other
        with Store.open(path) as store:
            assert store.verify() == []
            total = store.spend().total
            assert (total.usd, total.reserved, total.tokens, total.requests) == (0.1, pytest.approx(0.5), 0, 0)
            ((_, first, answer),) = store.answers_since(0)
            assert (first.tokens, first.requests, answer.tokens_in, answer.requests) == (0, 0, 30, 0)
    with Store.open(path) as store:
        assert store.reserve([call(4, usd=0.5)], Budget(1.0)) == []
        assert names(store.reserve([call(4, usd=0.4)], Budget(1.0, 100, 1))) == ["key4"]
        assert store.record_now("key2", Answer("B", usd=0.2, tokens_in=50, requests=1))
        assert store.spend().total.tokens == 50
        assert store.cut_short(["far"]) == 2
    stranger = sqlite3.connect(path)
    assert stranger.execute("SELECT value FROM meta WHERE name = 'schema'").fetchall() == [("4",)]
    for change in ("UPDATE meta SET value = '1'", "UPDATE calls SET tokens = 0", "DELETE FROM answers"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            stranger.execute(change)
    stranger.close()


# As it is said -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "number"),
    [("2M", 2_000_000), ("500k", 500_000), ("1.5m", 1_500_000), ("12", 12), ("1_000", 1000), ("3G", 3 * 10**9)],
)
def test_numbers_as_people_write_them(text: str, number: int) -> None:
    assert limits.count("--budget-tokens", text) == number


def test_what_is_no_number_is_said_to_be_none() -> None:
    assert limits.count("--budget-calls", "none") is None
    assert limits.dollars("None") is None
    assert limits.dollars("$5") == 5.0
    for text in ("many", "-1", "1.2345k5", "0.5", "inf", "", "1e400"):
        with pytest.raises(UserError, match="--budget-calls"):
            limits.count("--budget-calls", text)
    for text in ("much", "-1", "inf", "nan"):
        with pytest.raises(UserError, match="--budget"):
            limits.dollars(text)


# The most a text may be ----------------------------------------------------------------------------------------------

KINDS = st.one_of(
    st.text(max_size=300),
    st.text("0123456789", max_size=300),
    st.text("0123456789abcdef-", max_size=300),
    st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=", max_size=300),
    st.text("abcdefghijklmnopqrstuvwxyz ", max_size=300),
    st.text("(){}[];:=<>!&|\n\t  _.,'\"\\abxyz019", max_size=300),
    st.text(st.characters(min_codepoint=0x900, max_codepoint=0x97F), max_size=100),  # some grow when composed (NFC)
    st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF), max_size=100),
    st.text(st.characters(min_codepoint=0x1F300, max_codepoint=0x1FAFF), max_size=100),
    st.text(st.characters(min_codepoint=0xFB1D, max_codepoint=0xFDFF), max_size=100),
)


@pytest.fixture(scope="module")
def tokenizers() -> list[object]:
    """Those of the models at hand, SmolLM2's and, where it is installed, Gemma's."""
    tokenizers = pytest.importorskip("tokenizers")
    found = []
    for model in ("auto", _weights.GEMMA):
        try:
            folder = _weights.load(_weights.find(model))
        except (MissingExtra, UserError):
            continue
        found.append(tokenizers.Tokenizer.from_file(str(Path(folder) / "tokenizer.json")))
    return found or pytest.skip("no model is installed here")


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=KINDS)
def test_no_text_is_more_tokens_than_are_reserved_for_it(tokenizers, text: str) -> None:
    asked = Prompt("key", Question(Item("i", ()), ()), (Message("user", text),))
    for one in tokenizers:
        assert len(one.encode(text.encode("utf-8", "replace").decode()).ids) <= _bodies.tokens(asked)
