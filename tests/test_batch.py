"""Batch files: out and back once each, whatever the files hold and whenever the process dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from agent import config as settings
from agent import export, loop
from agent.batch import files
from agent.report.standing import pool_of
from agent.store import Store
from agent.types import Answer, Budget, Call, Item, Option, Prompt, Question
from tests.cli_room import WORDS, call, surroundings, with_pool
from tests.servers.batches import BatchServer, answer
from tests.servers.chat import ChatServer
from tests.servers.faulty import Faulty

LADDER = """
[task]
labels = {{ billing = "money", technical = "faults" }}
[pool]
path = "mail.csv"
text = "body"
id = "id"
gold = "label"
[goal]
accuracy = 0.5
[[rung]]
oracle = "openai"
name = "small"
model = "tiny"
base_url = "{url}"
"""


def judge(text: str) -> str:
    """The label whose words stand in the text."""
    return next(label for label, words in WORDS.items() if any(word in text for word in words))


class Here:
    """A project of 60 mails, and what is said in its runs."""

    def __init__(self, folder: Path, url: str = "http://127.0.0.1:9/v1") -> None:
        self.folder, self.batches, self.said = folder, folder / "tutelage-run" / "batch", list[str]()
        (folder / "tutelage.toml").write_text(LADDER.format(url=url))

    def run(self, batch: Any = "files", *overrides: str, **more: Any) -> loop.Finished:
        self.said = []

        def hear(event: loop.Event) -> None:
            if event.kind == "note":
                self.said.append(event.text)

        return loop.run(settings.load(self.folder / "tutelage.toml", overrides), batch=batch, report=hear, **more)

    def store(self) -> Store:
        return Store.open(self.folder / "tutelage-run" / "ledger.db")

    def job(self) -> str:
        with self.store() as store:
            return "".join(batch.job for batch in store.batches())

    def requests(self, number: int = 1) -> bytes:
        return (self.batches / f"small-{number:04}.jsonl").read_bytes()

    def keys(self, number: int = 1) -> list[str]:
        return [json.loads(line)["custom_id"] for line in self.requests(number).splitlines()]

    def answered(self, faults: str = "", number: int = 1) -> None:
        """Puts the answers where they are waited for, as a person does after `vllm run-batch`."""
        good, bad = answer(self.requests(number), judge, faults)
        for data, end in ((good, files.OUTPUT), (bad, files.ERRORS)):
            if data:
                (self.batches / f"small-{number:04}{end}").write_bytes(data)

    def whole(self) -> None:
        """Every mail has its right label, every call one good answer, and the ledger nothing to complain of."""
        config = settings.load(self.folder / "tutelage.toml")
        with self.store() as store:
            labels = list(export.labels(config, store, pool_of(config, store))["label"])
            assert labels == [list(WORDS)[i % 2] for i in range(60)]
            assert Counter(call.key for _, call, _ in store.answers_since(0)).most_common(1)[0][1] == 1
            assert len(store.answers_since(0)) == 60
            assert store.batches(only_out=True) == [] and store.spend().reserved == 0
            assert store.spend().total.held_requests == 0
            assert store.verify() == []


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Here:
    return Here(with_pool(tmp_path, monkeypatch))


# By hand -------------------------------------------------------------------------------------------------------------


def test_out_and_back_by_hand(here: Here) -> None:
    finished = here.run()
    assert finished.code == 4
    assert "waiting for the answers of a batch" in finished.reason and "small-0001.output.jsonl" in finished.reason
    lines = [json.loads(line) for line in here.requests().splitlines()]
    assert len(lines) == 60 and {(line["method"], line["url"]) for line in lines} == {("POST", "/v1/chat/completions")}
    with here.store() as store:
        assert {c.key for c in store.open_calls()} == set(here.keys())
        assert store.spend().total.held_requests == 60
    for mode in ("files", "", "files"):  # nothing is written or asked twice while it is out
        assert here.run(mode).code == 4
        assert sorted(p.name for p in here.batches.iterdir()) == ["small-0001.jsonl", "small-0001.questions.jsonl"]
    here.answered("shuffled duplicate stranger nojson")
    assert here.run().code == 0
    assert here.said == [
        "batch small-0001: 60 answers read",
        "small-0001.output.jsonl, line 1: this is no JSON; passed over",
        *here.said[2:],
    ]
    said = " ".join(here.said[2:])
    for words in ("stands there twice", "(2 such lines)", "was not asked in this batch", "there is no custom_id"):
        assert words in said
    here.whole()
    with here.store() as store:
        assert store.spend().total.requests == 60


@pytest.mark.parametrize("faults", ["status500", "expired", "partial", "prose"])
def test_only_what_failed_or_expired_is_asked_again(here: Here, faults: str) -> None:
    here.run()
    here.answered(faults)
    open_again = 30 if faults in ("expired", "partial") else 12
    assert here.run().code == 4
    with here.store() as store:
        assert {c.key for c in store.open_calls()} == set(here.keys(2))
    assert len(here.keys(2)) == open_again and f"{open_again} to be asked again" in " ".join(here.said)
    if faults == "partial":
        assert "lack 30 of 60 requests, which count as all that was reserved" in here.said[0]
    here.answered("", 2)
    assert here.run().code == 0
    here.whole()


def test_what_fails_each_time_is_given_up(here: Here) -> None:
    here.run()
    for number in (1, 2, 3):
        here.answered("errors-only", number)
        finished = here.run()
    assert finished.code == 3
    assert finished.reason.endswith(
        "60 questions to machines came to nothing: run without --batch to ask them one by one"
    )
    done = call("run", "--batch", "--json")
    assert not any("--batch" in step for step in json.loads(done.stdout)["next"])
    assert "status 500 server_error" in here.said[0] and "SENTINEL" not in " ".join(here.said)
    assert not (here.batches / "small-0004.jsonl").exists()


def test_what_can_never_be_answered_fails_at_once(here: Here) -> None:
    here.run()
    here.answered("status400")
    assert here.run().code == 0
    assert "12 failed for good (12 × status 400 server_error)" in here.said[0]
    with here.store() as store:
        assert store.spend().failed == 12 and store.open_calls() == []


@pytest.mark.parametrize("faults", ["cut", "wrong"])
def test_a_file_that_is_not_the_answer_is_not_read(here: Here, faults: str) -> None:
    here.run()
    if faults == "cut":
        here.answered("cut")
    else:
        other = here.requests().replace(b'"custom_id":"', b'"custom_id":"0')
        (here.batches / "small-0001.output.jsonl").write_bytes(answer(other, judge)[0])
    finished = here.run()
    assert finished.code == 4
    assert ("breaks off" if faults == "cut" else "wrong file?") in finished.reason
    here.answered()
    assert here.run().code == 0
    here.whole()


def test_without_log_probabilities_an_answer_is_one_hard_vote(here: Here) -> None:
    here.run()
    here.answered("nologprobs")
    assert here.run().code == 0
    here.whole()
    with here.store() as store:
        assert store.answers_since(0)[0][2].logprobs is None


def test_answers_are_read_by_what_was_asked(here: Here) -> None:
    """The options may stand in another order by the time the answers come: their codes mean what they meant."""
    here.run()
    here.answered()
    path = here.batches / "small-0001.questions.jsonl"
    kept = path.read_bytes()
    path.write_bytes(b"".join(kept.splitlines(keepends=True)[1:]))
    done = call("run", "--batch")
    assert done.exit_code == 2 and "put it back" in done.output
    path.write_bytes(kept)
    (here.folder / "tutelage.toml").write_text(LADDER.format(url="http://127.0.0.1:9/v1").replace("money", "cash"))
    assert here.run().code == 4  # read back, and asked anew under the new description
    assert here.said[0] == "batch small-0001: 60 answers read"
    here.answered("", 2)
    assert here.run().code == 0


def test_the_budget_holds_for_files(here: Here) -> None:
    finished = here.run(budget=Budget(calls=40))
    assert finished.code == 4 and len(here.keys()) == 40
    here.answered()
    finished = here.run(budget=Budget(calls=40))
    assert finished.code == 3 and "--budget-calls" in finished.reason
    assert here.run(budget=Budget()).code == 4
    assert len(here.keys(2)) == 20


def test_taken_back_the_calls_are_free(here: Here) -> None:
    here.run()
    assert "nothing is out" in here.run("cancel").reason
    with here.store() as store:
        assert store.batches(only_out=True) == [] and store.spend().reserved == 0 and len(store.open_calls()) == 60
    here.answered()
    assert here.run().code == 4  # the late answers are not read: the calls are out in another file
    here.answered("", 2)
    assert here.run().code == 0
    here.whole()


def test_as_many_files_as_the_provider_takes() -> None:
    lines = [(i, b"x" * size) for i, size in enumerate([4, 4, 4, 30, 1, 1])]
    sizes = [[i for i, _ in parcel] for parcel in files.parcels(lines, most=2, size=10)]
    assert sizes == [[0, 1], [2], [3], [4, 5]]
    assert list(files.parcels([])) == []


def test_a_question_comes_back_as_it_went(tmp_path: Path) -> None:
    asked = Question(Item("i\ud800", ()), (Option("A", "日本"), Option("B", "x\n")), True, True)
    sent = Prompt("key", asked, (), "", "words", 7, ("truncated",), True)
    files.write(tmp_path / "q", [files.question(sent)])
    assert files.questions(tmp_path / "q", ["key"]) == {"key": sent}


def test_calls_that_are_out_are_not_cut_short_nor_reserved_again(tmp_path: Path) -> None:
    calls = [Call(f"key{i}", "r", "item", "small", usd=0.1, tokens=10, requests=1) for i in range(4)]
    with Store.open(tmp_path / "ledger.db") as store:
        name, first = store.send_out("small", calls[:2], Budget(0.3), {})
        store.reserve([calls[3]], Budget(0.3))
        assert (name, len(first.granted)) == ("small-0001", 2)
        name, second = store.send_out("small", calls[:3], Budget(0.3), {})
        assert (name, len(second.closed), len(second.refused), second.short) == ("", 2, 1, "usd")
        assert store.cut_short(["small"]) == 1
        assert store.spend().reserved == pytest.approx(0.2)
        (batch,) = store.batches(only_out=True)
        assert store.end_batch(batch, "read", [("key0", Answer("A", usd=0.05, requests=1), "ok", "")], ["key1"], {})
        assert store.spend().usd == pytest.approx(0.1 + 0.05 + 0.1)
        with pytest.raises(Exception, match=r"(?i)unique"):
            store.end_batch(batch, "read", [], [], {})
        assert store.verify() == []


def test_what_is_out_is_asked_by_nobody_else_and_what_comes_late_is_paid_for(tmp_path: Path) -> None:
    one = Call("key", "r", "item", "small", usd=1.0, tokens=10, requests=1)
    with Store.open(tmp_path / "ledger.db") as store:
        store.send_out("small", [one], Budget(1.5), {})
        assert store.reserve([one], Budget(1.5)) == [] and store.reserve([one], None) == []
        (batch,) = store.batches(only_out=True)
        assert store.record_now("key", Answer("A", usd=0.9, tokens_in=5, requests=1))  # one that was under way before
        late = Answer("A", usd=0.8, tokens_in=5, requests=1)
        assert store.end_batch(batch, "read", [("key", late, "ok", "")], [], {}) == [False]
        assert store.spend().usd == pytest.approx(1.7) and store.spend().errors == 1
        assert not store.record_now("key", Answer("A"))  # one that took nothing leaves nothing
        assert store.spend().errors == 1 and store.verify() == []
        store.send_out("small", [Call("other", "r", "item", "small", usd=1.0, requests=1)], None, {})
        store.end_batch(store.batches(only_out=True)[0], "void", [("other", Answer(""), "error", "x")], [], {})
        assert len(store.reserve([Call("other", "r", "item", "small", usd=1.0, requests=1)], None)) == 1


def test_a_pilot_leaves_alone_what_is_out(here: Here) -> None:
    assert here.run().code == 4
    with ChatServer() as server:
        Here(here.folder, server.url)
        done = call("plan", "--pilot", "20", "--json")
        assert done.exit_code == 0 and json.loads(done.stdout)["pilot"]["out"] == 20
        assert "20 questions not put, being out in batch files" in call("plan", "--pilot", "20").output
    with here.store() as store:
        assert not {one.key for _, one, _ in store.answers_since(0)} & set(here.keys())
        assert store.spend().answers == 5  # of the second order, which no file asks for
    here.answered()
    assert here.run().code == 0


def test_errors_alone_do_not_close_a_batch(here: Here) -> None:
    """The output may still be on its way: what it answers was not to be paid for twice."""
    here.run()
    good, bad = answer(here.requests(), judge, "expired")
    (here.batches / "small-0001.errors.jsonl").write_bytes(bad)
    finished = here.run()
    assert finished.code == 4 and "small-0001.errors.jsonl tells of 30 of 60 requests" in finished.reason
    assert "put the output of small-0001.jsonl" in finished.reason
    with here.store() as store:
        assert store.spend().errors == 0 and len(store.batches(only_out=True)) == 1
    (here.batches / "small-0001.output.jsonl").write_bytes(good)
    assert here.run().code == 4
    here.answered("", 2)
    assert here.run().code == 0
    here.whole()


# At a provider -------------------------------------------------------------------------------------------------------


def test_handed_in_waited_for_read_back(here: Here) -> None:
    with BatchServer(judge, faults=["expired shuffled", "errors-only", ""], looks=1) as server:
        here = Here(here.folder, server.url)
        os.environ["OPENAI_API_KEY"] = "sk-SENTINEL"
        try:
            finished = here.run("submit", "rung.small.api_key_env=OPENAI_API_KEY")
        finally:
            del os.environ["OPENAI_API_KEY"]
        assert finished.code == 0
        assert len(server.jobs) == 3 and Counter(server.asked).most_common(1)[0][1] == 1
        assert set(server.keys) == {"Bearer sk-SENTINEL"} and "SENTINEL" not in " ".join(here.said)
        here.whole()


def test_a_file_goes_to_the_address_that_was_written_and_to_no_other(here: Here) -> None:
    with BatchServer(judge) as elsewhere, BatchServer(judge) as server:
        server.moved, here = elsewhere.url, Here(here.folder, server.url)
        finished = here.run("submit")
        assert finished.code == 3 and "write that as base_url" in finished.reason
        assert elsewhere.told == [] and len(server.keys) == 1
        server.moved = ""
        assert here.run("submit").code == 0
        here.whole()


@pytest.mark.parametrize("then", ["by hand", "cancelled", "asked directly", "handed in"])
def test_what_was_never_taken_on_can_be_done_in_another_way(here: Here, then: str) -> None:
    with Faulty("ok") as server:  # knows no /files and no /batches
        at = Here(here.folder, server.url)
        finished = at.run("submit")
        assert finished.code == 3 and "404" in finished.reason and "without --batch" in finished.reason
        with at.store() as store:
            assert [batch.stage for batch in store.batches(only_out=True)] == ["refused"]
        if then == "by hand":
            at.answered()
            assert at.run().code == 0
            at.whole()
        elif then == "cancelled":
            assert at.run("cancel").code == 0 and not any("provider" in line for line in at.said)
        elif then == "asked directly":
            at.run("")
            assert server.total > 0
        else:
            assert at.run("submit").code == 3, "the next try is a file of its own"
        with at.store() as store:
            assert len(store.batches(only_out=True)) == (then == "handed in")
            assert store.verify() == []


def test_no_proxy_and_no_account_for_a_server_of_the_house(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    with BatchServer(judge) as proxy, BatchServer(judge) as server:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url.removesuffix("/v1"))
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.setenv("OPENAI_ORG_ID", "org-SENTINEL")
        monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-SENTINEL")
        assert Here(here.folder, server.url).run("submit").code == 0
        assert proxy.told == []
        assert not [name for name in server.told if name.startswith(("openai-", "x-stainless-"))]


def test_the_jobs_of_all_rungs_are_handed_in_before_any_is_waited_for(here: Here) -> None:
    with BatchServer(judge, looks=1) as large, BatchServer(judge, looks=1) as server:
        here = Here(here.folder, server.url)
        more = f'[[rung]]\noracle = "openai"\nname = "large"\nmodel = "big"\nbase_url = "{large.url}"\n'
        with open(here.folder / "tutelage.toml", "a") as config:
            config.write(more + '[[rung]]\noracle = "person"\npeople = "gold"\n')
        under_way: set[str] = set()

        def looked(what: str) -> None:
            if what == "GET batches":
                under_way.update(job.id for job in large.jobs if job.status == "in_progress")

        server.hook = looked
        assert here.run("submit", "run.batch=20").code == 0
        assert under_way, "one server is looked at while the other has something to do"


def test_a_job_that_was_taken_on_without_a_word_is_found_again(here: Here) -> None:
    with BatchServer(judge) as server:
        here = Here(here.folder, server.url)
        server.jobs += [server.begin({"input_file_id": "file-x", "metadata": {"tutelage": str(i)}}) for i in range(2)]
        server.deaf, before = True, len(server.jobs)
        finished = here.run("submit")
        assert finished.code == 3 and "no answer" in finished.reason
        for _ in range(2):
            server.begin({"input_file_id": "file-x", "metadata": {}})
        assert here.run("submit").code == 0
        assert len(server.jobs) == before + 3
        here.whole()


def test_a_job_that_is_refused_pauses_and_costs_nothing(here: Here) -> None:
    with BatchServer(judge, faults=["refused"]) as server:
        here = Here(here.folder, server.url)
        finished = here.run("submit")
        assert finished.code == 3 and "was refused: invalid_json_line" in finished.reason
        with here.store() as store:
            assert store.spend().usd == 0 and store.spend().total.held_requests == 0
        assert here.run("submit").code == 0
        here.whole()


def test_a_job_is_cancelled_and_what_it_answered_is_kept(here: Here) -> None:
    with BatchServer(judge, looks=10**6) as server:
        here = Here(here.folder, server.url)
        process = run_child()
        wait_for(lambda: any(key for key in server.jobs))
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
        assert here.run("files").reason.endswith("--batch submit waits for it; then run again")
        assert "30 answers that had come are kept" in here.run("cancel").reason
        server.looks = 0
        assert here.run("submit").code == 0
        assert len(server.jobs) == 2 and Counter(server.asked).most_common(1)[0][1] == 1
        here.whole()


def test_a_batch_whose_questions_are_lost_can_be_given_up(here: Here) -> None:
    with BatchServer(judge, looks=10**6) as server:
        here = Here(here.folder, server.url)
        price = ("rung.small.usd_per_mtok_in=1", "rung.small.usd_per_mtok_out=1")
        process = run_child(*price)
        wait_for(lambda: bool(server.jobs) and here.job())
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
        (here.batches / "small-0001.questions.jsonl").unlink()
        with here.store() as store:
            held = store.spend().reserved
        assert "nothing is out" in here.run("cancel", *price).reason
        assert "is given up" in " ".join(here.said) and "30 answers count" in " ".join(here.said)
        with here.store() as store:
            assert store.batches(only_out=True) == [] and store.spend().reserved == 0
            assert store.spend().usd == pytest.approx(held / 2, rel=0.1) and held > 0
        server.looks = 0
        assert here.run("submit", *price).code == 0
        here.whole()


def test_answers_put_there_whose_questions_are_lost_are_given_up(here: Here) -> None:
    here.run()
    here.answered()
    (here.batches / "small-0001.questions.jsonl").unlink()
    assert call("run", "--batch").exit_code == 2
    assert "nothing is out" in here.run("cancel").reason and "60 answers count" in here.said[0]
    with here.store() as store:
        assert store.spend().reserved == 0 and store.spend().errors == 60 and len(store.open_calls()) == 60


def run_child(*sets: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "agent", "run", "--batch", "submit", "-q"]
    command += [part for one in sets for part in ("--set", one)]
    return subprocess.Popen(command, env=surroundings(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_for(what: Any) -> None:
    until = time.monotonic() + 60
    while not what():
        assert time.monotonic() < until
        time.sleep(0.002)


class Strike:
    """Kills a process when the server was asked for something, before it answers."""

    def __init__(self, step: str) -> None:
        self.step, self.struck = step, False
        self.process: subprocess.Popen[bytes] | None = None

    def __call__(self, what: str) -> None:
        if what == self.step and not self.struck and self.process is not None:
            self.struck = True
            self.process.kill()


def test_killed_at_each_step_nothing_is_handed_in_or_read_twice(here: Here) -> None:
    with BatchServer(judge, looks=1) as server:
        here = Here(here.folder, server.url)
        running = run_child()
        wait_for(lambda: (here.batches / "small-0001.questions.jsonl").exists())
        running.kill()
        running.wait()
        for step in ("POST files", "POST batches", "GET batches", "GET files"):
            strike = Strike(step)
            server.hook = strike
            strike.process = run_child()
            assert strike.process.wait() == -signal.SIGKILL, step
            assert strike.struck
        server.hook = lambda what: None
        assert here.run("submit").code == 0
        assert Counter(server.asked).most_common(1)[0][1] == 1 and len(server.jobs) == 1
        here.whole()


# Prices --------------------------------------------------------------------------------------------------------------

FAR = "https://models.example.com/v1"


def test_an_unknown_price_is_asked_for(here: Here) -> None:
    Here(here.folder, FAR)
    done = call("run", "--batch")
    assert done.exit_code == 2
    for words in ("rung 'small'", "price of tiny is not known", "--price IN,OUT", "--budget none"):
        assert words in done.output
    assert not here.batches.exists()
    assert call("run", "--batch", "--budget", "none").exit_code == 4
    assert call("run", "--batch", "--set", 'goal.budget_usd="none"').exit_code == 4


def test_a_price_that_is_told_is_reserved(here: Here) -> None:
    Here(here.folder, FAR)
    done = call("run", "--batch", "--price", "1,2", "--budget", "5", "--budget-tokens", "2M", "--json")
    assert done.exit_code == 4
    found = json.loads(done.stdout)
    assert 0 < found["usd_reserved"] < 1 and found["calls_reserved"] == 60 and found["budget_tokens"] == 2_000_000
    assert found["next"][0] == "tutelage run --budget 5 --budget-tokens 2M --price 1,2 --batch"
    status = call("status").output
    assert "60 more reserved" in status and "batch small-0001" in status
    for wrong, words in (
        ("large=1,2", "name the rung"),
        ("cheap", "dollars per million"),
        ("1", "dollars per million"),
    ):
        done = call("run", "--batch", "--price", wrong)
        assert done.exit_code == 2 and words in done.output


def test_a_price_from_the_table_is_told_with_its_date(here: Here) -> None:
    Here(here.folder, "https://api.openai.com/v1")
    done = call("run", "--batch", "--set", "rung.small.model=gpt-4o-mini", "--budget", "1")
    assert done.exit_code == 4
    assert "price of gpt-4o-mini: $0.15 in, $0.6 out per million tokens, as of 20" in done.output
    assert "(prices.toml); --price changes it" in done.output
    assert len(here.keys()) == 60


def test_a_shortlist_is_kept_with_its_answer(here: Here) -> None:
    """The labels that were shown, not those that would be shown today, are what the answer chose from."""
    more = ", ".join(f'extra{i} = "x"' for i in range(6))
    text = LADDER.format(url="http://127.0.0.1:9/v1").replace('"faults" }', f'"faults", {more} }}')
    (here.folder / "tutelage.toml").write_text(text.replace('name = "small"', 'name = "small"\nshortlist = 5'))
    assert here.run().code == 4
    asked = files.questions(here.batches / "small-0001.questions.jsonl", here.keys())
    assert all(prompt.question.short for prompt in asked.values())
    rows = [json.loads(line) for line in here.requests().splitlines()]
    out = [
        {"custom_id": row["custom_id"], "response": {"status_code": 200, "body": said("A", 9)}, "error": None}
        for row in rows
    ]
    (here.batches / "small-0001.output.jsonl").write_text("\n".join(json.dumps(line) for line in out))
    here.run()
    with here.store() as store:
        for _, one, came in store.answers_since(0):
            assert came.options == tuple(o.choice for o in asked[one.key].question.options) and len(came.options) < 8


def said(code: str, tokens: int) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": code}, "finish_reason": "stop"}
    return {"model": "m", "choices": [choice], "usage": {"prompt_tokens": tokens, "completion_tokens": 1}}
