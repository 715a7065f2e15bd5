"""Columns to files: what is written is read again, whole or not at all, and runs in no spreadsheet."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.data import Entry, Source, excel_plain, excel_safe, read, write
from agent.errors import DataError

COLUMNS: dict[str, list[Any]] = {
    "id": ["1", "2", "3"],
    "text": ['a,"b"\r\nc', "=1+1", "plain é"],
    "label": [("x", "y"), (), None],
    "p": [0.25, 1.0, 0.5],
}


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "json", "parquet", "datasets"])
def test_what_is_written_is_read_again(tmp_path: Path, form: str) -> None:
    path = str(tmp_path / "out") + "/" if form == "datasets" else str(tmp_path / "deep" / f"out.{form}")
    assert write(COLUMNS, path) == 3
    assert write(COLUMNS, path) == 3  # over what is there
    source = Source(path.rstrip("/"), ("text",), "id", "label", kind="multi")
    entries = [row for batch in read(source) for row in batch if isinstance(row, Entry)]
    assert len(entries) == 3
    assert [excel_plain(e.item.text) for e in entries] == COLUMNS["text"]
    assert [e.item.gold for e in entries] == COLUMNS["label"] and [e.item.name for e in entries] == COLUMNS["id"]
    left = os.listdir(tmp_path) if form == "datasets" else os.listdir(tmp_path / "deep")
    assert len(left) == 1, left


def test_csv_is_safe_for_spreadsheets_unless_told_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    write({"=cmd": ["@x", "\tx", "-1", "'=x", "fine"], "n": [-1, -2.5, 0, 1, 2]}, str(path))
    with open(path, newline="") as stream:
        assert list(csv.reader(stream)) == [
            ["'=cmd", "n"], ["'@x", "-1"], ["'\tx", "-2.5"], ["'-1", "0"], ["''=x", "1"], ["fine", "2"],
        ]  # fmt: skip
    write({"t": ["=x"]}, str(path), excel_safe_text=False)
    assert path.read_text() == "t\n=x\n"


@given(st.one_of(st.text(max_size=8), st.text("'=+-@＝\t\r\nab", max_size=6)))
def test_excel_safe_text_can_be_undone_and_never_starts_a_formula(text: str) -> None:
    assert excel_plain(excel_safe(text)) == text
    assert not excel_safe(text).startswith(tuple("=+-@\t\r\n＝＋－＠"))


@given(texts=st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=8), max_size=6))
def test_any_text_survives_every_writer(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("any")
    for form in ("csv", "jsonl", "parquet"):
        write({"text": texts, "n": list(range(len(texts)))}, str(folder / f"a.{form}"))
    with open(folder / "a.csv", newline="", encoding="utf-8") as stream:
        assert [excel_plain(row["text"]) for row in csv.DictReader(stream)] == texts
    assert [json.loads(line)["text"] for line in (folder / "a.jsonl").read_bytes().splitlines()] == texts
    assert pq.read_table(folder / "a.parquet")["text"].to_pylist() == texts


def test_what_cannot_be_written_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot tell what to write"):
        write({"a": ["x"]}, str(tmp_path / "out.docx"))
    with pytest.raises(DataError, match=r"no format 'foo' to write; name one of csv, .*parquet, datasets, or auto"):
        write({"a": ["x"]}, str(tmp_path / "out"), format="foo")
    with pytest.raises(DataError, match="column 'a', row 2 holds half of a surrogate pair"):
        write({"a": ["x", "\ud800"]}, str(tmp_path / "out.jsonl"))
    with pytest.raises(DataError, match="mixes types"):
        write({"a": ["x", 1]}, str(tmp_path / "out.parquet"))
    with pytest.raises(ValueError, match="different length"):
        write({"a": ["x"], "b": []}, str(tmp_path / "out.csv"))
    assert os.listdir(tmp_path) == []
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("keep me")
    with pytest.raises(DataError, match="is no dataset; name a new folder"):
        write({"a": ["x"]}, str(tmp_path / "mine"), format="datasets")
    with pytest.raises(DataError, match="cannot be written"):
        write({"a": ["x"]}, str(tmp_path / "mine" / "letter.txt" / "out.csv"))
    assert os.listdir(tmp_path / "mine") == ["letter.txt"]


def test_a_path_without_an_ending_is_a_folder_of_datasets(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    write({"a": ["x"]}, str(tmp_path / "out" / "ds"))
    assert datasets.load_from_disk(str(tmp_path / "out" / "ds"))["a"][0] == "x"


def test_a_device_or_pipe_is_written_as_it_is_and_a_folder_is_not_taken_for_a_file(tmp_path: Path) -> None:
    write({"a": ["x"]}, os.devnull, format="csv")
    assert not os.path.isfile(os.devnull)
    (tmp_path / "out.csv").mkdir()
    with pytest.raises(DataError, match="is a folder"):
        write({"a": ["x"]}, str(tmp_path / "out.csv"))


def test_standard_output_is_jsonl_in_utf8_whatever_the_locale(root: Path) -> None:
    code = "from agent.data import write; write({'text': ['é', None], 'p': [.5, float('nan')]}, '-')"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, cwd=root, env=environment)
    assert done.stdout.decode() == '{"text": "é", "p": 0.5}\n{"text": null, "p": null}\n'
