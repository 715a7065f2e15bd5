"""Review in a spreadsheet: blind rows out, labels back, nothing mixed up and nothing twice."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from review_room import COUNTS, Room, furnish

from agent import config as settings
from agent.errors import DataError, UserError
from agent.review import sheet
from agent.review.trips.report import Report
from agent.types import Answer


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = furnish(tmp_path)
    yield made
    made.store.close()


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def save(path: Path, rows: Sequence[dict[str, Any]], delimiter: str = ",") -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def test_sheet_is_blind(room: Room) -> None:
    path = room.folder / "q.csv"
    assert sheet.export(room.config, room.store, room.pool, str(path)) == 12
    rows = rows_of(path)
    assert list(rows[0]) == ["key", "id", "text", "label", "note"]
    by_key = {c.key: c for c in room.pending()}
    shapes: dict[str, set[tuple[str, ...]]] = {}
    for row in rows:
        call = by_key[row["key"]]
        assert row["text"] == room.pool.item(room.pool.position(call.item)).text
        rest = tuple(f"{k}={v}" for k, v in row.items() if k not in ("key", "id", "text"))
        shapes.setdefault(call.purpose, set()).add(rest)
    assert shapes == {stream: {("label=", "note=")} for stream in COUNTS}


def test_sheet_says_the_same_whatever_the_stream(tmp_path: Path) -> None:
    told = set()
    for stream in ("pilot", "audit", "escalation"):
        (tmp_path / stream).mkdir()
        room = furnish(tmp_path / stream, counts={stream: 1})
        sheet.export(room.config, room.store, room.pool, str(tmp_path / stream / "q.csv"))
        told.add((tmp_path / stream / "q.csv").read_bytes())
    assert len(told) == 1


def test_sheet_there_and_back(room: Room) -> None:
    path = room.folder / "q.csv"
    sheet.export(room.config, room.store, room.pool, str(path))
    rows = rows_of(path)
    for row, label in zip(rows, ["billing", "TECHNICAL", " other ", "?", "None", "", "bling", "refund"], strict=False):
        row["label"] = label
    rows[0]["note"] = "clear"
    rows.append({**rows[0], "key": "0" * 64})
    rows.reverse()
    save(path, rows, ";")
    report = sheet.take(room.config, room.store, room.pool, str(path), "ada")
    assert (report.taken, report.unsure, report.empty, report.already) == (3, 2, 5, 0)
    (stray, refund, bling) = report.refused
    lines = path.read_text().splitlines()
    assert stray.row == 2 and "'0000000000000000' is no open question" in stray.why
    assert bling.row == 1 + next(i for i, line in enumerate(lines) if ";bling;" in line) and "'billing'" in bling.why
    assert refund.row == bling.row - 1 and "'refund' is not a label" in refund.why
    assert f",{refund.id}," in lines[refund.row - 1].replace(";", ",")
    said = room.said()
    assert [said.get(row["id"]) for row in reversed(rows[-7:])] == [
        "billing",
        "technical",
        "other",
        "?",
        "?",
        None,
        None,
    ]
    assert {a.flags for _, a in room.answers()} == {("sheet",), ("sheet", "note: clear")}
    again = sheet.take(room.config, room.store, room.pool, str(path), "ada")
    assert (again.taken, again.unsure, again.already) == (0, 0, 5) and len(room.answers()) == 5
    assert "5 known already" in str(again) and f"row {bling.row}" in str(again)


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "json", "parquet"])
def test_sheet_in_every_format(room: Room, ending: str) -> None:
    from agent import data

    path = str(room.folder / f"q.{ending}")
    sheet.export(room.config, room.store, room.pool, path)
    keys = [call.key for call in room.pending()]
    data.write({"key": keys, "label": ["billing", *[""] * 11]}, path)
    report = sheet.take(room.config, room.store, room.pool, path, "ada")
    assert (report.taken, report.empty, report.refused) == (1, 11, [])


def test_sheet_whose_ids_moved_is_not_mixed_up(room: Room) -> None:
    path = room.folder / "q.csv"
    sheet.export(room.config, room.store, room.pool, str(path))
    rows = rows_of(path)
    for row in rows:
        row["label"] = "other"
    rows[0]["id"], rows[1]["id"] = rows[1]["id"], rows[0]["id"]
    save(path, rows)
    report = sheet.take(room.config, room.store, room.pool, str(path), "ada")
    assert report.taken == 10 and [refused.row for refused in report.refused] == [2, 3]
    assert "sorted apart" in report.refused[0].why


def test_sheet_that_contradicts_itself_or_the_ledger(room: Room) -> None:
    path = room.folder / "q.csv"
    sheet.export(room.config, room.store, room.pool, str(path))
    rows = rows_of(path)
    room.store.record_now(rows[2]["key"], Answer("billing", who="ada"))
    picked = [{**rows[0], "label": "billing"}, {**rows[0], "label": "other"}, {**rows[1], "label": "other"},
              {**rows[1], "label": "Other"}, {**rows[2], "label": "technical"}]  # fmt: skip
    save(path, picked)
    report = sheet.take(room.config, room.store, room.pool, str(path), "ada")
    assert report.taken == 1 and report.already == 0
    assert [refused.row for refused in report.refused] == [2, 3, 6]
    assert "row 3" in report.refused[0].why and "before" in report.refused[2].why
    assert len(room.answers()) == 2


def test_sheet_of_several_labels(tmp_path: Path) -> None:
    room = furnish(tmp_path, kind="multi", counts={"pilot": 7})
    path = room.folder / "q.csv"
    sheet.export(room.config, room.store, room.pool, str(path))
    rows = rows_of(path)
    given_ = ["billing|OTHER", "|", "?", "none", "other, technical", "", "billing|?"]
    for row, label in zip(rows, given_, strict=True):
        row["label"] = label
    save(path, rows)
    report = sheet.take(room.config, room.store, room.pool, str(path), "ada")
    assert (report.taken, report.unsure, report.empty) == (3, 1, 1)
    assert [refused.row for refused in report.refused] == [5, 8] and "two things" in report.refused[0].why
    assert sorted(room.said().values()) == ["?", '["billing", "other"]', '["other", "technical"]', "[]"]


def test_sheet_with_formulas_stays_text(tmp_path: Path) -> None:
    room = furnish(tmp_path, text='=HYPERLINK("x")', labels=["=a", "b"], counts={"pilot": 1})
    path = room.folder / "q.csv"
    sheet.export(room.config, room.store, room.pool, str(path))
    rows = rows_of(path)
    assert rows[0]["text"].startswith("'=")
    save(path, [{**rows[0], "label": "'=A"}])
    assert sheet.take(room.config, room.store, room.pool, str(path), "ada").taken == 1
    assert list(room.said().values()) == ["=a"]


def test_what_is_no_sheet_is_told(room: Room) -> None:
    path = room.folder / "q.csv"
    path.write_text("id,answer\n1,billing\n")
    for where in (path, room.folder / "absent.csv"):
        with pytest.raises(DataError, match="key and label"):
            sheet.take(room.config, room.store, room.pool, str(where), "ada")


def test_a_sheet_that_is_there_is_not_overwritten_unasked(room: Room) -> None:
    path = room.folder / "q.csv"
    path.write_text("filled in by hand")
    with pytest.raises(UserError, match=r"q\.csv is there already.*--force"):
        sheet.export(room.config, room.store, room.pool, str(path))
    assert path.read_text() == "filled in by hand"
    assert sheet.export(room.config, room.store, room.pool, str(path), force=True) == 12 == len(rows_of(path))


def test_a_sheet_in_a_folder_that_is_not_there(room: Room) -> None:
    with pytest.raises(DataError, match=r"there is no folder .*nowhere; make it"):
        sheet.export(room.config, room.store, room.pool, str(room.folder / "nowhere" / "q.csv"))
    assert not (room.folder / "nowhere").exists()


def test_no_sheet_when_nothing_is_open(tmp_path: Path) -> None:
    room = furnish(tmp_path, counts={"pilot": 1})
    room.type("1\n")
    assert sheet.export(room.config, room.store, room.pool, str(tmp_path / "q.csv")) == 0
    assert not (tmp_path / "q.csv").exists()


def test_how_a_sheet_is_filled_in(tmp_path: Path) -> None:
    (tmp_path / "many").mkdir()
    one = sheet.how_to(settings.the_task(furnish(tmp_path).config))
    assert one.startswith("fill in `label` with one of: billing, technical, other; ? = cannot tell") and "|" not in one
    many = furnish(tmp_path / "many", labels=[f"label {i}" for i in range(77)], kind="multi")
    several = sheet.how_to(settings.the_task(many.config))
    assert "joined by |" in several and "| alone = none of the labels" in several
    assert "label 29 …" in several and "label 30" not in several and "77 labels" in several


def test_answers_of_a_sheet_have_no_time_of_their_own(room: Room) -> None:
    path = room.folder / "q.csv"
    sheet.export(room.config, room.store, room.pool, str(path))
    rows = rows_of(path)
    rows[0]["label"] = "billing"
    save(path, rows)
    assert sheet.take(room.config, room.store, room.pool, str(path), "ada").rejected == 0
    assert [answer.seconds for _, answer in room.answers()] == [0.0]


def test_rejected_rows_are_listed_by_their_number(room: Room) -> None:
    path = room.folder / "q.csv"
    sheet.export(room.config, room.store, room.pool, str(path))
    rows = rows_of(path)
    for row, label in zip(rows, ["billing", "bling", "other"], strict=False):
        row["label"] = label
    rows[2]["key"] = "f" * 64
    save(path, rows)
    report = sheet.take(room.config, room.store, room.pool, str(path), "ada")
    lines = str(report).splitlines()
    assert lines[0].startswith("1 label taken, 0 marked") and report.rejected == 2
    assert lines[1].startswith(f"row 3 ({rows[1]['id']}): 'bling'")
    assert lines[2].startswith(f"row 4 ({rows[2]['id']}): its key 'ffff")
    assert lines[3].startswith("2 rows not taken")


def test_rows_that_are_not_taken_for_one_reason_share_a_line() -> None:
    report = Report()
    for row, id, why in [(2, "T-1", "the first was you"), (7, "", "no label"), (3, "\u202eT", "the first was you")]:
        report.refuse(row, id, why)
    assert "rows 2 (T-1), 3 (\\u202eT): the first was you\nrow 7: no label" in str(report)
