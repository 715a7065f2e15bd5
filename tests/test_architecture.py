"""The rules of the house, kept by reading the sources: layers, sizes, names, cold imports, documented seams.

CONTRIBUTING.md says each rule and why; this file says when one is broken, where, and what to do.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import importlib.util
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "agent").rglob("*.py"))
EVAL = sorted((ROOT / "eval").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
ALL = [*SOURCES, *EVAL, *TESTS]

FUNCTION_LINES = 60
FILE_LINES = {"agent": 350, "eval": 350, "tests": 600}
PLUGIN_ROOMS = ("kinds", "oracles", "students")
MATHEMATICS = (
    "types",
    "errors",
    "aggregate",
    "calibrate",
    "route",
    "acquire",
    "certify",
    "posterior",
    "estimate",
    "suspects",
    "duplicates",
    "agreement",
    "drift",
    "curve",
    "voi",
)

HEAVY = {
    "torch", "transformers", "sentence_transformers", "datasets", "matplotlib", "sklearn", "scipy", "psycopg",
    "starlette", "uvicorn", "openai", "ray", "vllm", "gguf", "safetensors", "pandas",
}  # fmt: skip
OUTSIDE = {
    "sqlalchemy", "sqlite3", "psycopg", "httpx", "httpx2", "requests", "urllib", "socket", "openai", "torch", "asyncio",
    "threading", "subprocess", "time", "datetime", "random", "os", "tempfile", "click", "rich",
}  # fmt: skip


def where(path: Path, line: int | None = None) -> str:
    """A place as a person would click on it."""
    return f"{path.relative_to(ROOT)}:{line}" if line else str(path.relative_to(ROOT))


def tree(path: Path) -> ast.Module:
    """The parsed source of a file."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def functions(module: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """All functions of a module, nested ones and methods too."""
    return (n for n in ast.walk(module) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))


def imported(nodes: Iterator[ast.AST] | list[ast.stmt]) -> Iterator[tuple[str, int]]:
    """(dotted name, line) of each import statement among the nodes."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def at_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run when the module is imported; blocks under TYPE_CHECKING do not."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        for part in ("body", "orelse", "finalbody"):
            yield from at_import(getattr(node, part, []))
        for handler in getattr(node, "handlers", []):
            yield from at_import(handler.body)


def files_of(room: str) -> list[Path]:
    """The file of a room, or all files of it when it is a folder."""
    one = ROOT / "agent" / f"{room}.py"
    return [one] if one.exists() else sorted((ROOT / "agent" / room).rglob("*.py"))


def plugin_files() -> list[Path]:
    """The modules that can be named as plug-ins."""
    return [p for room in PLUGIN_ROOMS for p in files_of(room) if not p.name.startswith("_")]


def module_name(path: Path) -> str:
    """The dotted name a file is imported by."""
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


# ---------------------------------------------------------------- layers


def test_imports_only_point_down() -> None:
    """In a child process: import-linter sets up logging and would silence the loggers of this one."""
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_plugin_knows_only_the_nouns_and_the_private_modules_of_plugin_rooms() -> None:
    rooms = {"types", "errors", "encode", *PLUGIN_ROOMS}
    named = {module_name(p) for p in plugin_files()}
    faults = [
        f"{where(path, line)} imports {name}"
        for path in plugin_files()
        for name, line in imported(ast.walk(tree(path)))
        if name.startswith("agent.") and (name.split(".")[1] not in rooms or named & prefixes(name))
    ]
    assert not faults, "\n".join(["a plug-in may import agent.types, agent.errors, agent.encode:", *faults])


def prefixes(name: str) -> set[str]:
    """The modules a dotted name may stand in: a.b.c -> a, a.b, a.b.c."""
    words = name.split(".")
    return {".".join(words[: i + 1]) for i in range(len(words))}


def test_the_mathematics_touches_no_database_clock_network_or_global_random_state() -> None:
    faults = []
    for path in [p for room in MATHEMATICS for p in files_of(room)]:
        module = tree(path)
        faults += [
            f"{where(path, line)} imports {name}"
            for name, line in imported(ast.walk(module))
            if name.split(".")[0] in OUTSIDE
        ]
        faults += [
            f"{where(path, node.lineno)} uses {ast.unparse(node)}: take a seed and use np.random.default_rng(seed)"
            for node in ast.walk(module)
            if isinstance(node, ast.Attribute)
            and ast.unparse(node.value) == "np.random"
            and node.attr not in {"default_rng", "Generator", "SeedSequence", "BitGenerator", "PCG64"}
        ]
    assert not faults, "\n".join(faults)


def test_heavy_libraries_are_imported_inside_the_function_that_needs_them() -> None:
    faults = [
        f"{where(path, line)} imports {name} when it is loaded"
        for path in SOURCES
        for name, line in imported(list(at_import(tree(path).body)))
        if name.split(".")[0] in HEAVY
    ]
    assert not faults, "\n".join(faults)


def loaded_by(statement: str) -> set[str]:
    """The top-level names in sys.modules of a fresh interpreter after a statement."""
    code = f"import sys\n{statement}\nprint(*sorted({{m.partition('.')[0] for m in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    light = {"numpy", "pydantic", "sqlalchemy", "pyarrow", "jinja2", "click", "rich"}
    assert not loaded_by("import agent") & (HEAVY | light)


def test_importing_every_module_loads_nothing_heavy() -> None:
    names = [module_name(p) for p in SOURCES if p.name != "__main__.py"]
    assert not loaded_by(f"import {', '.join(names)}") & HEAVY


# ---------------------------------------------------------------- sizes, names, words


def own_lines(function: ast.FunctionDef | ast.AsyncFunctionDef, path: Path) -> int:
    """Lines of a function. In tests without those of functions inside it: a server's handlers share its state."""
    lines = range(function.lineno, (function.end_lineno or function.lineno) + 1)
    if path.relative_to(ROOT).parts[0] != "tests":
        return len(lines)
    inner = [f for f in ast.walk(function) if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef) and f != function]
    return len(set(lines) - {n for f in inner for n in range(f.lineno, (f.end_lineno or f.lineno) + 1)})


def test_no_function_is_longer_than_a_page() -> None:
    faults = [
        f"{where(path, f.lineno)} {f.name} has {own_lines(f, path)} lines, at most {FUNCTION_LINES}"
        for path in ALL
        for f in functions(tree(path))
        if own_lines(f, path) > FUNCTION_LINES
    ]
    assert not faults, "\n".join(faults)


def test_no_file_is_longer_than_a_person_reads_at_once() -> None:
    faults = []
    for path in ALL:
        cap = FILE_LINES[path.relative_to(ROOT).parts[0]]
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > cap:
            faults.append(f"{where(path)} has {lines} lines, at most {cap}: make it a folder of files")
    assert not faults, "\n".join(faults)


def test_names_say_what_a_thing_is() -> None:
    faults = [where(p) for p in ALL if p.stem in {"utils", "util", "base", "helpers", "common", "misc", "manager"}]
    faults += [
        f"{where(path, node.lineno)} {node.name}"
        for path in ALL
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ClassDef) and node.name.endswith("Manager")
    ]
    assert not faults, "\n".join(faults)


def test_our_signatures_name_every_argument() -> None:
    faults = [
        f"{where(path, f.lineno)} {f.name}(**{f.args.kwarg.arg})"
        for path in SOURCES
        for f in functions(tree(path))
        if f.args.kwarg
    ]
    assert not faults, "\n".join(faults)


def test_each_file_says_in_its_first_line_what_it_is() -> None:
    faults = []
    for path in [p for p in ALL if p.read_bytes().strip()]:
        module = tree(path)
        text = ast.get_docstring(module)
        if not text or module.body[0].lineno != 1 or not text.splitlines()[0].strip():
            faults.append(f"{where(path)} does not begin with a docstring")
    assert not faults, "\n".join(faults)


def test_every_public_function_and_class_says_what_it_does() -> None:
    """Public: the names of a one-file room, what the door of a folder room lets out, and all of a plug-in."""
    faults = []
    for path in [p for p in SOURCES if not p.name.startswith("_") or p.name == "__init__.py"]:
        out = None if path.parent.name in ("agent", "acquire", *PLUGIN_ROOMS) else let_out(path.parent / "__init__.py")
        for node in tree(path).body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            public = not node.name.startswith("_") and (out is None or node.name in out)
            if public and not ast.get_docstring(node):
                faults.append(f"{where(path, node.lineno)} {node.name}")
    assert not faults, "\n".join(["public, but without a docstring:", *faults])


def let_out(door: Path) -> set[str]:
    """The names a folder room's `__init__` defines or imports."""
    body = tree(door).body
    names = {node.name for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    return names | {name.rpartition(".")[2] for name, _ in imported(body)}


def test_nothing_of_ours_is_patched_in_tests() -> None:
    faults = [
        f"{where(path, line)} imports {name}"
        for path in TESTS
        for name, line in imported(ast.walk(tree(path)))
        if name.startswith(("unittest.mock", "mock", "pytest_mock"))
    ]
    faults += [
        f"{where(path, node.lineno)} {ast.unparse(node.func)}"
        for path in TESTS
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"monkeypatch.setattr", "mocker.patch"}
    ]
    assert not faults, "\n".join(["use a shipped seam (replay, scripted, a real server on loopback):", *faults])


def tracked() -> list[Path]:
    """The files of the repository: those git knows or would add, or all but the ignored folders without git."""
    done = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return [p for p in (ROOT / line for line in done.stdout.splitlines()) if p.is_file()]
    return [p for folder in ("agent", "prompts", "eval", "tests", "docs") for p in (ROOT / folder).rglob("*.*")]


def test_the_repository_names_no_path_of_one_machine() -> None:
    """A path that only exists where it was written is a broken instruction everywhere else."""
    local = re.compile(
        r"(?<![\w.~$}>:/*-])/(?:home|root|Users|work|tmp|opt)/[A-Za-z]|work[p]lace|\bC[E]O\b|[B]RIEF\.md"
    )
    faults = []
    for path in tracked():
        if path.suffix in {".py", ".md", ".toml", ".txt", ".j2", ".html", ".css", ".js", ".json", ""}:
            for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
                faults += [f"{where(path, number)} {m.group()!r}" for m in local.finditer(line)]
    assert not faults, "\n".join(faults)


# ---------------------------------------------------------------- the plug-in seams


@pytest.mark.parametrize("path", [p for p in plugin_files() if p.parent.name == "kinds"], ids=lambda p: p.stem)
def test_a_kind_has_the_six_functions(path: Path) -> None:
    module = importlib.import_module(module_name(path))
    for name, arguments in {
        "choices": ["task"],
        "question": ["task", "item", "sample"],
        "parse": ["task", "question", "answer"],
        "atoms": ["task", "value"],
        "value": ["task", "atoms"],
        "loss": ["task", "guess", "truth"],
    }.items():
        assert list(inspect.signature(getattr(module, name)).parameters) == arguments, f"{path.stem}.{name}"


@pytest.mark.parametrize("path", [p for p in files_of("acquire") if not p.name.startswith("_")], ids=lambda p: p.stem)
def test_an_acquisition_function_is_called_pick(path: Path) -> None:
    module = importlib.import_module(module_name(path))
    assert list(inspect.signature(module.pick).parameters) == ["view", "n", "seed"]


@pytest.mark.parametrize(
    "path", [p for p in plugin_files() if p.parent.name != "kinds"], ids=lambda p: f"{p.parent.name}-{p.stem}"
)
def test_an_oracle_or_student_has_documented_settings_and_a_build(path: Path) -> None:
    module = importlib.import_module(module_name(path))
    settings = module.Settings
    assert dataclasses.is_dataclass(settings) and settings.__dataclass_params__.frozen, "Settings: a frozen dataclass"
    assert list(inspect.signature(module.build).parameters) == ["settings", "context"]
    undocumented = [f.name for f in dataclasses.fields(settings) if f.name not in (settings.__doc__ or "")]
    assert not undocumented, f"Settings' docstring does not say what these are: {', '.join(undocumented)}"
