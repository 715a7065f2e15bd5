"""`tutelage run --wait`: people answer elsewhere meanwhile, and the run goes on by itself."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from agent import config as settings
from agent.store import Store
from agent.types import Answer
from tests.cli_room import surroundings, with_ladder, with_pool


def _answered(here: Path, stop: float) -> int:
    """Answers whatever is open whenever the run has stopped to wait, until it came to its end."""
    config = settings.load(here / "tutelage.toml")
    while not (here / "tutelage-run" / "ledger.db").exists():
        assert time.monotonic() < stop
        time.sleep(0.1)
    done = 0
    with Store.open(config.store_url) as store:
        while time.monotonic() < stop:
            code = outcomes[-1].get("code") if (outcomes := store.outcomes()) else None
            if code == 0:
                return done
            for call in store.open_calls(annotator="person") if code == 4 else []:
                done += store.record_now(call.key, Answer("billing", who="ada", seconds=1.0))
            time.sleep(0.2)
    raise AssertionError("the run did not come to an end")


def test_a_run_that_waits_goes_on_as_people_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = with_ladder(with_pool(tmp_path, monkeypatch))
    run = subprocess.Popen(
        [sys.executable, "-m", "agent", "run", "--wait"], env=surroundings(), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        answered = _answered(here, time.monotonic() + 240)
        out, said = run.communicate(timeout=60)
    finally:
        run.kill()
    assert run.returncode == 0, said
    assert answered >= 27  # 12 pilot, 15 audit
    assert "open questions: answer with  tutelage review" in said
    assert "stopped:" in out
