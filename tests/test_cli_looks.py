"""What the verbs say once a look was taken: the claim, no step that is done already, files that agree with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_room import call, good, with_ladder, with_pool

from agent.store import Store
from agent.types import Decision


@pytest.fixture
def ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return with_ladder(with_pool(tmp_path, monkeypatch))


def test_after_a_look_the_claim_is_told_and_no_look_is_recommended(ready: Path) -> None:
    ran = good("run", "--people", "gold", "--budget", "1")
    assert ran["next"][0] == "tutelage certify", "its claim has not been read yet"
    claim = good("certify", code=5)["claim"]
    status = good("status")
    assert status["claim"] == claim and "tutelage certify" not in status["next"]
    assert claim in call("status").stdout
    assert "tutelage certify" not in good("run", "--people", "gold", "--budget", "1")["next"]


def test_a_look_writes_the_report_anew(ready: Path) -> None:
    assert call("run", "--budget", "1").exit_code == 4
    report = ready / "tutelage-run" / "report.md"
    assert "is not certified" in report.read_text()
    good("certify", "--now", code=5)
    assert "is not certified" not in report.read_text()


def test_the_folder_of_a_files_audit_is_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_pool(tmp_path, monkeypatch)
    asked = good("certify", "mail.csv", "--label", "label", "--text", "body", code=4)
    toml = f"{asked['folder']}/tutelage.toml"
    for verb in ("run", "plan"):
        refused = call(verb, "-c", toml)
        assert refused.exit_code == 2 and "tutelage certify mail.csv" in refused.stderr, refused.output
    assert "tutelage certify mail.csv" in call("certify", "-c", toml).stderr
    assert good("status", "-c", toml)["next"] == [f"tutelage review -c {toml}", "tutelage certify mail.csv"]
    monkeypatch.chdir(asked["folder"])
    lines = "1\n" * 100
    assert "next: tutelage certify ../mail.csv" in call("review", "--pipe", "--who", "ada", typed=lines).stdout


def looks(ready: Path) -> list[int]:
    with Store.open(ready / "tutelage-run" / "ledger.db") as store:
        return [row["look"] for row in store.commitments() if row["look"] > 0]


def test_a_look_at_the_same_labels_on_other_terms_is_taken_only_when_it_is_meant(ready: Path) -> None:
    good("run", "--people", "gold", "--budget", "1")
    best, before = good("certify", code=5), looks(ready)
    refused = call("certify", "--class", "billing")
    assert (
        refused.exit_code == 2 and "--now" in refused.stderr and f"look {before[-1] + 1}, at a risk" in refused.stderr
    )
    assert looks(ready) == before, "nothing was spent"
    more = good("certify", "--class", "billing", "--now", code=5)
    assert looks(ready) == [*before, before[-1] + 1]
    least = [one["certificate"]["accuracy_at_least"] for one in (best, more)]
    assert least[1] < least[0] and more["path"].endswith(f"certificate-look{before[-1] + 1}.json")
    kept = json.loads((ready / "tutelage-run" / "certificate.json").read_text())
    assert kept["accuracy_at_least"] == least[0], "the better one stands"
    assert good("certify", "--verify")["verified"]
    assert good("certify", code=5)["certificate"]["look"] == best["certificate"]["look"], "what stands costs nothing"
    good("certify", "--class", "billing", code=5)
    assert looks(ready) == [*before, before[-1] + 1], "and so does the other one, once it was taken"


def test_the_same_labels_in_another_turn_are_no_other_look(ready: Path) -> None:
    good("run", "--people", "gold", "--budget", "1")
    before = looks(ready)
    with Store.open(ready / "tutelage-run" / "ledger.db") as store:
        found, turn = store.decisions(), store.last_turn() + 1
        store.begin_turn(turn, 0, "c", "0")
        rows = zip(found.items, found.actions, found.by, found.values, found.confidences, strict=True)
        store.decide([Decision(i, a, by, v, c / 2, turn=turn) for i, a, by, v, c in rows])
    good("certify", code=5)
    assert looks(ready) == before and good("certify", "--verify")["verified"]
