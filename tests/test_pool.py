"""The pool's shards and intake into the real ledger: order, identity, crashes, damage."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.data import Source, write
from agent.errors import Damaged, DataError
from agent.intake import Intake, take_in
from agent.pool import BLOCK, Pool
from agent.store import Store
from agent.types import Item, Part, Value


def item(n: int, *more: str, gold: Value | None = None) -> Item:
    texts = (f"text {n} é", *more)
    return Item(f"{n:032x}", tuple(Part("text/plain", t) for t in texts), gold, f"name {n}" if n % 2 else None)


def triples(items: list[Item]) -> list[tuple[Item, str, int]]:
    return [(it, "pool.csv", row) for row, it in enumerate(items, 2)]


# --- shards ----------------------------------------------------------------------------------------------------------


def test_what_goes_in_comes_out_in_order_whatever_the_parts(tmp_path: Path) -> None:
    one = [item(0, gold="spam"), item(1, gold=("a", "b")), item(2, gold=())]
    two = [item(3, "more"), item(4), Item("f" * 32, (Part("image/png", "file:///x.png"), Part("text/plain", "t")))]
    pool = Pool(tmp_path / "pool")
    assert len(pool) == 0 and pool.ids == [] and pool.items([]) == [] and pool.gold() == []
    assert pool.append(triples(one)) == (0, 3)
    assert pool.append(triples(two)) == (1, 3)
    for seen in (pool, Pool(tmp_path / "pool"), Pool(tmp_path / "pool", shards=2)):
        assert seen.items(range(6)) == one + two
        assert seen.items([5, 0, 3, 0]) == [two[2], one[0], two[0], one[0]]
        assert seen.ids == [i.id for i in one + two] and [seen.position(i) for i in seen.ids] == list(range(6))
        assert seen.item(4) == two[1]
        assert seen.gold() == ["spam", ("a", "b"), (), None, None, None]
        assert seen.texts(1, 6) == [i.text for i in (one + two)[1:]] and seen.texts(4, 99) == [i.text for i in two[1:]]
        assert seen.origin(4) == ("pool.csv", 3)
    with pytest.raises(KeyError):
        pool.position("none")
    with pytest.raises(IndexError, match="the pool has 6 items, no number 6"):
        pool.item(6)
    with pytest.raises(IndexError):
        pool.item(-1)
    with pytest.raises(ValueError):
        pool.append([])


@settings(max_examples=30)
@given(counts=st.lists(st.integers(1, 5), min_size=1, max_size=4), data=st.data())
def test_any_shards_give_any_subset(
    counts: list[int], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    pool, everything = Pool(tmp_path_factory.mktemp("pool")), list[Item]()
    for count in counts:
        made = [item(len(everything) + k) for k in range(count)]
        pool.append(triples(made))
        everything += made
    wanted = data.draw(st.lists(st.integers(0, len(everything) - 1)))
    assert pool.items(wanted) == [everything[i] for i in wanted]


def test_positions_follow_what_is_appended(tmp_path: Path) -> None:
    pool = Pool(tmp_path)
    pool.append(triples([item(0, gold="a")]))
    assert pool.position(item(0).id) == 0 and pool.gold() == ["a"]
    pool.append(triples([item(1, gold="b")]))
    assert pool.position(item(1).id) == 1 and pool.gold() == ["a", "b"]


def test_shards_beyond_the_ledger_are_ignored_and_written_anew(tmp_path: Path) -> None:
    Pool(tmp_path).append(triples([item(0)]))
    Pool(tmp_path).append(triples([item(1)]))  # the ledger never heard of this one
    pool = Pool(tmp_path, shards=1)
    assert pool.ids == [item(0).id]
    assert pool.append(triples([item(7), item(8)])) == (1, 2)
    assert Pool(tmp_path, shards=["part-00000.parquet", "part-00001.parquet"]).items([1, 2]) == [item(7), item(8)]
    assert sorted(os.listdir(tmp_path)) == ["part-00000.parquet", "part-00001.parquet"]


def test_a_missing_or_damaged_shard_is_said(tmp_path: Path) -> None:
    Pool(tmp_path).append(triples([item(0)]))
    with pytest.raises(Damaged, match=r"part-00001.parquet is known to the ledger but cannot be read"):
        Pool(tmp_path, shards=2)
    (tmp_path / "part-00000.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(Damaged, match=r"part-00000.parquet .* put it back from a copy"):
        Pool(tmp_path)


def test_a_large_pool_spans_blocks_and_keeps_little(tmp_path: Path) -> None:
    pool = Pool(tmp_path)
    n = 3 * BLOCK + 10
    pool.append(triples([item(k) for k in range(n)]))
    wanted = random.Random(0).sample(range(n), 500)
    again = Pool(tmp_path)
    assert [i.id for i in again.items(wanted)] == [f"{k:032x}" for k in wanted]
    assert again.texts(BLOCK - 1, BLOCK + 1) == [item(BLOCK - 1).text, item(BLOCK).text]


MEASURE = """
import random, re, sys
from agent.pool import Pool
pool = Pool(sys.argv[1])
assert len(pool) == 100_000
for seed in range(5):
    pool.items(random.Random(seed).sample(range(100_000), 1_000))
pool.gold(); pool.position(pool.ids[-1])
# VmHWM, for ru_maxrss of a fork begins with that of its parent.
print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
"""


def test_a_hundred_thousand_items_stay_under_300_mb(tmp_path: Path, root: Path) -> None:
    pool = Pool(tmp_path)
    for start in range(0, 100_000, 50_000):
        made = [item(k, gold="spam") for k in range(start, start + 50_000)]
        pool.append([(Item(i.id, (Part("text/plain", i.text * 15),), i.gold, i.name), "f", 1) for i in made])
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path)], capture_output=True, text=True, check=True, cwd=root
    )
    assert int(done.stdout) < 300_000, f"{int(done.stdout) // 1000} MB"


# --- intake ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path / "ledger.db")
    yield opened
    opened.close()


def file(tmp_path: Path, content: str, name: str = "pool.csv") -> Source:
    path = tmp_path / name
    path.write_text(content)
    return Source(str(path), ("text",), "id" if content.startswith("id") else None)


def test_twice_adds_nothing_and_an_unchanged_source_is_not_read(tmp_path: Path, store: Store) -> None:
    source = file(tmp_path, "id,text\n1,a\n2,\n3,c\n1,d\n")
    assert take_in(source, store, tmp_path / "pool") == Intake(4, 2, 2, 2)
    assert take_in(source, store, tmp_path / "pool") == Intake(4, 2, 0, 2, unchanged=True)
    touched = file(tmp_path, "id,text\n1,a\n2,\n3,c\n1,d\n5,e\n")
    assert take_in(touched, store, tmp_path / "pool") == Intake(5, 3, 1, 2)
    pool = Pool(tmp_path / "pool", store.shards())
    assert pool.ids == store.item_ids() and [i.name for i in pool.items(range(3))] == ["1", "3", "5"]
    assert store.names() == ["1", "3", "5"] and len(store.shards()) == 2
    assert [(row.row, row.reason) for row in store.set_aside()] == [
        (3, "no text in column 'text'"),
        (5, "the id '1' was already used in row 2; ids must be unique"),
    ]


def test_repeated_rows_are_items_and_stay_the_same_items(tmp_path: Path, store: Store) -> None:
    assert take_in(file(tmp_path, "text,b\nsame,1\nsame,2\n"), store, tmp_path / "pool") == Intake(2, 2, 2, 0)
    assert take_in(file(tmp_path, "text,b\nsame,1\nsame,2\nsame,3\n"), store, tmp_path / "pool") == Intake(3, 3, 1, 0)


def test_an_own_id_with_another_text_is_set_aside_with_the_mend(tmp_path: Path, store: Store) -> None:
    take_in(file(tmp_path, "id,text\n1,a\n"), store, tmp_path / "pool")
    taken = take_in(file(tmp_path, "id,text\n1,changed\n2,b\n"), store, tmp_path / "pool")
    assert taken == Intake(2, 1, 1, 1, changed=1)
    (aside,) = store.set_aside()
    assert aside.row == 2 and "already with another text; give the row a new id, or start a new run" in aside.reason


def test_what_left_the_source_is_counted_and_stays(tmp_path: Path, store: Store) -> None:
    take_in(file(tmp_path, "id,text\n1,a\n2,b\n3,c\n"), store, tmp_path / "pool")
    taken = take_in(file(tmp_path, "id,text\n1,changed\n4,d\n"), store, tmp_path / "pool")
    assert (taken.gone, taken.changed, taken.new) == (2, 1, 1) and len(store.item_ids()) == 4


def test_a_moved_folder_does_not_count_set_aside_rows_twice(tmp_path: Path, store: Store) -> None:
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    take_in(file(tmp_path / "here", "id,text\n1,a\n2,\n"), store, tmp_path / "pool")
    take_in(file(tmp_path / "there", "id,text\n1,a\n2,\n3,c\n"), store, tmp_path / "pool")
    assert [(row.file, row.row) for row in store.set_aside()] == [("pool.csv", 3)]


def test_a_crash_between_shard_and_ledger_is_harmless(tmp_path: Path, store: Store) -> None:
    Pool(tmp_path / "pool").append(triples([item(1), item(2)]))  # and the process died here
    source = file(tmp_path, "text,b\na,1\nb,2\n")
    assert take_in(source, store, tmp_path / "pool") == Intake(2, 2, 2, 0)
    pool = Pool(tmp_path / "pool", store.shards())
    assert [i.text for i in pool.items(range(len(pool)))] == ["a", "b"]
    Pool(tmp_path / "pool", store.shards()).append(triples([item(3)]))
    assert take_in(source, store, tmp_path / "pool").unchanged
    assert len(Pool(tmp_path / "pool", store.shards())) == 2


KILLED = """
import sys
from agent import data, intake
from agent.store import Store
print("ready", flush=True)
with Store.open(sys.argv[2]) as store:
    print(intake.take_in(data.Source(sys.argv[1]), store, sys.argv[3], 1).items, flush=True)
"""


@pytest.mark.parametrize("seconds", [0.05, 0.4])
def test_a_killed_intake_goes_on_and_ends_the_same(tmp_path: Path, root: Path, seconds: float) -> None:
    path = tmp_path / "pool.jsonl"
    path.write_text("".join(json.dumps({"text": f"text {k % 20_000}"}) + "\n" for k in range(40_000)))
    command = [sys.executable, "-c", KILLED, str(path), str(tmp_path / "ledger.db"), str(tmp_path / "pool")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root) as child:
        assert child.stdout is not None and child.stdout.readline()
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
    with Store.open(tmp_path / "ledger.db") as store:
        taken = take_in(Source(str(path)), store, tmp_path / "pool")
        pool = Pool(tmp_path / "pool", store.shards())
        assert (taken.rows, taken.items, taken.set_aside) == (40_000, 40_000, 0)
        assert pool.ids == store.item_ids() and len(set(pool.ids)) == 40_000
        assert sorted(pool.texts(0, 40_000)) == sorted(f"text {k % 20_000}" for k in range(40_000))


def test_rows_mended_in_the_file_are_not_counted_as_set_aside_again(tmp_path: Path, store: Store) -> None:
    file = tmp_path / "pool.csv"
    file.write_text("id,text\n1,one\n2,\n3,\n")
    source = Source(str(file), ("text",), "id")
    assert take_in(source, store, tmp_path / "pool").set_aside == 2
    file.write_text("id,text\n1,one\n2,two\n3,\n")
    taken = take_in(source, store, tmp_path / "pool")
    assert (taken.rows, taken.items, taken.set_aside) == (3, 2, 1)
    assert [row.row for row in store.set_aside()] == [4]
    again = take_in(source, store, tmp_path / "pool")
    assert (again.rows, again.items, again.set_aside) == (3, 2, 1)


def test_no_usable_row_is_an_error_that_names_the_first(tmp_path: Path, store: Store) -> None:
    with pytest.raises(DataError, match=r"none of the 2 rows of .* can be used. The first: .*pool.csv, row 2: no text"):
        take_in(file(tmp_path, "id,text\n1,\n2,\n"), store, tmp_path / "pool")
    assert len(store.set_aside()) == 2


def test_a_pool_and_a_ledger_that_differ_are_not_mixed(tmp_path: Path, store: Store) -> None:
    take_in(file(tmp_path, "text,b\na,1\n"), store, tmp_path / "pool")
    (tmp_path / "pool" / "part-00000.parquet").unlink()
    with pytest.raises(Damaged):
        take_in(file(tmp_path, "text,b\nb,1\n"), store, tmp_path / "pool")
    Pool(tmp_path / "pool", shards=0).append(triples([item(1)]))
    with pytest.raises(Damaged, match="hold different items; start a new run folder"):
        take_in(file(tmp_path, "text,b\nb,1\n"), store, tmp_path / "pool")


ROW = st.tuples(st.sampled_from("123"), st.sampled_from(["a", "b", "", "nul\0", " ", "=x", "\ud800"]))


@settings(max_examples=15)
@given(files=st.lists(st.lists(ROW, min_size=1, max_size=8), min_size=1, max_size=3))
def test_counts_balance_over_any_files(
    files: list[list[tuple[str, str]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("run")
    with Store.open(folder / "ledger.db") as store:
        new = 0
        for number, rows in enumerate(files):
            path = folder / f"{number}.jsonl"
            sound = json.dumps({"id": "sound", "text": "sound"}) + "\n"
            path.write_text(sound + "".join(json.dumps({"id": i, "text": t}) + "\n" for i, t in rows))
            taken = take_in(Source(str(path), ("text",), "id"), store, folder / "pool")
            assert taken.unchanged or taken.rows == len(rows) + 1
            assert taken.rows == taken.items + taken.set_aside
            new += taken.new
        pool = Pool(folder / "pool", store.shards())
        assert len(pool) == new == len(set(pool.ids))
        names = [each.name for each in pool.items(range(new))]
        assert len(set(names)) == len(names)


def test_parts_gold_and_splits_reach_the_pool(tmp_path: Path, store: Store) -> None:
    path = str(tmp_path / "in.parquet")
    write({"title": ["t", "u"], "body": ["b", "c"], "g": [["y", "x"], []]}, path)
    take_in(Source(path, ("title", "body"), gold="g", kind="multi"), store, tmp_path / "pool")
    pool = Pool(tmp_path / "pool", store.shards())
    assert pool.gold() == [("x", "y"), ()] and pool.item(1).text == "u\n\nc" and pool.origin(1) == (path, 2)


def test_a_pool_that_is_open_grows_with_the_ledger_and_bears_many_readers(tmp_path: Path, store: Store) -> None:
    def take(name: str, rows: range) -> None:
        path = tmp_path / name
        path.write_text("".join(json.dumps({"id": str(i), "text": f"text {i}"}) + "\n" for i in rows))
        take_in(Source(str(path), ("text",), "id"), store, tmp_path / "pool")

    take("a.jsonl", range(50))
    pool = Pool(tmp_path / "pool", store.shards())
    assert pool.position(pool.ids[49]) == 49
    assert not pool.grow(store.shards())
    take("b.jsonl", range(50, 9_000))  # more than two blocks
    assert pool.grow(store.shards()) and len(pool) == 9_000
    assert pool.position(pool.ids[8_999]) == 8_999
    with ThreadPoolExecutor(8) as many:
        found = list(many.map(lambda i: pool.item(i).text, [i * 61 % 9_000 for i in range(400)]))
    assert found == [f"text {i * 61 % 9_000}" for i in range(400)]


def test_a_real_set_goes_in_whole(data_dir: Path, tmp_path: Path, store: Store) -> None:
    path = data_dir / "sms_spam" / "data.parquet"
    if not path.exists():
        pytest.skip("sms_spam is not among the data sets here")
    source = Source(str(path), ("text",), "id", "label")
    taken = take_in(source, store, tmp_path / "pool")
    assert taken.rows == taken.items == taken.new > 4_000
    assert set(Pool(tmp_path / "pool", store.shards()).gold()) == {"ham", "spam"}
