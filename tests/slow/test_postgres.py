"""The ledger on PostgreSQL: a cluster of our own in a temporary folder, run by a user without privileges.

Needs Debian's PostgreSQL (`apt-get install postgresql`) and psycopg (`pip install 'tutelage[postgres]'`).
"""

import asyncio
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from agent.ask import Asked, Policy, ask
from agent.errors import Pause
from agent.store import Store
from agent.store.guides import New
from agent.store.moves import Move
from agent.store.schema import APPEND_ONLY
from agent.types import Answer, Budget, Call, Decision, Item, Most, Prompt, Question, SetAside, Traits
from eval import _postgres

pytestmark = pytest.mark.slow

GOOD = Answer("A", {"A": -0.1}, usd=0.004, tokens_in=10, tokens_out=1)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    if why := _postgres.absent():
        pytest.skip(why)
    with _postgres.cluster() as folder:
        yield folder


@pytest.fixture
def url(server: str) -> str:
    """An empty database."""
    return _postgres.emptied(server)


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with Store.open(url) as store:
        yield store


def call(i: int, usd: float = 0.01, annotator: str = "small") -> Call:
    return Call(f"key{i}", "r", f"item{i}", annotator, usd=usd, turn=1)


def test_everything_once_over(store: Store, url: str) -> None:
    assert store.add_items(["b", "a"], ["x\0\ud800", None], "part-0") == 2
    assert store.add_items(["a", "c"], [None, "3"], "part-1") == 1
    assert store.item_ids() == ["b", "a", "c"]
    assert store.add_set_aside([SetAside("f.csv", 1, "nul \0")]) == 1
    assert store.add_source("f", "f.csv", 5, 3)
    assert store.source_seen("f")
    wanted = [call(i, 0.4) for i in range(3)] + [call(9, 0.0, "person")]
    assert [c.key for c in store.reserve(wanted, Budget(1.0))] == ["key0", "key1", "key9"]
    odd = Answer("nul \0, lone \ud800", {"A": -1.0}, 0.1, who="an\0n", flags=("truncated",))
    assert store.record_now("key0", odd)
    assert not store.record_now("key0", odd)
    ((_, first, answer),) = store.answers_since(0)
    assert (first, answer.text, answer.who) == (wanted[0], odd.text, "an\\x00n")
    assert store.cut_short(["small"]) == 1
    assert store.spend().usd == pytest.approx(0.6), "what the second answer took is paid, though it counts for nothing"
    assert store.withdraw("key9", "ann")
    assert not store.withdraw("key9", "ann")
    assert [c.key for c in store.open_calls()] == ["key1"]
    store.begin_turn(1, 0, "sha", "0.1")
    store.end_turn(1, {"why": "\0"})
    assert store.outcomes()[0]["why"] == "\0"
    store.decide([Decision("a", "ask", "small", ("x", "y"), 0.5, "\0", 1), Decision("a", "accept", "s", "x", 0.9)])
    assert store.decisions().values == ["x"]
    assert store.add_certificate("sha", {"wrong": 0}) == 1
    assert store.verify() == []
    with Store.open(url) as again:
        assert again.spend() == store.spend()


def test_other_labels_are_written_at_once_or_not_at_all(store: Store) -> None:
    store.add_items(["item1", "item2"], [None, None], "part-0")
    store.reserve([call(1), call(2, 0.0, "person")], None)
    store.record_now("key1", GOOD)
    move = Move("rename", {"flag": "carried: a → b"}, "r", "r2", store.review.upto(), (1, 0, "sha", "0.1"))
    move.calls = [replace(call(1, 0.0), key="new1", recipe="r2"), replace(call(2, 0.0, "person"), key="new2")]
    move.answers = [("new1", Answer("B % \0", flags=("carried: a → b",)), "ok", "")]
    move.opened, move.withdrawn = [("r2", "item2", 1)], ["key2"]
    move.decisions, move.leases = [Decision("item1", "accept", "small", "b", 0.9)], [("new2", "ann", 60.0)]
    move.outcomes = [{"fixed": 1}]
    assert not store.review.relabel(replace(move, upto=(0, 0))) and store.review.relabels() == []
    assert store.review.relabel(move)
    assert [(a.text, c.recipe) for _, c, a in store.answers_since(0, ["r2"])] == [("B % \0", "r2")]
    assert store.spend().by["small"].answers == 1 and store.spend().usd == 0.004
    assert [c.key for c in store.open_calls()] == ["new2"] and store.leases()["new2"][0] == "ann"
    assert store.review.relabels()[0].body["turn"] == 1 and store.opened("r2") == {"item2": 1}
    assert store.verify() == []


def test_guidelines_are_written_on_top_of_the_version_in_force(store: Store, url: str) -> None:
    review = store.review
    assert review.add_guide(New("0", {"text": ""}, 0), "ann") == 1
    assert review.add_guide(New("1", {"text": "late"}, 0), "bob") is None
    store.reserve([call(1, 0.0, "person")], None)
    assert review.propose("x" * 16, "item1", {"text": "so \0"}, "ann")
    assert not review.propose("x" * 16, "item1", {"text": "so \0"}, "ann")
    assert review.propose("x" * 16, "item1", {"text": "so \0"}, "bob")
    assert review.proposals(["r"]) == [], "people are being asked about it"
    assert [one.who for one in review.proposals(["other"])] == ["ann", "bob"]
    assert review.judge("x" * 16, "eve", New("2", {"text": ""}, 0)) == "moved"
    assert review.judge("x" * 16, "eve", New("2", {"text": ""}, 1)) == "saved"
    assert review.judge("x" * 16, "eve", None) == "gone" and review.proposals([]) == []
    assert [(one.state, one.body["text"]) for one in review.proposals_of("ann", 9)] == [("accepted", "so \0")]
    with Store.open(url) as other, ThreadPoolExecutor(8) as eight:

        def write(k: int) -> int | None:
            return (store, other)[k % 2].review.add_guide(New(f"n{k}", {"text": str(k)}, 2), "ann")

        assert sorted(str(one) for one in eight.map(write, range(8))) == ["3", *["None"] * 7]
    assert [one.version for one in review.guides(2)] == [2, 3]


def test_history_cannot_be_changed(store: Store) -> None:
    store.reserve([call(1)], None)

    def change(sql: str) -> None:
        asyncio.run(store.do(lambda connection: connection.execute(text(sql))))

    with pytest.raises(DBAPIError, match="append-only"):
        change("UPDATE calls SET usd = 0")
    for table in APPEND_ONLY:
        change(f"DELETE FROM {table} WHERE false")
    with pytest.raises(DBAPIError, match="append-only"):
        change("DELETE FROM calls")
    assert store.open_calls() == [call(1)]


def test_leases_are_one_persons(store: Store) -> None:
    store.reserve([call(i, 0.0, "person") for i in range(2)], None)
    assert store.review.hold("ann", ["key0", "key1"], 1, 60).mine == ["key0"]
    assert store.review.hold("bob", ["key0", "key1"], 1, 60).mine == ["key1"]
    assert store.review.hold("eve", ["key0", "key1"], 1, 60).mine == []
    assert store.release("key0", "ann")
    assert store.lease("key0", "eve", 60)
    assert store.leases()["key0"][0] == "eve"


class Always:
    """An oracle that always answers."""

    traits = Traits(annotator="small", recipe={}, in_flight=32)

    def most(self, prompt: Prompt) -> Most:
        return Most(0.01)

    async def answer(self, prompt: Prompt) -> Answer:
        await asyncio.sleep(0)
        return GOOD

    async def close(self) -> None:
        return None


def test_asking_within_a_budget(store: Store) -> None:
    jobs = [(call(i), Prompt(f"key{i}", Question(Item(f"item{i}", ()), ()), ())) for i in range(200)]
    asked = asyncio.run(ask(store, Always(), jobs, Policy(budget=Budget(0.4))))
    assert (asked.answered, asked.refused_by_budget, asked.paused) == (98, 102, "")
    assert asyncio.run(ask(store, Always(), jobs)) == Asked(answered=102, already=98)
    assert store.verify() == []


SPENDER = """
    import asyncio, sys
    from agent.store import Store
    from agent.types import Answer, Budget, Call
    url, name = sys.argv[1:]
    async def one(store, i):
        call = Call(f"{name}{i}", "r", "item", "far", usd=0.01, tokens=100, requests=1)
        if (await store.areserve([call], Budget(3.0, 30_000, 500))).granted:
            await store.record(call.key, Answer("A", usd=0.002 * (i % 6), tokens_in=20 * (i % 6), requests=1))
    async def main(store):
        await asyncio.gather(*(one(store, i) for i in range(400)))
    with Store.open(url) as store:
        asyncio.run(main(store))
"""


def test_two_processes_stay_within_the_budget(store: Store, url: str) -> None:
    code = textwrap.dedent(SPENDER)
    processes = [subprocess.Popen([sys.executable, "-c", code, url, name]) for name in ("one", "two", "three")]
    most = [0.0, 0, 0]
    try:
        while any(process.poll() is None for process in processes):
            u = store.spend().total
            now = (u.usd + u.reserved, u.tokens + u.held_tokens, u.requests + u.held_requests)
            most = [max(pair) for pair in zip(most, now, strict=True)]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert most[0] <= 3.0 + 1e-9 and most[1] <= 30_000 and most[2] <= 500
    assert store.spend().reserved == 0
    assert store.verify() == []


def test_tokens_and_calls_are_counted_and_a_batch_is_sent_once(store: Store, url: str) -> None:
    wanted = [Call(f"key{i}", "r", f"item{i}", "far", usd=0.01, tokens=100, requests=1) for i in range(6)]
    name, sent = store.send_out("far", wanted[:2], Budget(tokens=350), {"token": "t"})
    assert (name, len(sent.granted)) == ("far-0001", 2)
    with Store.open(url) as other:
        name, more = other.send_out("far", wanted[:4], Budget(tokens=350), {"token": "u"})
        assert (name, len(more.granted), len(more.closed), more.short) == ("far-0002", 1, 2, "tokens")
        assert other.cut_short(["far"]) == 0
        batch = other.batches(only_out=True)[0]
        answer = Answer("A", usd=0.005, tokens_in=40, tokens_out=1, requests=1)
        assert other.end_batch(batch, "read", [("key0", answer, "ok", "")], ["key1"], {}) == [True, True]
        with pytest.raises(DBAPIError, match="unique"):
            other.end_batch(batch, "read", [], [], {})
    total = store.spend().total
    assert (total.tokens, total.requests, total.held_tokens, total.held_requests) == (141, 2, 100, 1)
    assert [b.name for b in store.batches(only_out=True)] == ["far-0002"]
    assert store.verify() == []


VERSION_1 = """
ALTER TABLE calls DROP COLUMN tokens; ALTER TABLE calls DROP COLUMN requests;
ALTER TABLE retries DROP COLUMN tokens; ALTER TABLE retries DROP COLUMN requests;
ALTER TABLE answers DROP COLUMN requests; ALTER TABLE answers DROP COLUMN guide; DROP TABLE batches;
DROP TRIGGER meta_no_update ON meta; UPDATE meta SET value = '1' WHERE name = 'schema';
INSERT INTO calls (key, recipe, item, annotator, sample, purpose, probability, usd, turn, at)
  VALUES ('key1', 'r', 'item1', 'far', 0, 'pick', 1.0, 0.4, 1, 0);
"""


def test_a_ledger_of_version_1_goes_on(url: str) -> None:
    Store.open(url).close()
    stranger = create_engine(url.replace("postgresql", "postgresql+psycopg"))
    with stranger.begin() as connection:
        for statement in VERSION_1.split(";")[:-1]:
            connection.execute(text(statement))
    stranger.dispose()
    with Store.open(url) as store:
        assert store.spend().reserved == pytest.approx(0.4)
        assert store.record_now("key1", Answer("A", usd=0.1, tokens_in=5, requests=1))
        assert store.spend().total.tokens == 5
        assert store.verify() == []
    with Store.open(url) as store:
        assert store.reserve([call(2)], Budget(0.2, 0, 0)) == [call(2)]


def test_a_server_that_is_gone_pauses_the_run() -> None:
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'tutelage[postgres]'")
    with pytest.raises(Pause, match="does not answer"):
        Store.open("postgresql://tutelage@/ledger?host=/nonexistent")


def test_people_at_two_servers_get_every_card_once(store: Store, url: str, tmp_path: Path) -> None:
    """Six people, three at each of two servers, hammer one queue; each answers, prefetches, takes back, comes late."""
    from review_room import furnish

    from agent import config as settings
    from agent import prompt
    from agent.review import Desk, Queue

    room = furnish(tmp_path, counts={"pilot": 10, "audit": 90, "escalation": 200})
    asked = room.store.open_calls("person")
    second = prompt.second_recipe(room.recipe)
    twice = [Call(prompt.key(second, c.item, 0), second, c.item, "person", 1, "audit", turn=1) for c in asked[:30]]
    store.reserve([*asked, *twice], None)
    task, kind = settings.the_task(room.config), settings.kind(room.config)
    fails: list[BaseException] = []
    late: list[str] = []

    def work(queue: Queue, who: str) -> None:
        try:
            desk = Desk(queue, who)
            for turn in range(1_000):
                if (card := desk.next_card()) is None:
                    return
                ahead = desk.ahead(2)
                assert desk.answer(card.key, "billing", 1.0).status in ("saved", "late")
                assert desk.answer(card.key, "other", 1.0).status == "again"
                if turn % 10 == 9 and desk.undo() is None:
                    raise AssertionError("nothing to take back")
                if turn % 10 == 5 and ahead:  # answered without its lease, as by one who comes back too late
                    desk.leave()
                    late.append(desk.answer(ahead[0].key, "technical", 1.0).status)
        except BaseException as error:  # noqa: BLE001  (a thread's failure is the test's)
            fails.append(error)

    with Store.open(url) as other:
        queues = [Queue(one, room.pool, task, kind, 0) for one in (store, other)]
        threads = [threading.Thread(target=work, args=(queues[i % 2], f"p{i}")) for i in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not fails, fails[0]
        for queue in queues:
            work(queue, "last")
            assert not fails, fails[0]
        first = [(call, answer) for _, call, answer in store.answers_since(0, [room.recipe])]
        assert len(first) == len({call.item for call, _ in first}) == 300
        again = {call.item: answer.who for _, call, answer in store.answers_since(0, [second])}
        assert len(again) == 30 and all(again.get(call.item) != answer.who for call, answer in first)
        assert set(late) <= {"saved", "late", "gone"} and store.verify() == [] and store.leases() == {}
        assert [queue.left() for queue in queues] == [0, 0]
    room.store.close()


def test_who_spoke_of_an_item_or_saw_a_guess_is_known_here_too(store: Store, tmp_path: Path) -> None:
    from review_room import furnish

    from agent import config as settings
    from agent.review import Desk, Queue
    from agent.types import Decision

    room = furnish(tmp_path, counts={"escalation": 12})
    store.reserve(room.store.open_calls("person"), None)
    store.decide([Decision(id, "ask", "s", "technical", 0.6, "", 1) for id in room.pool.ids])
    task, kind = settings.the_task(room.config), settings.kind(room.config)
    ada = Desk(Queue(store, room.pool, task, kind, 0, assisted=True), "ada")
    while (card := ada.next_card()) is not None and card.guess is None:
        ada.skip(card.key)
    assert card is not None
    ada.leave()
    plain = Desk(Queue(store, room.pool, task, kind, 0), "ada")
    assert plain.answer(card.key, "billing").status == "saved"
    flags = [answer.flags for _, call, answer in store.answers_since(0) if call.key == card.key]
    assert flags == [("assisted: (page)",)]
    again = plain.undo()
    assert again is not None and Desk(plain.queue, "bob").answer(again.key, "other").status == "saved"
    anew = Call(f"{7:064x}", room.recipe, card.item.id, "person", 9, "escalation", turn=2)
    store.reserve([anew], None)
    plain.queue.refresh(0)
    assert Desk(plain.queue, "bob").answer(anew.key, "other").status == "gone"
    room.store.close()
