"""Rows in and out: every format, every kind of dirt, and the balance of counts."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.data import Entry, Row, Source, fingerprint, read, write
from agent.errors import DataError
from agent.types import SetAside


def rows(source: Source) -> list[Row]:
    return [row for batch in read(source) for row in batch]


def split(found: Sequence[Row]) -> tuple[list[Entry], dict[int, str]]:
    """The entries, and the reasons by row."""
    return [r for r in found if isinstance(r, Entry)], {r.row: r.reason for r in found if isinstance(r, SetAside)}


def file(tmp_path: Path, name: str, content: str | bytes) -> str:
    path = tmp_path / name
    path.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)
    return str(path)


# --- every kind of dirt ----------------------------------------------------------------------------------------------


def test_csv_with_every_kind_of_dirt(tmp_path: Path) -> None:
    lines = [
        b"\xef\xbb\xbfid,text,label",  # 1: with a byte order mark
        b"a,good,spam",  # 2
        b'b,"two\r\nlines",ham',  # 3, 4
        b"c,nul\x00here,ham",  # 5
        b"d,caf\xe9,ham",  # 6: Latin-1
        b"e,,ham",  # 7
        b"f,   ,ham",  # 8
        b"g,one,two,three",  # 9
        b"h,short",  # 10
        b"a,again,ham",  # 11
        b",no id,ham",  # 12
        b"i,\xed\xa0\x80,ham",  # 13: a surrogate, written as bytes
        b"j," + b"x" * 1_000_001 + b",ham",  # 14
        b"",  # 15: no row
        b'k,"said "hello" to me",ham',  # 16
        b"l,=SUM(A1),",  # 17: text as it is, no gold
        b'm,"never closed,ham',  # 18
        b"n,last,ham",  # 19
    ]
    path = file(tmp_path, "dirt.csv", b"\r\n".join(lines))
    entries, aside = split(rows(Source(path, ("text",), "id", "label")))
    assert [(e.item.name, e.row, e.item.text, e.item.gold) for e in entries] == [
        ("a", 2, "good", "spam"),
        ("b", 3, "two\r\nlines", "ham"),
        ("l", 17, "=SUM(A1)", None),
        ("n", 19, "last", "ham"),
    ]
    assert aside == {
        5: "column 'text' holds a NUL character",
        6: "column 'text' holds bytes that are not UTF-8; save the file as UTF-8",
        7: "no text in column 'text'",
        8: "no text in column 'text'",
        9: "4 fields where the header has 3; quote texts that hold the delimiter",
        10: "2 fields where the header has 3; quote texts that hold the delimiter",
        11: "the id 'a' was already used in row 2; ids must be unique",
        12: "no id in column 'id'",
        13: "column 'text' holds bytes that are not UTF-8; save the file as UTF-8",
        14: "the text has 1,000,001 characters, more than the 1,000,000 allowed",
        16: "a quote is opened here and not closed before the next delimiter; write it twice inside a text",
        18: "a quote is opened here and never closed",
    }


def test_jsonl_with_every_kind_of_dirt(tmp_path: Path) -> None:
    lines: list[bytes] = [
        b'\xef\xbb\xbf{"id": 1, "text": "good", "label": "spam"}',
        b'{"id": 2, "text": "cut',
        b'{"id": 3, "text": "nul\\u0000", "label": "spam"}',
        b'{"id": 4, "text": "half \\ud800 pair", "label": "spam"}',
        b'{"id": 5, "text": "caf\xe9", "label": "spam"}',
        b'{"id": 6, "text": {"a": 1}, "label": "spam"}',
        b'{"id": 7, "text": 7, "label": "spam"}',
        b'{"id": 8, "text": null, "label": "spam"}',
        b'{"id": 9, "label": "spam"}',
        b'{"id": 10, "text": "gold is a number", "label": 1}',
        b'{"id": 1.0, "text": "again"}',
        b'{"id": {}, "text": "an id that is none"}',
        b"[1, 2]",
        b"[" * 100_000,
        b'{"id": true, "text": "an id that is none"}',
        b"",
        b'{"text": "no id"}',
        b'{"id": "x", "text": ["a"]}',
        b'{"id": 18, "text": "' + b"x" * 1_000_001 + b'"}',
        b'{"id": "19\\ud800", "text": "half of an id"}',
        b'{"id": 20, "text": "fine", "label": null}',
    ]
    path = file(tmp_path, "dirt.jsonl", b"\n".join(lines))
    entries, aside = split(rows(Source(path, ("text",), "id", "label")))
    assert [(e.item.name, e.row, e.item.gold) for e in entries] == [("1", 1, "spam"), ("20", 21, None)]
    expected = {
        2: "no sound JSON",
        3: "NUL",
        4: "half of a surrogate pair",
        5: "not UTF-8",
        6: "an object, not text",
        7: "a number, not text",
        8: "no text",
        9: "no text",
        10: "the gold label in column 'label' is a number, not text",
        11: "the id '1' was already used in row 1",
        12: "an object, not an id",
        13: "not a JSON object",
        14: "no sound JSON",
        15: "true or false, not an id",
        17: "no id",
        18: "a list, not text",
        19: "1,000,001 characters",
        20: "half of a surrogate pair",
    }
    assert aside.keys() == expected.keys()
    for row, words in expected.items():
        assert words in aside[row], (row, aside[row])


def test_parquet_with_every_kind_of_dirt(tmp_path: Path) -> None:
    texts = [b"good", b"nul\x00", b"caf\xe9", b"\xed\xa0\x80", None, b" ", b"x" * 1_000_001, b"again", b"fine", b"f2"]
    raw = pa.array(texts, pa.binary())
    text = pa.Array.from_buffers(
        pa.string(), len(raw), raw.buffers(), raw.null_count
    )  # not checked: as others write it
    ids = pa.array([1.0, 2, 3, 4, 5, 6, 7, 1, 9, None])
    gold = pa.array(["a", "b", None, "a", "a", "a", "a", "a", None, "b"])
    path = str(tmp_path / "dirt.parquet")
    pq.write_table(pa.table({"n": ids, "text": text, "gold": gold, "date": pa.array([0] * 10, pa.date32())}), path)
    entries, aside = split(rows(Source(path, (), "n", "gold")))
    assert [(e.item.name, e.row, e.item.text, e.item.gold) for e in entries] == [
        ("1", 1, "good", "a"),
        ("9", 9, "fine", None),
    ]
    for row, words in {
        2: "NUL",
        3: "not UTF-8",
        4: "not UTF-8",
        5: "no text",
        6: "no text",
        7: "1,000,001",
        8: "already used in row 1",
        10: "no id",
    }.items():
        assert words in aside[row]
    wrong, reasons = split(rows(Source(path, ("date",))))
    assert not wrong and len(reasons) == 10 and "type date32[day], not text" in reasons[1]
    wrong, reasons = split(rows(Source(path, ("n",))))
    assert not wrong and "a number, not text" in reasons[1]


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "txt"])
def test_the_longest_text_is_a_million_characters(tmp_path: Path, form: str) -> None:
    texts = ["é" * 1_000_000, "é" * 1_000_001]
    path = str(tmp_path / f"long.{form}")
    if form == "txt":
        file(tmp_path, "long.txt", "\n".join(texts))
    else:
        write({"text": texts}, path)
    entries, aside = split(rows(Source(path)))
    assert [e.item.text for e in entries] == texts[:1] and len(aside) == 1


def test_a_stray_quote_costs_only_its_own_row(tmp_path: Path) -> None:
    good = "".join(f"{n},text {n}\n" for n in range(2, 500))
    path = file(tmp_path, "stray.csv", f'id,text\n1,"opened\n{good}500,"quoted, closed"\n501,end\n')
    entries, aside = split(rows(Source(path, ("text",), "id")))
    assert list(aside) == [2] and [e.item.name for e in entries] == [str(n) for n in range(2, 502)]
    assert entries[-2].item.text == "quoted, closed" and entries[-1].row == 502


def test_a_file_of_stray_quotes_ends_and_balances(tmp_path: Path) -> None:
    path = file(tmp_path, "hopeless.csv", "id,text\n" + '1,"a""b""\n' * 2_000)
    entries, aside = split(rows(Source(path, ("text",))))
    assert not entries and list(aside) == list(range(2, 2_002))


# --- columns and files -----------------------------------------------------------------------------------------------


def test_the_text_column_is_found_or_asked_for(tmp_path: Path) -> None:
    only = file(tmp_path, "only.csv", "id,tweet,label\n1,hi,x\n")
    assert [e.item.text for e in split(rows(Source(only, (), "id", "label")))[0]] == ["hi"]
    usual = file(tmp_path, "usual.jsonl", '{"title": "t", "Body": "b", "n": 3}\n')
    assert [e.item.text for e in split(rows(Source(usual)))[0]] == ["b"]
    several = file(tmp_path, "several.csv", "title,body,text\na,b,c\n")
    with pytest.raises(DataError, match=r"several columns could be the text.*'title', 'body', 'text'"):
        rows(Source(several))
    numbers = file(tmp_path, "numbers.jsonl", '{"n": 3}\n')
    with pytest.raises(DataError, match="no column holds text"):
        rows(Source(numbers))


def test_an_unknown_column_names_the_nearest_and_all(tmp_path: Path) -> None:
    path = file(tmp_path, "pool.csv", "ticket_id,body\n1,a\n")
    with pytest.raises(
        DataError, match=r"no column 'ticketid' \(pool.id\); did you mean 'ticket_id'\? Columns: .*'body'"
    ):
        rows(Source(path, ("body",), "ticketid"))
    twice = file(tmp_path, "twice.csv", "text,text\n1,a\n")
    with pytest.raises(DataError, match="two columns 'text'"):
        rows(Source(twice, ("text",)))
    with pytest.raises(DataError, match="annotators would see the truth"):
        Source(path, ("body",), gold="body")


def test_several_text_columns_are_several_parts(tmp_path: Path) -> None:
    path = file(tmp_path, "pool.csv", "title,body\nhead,body\n,only body\n,\n")
    entries, aside = split(rows(Source(path, ("title", "body"))))
    assert [[p.data for p in e.item.parts] for e in entries] == [["head", "body"], ["", "only body"]]
    assert aside == {4: "no text in columns 'title', 'body'"}


def test_what_is_not_there_is_said_with_the_mend(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    file(tmp_path, "tickets.csv", "text\n")
    with pytest.raises(DataError, match=r"there is no file .*; did you mean .*tickets.csv\?"):
        rows(Source(str(tmp_path / "ticket.csv")))
    with pytest.raises(DataError, match="holds no data file"):
        rows(Source(str(tmp_path / "empty")))
    with pytest.raises(DataError, match="no file matches"):
        rows(Source(str(tmp_path / "*.tsv")))
    for name, content in {"a.csv": "text\n", "b.csv": "", "c.jsonl": "\n\n", "d.txt": "", "e.json": "[]"}.items():
        with pytest.raises(DataError, match="holds no rows; put at least one item there"):
            rows(Source(file(tmp_path, name, content)))
    with pytest.raises(DataError, match="the ending tells no format"):
        rows(Source(file(tmp_path, "pool.dat", "text\na\n")))
    with pytest.raises(DataError, match=r"UTF-16; save it as UTF-8"):
        rows(Source(file(tmp_path, "wide.csv", "text\na\n".encode("utf-16"))))
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        rows(Source(file(tmp_path, "no.parquet", b"PAR1 and nothing more")))
    with pytest.raises(DataError, match="no sound JSON"):
        rows(Source(file(tmp_path, "cut.json", '[{"text": "a"},')))
    with pytest.raises(DataError, match="the header cannot be read"):
        rows(Source(file(tmp_path, "head.csv", '"te"xt",b\na,b\n')))
    with pytest.raises(DataError, match="not known; use one of csv"):
        Source("x", format="excel")


def test_a_parquet_file_damaged_in_the_middle_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "bad.parquet"
    pq.write_table(pa.table({"text": [f"text {n}" for n in range(20_000)]}), path, compression="zstd")
    raw = bytearray(path.read_bytes())
    raw[2_000:6_000] = bytes(4_000)
    path.write_bytes(raw)
    with pytest.raises(DataError, match=r"bad\.parquet cannot be read as Parquet"):
        rows(Source(str(path)))


def test_globs_and_folders_are_read_in_order_and_rows_keep_their_file(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv"):
        file(tmp_path, name, f"text\n{name}\n")
    file(tmp_path, "_SUCCESS", "")
    for path in (str(tmp_path), str(tmp_path / "*.csv")):
        found = split(rows(Source(path)))[0]
        assert [(e.item.text, os.path.basename(e.file), e.row) for e in found] == [
            ("a.csv", "a.csv", 2),
            ("b.csv", "b.csv", 2),
        ]
    file(tmp_path, "c.jsonl", '{"text": "c"}')
    with pytest.raises(DataError, match=r"several formats \(csv, jsonl\)"):
        rows(Source(str(tmp_path)))


def test_delimiters_arrays_lines_and_splits(tmp_path: Path) -> None:
    def texts(source: Source) -> list[tuple[str, int]]:
        return [(e.item.text, e.row) for e in split(rows(source))[0]]

    assert texts(Source(file(tmp_path, "a.csv", "id;text\n1;a,b\n"), id="id")) == [("a,b", 2)]
    assert texts(Source(file(tmp_path, "b.tsv", "id\ttext\n1\ta,b\n"), id="id")) == [("a,b", 2)]
    assert texts(Source(file(tmp_path, "c.json", '\n[{"text": "a"}, 3, {"text": "b"}]'))) == [("a", 1), ("b", 3)]
    assert texts(Source(file(tmp_path, "d.json", '{"text": "a"}\n{"text": "b"}'))) == [("a", 1), ("b", 2)]
    odd = "a\u2028b\rc"  # line ends to some, not to us
    assert texts(Source(file(tmp_path, "e.txt", f"one\r\n\n{odd}\n"))) == [("one", 1), (odd, 3)]
    path = file(tmp_path, "f.csv", "text,split\na,train\nb,test\n")
    assert texts(Source(path, ("text",), split="test")) == [("b", 3)]


def test_gold_of_several_labels(tmp_path: Path) -> None:
    path = file(
        tmp_path,
        "m.jsonl",
        '{"t": "a", "g": ["y", "x", "y"]}\n{"t": "b", "g": "y| x|"}\n{"t": "c", "g": []}\n{"t": "d", "g": "|"}\n'
        '{"t": "e", "g": ""}\n{"t": "f", "g": null}\n{"t": "g", "g": [1]}\n',
    )
    entries, aside = split(rows(Source(path, ("t",), gold="g", kind="multi")))
    assert [e.item.gold for e in entries] == [("x", "y"), ("x", "y"), (), (), None, None]
    assert "holds a number, not text" in aside[7]
    single = split(rows(Source(path, ("t",), gold="g")))[1]
    assert single.keys() == {1, 3, 7}


# --- identity --------------------------------------------------------------------------------------------------------


def test_ids_tell_repeated_rows_apart_and_follow_text_and_name(tmp_path: Path) -> None:
    path = file(tmp_path, "a.txt", "same\nsame\nother\n")
    ids = [e.item.id for e in split(rows(Source(path)))[0]]
    assert len(set(ids)) == 3 and all(len(i) == 32 and int(i, 16) >= 0 for i in ids)
    named = file(tmp_path, "a.csv", "id,text\n1,same\n2,same\n")
    other = [e.item.id for e in split(rows(Source(named, ("text",), "id")))[0]]
    assert len({*ids, *other}) == 5
    decomposed, composed = "e\u0301", "\u00e9"  # looks alike, is not alike: nothing is normalised
    pair = split(rows(Source(file(tmp_path, "n.txt", f"{decomposed}\n{composed}\n"))))[0]
    assert pair[0].item.text == decomposed and pair[0].item.id != pair[1].item.id


NASTY = st.text(
    alphabet=st.one_of(
        st.sampled_from("\0\ud800\udfff\udce9\",'|;\t\r\n =+-@＝\ufeff\u2028abc"), st.characters(exclude_categories=())
    ),
    max_size=12,
)


@given(texts=st.lists(NASTY, min_size=1, max_size=12), data=st.data())
def test_any_csv_balances_and_ids_do_not_hang_on_order(
    texts: list[str], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("any")

    def taken(order: list[str], name: str) -> list[Row]:
        out = io.StringIO(newline="")
        csv.writer(out).writerows([["text", "other"], *([text, "o"] for text in order)])
        return rows(Source(file(folder, name, out.getvalue()), ("text",)))

    first = taken(texts, "a.csv")
    second = taken(data.draw(st.permutations(texts)), "b.csv")
    assert len(first) == len(second) == len(texts)
    ids = [r.item.id for r in first if isinstance(r, Entry)]
    assert len(set(ids)) == len(ids)
    assert set(ids) == {r.item.id for r in second if isinstance(r, Entry)}
    kept = [r.item.text for r in first if isinstance(r, Entry)]
    assert kept == [t for t in texts if t.strip() and not any(c == "\0" or "\ud800" <= c <= "\udfff" for c in t)]


VALUES = st.one_of(NASTY, st.none(), st.integers(), st.floats(), st.booleans(), st.lists(NASTY, max_size=2))


@given(values=st.lists(st.tuples(VALUES, VALUES, VALUES), min_size=1, max_size=10))
def test_any_jsonl_balances(values: list[tuple[Any, Any, Any]], tmp_path_factory: pytest.TempPathFactory) -> None:
    lines = [json.dumps({"text": "sound", "id": "own id", "gold": "g"})]
    lines += [json.dumps({"text": text, "id": own, "gold": gold}) for text, own, gold in values]
    path = file(tmp_path_factory.mktemp("any"), "a.jsonl", "\n".join(lines))
    for kind in ("single", "multi"):
        found = rows(Source(path, ("text",), "id", "gold", kind=kind))
        assert [r.row for r in found] == list(range(1, len(lines) + 1))
        ids = [r.item.id for r in found if isinstance(r, Entry)]
        assert ids and len(set(ids)) == len(ids)


@given(raw=st.binary(max_size=200))
def test_any_bytes_give_rows_or_a_data_error(raw: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("any")
    for name, content in {
        "a.csv": b"text,b\n" + raw,
        "b.csv": raw,
        "c.jsonl": raw,
        "d.json": raw,
        "e.txt": raw,
        "f.parquet": raw,
    }.items():
        try:
            rows(Source(file(folder, name, content)))
        except DataError:
            pass


def test_the_fingerprint_follows_content_and_settings_not_the_path(tmp_path: Path) -> None:
    one, two = file(tmp_path, "a.csv", "text,b\nx,y\n"), file(tmp_path, "b.csv", "text,b\nx,y\n")
    mark = fingerprint(Source(one))
    assert mark == fingerprint(Source(two)) and mark is not None
    assert mark != fingerprint(Source(one, ("b",))) and mark != fingerprint(Source(one, max_chars=10))
    file(tmp_path, "b.csv", "text,b\nx,z\n")
    assert mark != fingerprint(Source(two))
    assert fingerprint(Source("-")) is None


# --- standard input --------------------------------------------------------------------------------------------------

READ = (
    "import sys, json; from agent.data import *; s = Source('-', **json.loads(sys.argv[1]));"
    "print(json.dumps([[r.row, r.item.text, r.file] for b in read(s) for r in b]))"
)


@pytest.mark.parametrize(
    ("given_", "settings", "expected"),
    [
        ('{"text": "a"}\n{"text": "b"}\n', {}, [[1, "a"], [2, "b"]]),
        ("id,text\n1,a\n", {}, [[2, "a"]]),
        ("key;note\n1;a, b\n", {"text": ["note"]}, [[2, "a, b"]]),
        ("plain, with a comma\nsecond é\n", {}, [[1, "plain, with a comma"], [2, "second é"]]),
        ('[{"text": "a"}]', {}, [[1, "a"]]),
        ("id\ttext\n1\ta\n", {"format": "tsv"}, [[2, "a"]]),
    ],
)
def test_standard_input(given_: str, settings: dict[str, Any], expected: list[Any], root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", READ, json.dumps(settings)],
        input=given_.encode(), capture_output=True, check=True, cwd=root,
    )  # fmt: skip
    assert json.loads(done.stdout) == [[*row, "standard input"] for row in expected]


def test_a_named_pipe_is_read_once_and_has_no_fingerprint(tmp_path: Path) -> None:
    pipe = str(tmp_path / "pipe")
    os.mkfifo(pipe)
    source = Source(pipe, format="jsonl")
    assert fingerprint(source) is None
    with subprocess.Popen(["sh", "-c", 'echo \'{"text": "a"}\' > "$0"', pipe]):
        assert [r.item.text for r in rows(source) if isinstance(r, Entry)] == ["a"]


# --- Hugging Face datasets and real sets -----------------------------------------------------------------------------


def test_datasets_with_splits_and_class_names(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["ham", "spam"])}
    )
    made = datasets.Dataset.from_dict({"text": ["a", "b", "c"], "label": [1, 0, -1]}, features=features)
    datasets.DatasetDict({"train": made, "test": made.select([2, 0])}).save_to_disk(str(tmp_path / "both"))
    with pytest.raises(DataError, match=r"several splits; set pool.split to one of test, train"):
        rows(Source(str(tmp_path / "both")))
    entries, _ = split(rows(Source(str(tmp_path / "both"), gold="label", split="test")))
    assert [(e.item.text, e.item.gold, e.row) for e in entries] == [("c", None, 1), ("a", "spam", 2)]
    made.to_parquet(str(tmp_path / "one.parquet"))
    entries, _ = split(rows(Source(str(tmp_path / "one.parquet"), gold="label")))
    assert [e.item.gold for e in entries] == ["spam", "ham", None]
    with pytest.raises(DataError, match="cannot be loaded as a dataset"):
        rows(Source("hf:nobody/there"))


@pytest.mark.parametrize("name", ["sms_spam", "trec6", "goemotions"])
def test_real_sets_are_read_whole(data_dir: Path, name: str) -> None:
    path = data_dir / name / "data.parquet"
    if not path.exists():
        pytest.skip(f"{name} is not among the data sets here")
    table = pq.read_table(path, columns=["label"])
    kind = "multi" if name == "goemotions" else "single"
    found = rows(Source(str(path), ("text",), "id", "label", kind=kind))
    entries, aside = split(found)
    assert len(found) == table.num_rows and len(aside) <= table.num_rows // 100
    assert all(e.item.gold is not None for e in entries)
    test = split(rows(Source(str(path), ("text",), "id", "label", split="test", kind=kind)))[0]
    assert 0 < len(test) < len(entries)


def test_of_a_file_named_on_the_command_line_no_key_of_the_configuration_is_spoken(tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("a,b\nx,y\n")
    with pytest.raises(DataError, match=r"name it, as in --text a\.") as told:
        list(read(Source(str(tmp_path / "new.csv"), given=True)))
    assert "pool." not in str(told.value)
    for path in ("gone.csv", "gone*.csv", ""):
        with pytest.raises(DataError) as told:
            list(read(Source(str(tmp_path / path), format="csv" if path else "auto", given=True)))
        assert "pool." not in str(told.value)


def test_ids_may_repeat_where_they_are_only_repeated(tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("id,text\n1,a\n1,b\n")
    (batch,) = read(Source(str(tmp_path / "new.csv"), id="id", unique=False))
    assert [row.item.name for row in batch if isinstance(row, Entry)] == ["1", "1"]
