"""The command line as a user meets it: help, files, exit codes, what goes to stdout and what to stderr."""

from __future__ import annotations

import csv
import errno
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cli_room import LADDER, WORDS, call, child, good, read, surroundings, with_ladder, with_pool

from agent import config, errors
from agent.cli import main
from agent.cli.house import explain
from agent.cli.progress import Progress, State, span
from agent.loop import Event
from agent.loop.ground import lock
from agent.oracles.scripted import Settings
from agent.store import Store

ROOT = Path(__file__).resolve().parent.parent
VERBS = list(main.commands)


def fault(settings: object, context: object) -> object:
    """What a plug-in with a bug does."""
    raise RuntimeError("the text of an item: attack at dawn")


Broken = SimpleNamespace(Settings=Settings, build=fault)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a pool of 60 rows, which is the current one."""
    return with_pool(tmp_path, monkeypatch)


@pytest.fixture
def ready(here: Path) -> Path:
    """The same with a tutelage.toml of fast plug-ins."""
    return with_ladder(here)


# ---------------------------------------------------------------- help


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(verb: str) -> None:
    done = call(verb, "--help")
    assert done.exit_code == 0
    assert "Example:" in done.output and f"tutelage {verb}" in done.output.partition("Example:")[2]
    labeling = "init doctor plan run review people guidelines labels status route suspects certify"
    assert f"{labeling} export predict serve eval plugins".split() == VERBS


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_stands_in_the_readme(verb: str) -> None:
    assert f"tutelage {verb}" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_help_loads_no_library_but_click() -> None:
    code = "import sys, agent.cli; print(sorted({'pydantic','numpy','rich','sqlalchemy','pyarrow'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=surroundings())
    assert done.stdout.strip() == "[]"


def test_the_package_runs_as_a_module() -> None:
    done = child("--version")
    assert done.returncode == 0 and done.stdout.startswith("tutelage, version")


def test_an_unknown_verb_names_the_nearest() -> None:
    done = call("rnu")
    assert done.exit_code == 2 and "did you mean 'run'?" in done.stderr


def test_plugins_are_listed_with_their_first_line() -> None:
    found = good("plugins")["plugins"]
    assert {"single", "multi"} <= set(found["kinds"]) and {"person", "openai", "scripted"} <= set(found["oracles"])
    assert found["students"]["tfidf"].startswith("A linear head on tf-idf")
    assert "  tfidf " in call("plugins").stdout


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (errors.ConfigError("a\nb"), 2, "error: a\nerror: b"),
        (errors.MissingExtra("torch", "local", "it"), 2, "pip install 'tutelage[local]'"),
        (errors.BudgetSpent("no dollars left"), 3, "paused: no dollars left; the same command goes on"),
        (errors.Damaged("row 3"), 1, "error: row 3"),
        (OSError(errno.ENOSPC, "No space left"), 3, "make room"),
        (PermissionError(errno.EACCES, "Permission denied", "x.csv"), 2, "x.csv: Permission denied"),
        (KeyboardInterrupt(), 130, "goes on from here"),
        (KeyError("the text of an item"), 1, "a fault of tutelage itself: KeyError"),
    ],
)
def test_each_error_has_its_exit_code_and_words(error: BaseException, code: int, words: str) -> None:
    found, said = explain(error)
    assert found == code and words in said and "text of an item" not in said


@pytest.mark.parametrize("verb", ["plan", "run", "status", "review", "certify", "predict"])
def test_without_a_configuration_the_mend_is_named(here: Path, verb: str) -> None:
    done = call(verb)
    assert done.exit_code == 2
    assert done.stderr.startswith("error: tutelage.toml: there is no such file") and "tutelage init" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "words", [["status"], ["review"], ["certify"], ["export", "labels", "l.csv"], ["predict", "x"]]
)
def test_before_the_first_run_the_mend_is_named_and_nothing_is_made(ready: Path, words: list[str]) -> None:
    done = call(*words)
    assert done.exit_code == 2 and "tutelage run" in done.stderr
    assert not (ready / "tutelage-run").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["plan", "--set", "goal.acuracy=1"], "did you mean goal.accuracy?"),
        (["run", "--budget", "lots"], "--budget 5"),
        (["run", "--budget", "-1"], "--budget 5"),
        (["run", "--set", "pool.path=mial.csv"], "mail.csv"),
        (["run", "--set", "pool.text=bdy"], "did you mean 'body'?"),
        (["run", "--people", "nobody.csv"], "nobody.csv"),
        (["run", "--set", "rung.scripted.oracle=openai"], "rung.scripted"),
        (["review", "--export", "a.csv", "--import", "b.csv"], "not both"),
        (["init", "nothing.csv", "--force"], "nothing.csv"),
        (["init", "header.csv", "--force"], "header.csv holds no rows"),
        (["init", "-", "--force"], "into a file"),
        (["predict", "--model", "nowhere", "mail.csv"], "nowhere"),
    ],
)
def test_bad_input_exits_with_two_in_plain_words(ready: Path, words: list[str], said: str) -> None:
    Path("header.csv").write_text("text,label\n")
    done = call(*words)
    assert done.exit_code == 2, done.output
    assert said in done.stderr and "error: " in done.stderr and "Traceback" not in done.stderr


def test_a_fault_of_ours_exits_with_one_and_shows_no_text(ready: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["plan", "--set", "rung.scripted.oracle=test_cli:Broken"]
    done = call(*words)
    assert done.exit_code == 1 and "a fault of tutelage itself: RuntimeError in " in done.stderr
    assert "dawn" not in done.stderr and "Traceback" not in done.stderr
    monkeypatch.setenv("TUTELAGE_DEBUG", "1")
    assert "Traceback" in call(*words).stderr


# ---------------------------------------------------------------- init, doctor


def test_init_finds_columns_and_labels_and_what_it_writes_is_read(here: Path) -> None:
    body = good("init", "mail.csv")
    assert (body["text"], body["id"], body["gold"], body["items"]) == (["body"], "id", "label", 60)
    assert body["labels"] == ["billing", "technical"] and body["next"] == "tutelage doctor"
    got = config.load("tutelage.toml")
    assert [rung.name for rung in got.rung] == ["student", "small", "person"]
    text = (here / "tutelage.toml").read_text()
    assert '# oracle = "openai"' in text and "api_key_env" in text
    opened = "\n".join(line[2:] if line.startswith("# ") and " = " in line else line for line in text.splitlines())
    assert "[[rung]]" in opened  # the commented rung is complete: opening it changes only who is asked
    again = call("init", "mail.csv")
    assert again.exit_code == 2 and "--force" in again.stderr
    assert good("init", "--force")["items"] == 60


def test_init_asks_for_labels_that_it_cannot_find(here: Path) -> None:
    Path("lines.txt").write_text("one\ntwo\n\nthree\n")
    done = call("init", "lines.txt")
    assert done.exit_code == 2 and "--labels" in done.stderr and not Path("tutelage.toml").exists()
    body = good("init", "lines.txt", "--labels", "a, b,c")
    assert body["labels"] == ["a", "b", "c"] and body["items"] == 3
    same = call("init", "lines.txt", "--labels", "a,A", "--force")
    assert same.exit_code == 2 and "differ only by case" in same.stderr


def test_init_writes_next_to_the_pool_with_any_labels(here: Path) -> None:
    Path("far").mkdir()
    names = ['say "no"', "back\\slash", "naïve, or not", "a.b"]
    rows = [{"uuid": f"u{i}", "title": "t", "body": f"a longer text {i}", "tags": [names[i % 4]]} for i in range(40)]
    pq.write_table(pa.Table.from_pylist(rows), "far/pool.parquet")
    body = good("init", "far/pool.parquet")
    assert (body["kind"], body["id"], body["gold"], body["text"]) == ("multi", "uuid", "tags", ["body"])
    assert body["next"] == "tutelage doctor -c far/tutelage.toml"
    got = config.load("far/tutelage.toml")
    assert set(got.task.labels) == set(names) and Path(got.pool_path) == here / "far" / "pool.parquet"


def test_doctor_finds_all_well(ready: Path) -> None:
    body = good("doctor")
    level = {check["what"]: check["level"] for check in body["checks"]}
    assert body["failed"] == 0
    assert level["python"] == level["pool"] == level["rung scripted"] == level["ledger"] == "ok"
    assert not (ready / "tutelage-run").exists()


def test_doctor_without_a_configuration_looks_at_the_ground(here: Path) -> None:
    checks = {check["what"]: check for check in good("doctor")["checks"]}
    assert checks["configuration"]["level"] == "warn" and "tutelage init" in checks["configuration"]["mend"]
    assert call("doctor", "-c", "other.toml").exit_code == 2


def test_doctor_names_rows_set_aside_and_labels_nobody_knows(ready: Path) -> None:
    with open("mail.csv", "a", newline="") as stream:
        csv.writer(stream).writerows([["m0", "same id", "billing"], ["x", "", "billing"], ["y", "new", "Biling"]])
    checks = {check["what"]: check for check in good("doctor")["checks"]}
    assert checks["pool"]["finding"].startswith("61 items of 63 rows")
    assert "row 62: the id 'm0' was already used" in checks["rows set aside"]["finding"]
    assert "'Biling' (1)" in checks["gold labels"]["finding"] and checks["gold labels"]["level"] == "warn"


def test_doctor_fails_on_what_cannot_work(ready: Path) -> None:
    rung = 'oracle = "openai"\nmodel = "m"\nbase_url = "http://127.0.0.1:9/v1"'
    Path("openai.toml").write_text(LADDER.replace('oracle = "scripted"\naccuracy = 0.9', rung))
    body = good("doctor", "-c", "openai.toml", code=2)
    assert any(c["what"].startswith("rung openai") and c["level"] == "fail" and c["mend"] for c in body["checks"])
    body = good("doctor", "--set", "pool.path=gone.csv", code=2)
    assert any(c["what"] == "pool" and c["level"] == "fail" for c in body["checks"])
    Path("tutelage-run").mkdir()
    Path("tutelage-run/ledger.db").write_bytes(b"this is no database, though it is long enough to look at" * 20)
    body = good("doctor", code=2)
    assert any(c["what"] == "ledger" and c["level"] == "fail" for c in body["checks"])


# ---------------------------------------------------------------- from the first run to the last export


def counts() -> tuple[int, int, int]:
    """Calls, answers, dollars (in cents) of the ledger."""
    with Store.open(Path("tutelage-run/ledger.db")) as store:
        spend = store.spend()
    return spend.calls, spend.answers, round(spend.usd * 100_000)


def test_the_whole_way(ready: Path) -> None:
    first = good("run", "--people", "gold", "--budget", "1")
    assert first["items"] == 60 == sum(first["accepted"].values()) + first["unsure"] and first["open"] == 0
    assert first["code"] == 0 and first["reason"] and "gold" in first["people_are"]
    assert {Path(f).name for f in first["files"]} == {"labels.parquet", "report.html", "report.md"}
    before = counts()
    assert good("run", "--people", "gold", "--budget", "1")["accepted"] == first["accepted"]
    assert counts() == before
    status = good("status")
    assert (status["accepted"], status["usd"]) == (first["accepted"], first["usd"]) and status["turns"] >= first[
        "turns"
    ]

    assert good("export", "labels", "labels.csv")["rows"] == 60
    rows = read("labels.csv")
    assert [row["id"] for row in rows] == [f"m{i}" for i in range(60)]
    assert {row["status"] for row in rows} <= {"accepted", "unsure"} and {row["label"] for row in rows} == set(WORDS)
    lines = call("export", "labels", "-").stdout.splitlines()
    assert len(lines) == 60 and json.loads(lines[0])["id"] == "m0"

    claim = good("certify", "--accuracy", "0.3", "--delta", "0.2", "--now")
    assert claim["met"] and claim["certificate"]["audited"] > 0 and Path(claim["path"]).exists()
    assert good("certify", "--verify")["verified"]
    unmet = good("certify", "--accuracy", "0.9999", "--delta", "0.2", "--now", code=5)
    assert not unmet["met"] and "does not meet" in unmet["claim"]
    assert all(Path(path).stat().st_size for path in good("export", "report")["wrote"])


def test_a_changed_certificate_does_not_verify(ready: Path) -> None:
    good("run", "--people", "gold", "--budget", "1")
    path = Path(good("certify", "--accuracy", "0.3", "--now")["path"])
    body = json.loads(path.read_text())
    path.write_text(json.dumps(body | {"wrong": body["wrong"] + 1}))
    done = call("certify", "--verify")
    assert done.exit_code == 1 and "wrong" in done.stderr


def test_the_model_labels_new_rows_anywhere(ready: Path) -> None:
    good("run", "--people", "gold", "--budget", "1")
    assert call("export", "model", "model").exit_code == 0
    assert call("export", "model", "model").exit_code == 2
    assert call("export", "model", "mail.csv", "--force").exit_code == 2 and Path("mail.csv").is_file()
    assert call("export", "model", "model", "--force").exit_code == 0
    Path("tutelage.toml").unlink()
    done = child("predict", "--model", "model", typed="refund the invoice and the charge\ncrash, error and bug\n")
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0 and [row["label"] for row in said] == ["billing", "technical"]
    Path("new.csv").write_text("id,body\n1,refund of the payment\n2,\n3,freeze\n")
    words = ["predict", "new.csv", "--model", "model", "--id", "id", "--text", "body", "--abstain", "1"]
    done = call(*words)
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["id"], row["label"], row["guess"]) for row in said] == [
        ("1", None, "billing"),
        ("3", None, "technical"),
    ]
    assert "row 3: no text in column 'body'" in done.stderr
    assert call(*words, "--quiet").stderr == ""


def test_people_are_waited_for_and_a_sheet_brings_their_answers(ready: Path) -> None:
    waiting = good("run", "--budget", "1", code=4)
    assert sum(waiting["questions_to_people"].values()) > 0 and waiting["next"][0] == "tutelage review"
    truth = {row["body"]: row["label"] for row in read("mail.csv")}
    for _ in range(9):
        count = good("review", "--export", "sheet.csv", "--force")["questions"]
        rows = read("sheet.csv")
        assert len(rows) == count
        for row in rows:
            row["label"] = truth[row["body"]]
        with open("sheet.csv", "w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        assert good("review", "--import", "sheet.csv", "--who", "ada")["taken"] == count
        done = call("run", "--budget", "1", "--json")
        if done.exit_code == 0:
            break
    assert json.loads(done.stdout)["open"] == json.loads(done.stdout)["waiting"] == 0


def test_review_at_a_pipe_takes_lines(ready: Path) -> None:
    good("run", "--budget", "1", code=4)
    done = child("review", "--pipe", "--who", "ada", "--limit", "1", "--json", typed="1\n")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["answered"] == 1


def test_a_spent_budget_pauses_and_more_money_goes_on(ready: Path) -> None:
    paused = good("run", "--people", "gold", "--budget", "0.005", code=3)
    assert 0 < paused["usd"] <= paused["budget_usd"] == 0.005 and "budget" in paused["reason"]
    assert good("run", "--people", "gold", "--budget", "none")["usd"] > 0.005


def test_ctrl_c_ends_in_order_and_the_same_command_goes_on(ready: Path) -> None:
    slow = ["--set", "rung.scripted.latency_s=0.3", "--set", "rung.scripted.in_flight=1"]
    command = [sys.executable, "-m", "agent", "run", "--people", "gold", "--json", *slow]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=surroundings()) as run:
        try:
            until(lambda: asked() > 2 or run.poll() is not None)
            run.send_signal(signal.SIGINT)
            out, err = run.communicate(timeout=60)
        finally:
            run.kill()
    assert run.returncode == 130, err
    assert "the same command goes on" in err and "Traceback" not in err
    assert json.loads(out)["next"] == ["tutelage run --people gold"]
    held = counts()
    assert held[1] > 0
    done = good("run", "--people", "gold")
    assert done["open"] == 0 and counts()[1] > held[1]


def until(reached: Callable[[], bool]) -> None:
    """Wait for it, a minute at most."""
    for _ in range(600):
        if reached():
            return
        time.sleep(0.1)


def asked() -> int:
    """Good answers of the machine so far."""
    if not Path("tutelage-run/ledger.db").exists():
        return 0
    with Store.open(Path("tutelage-run/ledger.db")) as store:
        usage = store.spend().by.get("scripted")
    return usage.answers if usage else 0


def test_two_runs_do_not_share_a_folder(ready: Path) -> None:
    with lock(Path("tutelage-run")):
        done = call("run")
    assert done.exit_code == 2 and "another run" in done.stderr and "run.dir=other" in done.stderr


def test_whoever_reads_us_may_leave(ready: Path) -> None:
    good("run", "--people", "gold", "--budget", "1")
    shell = f"{sys.executable} -m agent export labels - | head -n 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True, env=surroundings())
    assert done.stdout.splitlines()[-1] in ("0", "141") and done.stderr == ""


# ---------------------------------------------------------------- what is shown meanwhile


def test_the_progress_line_says_where_the_run_stands() -> None:
    state = State(25.0, 0.5)
    state.take(Event("intake", 0, "", 100, 101, {"new": 100}), 0.0)
    told = {
        "accepted": {"student": 40, "small": 0, "person": 2},
        "unsure": 3,
        "waiting": 5,
        "agreement": {"student": [9, 10]},
    }
    state.take(Event("decide", 2, "", 42, 100, told), 1.0)
    state.take(Event("ask", 2, "asking small about 50 items", 0, 50, {"rung": "small"}), 2.0)
    for done in range(1, 11):
        state.take(Event("answer", 2, "", done, 50, {"rung": "small", "usd": 0.01}), 2.0 + done)
    line = state.line(12.0)
    assert (
        "turn 2 · 42 of 100 accepted (student 40, person 2) · 3 best guesses · 5 wait for people · 10 answers" in line
    )
    assert "$0.60 of $25.00 · student right on 9 of 10 pilot items · asking small" in line
    assert line.endswith("10 of 50, 40 s left")


def test_times_are_told_in_the_unit_people_use() -> None:
    assert [span(s) for s in (5, 600, 7200)] == ["5 s", "10 min", "2.0 h"]


def test_a_resumed_run_begins_with_what_is_decided_already(capfd: pytest.CaptureFixture[str]) -> None:
    with Progress(1.0, {"accepted": {"person": 4}, "unsure": 1, "waiting": 0, "usd": 0.5}) as progress:
        progress(Event("intake", 0, "", 10, 12, {"new": 0}))
    assert "4 of 10 accepted (person 4) · 1 best guess · 0 answers · $0.50 of $1.00" in capfd.readouterr().err
