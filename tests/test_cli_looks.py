"""What the verbs say once a look was taken: the claim, no step that is done already, files that agree with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_room import call, good, with_ladder, with_pool


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
