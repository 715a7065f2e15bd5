"""docs/reviewing.md, from a file to a certificate: every command as it stands there, the page by a real browser."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agent.cli import example

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
FOLLOW = re.compile(r"^```sh follow\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ROUNDS = 6
"""So many times run and review are gone through at most."""


def commands() -> list[str]:
    """The tutorial's commands, in their order."""
    page = (ROOT / "docs" / "reviewing.md").read_text(encoding="utf-8")
    return [line for block in FOLLOW.findall(page) for line in block.splitlines() if line.strip()]


def surroundings() -> dict[str, str]:
    """The commands by their names, and a browser that the program opens but nobody sees."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path, "BROWSER": "true", "OMP_NUM_THREADS": "1"}


def answer(chromium: Any, address: str) -> int:
    """Somebody who knows the tickets answers by keyboard until the page says that nothing waits; how many."""
    truth = {" ".join(text.split()): label for _, text, label in example.rows()}
    keys = {label: str(number) for number, label in enumerate(example.labels(), 1)}
    done = 0
    page = chromium.new_page()
    page.goto(address)
    page.wait_for_url("**/")
    while True:
        page.wait_for_selector("#card .texts, #card .done")
        if page.query_selector("#card .done"):
            return done
        said = " ".join(page.inner_text("#card .texts bdi").split())
        key = page.get_attribute("#card", "data-key")
        page.wait_for_timeout(300)  # people do not press a key before they have read
        page.keyboard.press(keys[truth[said]])
        page.wait_for_function("was => document.querySelector('#card').dataset.key !== was", arg=key)
        done += 1


def link(folder: Path, address: str) -> str:
    """A link that signs the owner in; it is told at the first start only, and made anew later."""

    def ask(*words: str) -> dict[str, Any]:
        told = subprocess.run(
            ["tutelage", "people", *words, "--json"], cwd=folder, env=surroundings(), capture_output=True, text=True,
            check=True,
        )  # fmt: skip
        body: dict[str, Any] = json.loads(told.stdout)
        return body

    if "#" in address:
        return address
    return f"{address}login#{ask('token', ask('list')['people'][0]['name'])['token']}"


def reviewed(chromium: Any, command: str, folder: Path) -> int:
    """`tutelage review --web` as a person uses it: follow the link, answer, Ctrl-C."""
    child = subprocess.Popen(
        ["bash", "-c", f"exec {command} --port 0"], cwd=folder, env=surroundings(), stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    try:
        address = child.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:"), address
        return answer(chromium, link(folder, address))
    finally:
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=30)


def test_the_tutorial_leads_from_a_file_to_a_certificate(chromium: Any, tmp_path: Path) -> None:
    steps, answered = commands(), 0
    assert [step.split()[1] for step in steps] == ["init", "run", "review", "run", "status", "certify", "export"]
    begin, run, review, *rest = steps

    def do(command: str, codes: tuple[int, ...] = (0,)) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["bash", "-c", command], cwd=tmp_path, env=surroundings(), capture_output=True, text=True, check=False
        )
        assert done.returncode in codes, f"{command}:\n{done.stdout}{done.stderr}"
        return done

    do(begin)
    for _ in range(ROUNDS):
        if do(run, (0, 4)).returncode == 0:
            break
        answered += reviewed(chromium, review, tmp_path)
    else:
        raise AssertionError(f"after {ROUNDS} rounds and {answered} answers people are still waited for")
    _, status, certify, export = rest
    assert "open" not in do(status).stdout.split("questions to people")[-1]
    claim = do(certify, (0, 5)).stdout
    assert "with 95 % confidence" in claim
    do(export)
    with open(tmp_path / "labels.csv", newline="", encoding="utf-8") as file:
        delivered = {row["id"]: row["label"] for row in csv.DictReader(file)}
    truth = {own: label for own, _, label in example.rows()}
    right = sum(delivered[own] == label for own, label in truth.items())
    least = float(re.search(r"At least ([\d.]+) %", claim)[1])  # type: ignore[index]
    assert 100 * right / len(truth) >= least, "the claim does not hold"
    assert answered >= 90
