"""The docs cannot rot: examples run, links lead somewhere, every verb, key and table is described as it is."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from agent import plugins
from agent.config import models
from agent.store.tables import metadata

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w+) run\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ANY_FENCE = re.compile(r"^(`{3,4}).*?^\1$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")
EXAMPLES = [
    pytest.param(page, language, code, id=f"{page.name}-{number}")
    for page in PAGES
    for number, (language, code) in enumerate(FENCE.findall(page.read_text(encoding="utf-8")), 1)
]


def text(name: str) -> str:
    """A page's text."""
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize(("page", "language", "code"), EXAMPLES)
def test_examples_run_and_print_what_they_say(page: Path, language: str, code: str, tmp_path: Path) -> None:
    command = {"python": [sys.executable, "-c", code], "sh": ["bash", "-euo", "pipefail", "-c", code]}[language]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, env=os.environ | {"PATH": path}
    )
    assert done.returncode == 0, f"{page.name}:\n{done.stdout}{done.stderr}"
    if language == "python":
        said = [line.rpartition("  # ")[2].strip() for line in code.splitlines() if re.match(r"\s*print\(.*  # ", line)]
        if said:
            assert done.stdout.splitlines() == said


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target in LINK.findall(ANY_FENCE.sub("", page.read_text(encoding="utf-8"))):
        if target.startswith(("https://", "http://", "mailto:")):
            continue
        file, _, anchor = target.partition("#")
        there = (page.parent / file).resolve() if file else page
        if not there.exists():
            broken.append(target)
        elif anchor and there.suffix == ".md" and anchor not in anchors(there):
            broken.append(target)
    assert not broken


def anchors(page: Path) -> set[str]:
    """The anchors a Markdown page's headings get, as on GitHub."""
    heads = re.findall(r"^#+ (.+)$", ANY_FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_the_layers_on_the_page_are_those_that_are_kept() -> None:
    contract = tomllib.loads(text("pyproject.toml"))["tool"]["importlinter"]["contracts"][0]
    kept = [re.findall(r"\w+", layer) for layer in contract["layers"]]
    page = text("docs/architecture.md").partition("\n## Layers")[2].partition("```text\n")[2].partition("```")[0]
    assert [line.split() for line in page.splitlines()] == kept


def test_every_page_is_in_the_index() -> None:
    index = text("docs/index.md")
    assert [p.name for p in (ROOT / "docs").glob("*.md") if p.name != "index.md" and f"({p.name})" not in index] == []


def test_every_verb_stands_in_the_readme_and_has_help() -> None:
    from agent.cli import main

    readme = text("README.md")
    for name, verb in main.commands.items():
        assert verb.help, f"tutelage {name} has no help"
        assert f"tutelage {name}" in readme, f"README.md does not name `tutelage {name}`"


def test_the_page_of_commands_is_what_their_help_says() -> None:
    code = "import _commands; print(_commands.page(), end='')"
    env = os.environ | {"PYTHONPATH": str(ROOT / "docs"), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=True, encoding="utf-8"
    )
    assert done.stdout == text("docs/commands.md"), "out of date: run `make docs`"


def test_every_make_target_has_help_and_every_one_named_exists() -> None:
    makefile = text("Makefile")
    phony = set(re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)[1].split())  # type: ignore[index]
    helped = set(re.findall(r"^([a-z0-9-]+):.*  ## ", makefile, re.MULTILINE))
    assert phony == helped
    named = {t for page in PAGES for t in re.findall(r"(?:`|^)make ([a-z0-9-]+)", page.read_text(), re.MULTILINE)}
    assert named <= helped


# ---------------------------------------------------------------- tables that describe the code


def rows(page: str, heading: str) -> dict[str, list[str]]:
    """The table under a heading: first cell without its marks -> the other cells."""
    _, found, after = text(page).partition(f"\n{heading}")
    assert found, f"{page} has no heading {heading}"
    body = after.split("\n#", 1)[0]
    table = [re.split(r"(?<!\\) \| ", line.strip("| ")) for line in body.splitlines() if line.startswith("| `")]
    return {cells[0].strip("`"): [cell.strip() for cell in cells[1:]] for cells in table}


def written(default: Any, required: bool) -> str:
    """A default as the page writes it."""
    if required:
        return "required"
    if default is None or default == ():
        return "none"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f'`"{default}"`' if isinstance(default, str) else f"`{default}`"


SECTIONS = {
    "## `[task]`": models.TaskConfig,
    "## `[pool]`": models.PoolConfig,
    "## `[goal]`": models.Goal,
    "## `[knowledge]`": models.KnownConfig,
    "## `[[rung]]`": models.RungKeys,
    "## `[run]`": models.Run,
    "## `[privacy]`": models.Privacy,
}


@pytest.mark.parametrize("heading", SECTIONS, ids=lambda h: h.strip("# `[]"))
def test_every_key_is_described_with_its_default(heading: str) -> None:
    described = rows("docs/configuration.md", heading)
    fields = SECTIONS[heading].model_fields
    assert list(described) == list(fields)
    for name, field in fields.items():
        if name != "name" or heading != "## `[[rung]]`":  # a rung's name is taken from its plug-in
            assert described[name][1] == written(field.default, field.is_required()), name


def plugin_settings() -> list[Any]:
    """(heading, Settings) of every built-in oracle and student."""
    return [
        pytest.param(f'### `{key} = "{name}"`', plugins.load(room, name).Settings, id=f"{key}-{name}")
        for room, key in (("oracles", "oracle"), ("students", "student"))
        for name in plugins.names(room)
    ]


@pytest.mark.parametrize(("heading", "settings"), plugin_settings())
def test_every_setting_of_a_plugin_is_described_with_its_default(heading: str, settings: Any) -> None:
    described = rows("docs/configuration.md", heading)
    fields = dataclasses.fields(settings)
    assert list(described) == [f.name for f in fields]
    for f in fields:
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        default = f.default_factory() if f.default_factory is not dataclasses.MISSING else f.default
        assert described[f.name][1] == written(default, required), f.name


def test_every_table_of_the_ledger_is_described_with_its_columns() -> None:
    described = rows("docs/ledger.md", "## Tables")
    assert set(described) == set(metadata.tables)
    for name, table in metadata.tables.items():
        assert described[name][-1].split(", ") == [column.name for column in table.columns], name
