"""Whoever breaks the randomness, the credit, a bet or the order of tests must be caught: the suite on broken copies.

Each mutant is one small edit of a copy of the package, run against the tests of its room in a process of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]
LEAST = "return self.allowed + self.credit + 1"
FIRST = "np.logical_and.accumulate(rejected, axis=-1).sum(axis=-1) - 1"
LARGEST = "np.where(rejected.any(-1), rejected.shape[-1] - 1 - np.argmax(rejected[..., ::-1], -1), -1)"
LAW = "hypergeom.cdf(k, reach, min(allowed + 1 + k, reach), draws)"
GATE = ("tests/test_gate_worlds.py", "tests/test_gate.py")
STRATA = tuple(f"tests/test_{room}.py" for room in ("human", "classes", "strata", "clusters"))
STRATIFIED = ("_betting.py", "strata.py", "classes.py", "human.py")
EAGER = "/ (plan.size * plan.weight[plan.stratum])"
OUT = "self.mass[np.arange(len(stratum)), stratum] -= size"
BOUND = "self.game.limits[first] - 1"
MENDED = "self._bets.bound(delta)[0]) - self.found"
DRAWN = "return sorted(range(len(ids)), key=keys.__getitem__)"
CREDIT = "(int(plan.credit[cut]) if plan.limit is None else wrong)"
LEFT = "left = most - int(seen.mended[cut])"
TRUTHS = "np.minimum(np.floor(share * least), least - 1)"
PACE = ":= _share(unseen, allowed)).sum() <= delta"
# name: (file, what stands there, what stands there in the mutant)
MUTANTS = {
    "audit drawn in the order of ids": ("draw.py", DRAWN, "return sorted(range(len(ids)), key=ids.__getitem__)"),
    "audit drawn by confidence": ("draw.py", DRAWN, "return list(range(len(ids)))"),
    "the seed is not heard": ("draw.py", 'f"{use}\\0{seed}\\0"', 'f"{use}"'),
    "credit taken from what was found": ("gate.py", LEFT, LEFT.replace("most - int", "most - 2 * int")),
    "credit set to what was found": ("gate.py", CREDIT, "wrong"),
    "credit never paid back": ("gate.py", "if (owed := left - allowed) > 0:", "if (owed := left - allowed) > 10**9:"),
    "skipped audits are mended": ("gate.py", "ranks[bad & ~lost]", "ranks[bad]"),
    "skipped audits are right": ("gate.py", "np.asarray(wrong, bool) | lost", "np.asarray(wrong, bool) & ~lost"),
    "the largest cut that passes": ("gate.py", FIRST, LARGEST),
    "B + c instead of B + c + 1": ("gate.py", LEAST, LEAST.replace(" + 1", "")),
    "B instead of B + c + 1": ("gate.py", LEAST, "return self.allowed"),
    "one error more than bad": ("gate.py", LEAST, LEAST.replace(" + 1", " + 2")),
    "the walk goes past one error more": (
        "walk.py",
        "np.cumsum(wrong, axis=-1) > most",
        "np.cumsum(wrong, -1) > most + 1",
    ),
    "the walk counts one error too few": ("walk.py", LAW, LAW.replace("allowed + 1 + k", "allowed + 2 + k")),
    "bets at better than fair odds": ("anytime.py", TRUTHS, "np.minimum(np.floor(2 * share * least), least + 3)"),
    "a pace for three times the risk": ("paced.py", PACE, PACE.replace("<= delta", "<= 3 * delta")),
    "bets that are not averaged": ("anytime.py", "capital = total / len(STAKES)", "capital = total"),
    "bets as if all were drawn alike": ("_betting.py", "self.game.weight[stratum]", "np.ones(len(stratum))"),
    "who was drawn stays in the population": ("_betting.py", OUT, OUT.replace("size", "0 * size")),
    "errors found are forgotten": ("_betting.py", "self.found += loss * size", "self.found += 0 * loss"),
    "a bound one too low": ("_betting.py", BOUND, BOUND.replace("- 1", "- 2")),
    "bets that end at twice the risk": ("_betting.py", "-np.log(delta)", "-np.log(2 * delta)"),
    "bettors have a stake each": ("_betting.py", "self._held @ self.game.prior", "self._held.sum(-1)"),
    "drawn without weights": ("strata.py", EAGER, "/ plan.size"),
    "drawn without sizes": ("strata.py", EAGER, "/ plan.weight[plan.stratum]"),
    "a class has weights of its own": ("strata.py", "whole.weight[kept]", "np.ones(len(kept))"),
    "what was found is mended twice": ("strata.py", MENDED, MENDED.replace("- self", "- 2 * self")),
    "Holm by name": ("classes.py", 'np.argsort(p, kind="stable")', "range(len(p))"),
    "each class at δ": ("classes.py", "delta / (~fell).sum()", "delta"),
    "each class's bound at δ": ("classes.py", "left(c, delta / standing)", "left(c, delta)"),
    "unanswered items of a class are mended": ("classes.py", "rest + int(lost[c])", "rest"),
    "δ once more for people's mistakes": ("human.py", "return (1 - SHARE) * delta,", "return delta,"),
    "people's mistakes at twice the risk": ("human.py", "split(delta)[1]", "2 * split(delta)[1]"),
    "one disagreement too few": ("human.py", "differ + 1, doubled - differ", "max(differ, 1), doubled - differ + 1"),
}


def copy(to: Path) -> None:
    for folder in ("agent", "tests", "eval", "prompts"):
        shutil.copytree(ROOT / folder, to / folder, ignore=shutil.ignore_patterns("__pycache__", "peers", "slow"))
    shutil.copy(ROOT / "pyproject.toml", to)


def suite(at: Path, tests: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """These tests on the package at this place, up to the first that fails."""
    env = {**os.environ, "PYTHONPATH": str(at), "PYTHONDONTWRITEBYTECODE": "1"}
    where = subprocess.run(
        [sys.executable, "-c", "import agent.certify as c; print(c.__file__)"],
        cwd=at, env=env, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert where.stdout.startswith(str(at)), "the copy has to be what is tested"
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    return subprocess.run(
        [*command, *tests],
        cwd=at, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_suite_passes_on_a_copy_that_nobody_broke(tmp_path: Path) -> None:
    copy(tmp_path)
    done = suite(tmp_path, GATE + STRATA)
    assert done.returncode == 0, done.stdout[-2000:]


@pytest.mark.parametrize("name", MUTANTS)
def test_the_suite_fails_on_a_mutant(name: str, tmp_path: Path) -> None:
    copy(tmp_path)
    file, before, after = MUTANTS[name]
    path = tmp_path / "agent" / "certify" / file
    source = path.read_text("utf-8")
    assert source.count(before) == 1, f"{file} no longer holds {before!r} once: write the mutant anew"
    path.write_text(source.replace(before, after), "utf-8")
    done = suite(tmp_path, STRATA if file in STRATIFIED else GATE)
    assert done.returncode == 1, f"{name} was not noticed:\n{done.stdout[-2000:]}"
    assert "failed" in done.stdout
