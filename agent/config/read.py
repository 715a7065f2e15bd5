"""tutelage.toml and `--set` to a `Config`. Knows the file's words; what the settings do is the rooms' business."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from agent import plugins, shortlist
from agent.config import knowledge, rungs
from agent.config.models import Config, Goal, PoolConfig, Privacy, Review, Run, Rung, TaskConfig
from agent.config.words import Complaints, dotted, nearest, shown
from agent.errors import ConfigError, PluginError
from agent.types import NONE_OF_THESE

M = TypeVar("M", bound=BaseModel)
_SECRET = re.compile(r"^(api[_-]?key|access[_-]?key|access[_-]?token|secret|password|passwd|authorization)$", re.I)
_SECTIONS: dict[str, type[BaseModel]] = {
    "task": TaskConfig,
    "pool": PoolConfig,
    "goal": Goal,
    "run": Run,
    "review": Review,
    "privacy": Privacy,
}
_WITH_PASSWORD = re.compile(r"^[\w+]+://[^/@:]*:[^/@]+@")


def load(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read the file, put the overrides (`a.b=c`) over it, check everything.

    An override's value is TOML; what is no TOML is taken as text, and `none` takes the key out. A rung is addressed
    by its name (`rung.small.bar=.9`) or its number (`rung.0.bar=.9`).

    Raises:
        ConfigError: one line for each thing wrong, naming file, key, value and the mend.
    """
    path = Path(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file; make one with: tutelage init YOUR_POOL_FILE") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text: save it as UTF-8"
        raise ConfigError(f"{path}: cannot be read: {reason}") from None
    return parse(text, str(path), path.resolve().parent, overrides)


def parse(text: str, file: str, root: Path, overrides: Sequence[str] = ()) -> Config:
    """The text of a tutelage.toml, checked. `file`: its name in messages; `root`: the folder its paths start from.

    Raises:
        ConfigError: as `load`.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: not TOML: {error}; text stands in double quotes, a table in [brackets]") from None
    complaints = Complaints(file)
    _shape(raw, complaints)
    tables: list[dict[str, Any]] = raw.get("rung", [])
    rungs.name_them(tables)
    for override in overrides:
        complaints.given.add(_override(raw, override))
    _secrets(raw, complaints)
    sections = {name: _section(name, model, raw, complaints) for name, model in _SECTIONS.items()}
    for key in raw:
        if key not in _SECTIONS and key not in ("rung", "knowledge"):
            complaints.unknown([key], raw[key], [*_SECTIONS, "knowledge", "rung"])
    ladder = _ladder(tables, complaints)
    complaints.settle()
    task, pool, goal, run, review, privacy = (sections[name] for name in _SECTIONS)
    assert isinstance(task, TaskConfig) and isinstance(pool, PoolConfig)
    assert isinstance(goal, Goal) and isinstance(run, Run)
    assert isinstance(review, Review) and isinstance(privacy, Privacy)
    _labels(task, complaints)
    _classes(goal, task, complaints)
    _none_of_these(task, ladder, complaints)
    known = knowledge.read(raw.get("knowledge", {}), task.labels, complaints)
    _run(run, complaints)
    task = _guidelines(task, root, complaints)
    complaints.settle()
    return Config(
        task=task,
        pool=pool,
        goal=goal,
        rung=tuple(ladder),
        run=run,
        review=review,
        privacy=privacy,
        knowledge=known,
        root=root,
    )


def _shape(raw: dict[str, Any], complaints: Complaints) -> None:
    """The file's outline must hold before anything inside can be looked at."""
    for name in (*_SECTIONS, "knowledge"):
        if not isinstance(raw.get(name, {}), dict):
            complaints.add([name], f"{name} must be a table: write [{name}] with single brackets")
    tables = raw.get("rung", [])
    if not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables):
        complaints.add(["rung"], "rung must be a list of tables: write [[rung]] with two brackets for each rung")
    complaints.settle()


def _section(name: str, model: type[M], raw: Mapping[str, Any], complaints: Complaints) -> M | None:
    try:
        return model.model_validate_json(json.dumps(raw.get(name, {}), default=str))
    except ValidationError as error:
        complaints.invalid([name], error, model.model_fields)
        return None


def _ladder(tables: Sequence[dict[str, Any]], complaints: Complaints) -> list[Rung]:
    if not tables:
        complaints.add(["rung"], 'rung: the ladder is empty: add [[rung]] with student = "linear", oracle = "person" …')
    read = [rungs.read(i, table, complaints) for i, table in enumerate(tables)]
    ladder = [rung for rung in read if rung is not None]
    if tables and len(ladder) == len(tables):
        rungs.ladder(ladder, complaints)
    return ladder


def _labels(task: TaskConfig, complaints: Complaints) -> None:
    """What the kind and the examples say of the labels."""
    try:
        plugins.load("kinds", task.kind)
    except PluginError as error:
        complaints.add(["task", "kind"], f"task.kind: {error}")
    if task.kind == "single" and len(task.labels) == 1:
        only = next(iter(task.labels))
        complaints.add(["task", "labels"], f'task.labels: {only!r} is the only label: name a second, such as "other"')
    for i, example in enumerate(task.examples):
        where: list[str | int] = ["task", "examples", i, "label"]
        for label in example.label:
            if label not in task.labels:
                near = nearest(label, task.labels) or f"; known: {', '.join(task.labels)}"
                complaints.add(where, f"{shown(where, label)}: there is no such label in task.labels{near}")
        if task.kind == "single" and len(example.label) != 1:
            complaints.add(where, f'{dotted(where)}: kind "single" takes one label: write label = "…"')


def _classes(goal: Goal, task: TaskConfig, complaints: Complaints) -> None:
    where: list[str | int] = ["goal", "classes"]
    for label in goal.classes:
        if label not in task.labels:
            near = nearest(label, task.labels) or f"; known: {', '.join(task.labels)}"
            complaints.add(where, f"{shown(where, label)}: there is no such label in task.labels{near}")


def _none_of_these(task: TaskConfig, ladder: Sequence[Rung], complaints: Complaints) -> None:
    """Beside a shortlist stands "none of these", which must not be a label, too."""
    label = next((name for name in task.labels if name.strip().casefold() == NONE_OF_THESE), None)
    if label is None or task.kind != "single":
        return
    for rung in ladder:
        reads = rung.shortlist is not None or hasattr(rung.settings, "template")
        if rung.oracle and not rung.person and reads and shortlist.size(rung.shortlist, len(task.labels)):
            complaints.add(
                ["task", "labels"],
                f"task.labels: {label!r} is also what rung {rung.name!r} may answer where the label is not on its "
                'shortlist: name the label otherwise, such as "no intent", or show all labels with shortlist = 0 there',
            )


def _run(run: Run, complaints: Complaints) -> None:
    if run.store and "://" not in run.store:
        mend = f"write it as an address, as in sqlite:///{run.store}, or leave it out"
        complaints.add(["run", "store"], f"{shown(['run', 'store'], run.store)}: no database address: {mend}")
    try:
        found = plugins.load("acquire", run.acquire)
    except PluginError as error:
        complaints.add(["run", "acquire"], f"run.acquire: {error}")
    else:
        if not callable(getattr(found, "pick", found)):
            complaints.add(["run", "acquire"], f"run.acquire = {run.acquire!r} is no function pick(view, n, seed)")


def _guidelines(task: TaskConfig, root: Path, complaints: Complaints) -> TaskConfig:
    """The task with the guidelines' text in place of their file's name."""
    name = task.guidelines
    if "\n" in name or not name.endswith((".md", ".txt")):
        return task
    try:
        text = (root / name).read_bytes().decode("utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        what = "there is no such file" if isinstance(error, FileNotFoundError) else "it cannot be read as UTF-8 text"
        where = ["task", "guidelines"]
        complaints.add(where, f"{shown(where, name)}: {what}: write {root / name}, or put the text itself here")
        return task
    return task.model_copy(update={"guidelines": text})


def _override(raw: dict[str, Any], override: str) -> str:
    """Put one `a.b=c` into the tables, in place; the dotted key it changed.

    Raises:
        ConfigError: no `=`, an empty key, a rung nobody knows, a key below something that is no table.
    """
    key, equals, value = override.partition("=")
    path = _path(key.strip())
    if not equals or not path:
        raise ConfigError(f"--set {key}: write it as key=value, as in --set goal.accuracy=0.9")
    done: list[str | int] = []
    here: Any = raw
    for word in path[:-1]:
        step = _step(here, word, done)
        if isinstance(here, dict):
            here.setdefault(step, [] if done == [] and step == "rung" else {})
        here = here[step]
        done.append(word if done != ["rung"] else rungs.place(int(step), here)[1])
        if not isinstance(here, dict | list):
            raise ConfigError(f"--set {dotted(path)}: {dotted(done)} is a single value and has no keys below it")
    last = _step(here, path[-1], done)
    read = _value(value.strip())
    if read is None and isinstance(here, dict):
        here.pop(last, None)
    else:
        here[last] = read
    return dotted([*done, last])


def _step(here: Any, word: str, done: Sequence[str | int]) -> str | int:
    """The key or list place that `word` means."""
    if not isinstance(here, list):
        return word
    if word.isdigit() and int(word) < len(here):
        return int(word)
    names = [str(t.get("name", "")) for t in here if isinstance(t, dict)]
    if word in names:
        return names.index(word)
    known = ", ".join(names) or "none yet"
    raise ConfigError(f"--set {dotted([*done, word])}: no {dotted(done)} of that name or number; known: {known}")


def _path(key: str) -> list[str]:
    """`a."b c".d` to its words."""
    try:
        table: Any = tomllib.loads(f"{key} = 0")
    except tomllib.TOMLDecodeError:
        return [word.strip() for word in key.split(".") if word.strip()]
    words = []
    while isinstance(table, dict):
        word, table = next(iter(table.items()))
        words.append(word)
    return words


def _value(text: str) -> Any:
    """TOML if it is; `.9` as a number; `none` as None; else the text itself."""
    if text.lower() == "none":
        return None
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, KeyError):
        pass
    if re.fullmatch(r"[+-]?(\.\d+|\d+\.)", text):
        return float(text)
    return text


def _secrets(raw: dict[str, Any], complaints: Complaints) -> None:
    """A secret has no place in the file: say so without showing it, and take it out of what is checked further."""
    for table, key, path in list(_keys({k: v for k, v in raw.items() if k != "task"}, [])):
        value = table[key]
        where = dotted([*path, key])
        if _SECRET.match(key):
            mend = 'put it in an environment variable and write api_key_env = "THE_VARIABLE"'
            complaints.add([*path, key], f"{where}: a secret has no place in this file: {mend}")
            del table[key]
        elif key.endswith("_env") and isinstance(value, str) and not re.fullmatch(r"[A-Za-z_]\w*", value):
            complaints.add(
                [*path, key],
                f"{where} must be the name of an environment variable, "
                'not the secret itself, as in api_key_env = "OPENAI_API_KEY"',
            )
        elif isinstance(value, str) and _WITH_PASSWORD.match(value):
            mend = "take it out; a database reads PGPASSWORD or ~/.pgpass, an endpoint api_key_env"
            complaints.add([*path, key], f"{where}: the address holds a password: {mend}")


def _keys(here: Any, path: list[str | int]) -> Iterator[tuple[dict[str, Any], str, list[str | int]]]:
    if isinstance(here, dict):
        for key, value in here.items():
            yield here, key, path
            yield from _keys(value, [*path, key])
    elif isinstance(here, list):
        for i, value in enumerate(here):
            named = path == ["rung"] and isinstance(value, dict)
            yield from _keys(value, rungs.place(i, value) if named else [*path, i])
