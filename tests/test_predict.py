"""`tutelage predict` for many rows: pipes answered as they come, files written whole, drift and the strangest rows."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cli_room import call, surroundings
from serving_room import MULTI, SINGLE, WORDS, saved, slow_model

from agent import data
from agent.errors import DataError


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(saved(SINGLE, tmp_path_factory.mktemp("model") / "single"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def texts(n: int, seed: int = 1, words: Any = None) -> list[str]:
    rng = random.Random(seed)
    kinds = words or [WORDS[name] for name in SINGLE.labels]
    return [" ".join(rng.choices(rng.choice(kinds).split(), k=4)) + f" number {rng.randrange(120)}" for _ in range(n)]


def table(path: str, rows: list[str], more: str = "") -> None:
    with open(path, "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["key", "body", "when"])
        writer.writerows([f"k{i}", text, f"day {i}{more}"] for i, text in enumerate(rows))


def lines(done: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_each_line_of_a_pipe_is_answered_before_the_next_is_written(model: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "agent", "predict", "--model", model],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=surroundings(),
    ) as process:
        try:
            assert process.stdin is not None and process.stdout is not None
            for text, label in (("awful cruel liar", "bad"), ("warm kind thanks", "good"), ("cold liar cruel", "bad")):
                process.stdin.write(text + "\n")
                process.stdin.flush()
                assert json.loads(process.stdout.readline())["label"] == label  # would wait forever otherwise
            process.stdin.write("fair enough plain")  # the last line has no end
            process.stdin.close()
            assert json.loads(process.stdout.readline())["label"] == "so so"
            assert process.wait(20) == 0
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("head", "form"),
    [("", "{}"), ("", '{{"text": "{}", "n": 1}}'), ("\ufeffid;text\r\n", '7;"{}"\r'), ("text\n", '"{}\nand more"')],
    ids=["plain", "jsonl", "csv", "records of two lines"],
)
def test_every_form_is_read_as_it_comes(head: str, form: str) -> None:
    reading, writing = os.pipe()
    with open(reading, "rb") as stream, open(writing, "wb", buffering=0) as pipe:
        batches = data.live(data.Source("-", unique=False), stream)
        for i in range(3):
            pipe.write(((head if i == 0 else "") + form.format(f"text {i} ü") + "\n").encode())
            (entry,) = next(batches)  # would wait forever if it wanted more
            assert isinstance(entry, data.Entry) and entry.item.text.startswith(f"text {i} ü")
        pipe.write((form.format("a") + "\n" + form.format("b") + "\n").encode())
        assert [len(batch) for batch in [next(batches)]] == [2]


def test_a_pipe_may_hold_bad_lines_and_long_records(model: str) -> None:
    typed = '{"body": "awful liar", "n": 1}\nnot json\n{"n": 2}\n{"body": 3}\n\n{"body": "kind thanks"}\n'
    done = call("predict", "--model", model, "--text", "body", "--keep", "n", typed=typed)
    assert done.exit_code == 0
    assert [(r["row"], r["n"], r["label"]) for r in lines(done)] == [(1, 1, "bad"), (6, None, "good")]
    for words in ("row 2: no sound JSON", "row 3: no text in column 'body'", "row 4: column 'body' holds a number"):
        assert words in done.stderr
    done = call("predict", "--model", model, typed='text,n\r\n"awful\r\nliar, cruel",1\r\nkind thanks,2\r\n')
    assert [(r["row"], r["label"]) for r in lines(done)] == [(2, "bad"), (4, "good")]
    done = call("predict", "--model", model, typed='[{"text": "awful liar"},\n {"text": "kind thanks"}]')
    assert [r["label"] for r in lines(done)] == ["bad", "good"]


def test_a_pipe_that_holds_nothing_to_label_ends_with_exit_code_2(model: str) -> None:
    for typed, says in (
        ("", "holds no rows"),
        ("{}\n{}\n", "no column holds text"),
        ('{"text": ""}\n', "not one of 1 row"),
    ):
        done = call("predict", "--model", model, typed=typed)
        assert done.exit_code == 2 and says in done.stderr and done.stdout == ""
    with pytest.raises(DataError, match="UTF-16"):
        next(data.live(data.Source("-"), io.BytesIO("text".encode("utf-16"))))


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_file_has_the_rows_in_order_with_what_was_kept_and_every_class(here: Path, model: str, ending: str) -> None:
    made = [text if i % 10 else f"number {i}" for i, text in enumerate(texts(1_300))]
    table("new.csv", made)
    done = call(
        "predict", "new.csv", "--model", model, "--text", "body", "--id", "key", "--keep", "when", "--keep", "body",
        "--abstain", "0.9", "--proba", "--out", f"out.{ending}", "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    if ending == "parquet":
        rows = pq.read_table("out.parquet").to_pylist()
    elif ending == "csv":
        rows = list(csv.DictReader(io.StringIO(Path("out.csv").read_text(), newline="")))
    else:
        rows = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == [f"k{i}" for i in range(1_300)]
    assert [row["body"] for row in rows] == made and rows[7]["when"] == "day 7" and int(rows[7]["row"]) == 9
    below = [row for row in rows if float(row["probability"]) < 0.9]
    assert all(not row["label"] and row["guess"] in SINGLE.labels for row in below) and below
    assert told["rows"] == 1_300 and told["abstained"] == len(below) and told["path"] == f"out.{ending}"
    chances = rows[3]["probabilities"] if ending == "jsonl" else {n: float(rows[3][f"p_{n}"]) for n in SINGLE.labels}
    assert max(chances.values()) == pytest.approx(float(rows[3]["probability"]), abs=1e-5)
    assert sorted(os.listdir()) == sorted(["new.csv", f"out.{ending}"])


def test_a_file_is_written_whole_or_not_at_all(here: Path, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("out.csv").write_text("before\n")
    broken = str(slow_model(here / "broken", monkeypatch))
    table("new.csv", [*texts(1_100), "SENTINEL bomb"])
    done = call("predict", "new.csv", "--model", broken, "--text", "body", "--out", "out.csv")
    assert done.exit_code == 1 and "SENTINEL" not in done.stderr
    assert Path("out.csv").read_text() == "before\n" and not list(here.glob(".out*"))
    for place, says in (("out.xls", "use the ending .csv"), ("broken/x/../../out.txt", "use the ending")):
        done = call("predict", "new.csv", "--model", model, "--text", "body", "--out", place)
        assert done.exit_code == 2 and says in done.stderr


def test_labels_that_are_lists_are_written_in_every_form(here: Path) -> None:
    many = str(saved(MULTI, here / "many"))
    Path("new.txt").write_text("idiot shut fool\nbuy cheap offer\n")
    for ending in ("csv", "parquet"):
        words = ["--abstain", "1", "--proba"] if ending == "parquet" else []
        assert call("predict", "new.txt", "--model", many, "--out", f"out.{ending}", *words).exit_code == 0
    assert [row["label"] for row in csv.DictReader(io.StringIO(Path("out.csv").read_text()))] == ["rude", "spam"]
    found = pq.read_table("out.parquet")
    assert found.column("guess").to_pylist() == [["rude"], ["spam"]] and found.column("label").null_count == 2
    assert found.column("p_rude")[0].as_py() > 0.5 > found.column("p_spam")[0].as_py()


def test_a_parquet_file_with_dates_and_gaps_keeps_them(here: Path, model: str) -> None:
    import datetime as dt

    days = [dt.date(2026, 1, 1), None]
    pq.write_table(pa.table({"text": ["awful liar", "kind thanks"], "day": days, "n": [1, None]}), "new.parquet")
    done = call("predict", "new.parquet", "--model", model, "--text", "text", "--keep", "day", "--keep", "n")
    assert [(r["day"], r["n"], r["label"]) for r in lines(done)] == [("2026-01-01", 1, "bad"), (None, None, "good")]


def test_rows_of_several_files_say_from_which(here: Path, model: str) -> None:
    (here / "new").mkdir()
    for name in "ab":
        (here / "new" / f"{name}.txt").write_text("awful liar\n")
    done = call("predict", "new", "--model", model)
    assert [(r["file"], r["row"]) for r in lines(done)] == [("new/a.txt", 1), ("new/b.txt", 1)]


def test_bars_are_numbers_or_certified(here: Path, model: str) -> None:
    Path("new.txt").write_text("awful liar\n")
    for bar, says in (("certified", "carries no certified bar"), ("often", "give a number"), ("1.5", "from 0 to 1")):
        done = call("predict", "new.txt", "--model", model, "--abstain", bar)
        assert done.exit_code == 2 and says in done.stderr
    sure = str(saved(SINGLE, here / "sure"))
    (here / "sure" / "thresholds.json").write_text(json.dumps({"certified": {"bar": 1.0}}))
    assert lines(call("predict", "new.txt", "--model", sure, "--abstain", "certified"))[0]["label"] is None


def test_columns_that_are_not_there_or_taken_are_named(here: Path, model: str) -> None:
    table("new.csv", texts(3))
    done = call("predict", "new.csv", "--model", model, "--text", "body", "--keep", "whn")
    assert done.exit_code == 2 and "no column 'whn' (--keep); did you mean 'when'?" in done.stderr
    Path("odd.csv").write_text("text,label\na,b\n")
    done = call("predict", "odd.csv", "--model", model, "--text", "text", "--keep", "label")
    assert done.exit_code == 0 and lines(done)[0]["given_label"] == "b" and lines(done)[0]["label"] in SINGLE.labels
    Path("odd.csv").write_text("text,label,given_label\na,b,c\n")
    kept = ["--keep", "label", "--keep", "given_label"]
    done = call("predict", "odd.csv", "--model", model, "--text", "text", *kept)
    assert done.exit_code == 2 and "rename it" in done.stderr


def test_drift_is_told_and_the_strangest_rows_are_written_for_people(here: Path, model: str) -> None:
    table("same.csv", sorted(texts(300)))  # in a file the order is none
    done = call("predict", "same.csv", "--model", model, "--text", "body", "--drift", "--out", "o.csv", "--json")
    assert json.loads(done.stdout)["drift"]["alarm"] is False and "drift: none to be seen in 300 rows" in done.stderr
    other = [f"quarterly ledger {i} reconciled against treasury {i * 7}" for i in range(100)]
    table("other.csv", [*texts(100, 2), *other, *other])
    words = ["predict", "other.csv", "--model", model, "--text", "body", "--id", "key"]
    done = call(*words, "--drift")
    assert (
        done.exit_code == 0 and "label some of them and train anew: tutelage predict other.csv --model" in done.stderr
    )
    assert f"--model {model} --text body --review FILE writes" in done.stderr
    assert call(*words, "--review", "strange.jsonl").exit_code == 0
    before = Path("strange.jsonl").read_bytes()
    done = call(*words, "--review", "strange.jsonl")
    assert done.exit_code == 2 and "people may have written into it" in done.stderr
    assert Path("strange.jsonl").read_bytes() == before
    assert call(*words, "--review", "strange.jsonl", "--force").exit_code == 0
    rows = [json.loads(line) for line in Path("strange.jsonl").read_text().splitlines()]
    assert len(rows) == 50 and len({row["text"] for row in rows}) == 50
    assert sum(row["text"] in other for row in rows) >= 45 and all(row["id"].startswith("k") for row in rows)


def test_without_a_sample_of_its_pool_a_model_says_so(here: Path) -> None:
    bare = saved(SINGLE, here / "bare")
    (bare / "reference.safetensors").unlink()
    Path("new.txt").write_text("awful liar\n")
    assert call("predict", "new.txt", "--model", str(bare)).exit_code == 0
    done = call("predict", "new.txt", "--model", str(bare), "--drift")
    assert done.exit_code == 2 and "run and export the model again" in done.stderr


def test_a_name_in_a_model_folder_never_imports_code(here: Path, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(here))
    Path("evil.py").write_text("open('ran', 'w').close()\nplugin = None\n")
    shutil.copytree(model, "handed")
    card = Path("handed/student.json")
    Path("new.txt").write_text("awful liar\n")
    for name in ("evil:plugin", "evil", "_head", "..evil"):
        card.write_text(json.dumps({**json.loads(card.read_text()), "student": name}))
        for verb in ("predict", "serve"):
            done = call(verb, *(["new.txt"] if verb == "predict" else ["--port", "0"]), "--model", "handed")
            assert done.exit_code == 2 and f"names {name!r}, which is none of students here" in done.stderr
    assert not Path("ran").exists()


class Endless(io.RawIOBase):
    """A pipe of so many chunks of a thousand lines."""

    def __init__(self, chunks: int) -> None:
        self.left = chunks

    def read1(self, size: int) -> bytes:
        self.left -= 1
        return b"".join(
            b'{"id": "%d %d", "text": "awful liar"}\n' % (self.left, i) for i in range(1_000 * (self.left >= 0))
        )


def test_memory_does_not_grow_with_the_rows() -> None:
    """20,000 rows: a place and an id kept of each would be 3 MB."""
    source = data.Source("-", id="id", unique=False)
    tracemalloc.start()
    try:
        rows = sum(len(batch) for batch in data.live(source, cast(BinaryIO, Endless(20))))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert rows == 20_000 and kept < 500_000
