"""`tutelage review --web` as a process: where it says it is, whom it lets in, how it ends."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import review_room
from cli_room import surroundings
from web_room import Client

from agent import serve
from agent.cli.web import PORT


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    room = review_room.furnish(tmp_path_factory.mktemp("command"))
    room.store.close()
    return room.folder


@contextmanager
def started(folder: Path, *words: str, **env: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """The command, listening, and what it printed; killed at the end if it is still there."""
    process = subprocess.Popen(
        [sys.executable, "-m", "agent", "review", "--web", "--json", *words],
        cwd=folder, env=surroundings() | env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.rstrip() == "}":
                break
        yield process, json.loads("".join(lines))
    finally:
        process.kill()
        process.communicate(timeout=20)


def test_the_first_start_makes_an_owner_and_later_ones_tell_no_token(folder: Path) -> None:
    with started(folder, "--who", "ada", "--port", "0", "--no-open") as (process, told):
        at, token = told["login"].split("/login#")
        assert at == told["url"] and at.startswith("http://127.0.0.1:") and told["people"] == ["ada"]
        assert told["open"] == 12
        client = Client(at.removeprefix("http://")).sign_in(token)
        assert client.get("/dashboard").status == 200 and client.get("/team").status == 200
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=20)
        assert process.returncode == 0 and "ended" in said and "ada (owner); 12 questions wait" in said
        assert token not in out + said and "tutelage people add" in said
    with started(folder, "--port", at.rpartition(":")[2], "--no-open") as (process, told):
        assert "#" not in told["login"] and told["people"] == ["ada"]
        assert client.get("/who").status == 200  # who was in is in
        process.send_signal(signal.SIGKILL)
        assert "tutelage people token" in process.communicate(timeout=20)[1]


def test_a_port_that_was_not_asked_for_may_be_another(folder: Path) -> None:
    try:
        taken = [serve.bind("127.0.0.1", PORT)]
    except serve.DataError:
        taken = []  # somebody else has it: as good
    try:
        with started(folder, "--no-open") as (_, told):
            assert PORT < int(told["url"].rpartition(":")[2]) < PORT + 50
    finally:
        for one in taken:
            one.close()


def test_what_opens_a_browser_shows_the_token_to_nobody_else(tmp_path: Path) -> None:
    room = review_room.furnish(tmp_path)
    room.store.close()
    browser, heard = tmp_path / "browser", tmp_path / "heard"
    browser.write_text(f'#!/bin/sh\nprintf "%s" "$1" > {heard}.new; mv {heard}.new {heard}\n')
    browser.chmod(0o755)
    with started(tmp_path, "--port", "0", "--open", BROWSER=f"{browser} %s") as (process, told):
        for _ in range(1_000):
            if heard.exists():
                break
            time.sleep(0.02)
        way = tmp_path / "tutelage-run" / "open-review.html"
        assert heard.read_text() == way.as_uri() and told["login"].split("#")[1] not in heard.read_text()
        assert stat.S_IMODE(os.stat(way).st_mode) == 0o600 and told["login"] in way.read_text()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
        assert not way.exists()


def test_without_its_packages_it_says_what_to_install(folder: Path) -> None:
    code = "import sys; sys.modules['python_multipart'] = None; from agent.cli import main; main(['review', '--web'])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=surroundings(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and "pip install 'tutelage[review]'" in done.stderr, done.stderr


def test_before_a_run_it_says_how_to_begin(tmp_path: Path) -> None:
    (tmp_path / "tutelage.toml").write_text(review_room.TOML.format(kind="single", labels='["a", "b"]'))
    done = subprocess.run(
        [sys.executable, "-m", "agent", "review", "--web"], cwd=tmp_path, env=surroundings(), capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2 and "tutelage run" in done.stderr
