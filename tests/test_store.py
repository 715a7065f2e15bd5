"""The ledger: once only, within the budget, durable, and never changed."""

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from agent.errors import Damaged, TutelageError, UserError
from agent.store import Store
from agent.store.guides import New
from agent.store.moves import Move
from agent.store.schema import APPEND_ONLY
from agent.types import Answer, Budget, Call, Decision, SetAside

GOOD = Answer("A", {"A": -0.1, "B": -2.5}, usd=0.004, tokens_in=10, tokens_out=1, tokens_cached=5, served_model="m-1")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "ledger.db") as store:
        yield store


def call(i: int, usd: float = 0.01, annotator: str = "small", recipe: str = "r") -> Call:
    return Call(f"key{i}", recipe, f"item{i}", annotator, usd=usd, turn=1)


def people(n: int) -> list[Call]:
    return [call(i, 0.0, "person") for i in range(n)]


# Rows are added, never changed ---------------------------------------------------------------------------------------


def test_history_cannot_be_changed_even_by_a_stranger(store: Store, tmp_path: Path) -> None:
    store.add_items(["a"], ["1"], "part-0")
    store.add_set_aside([SetAside("f.csv", 3, "empty")])
    store.add_source("f", "f.csv", 1, 1)
    store.reserve([call(1)], None)
    store.record_now("key1", Answer(""), "error", "503")
    store.reserve([call(1)], None)
    store.record_now("key1", GOOD)
    store.begin_turn(1, 0, "c", "0.1")
    store.end_turn(1, {})
    store.decide([Decision("a", "accept", "small", "x", 0.9)])
    store.add_certificate("s", {})
    store.add_commitment(2, "s", {"plan": [1]})
    assert store.commitments()[0]["body"] == {"plan": [1]}
    store.escalate([call(2, 0.0, "person")], "r", ["a"], 1)
    assert store.send_out("small", [call(3)], None, {})[0] == "small-0001"
    store.review.set_person("ada", "owner", "0" * 64)
    store.review.open_session("1" * 64, store.review.people()["ada"])
    assert store.review.add_guide(New("2" * 64, {"text": "how"}, 0), "ada") == 1
    assert store.review.propose("3" * 16, "a", {"text": "so"}, "ada")
    move = Move("rename", {"flag": "carried: x"}, "r", "r2", store.review.upto(), (2, 0, "c", "0.1"))
    assert store.review.relabel(move)
    store.review.add_worths(1, [("a", 0.5, "a")])
    store.review.show("ada", "a")
    store.review.note("ada", "a", "guess")
    stranger = sqlite3.connect(tmp_path / "ledger.db")
    for table in APPEND_ONLY:
        assert stranger.execute(f"SELECT count(*) FROM {table}").fetchone()[0] > 0, table
        for change in (f"UPDATE {table} SET rowid = rowid + 7", f"DELETE FROM {table}"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                stranger.execute(change)
    stranger.close()
    assert store.verify() == []


def test_a_session_ends_with_its_token(store: Store) -> None:
    review = store.review
    review.set_person("ada", "annotator", "0" * 64)
    review.open_session("1" * 64, review.people()["ada"])
    found = review.session("1" * 64, 60)
    assert found is not None and (found.name, found.role) == ("ada", "annotator")
    assert review.session("2" * 64, 60) is None
    assert review.session("1" * 64, -1) is None  # too old
    review.set_person("ada", "owner", "0" * 64)
    found = review.session("1" * 64, 60)
    assert found is not None and found.role == "owner"  # the same token, another role
    review.set_person("ada", "owner", "9" * 64)
    assert review.session("1" * 64, 60) is None  # a new token
    review.set_person("ada", "owner", "0" * 64)
    review.set_person("ada", "gone", "0" * 64)
    assert review.session("1" * 64, 60) is None


def test_guidelines_have_versions_and_worths_a_last_word(store: Store) -> None:
    review = store.review
    assert review.guides() == []
    assert review.add_guide(New("a", {"text": "one"}, 0), "ada") == 1
    assert review.add_guide(New("a", {"text": "one"}, 1), "bob") == 1  # nothing new
    assert review.add_guide(New("b", {"text": "two"}, 1), "bob") == 2
    assert review.add_guide(New("c", {"text": "late"}, 1), "ada") is None  # made from what is not in force any more
    assert review.add_guide(New("a", {"text": "one"}, 2), "bob") == 3
    assert [g.version for g in review.guides(2)] == [2, 3]
    assert [(g.version, g.body["text"], g.who) for g in review.guides()] == [
        (1, "one", "ada"), (2, "two", "bob"), (3, "one", "bob")
    ]  # fmt: skip
    review.add_worths(1, [("x", 0.5, "x"), ("y", 0.25, "x")])
    last, found = review.worths()
    assert found == {"x": (0.5, "x"), "y": (0.25, "x")}
    review.add_worths(2, [("x", 0.125, "y")])
    assert review.worths(last)[1] == {"x": (0.125, "y")}
    assert review.worths()[1] == {"x": (0.125, "y"), "y": (0.25, "x")}


def test_what_goes_in_comes_out(store: Store) -> None:
    odd = 'nul \0, lone \ud800, quote " and 日本語'
    sent = Call("k", "r", "item", "small", 3, "audit", 0.25, 0.5, 7, 900, 2)
    assert store.reserve([sent], Budget(1.0)) == [sent]
    answer = Answer(odd, {"A": -0.5}, 0.1, 1, 2, 3, "model", True, "ann", 1.5, ("truncated", odd), 2, ("x", odd), odd)
    assert store.record_now("k", answer)
    assert store.answers_since(0) == [(1, sent, answer)]
    assert store.answers_since(1) == []
    assert store.answers_since(0, ["other"]) == []
    assert store.answers_since(0, ["r"])[0][1] == sent
    assert store.calls(["k", "none"]) == {"k": sent}


def test_odd_names_do_not_break_it(store: Store) -> None:
    store.add_items(["a", "b", "c"], ["x\0y", "\ud800", None], "part-0")
    assert store.names() == ["x\\x00y", "\\ud800", None]
    store.reserve(people(1), None)
    assert store.record_now("key0", Answer("A", who="an\0n", served_model="\udfff"))
    assert store.lease("key0", "\ud800", 10)


def test_a_ledger_reopened_is_the_same(tmp_path: Path) -> None:
    with Store.open(tmp_path / "sub" / "ledger.db") as store:
        store.reserve([call(1), call(2)], None)
        store.record_now("key1", GOOD)
        store.begin_turn(4, 9, "sha", "0.1")
    with Store.open(tmp_path / "sub" / "ledger.db") as store:
        assert [seq for seq, _, _ in store.answers_since(0)] == [1]
        assert store.open_calls() == [call(2)]
        assert store.last_turn() == 4
        assert store.spend().reserved == pytest.approx(0.01)


def test_a_newer_ledger_is_refused(tmp_path: Path) -> None:
    Store.open(tmp_path / "ledger.db").close()
    stranger = sqlite3.connect(tmp_path / "ledger.db")
    stranger.executescript("DROP TRIGGER meta_no_update; UPDATE meta SET value = '99' WHERE name = 'schema'")
    stranger.close()
    with pytest.raises(UserError, match="newer tutelage"):
        Store.open(tmp_path / "ledger.db")


def test_what_is_no_ledger_is_named(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"not a database, but long enough to be read as one" * 100)
    with pytest.raises(Damaged, match="no database"):
        Store.open(tmp_path / "ledger.db")
    with pytest.raises(UserError, match=r"run\.store"):
        Store.open("mysql://host/db")
    with pytest.raises(UserError, match="outlive"):
        Store.open("sqlite://")


def test_verify_finds_a_dropped_guard_and_a_lonely_answer(store: Store, tmp_path: Path) -> None:
    store.decide([Decision("nobody", "ask", "small", "x", 0.5)])
    stranger = sqlite3.connect(tmp_path / "ledger.db")
    stranger.executescript("DROP TRIGGER answers_no_delete")
    row = "'k', 'ok', '{', -1, 0, 0, 0, '', '', 0, 0"
    stranger.execute(
        "INSERT INTO answers (key, status, body, usd, tokens_in, tokens_out, tokens_cached, served_model, who, seconds,"
        f" at) VALUES ({row})"
    )
    stranger.commit()
    stranger.close()
    found = " ".join(store.verify())
    for words in ("guard against DELETE", "belong to no call", "negative price", "not in the pool", "cannot be read"):
        assert words in found


# The pool ------------------------------------------------------------------------------------------------------------


def test_taking_in_twice_adds_nothing(store: Store) -> None:
    assert store.add_items(["b", "a"], ["1", None], "part-0") == 2
    assert store.add_items(["a", "c", "b"], [None, "3", "1"], "part-1") == 1
    assert store.item_ids() == ["b", "a", "c"]
    assert store.names() == ["1", None, "3"]
    assert store.shards() == ["part-0", "part-1"]
    rows = [SetAside("f.csv", 1, "empty"), SetAside("f.csv", 2, "no text")]
    assert store.add_set_aside(rows) == 2
    assert store.add_set_aside(rows[:1]) == 0
    assert store.set_aside() == rows
    assert not store.source_seen("f")
    assert store.add_source("f", "f.csv", 5, 3)
    assert not store.add_source("f", "f.csv", 5, 3)
    assert store.source_seen("f")


# Once only -----------------------------------------------------------------------------------------------------------


def test_one_good_answer_a_call_whoever_hurries(store: Store) -> None:
    store.reserve([call(i) for i in range(20)], None)

    async def hurry() -> list[bool]:
        return await asyncio.gather(*(store.record(f"key{i % 20}", GOOD) for i in range(400)))

    kept = asyncio.run(hurry())
    assert sum(kept) == 20
    from_threads: list[bool] = []
    threads = [threading.Thread(target=lambda: from_threads.append(store.record_now("key3", GOOD))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert from_threads == [False] * 8
    assert len(store.answers_since(0)) == 20
    found = store.spend()
    assert (found.calls, found.answers, found.errors) == (20, 20, 388)
    assert found.usd == pytest.approx(408 * GOOD.usd)  # what came late was paid for, too


def test_an_answer_to_what_was_never_asked_is_refused_alone(store: Store) -> None:
    store.reserve([call(1)], None)

    async def both() -> list[object]:
        return await asyncio.gather(store.record("stray", GOOD), store.record("key1", GOOD), return_exceptions=True)

    stray, good = asyncio.run(both())
    assert isinstance(stray, TutelageError)
    assert good is True


def test_one_mistake_does_not_spoil_its_neighbours(store: Store) -> None:
    store.reserve([call(i) for i in range(10)], None)

    async def mixed() -> list[object]:
        wrong = store.do(lambda connection: connection.execute(text("SELECT * FROM nowhere")))
        update = store.do(lambda connection: connection.execute(text("UPDATE calls SET usd = 0")))
        rows = [store.record(f"key{i}", GOOD) for i in range(10)]
        return await asyncio.gather(*rows[:5], wrong, update, *rows[5:], return_exceptions=True)

    results = asyncio.run(mixed())
    assert results[:5] + results[7:] == [True] * 10
    assert all(isinstance(error, Exception) for error in results[5:7])
    assert len(store.answers_since(0)) == 10
    assert store.verify() == []


def test_withdrawing_takes_question_and_answer_back(store: Store) -> None:
    store.reserve(people(3), None)
    store.record_now("key0", Answer("A", who="ann"))
    assert store.withdraw("key0", "ann")
    assert not store.withdraw("key0", "ann")
    assert store.withdraw("key1", "ann")
    assert not store.record_now("key1", Answer("B", who="bob"))
    assert store.answers_since(0) == []
    taken_back = [(seq, call.key) for seq, status, call, _ in store.events_since(1, ["r"]) if status == "withdrawn"]
    assert taken_back == [(2, "key0"), (3, "key1")]
    assert [c.key for c in store.open_calls(people=True)] == ["key2"]
    assert store.reserve(people(3), None) == people(3)[2:]
    with pytest.raises(TutelageError, match="not in the ledger"):
        store.withdraw("stray", "ann")


def test_open_calls_by_whom_they_wait_for(store: Store) -> None:
    store.reserve([*people(2), call(2), call(3, annotator="large"), call(4)], None)
    store.record_now("key4", Answer(""), "failed", "too long")
    store.record_now("key2", Answer(""), "error", "503")
    assert [c.key for c in store.open_calls()] == ["key0", "key1", "key2", "key3"]
    assert [c.key for c in store.open_calls(people=True)] == ["key0", "key1"]
    assert [c.key for c in store.open_calls(people=False)] == ["key2", "key3"]
    assert [c.key for c in store.open_calls("large")] == ["key3"]


# Money ---------------------------------------------------------------------------------------------------------------


def test_reserve_goes_in_order_until_the_budget_is_promised(store: Store) -> None:
    wanted = [call(1, 0.4), call(2, 0.4), call(3, 0.4), call(4, 0.1), *people(1)]
    assert [c.key for c in store.reserve(wanted, Budget(1.0))] == ["key1", "key2", "key0"]
    assert store.reserve([call(5, 0.3)], Budget(1.0)) == []
    store.record_now("key1", Answer("A", usd=0.1))
    assert store.reserve([call(5, 0.3)], Budget(1.0)) == [call(5, 0.3)]
    assert store.spend().usd + store.spend().reserved == pytest.approx(0.1 + 0.4 + 0.3)
    assert store.reserve([call(1, 0.4)], None) == []  # answered
    assert store.reserve([call(2, 0.4)], Budget(1.0)) == [call(2, 0.4)]  # open: its money is put by already
    assert store.spend().reserved == pytest.approx(0.7)


def test_an_attempt_that_failed_gives_its_money_back_or_spends_it(store: Store) -> None:
    store.reserve([call(1, 0.6)], Budget(1.0))
    store.record_now("key1", Answer("", usd=0.0), "error", "503")
    assert store.spend().reserved == 0
    assert store.reserve([call(1, 0.6)], Budget(1.0))
    assert store.spend().reserved == pytest.approx(0.6)
    store.record_now("key1", Answer("", usd=0.6), "error", "time-out")
    assert store.reserve([call(1, 0.6)], Budget(1.0)) == []
    assert store.reserve([call(2, 0.4)], Budget(1.0))


def test_cut_short_charges_what_was_under_way_and_nothing_else(tmp_path: Path) -> None:
    with Store.open(tmp_path / "ledger.db") as store:
        store.reserve([call(i) for i in range(6)] + [call(6, 0.5, "large")] + [call(7, 0.0, "person")], None)
        store.record_now("key0", GOOD)
        store.record_now("key1", Answer(""), "failed", "too long")
        store.record_now("key2", Answer(""), "error", "503")  # was waiting for its second attempt: nothing in flight
        store.record_now("key3", Answer(""), "error", "503")
        store.reserve([call(3)], None)  # in its second attempt
    with Store.open(tmp_path / "ledger.db") as store:
        assert store.spend().by["small"].reserved == pytest.approx(0.03)
        assert store.cut_short(["small"]) == 3
        assert store.spend().by["small"].usd == pytest.approx(0.004 + 0.03)
        assert store.spend().by["large"].reserved == pytest.approx(0.5)
        assert store.cut_short(["small"]) == 0
        assert store.cut_short(["large", "person"]) == 1
        assert store.spend().reserved == 0
        again = store.reserve([call(i) for i in range(6)], Budget(0.574))  # 0.534 are spent: four more at 0.01
        assert [c.key for c in again] == ["key2", "key3", "key4", "key5"]
        assert store.verify() == []


STEP = st.one_of(
    st.tuples(st.just("reserve"), st.lists(st.integers(0, 11), min_size=1, max_size=6)),
    st.tuples(st.sampled_from(["ok", "error", "billed", "failed", "withdrawn"]), st.integers(0, 11)),
    st.tuples(st.just("cut"), st.just(0)),
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.booleans(), STEP), max_size=20), budget=st.floats(0.01, 0.2))
def test_two_writers_keep_one_account(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[bool, tuple[str, object]]], budget: float
) -> None:
    """Whatever two open ledgers do in turns to one file, money never exceeds the budget and both know all of it."""
    path = tmp_path_factory.mktemp("two") / "ledger.db"
    with Store.open(path) as one, Store.open(path) as two:
        under_way: set[str] = set()
        for first, (verb, what) in steps:
            store = one if first else two
            if verb == "reserve":
                wanted = [call(i, 0.002 * (i + 1)) for i in dict.fromkeys(what)]  # type: ignore[call-overload]
                under_way |= {c.key for c in store.reserve(wanted, Budget(budget))}
            elif verb == "cut":
                store.cut_short(["small"])
                under_way.clear()
            elif (key := f"key{what}") in under_way:
                usd = {"ok": 0.001, "billed": 0.002 * (int(str(what)) + 1)}.get(verb, 0.0)
                status = "error" if verb == "billed" else verb
                if status == "withdrawn":
                    store.withdraw(key, "ann")
                else:
                    store.record_now(key, Answer("", usd=usd), status)  # type: ignore[arg-type]
                under_way.discard(key)
            spend = two.spend() if first else one.spend()
            assert spend.usd + spend.reserved <= budget + 1e-9
            held = {c.key for c in one.open_calls()} & under_way
            assert spend.reserved == pytest.approx(sum(0.002 * (int(k[3:]) + 1) for k in held))
        assert one.verify() == []


# Turns, decisions, certificates, leases ------------------------------------------------------------------------------


def test_turns_and_their_outcomes(store: Store) -> None:
    assert store.last_turn() == 0
    store.begin_turn(1, 0, "sha", "0.1")
    store.begin_turn(1, 0, "sha", "0.1")
    store.end_turn(1, {"student": "model/1", "metrics": {"accuracy": 0.9}})
    store.begin_turn(2, 0, "sha", "0.1")
    assert store.last_turn() == 2
    (outcome,) = store.outcomes()
    assert (outcome["turn"], outcome["metrics"]) == (1, {"accuracy": 0.9})


def test_the_last_decision_of_an_item_holds(store: Store) -> None:
    assert len(store.decisions()) == 0
    store.decide([Decision("a", "ask", "small", "x", 0.5, "below", 1), Decision("b", "accept", "s", ("x", "y"), 0.9)])
    store.decide([Decision("a", "accept", "large", "y", 0.99, "\0", 2)])
    now = store.decisions()
    assert dict(zip(now.items, now.values, strict=True)) == {"a": "y", "b": ("x", "y")}
    assert dict(zip(now.items, now.turns, strict=True)) == {"a": 2, "b": 0}
    before = store.decisions(turn=1)
    assert dict(zip(before.items, zip(before.actions, before.by, before.confidences, strict=True), strict=True)) == {
        "a": ("ask", "small", 0.5),
        "b": ("accept", "s", 0.9),
    }


def test_certificates_are_not_replaced(store: Store) -> None:
    assert store.add_certificate("sha", {"wrong": 1}) == 1
    assert store.add_certificate("sha", {"wrong": 2}) == 2
    with pytest.raises(UserError, match="not replaced"):
        store.add_certificate("sha", {"wrong": 0}, look=2)
    assert [(c["look"], c["body"]["wrong"]) for c in store.certificates()] == [(1, 1), (2, 2)]


def test_a_question_is_one_persons_until_the_lease_ends(store: Store) -> None:
    store.reserve(people(3), None)
    keys = ["key0", "key1", "key2"]
    assert store.lease("key0", "ann", 60)
    assert store.lease("key0", "ann", 60)
    assert not store.lease("key0", "bob", 60)
    hold = store.review.hold
    assert hold("bob", keys, 1, 60).mine == ["key1"]
    assert hold("ann", keys, 1, 60).mine == ["key0"]
    store.record_now("key0", Answer("A", who="ann"))
    assert hold("ann", keys, 1, 60).mine == ["key2"] and hold("ann", keys, 3, 60).others == {"key1": "bob"}
    assert hold("eve", keys, 1, 60).mine == []
    assert not store.release("key2", "bob")
    assert store.release("key2", "ann")
    assert hold("eve", keys, 1, 0.0).mine == ["key2"]
    assert hold("dan", keys, 1, 60).mine == ["key2"]
    assert store.leases()["key1"][0] == "bob"


def test_many_people_never_hold_one_question(store: Store) -> None:
    store.reserve(people(40), None)
    keys = [c.key for c in people(40)]
    got: list[str] = []
    threads = [
        threading.Thread(target=lambda who=f"p{i}": got.extend(store.review.hold(who, keys, 1, 60).mine))
        for i in range(30)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(got)) == len(got) == 30


def test_a_closed_ledger_says_so(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "ledger.db")
    store.close()
    store.close()
    with pytest.raises(TutelageError, match="closed"):
        store.reserve([call(1)], None)


def test_database_errors_of_ones_own_come_back_as_they_are(store: Store) -> None:
    with pytest.raises(DBAPIError):
        asyncio.run(store.do(lambda connection: connection.execute(text("DELETE FROM calls WHERE nothing"))))
