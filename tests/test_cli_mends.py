"""What the command line says when something is wrong or has changed: the mend that helps, where it is looked for."""

from __future__ import annotations

import csv
import errno
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from cli_room import LADDER, call, child, good, read, surroundings, with_ladder, with_pool
from servers.chat import Many

from agent import config, errors
from agent.cli import begin
from agent.cli.house import explain


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a pool of 60 rows, which is the current one."""
    return with_pool(tmp_path, monkeypatch)


@pytest.fixture
def ready(here: Path) -> Path:
    """The same with a tutelage.toml of fast plug-ins."""
    return with_ladder(here)


def wait_for_people() -> None:
    """A run that stops because people are waited for."""
    assert call("run", "--budget", "1").exit_code == 4


def test_certify_asks_for_open_answers_before_anything_else(ready: Path) -> None:
    wait_for_people()
    refused = call("certify")
    assert refused.exit_code == 2 and "--now" in refused.stderr and "tutelage review" in refused.stderr
    unmet = good("certify", "--now", code=5)
    count = sum(good("status")["questions_to_people"].values())
    assert unmet["advice"][0].startswith(f"{count} questions to people, 15 of them random checks, wait")
    assert unmet["advice"][1].endswith("answer first: tutelage review, then tutelage certify")
    assert good("run", "--people", "gold", "--budget", "1")["open"] == 0
    assert "audit more items" in good("certify", "--accuracy", "0.9999", "--now", code=5)["advice"][0]


def test_where_answers_are_recorded_nobody_is_sent_to_the_review(ready: Path) -> None:
    wait_for_people()
    recorded = ["--set", "rung.person.people=gold"]
    assert good("status", *recorded)["next"][0] == "tutelage run"
    assert "tutelage run, then tutelage certify" in call("certify", "--now", *recorded).stdout
    assert good("status")["next"][0] == "tutelage review"


def test_a_certificate_that_does_not_hold_names_the_mend(ready: Path) -> None:
    good("run", "--people", "gold", "--budget", "1")
    path = Path(good("certify", "--accuracy", "0.3", "--now")["path"])
    path.write_text(path.read_text().replace('"items": 60', '"items": 61'))
    done = call("certify", "--verify")
    assert done.exit_code == 1 and "if labels or answers have changed since, `tutelage certify`" in done.stderr
    body = good("certify", "--verify", code=1)
    assert not body["verified"] and body["faults"] and body["code"] == 1 and "items" in body["error"]


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["plan"]])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_output_that_cannot_be_written_is_no_traceback(ready: Path, words: list[str]) -> None:
    command = [sys.executable, "-m", "agent", *words]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=surroundings())
    assert done.returncode == 2 and done.stderr == "error: standard output cannot be written: No space left on device\n"


@pytest.mark.parametrize("words", [["status"], ["status", "--bogus"], ["run", "--budget", "lots"], ["nothing"]])
def test_with_json_an_error_stands_on_stdout(ready: Path, words: list[str]) -> None:
    done = call(*words, "--json")
    body = json.loads(done.stdout)
    assert (body["tutelage"], body["code"], done.exit_code) == (1, 2, 2) and body["error"]
    assert body["error"].splitlines()[0] in done.stderr


def test_a_full_disk_names_the_run_folder() -> None:
    full = OSError(errno.ENOSPC, "No space left")
    assert explain(full, "/far/run")[1].endswith("(the run folder is /far/run)")
    assert explain(errors.StoreFull("no space left for the ledger"), "/far/run")[1].endswith("/far/run)")


def test_a_lost_ledger_names_its_file_and_is_not_made_anew(ready: Path) -> None:
    good("run", "--people", "gold", "--budget", "1")
    ledger = Path("tutelage-run/ledger.db")
    whole = ledger.read_bytes()
    for content in (b"", b"this is no database" * 500, whole[:9000], whole[:4096] + b"\xff" * (len(whole) - 4096)):
        for beside in Path("tutelage-run").glob("ledger.db-*"):
            beside.unlink()
        ledger.write_bytes(content)
        for words in (["run"], ["status"], ["certify"], ["export", "labels", "l.csv"], ["review"]):
            done = call(*words)
            assert done.exit_code == 2, (words, done.output)
            assert "ledger.db" in done.stderr and "restore it from a copy, or start a new run folder" in done.stderr
        checks = {check["what"]: check for check in good("doctor", code=2)["checks"]}
        assert checks["ledger"]["level"] == "fail" and "restore" in checks["ledger"]["mend"]
        assert ledger.read_bytes() == content


def test_a_pool_that_changed_is_told_in_a_line_each(ready: Path) -> None:
    good("run", "--people", "gold", "--budget", "1")
    rows = read("mail.csv")
    rows[5]["body"] = "another text"
    del rows[8:10]
    rows += [{"id": f"n{i}", "body": "", "label": ""} for i in range(12)]
    rows.append({"id": "odd", "body": "a crash", "label": "Biling"})
    with open("mail.csv", "w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    said = call("run", "--people", "gold", "--budget", "1").stderr
    assert " rows set aside: mail.csv, row 7: the id 'm5' is in this run already with another text" in said
    assert "1 item has a known label not in task.labels: 'Biling' (1)" in said
    checks = good("doctor")["checks"]
    since = [check["finding"] for check in checks if check["what"] == "pool since then"]
    assert since[0] == "2 items are in the run and not in the pool file any more; they stay"
    assert since[1] == "1 row has an id that is in the run with another text; that text stays"
    found = {check["what"]: check for check in checks}
    assert len(found["rows set aside"]["rows"]) == 12
    assert found["gold labels"]["rows"] == ["mail.csv, row 72: 'Biling'"]
    text = call("doctor").stdout
    assert text.count("no text in column") == 10 and "and 2 more: tutelage doctor --json lists all" in text


def test_what_left_the_pool_is_told_as_a_run_begins() -> None:
    assert begin.left(11, 0) == ["11 items are in the run and not in the pool file any more; they stay"]
    assert begin.left(1, 2) == [
        "1 item is in the run and not in the pool file any more; it stays",
        "2 rows have an id that is in the run with another text; those texts stay",
    ]
    assert begin.left(0, 0) == []


def test_doctor_looks_at_the_disk_of_the_run_folder(ready: Path) -> None:
    checks = {check["what"]: check for check in good("doctor", "--set", "run.dir=far/away")["checks"]}
    assert checks["disk"]["finding"].endswith("far/away is")


def test_doctor_speaks_of_the_set_that_is_wrong(ready: Path) -> None:
    checks = {check["what"]: check for check in good("doctor", "--set", "goal.acuracy=1", code=2)["checks"]}
    assert checks["configuration"]["mend"] == "correct the --set"
    checks = {check["what"]: check for check in good("doctor", "--set", "pool.path=gone.csv", code=2)["checks"]}
    assert checks["pool"]["mend"] == "correct --set pool.path=gone.csv"


class AlwaysA(BaseHTTPRequestHandler):
    """A chat server that says A to everything and gives no log-probabilities."""

    def log_message(self, format: str, *args: object) -> None:
        del format, args

    def do_GET(self) -> None:
        self._say({"data": [{"id": "m"}]})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        said = {"message": {"role": "assistant", "content": "A"}, "finish_reason": "stop"}
        choices = [{"index": i, **said} for i in range(asked.get("n", 1))]
        self._say({"model": "m", "choices": choices, "usage": {"prompt_tokens": 9, "completion_tokens": 1}})

    def _say(self, body: object) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())


@contextmanager
def always_a() -> Iterator[str]:
    """The address of such a server."""
    with Many(("127.0.0.1", 0), AlwaysA) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        server.shutdown()


def openai(url: str, more: str = "") -> str:
    rung = f'oracle = "openai"\nmodel = "m"\nbase_url = "{url}"\n{more}'
    return LADDER.replace('oracle = "scripted"\naccuracy = 0.9', rung)


def test_a_server_without_log_probabilities_is_told_of(ready: Path) -> None:
    with always_a() as url:
        Path("votes.toml").write_text(openai(url))
        checks = {check["what"]: check for check in good("doctor", "-c", "votes.toml")["checks"]}
        missing = checks["rung openai: log-probabilities"]
        assert missing["level"] == "ok" and "votes are counted" in missing["finding"]
        Path("votes.toml").write_text(openai(url, 'logprobs = "yes"'))
        assert good("doctor", "-c", "votes.toml", code=2)["failed"] == 1


def test_a_key_that_is_not_set_is_named(ready: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    priced = "usd_per_mtok_in = 1.0\nusd_per_mtok_out = 1.0"
    Path("far.toml").write_text(openai("https://models.example/v1", f'api_key_env = "MYKEY"\n{priced}'))
    checks = {check["what"]: check for check in good("doctor", "-c", "far.toml", code=2)["checks"]}
    assert checks["rung openai: key"]["finding"] == "MYKEY is not set"
    Path("unnamed.toml").write_text(openai("https://models.example/v1", priced))
    checks = {check["what"]: check for check in good("doctor", "-c", "unnamed.toml", code=2)["checks"]}
    assert 'write api_key_env = "NAME"' in checks["rung openai: key"]["mend"]
    Path("near.toml").write_text(openai("http://127.0.0.1:9/v1", 'api_key_env = "MYKEY"'))
    assert "rung openai: MYKEY is not set" in call("run", "-c", "near.toml").stderr
    monkeypatch.setenv("MYKEY", "x")
    assert "is not set" not in call("run", "-c", "near.toml").stderr


def test_quiet_silences_logs_and_warnings(ready: Path) -> None:
    with always_a() as url:
        Path("votes.toml").write_text(openai(url))
        words = ["run", "-c", "votes.toml", "--limit", "20"]
        loud = child(*words, "--set", "run.dir=one")
        quiet = child(*words, "-q")
    assert "gives no log-probabilities" in loud.stderr and quiet.stderr == ""


def test_init_keeps_an_id_that_repeats_now_and_then(here: Path) -> None:
    with open("mail.csv", "a", newline="") as stream:
        csv.writer(stream).writerows([["m0", "same id", "billing"], ["m1", "same id", "billing"]])
    body = good("init", "mail.csv")
    assert (body["id"], body["items"], body["set_aside"]) == ("id", 60, 2)
    text = Path("tutelage.toml").read_text()
    assert "2 rows repeat an id and will be set aside" in text and config.load("tutelage.toml").pool.id == "id"


def test_init_of_what_is_no_pool_names_the_file_and_never_the_configuration(here: Path) -> None:
    Path("bin.csv").write_bytes(b"\x7fELF\x02\x01\x00\x00" * 50)
    Path("bin.parquet").write_bytes(b"\x7fELF\x02\x01\x00\x00" * 50)
    Path("lines.csv").write_text('text,label\na,"x\ny"\nb,"x\ny"\nc,z\nd,z\n')
    for name in ("bin.csv", "bin.parquet", "lines.csv"):
        done = call("init", name)
        assert done.exit_code == 2 and name in done.stderr
        assert "tutelage.toml" not in done.stderr and "pool." not in done.stderr and not Path("tutelage.toml").exists()


def test_init_says_which_known_labels_were_not_named(here: Path) -> None:
    assert "not among --labels: 'technical' (30)" in call("init", "mail.csv", "--labels", "billing,other").stderr


def test_commands_that_are_printed_can_be_pasted(here: Path) -> None:
    Path("my mail").mkdir()
    Path("mail.csv").rename("my mail/mail.csv")
    assert good("init", "my mail/mail.csv")["next"] == "tutelage doctor -c 'my mail/tutelage.toml'"


def test_predict_repeats_ids_and_speaks_of_the_file_given(ready: Path) -> None:
    good("run", "--people", "gold", "--budget", "1")
    Path("new.csv").write_text("id,body\n1,refund of the payment\n1,freeze\n")
    done = call("predict", "new.csv", "--id", "id")
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == ["1", "1"]
    for words in (["gone.csv"], ["new.csv", "--text", "bdy"], ["new.csv", "--id", "key"]):
        done = call("predict", *words)
        assert done.exit_code == 2 and "pool." not in done.stderr
    assert "standard input holds no rows" in child("predict", typed="").stderr


def test_export_writes_a_folder_of_datasets_and_names_an_unknown_format(ready: Path) -> None:
    pytest.importorskip("datasets")
    good("run", "--people", "gold", "--budget", "1")
    assert good("export", "labels", "out/ds")["rows"] == 60 and Path("out/ds/state.json").exists()
    done = call("export", "labels", "out.csv", "--format", "foo")
    assert done.exit_code == 2 and "no format 'foo'" in done.stderr and "parquet" in done.stderr


def test_the_next_command_keeps_the_limit_on_money(ready: Path) -> None:
    waiting = good("run", "--budget", "1", code=4)
    assert waiting["next"][:2] == ["tutelage review", "tutelage run --budget 1"]
    spent = good("run", "--people", "gold", "--budget", "0.005", "--set", "run.dir=other", code=3)
    assert spent["next"][0] == "tutelage run --people gold --budget MORE" and "asked_by" not in spent
