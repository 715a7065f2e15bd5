"""Estimates in a run's own report and status: only once a look was taken, and of the labels as they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_room import call, good, with_ladder, with_pool

from agent import claim, config
from agent.pool import Pool
from agent.report.gather import standing
from agent.store import Store


@pytest.fixture
def ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pool of 60 items and a ladder."""
    return with_ladder(with_pool(tmp_path, monkeypatch))


def test_nothing_is_estimated_before_a_look(ready: Path) -> None:
    call("run")  # which waits for people
    read = config.load("tutelage.toml")
    with Store.open(ready / "tutelage-run/ledger.db") as store:
        assert not store.certificates()
        assert standing(read, store, Pool(read.folder / "pool", store.shards())) == (None, None)
    assert good("status")["estimate"] is None and "estimated" not in call("status").stdout


def test_status_and_report_tell_what_the_audit_estimates(ready: Path) -> None:
    call("run", "--people", "gold")
    found = good("status")["estimate"]
    read = config.load("tutelage.toml")
    with Store.open(ready / "tutelage-run/ledger.db") as store:
        evidence = claim.gather(read, store, Pool(read.folder / "pool", store.shards()))
    assert found["answers"] == len(evidence.audit) and set(found["shares"]) == {"billing", "technical"}
    accuracy = found["accuracy"]
    assert 0 <= accuracy["low"] <= accuracy["value"] <= accuracy["high"] <= 1
    # Two labels: what one gains the other loses.
    assert sum(share["value"] for share in found["shares"].values()) == pytest.approx(1)
    text = call("status").stdout
    assert f"against people, estimated from {found['answers']} random answers; not the certificate" in text
    assert "share of billing" in text
    done = call("export", "report")
    assert done.exit_code == 0, done.stderr
    assert "## Estimates" in (ready / "tutelage-run/report.md").read_text()
    assert json.loads(json.dumps(found)) == found


def test_of_several_labels_an_item_each_share_is_estimated_by_itself(ready: Path) -> None:
    told = (ready / "tutelage.toml").read_text().replace("[task]", '[task]\nkind = "multi"')
    (ready / "tutelage.toml").write_text(told)
    call("run", "--people", "gold")
    shares = good("status")["estimate"]["shares"]
    assert set(shares) == {"billing", "technical"}
    # Half of the items carry each label by gold, which answers for people.
    assert all(share["low"] <= 0.5 <= share["high"] for share in shares.values())
