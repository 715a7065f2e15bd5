"""A sentence encoder in a folder: loaded when the first text comes, batched by tokens. Knows nothing of its cache."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np

from agent.encode.cache import Progress
from agent.encode.packed import Packed
from agent.encode.prompts import prompt_of
from agent.errors import ConfigError
from agent.types import Floats

log = logging.getLogger("tutelage")

TOKENS = {"cpu": 1_024, "cuda": 32_768}
"""Tokens a batch, padding included. On a CPU small batches stay in the cache: 1,024 is 10-35 % faster than 4,096."""
PRECISIONS = ("auto", "float32", "bfloat16", "int8")
HASHED = ("modules.json", "sentence_bert_config.json", "tokenizer.json", "vocab.txt", "config.json")
PROBE = ("One text.", "A second text, and it is a little longer than the first.", "x")

Forward = Callable[[list[list[int]]], Floats]
"""Token numbers of texts to their vectors."""


class Encoder:
    """A sentence encoder in a folder. Nothing is loaded before the first text.

    Args:
        name: how `find` finds it again.
        device: "auto" (cuda where there is one), "cpu" or "cuda".
        precision: "auto": bfloat16 where the processor computes in it (cosine .99995 with float32), else float32.
            "int8": on a CPU, BERT's kind only: weights and activations in 8 bits, a fifth faster, cosine .997.
        prompt: words before each text: see `prompt_of`.

    Raises:
        ConfigError: no such precision.
    """

    def __init__(
        self, name: str, folder: str | Path, device: str = "auto", precision: str = "auto", prompt: str = "auto"
    ) -> None:
        if precision not in PRECISIONS:
            raise ConfigError(f"precision = {precision!r} is none of {', '.join(PRECISIONS)}")
        self.name = name
        self.folder = Path(folder)
        self.precision = precision
        self.prompt = prompt_of(self.folder, name, prompt)
        self._device = device

    @cached_property
    def revision(self) -> str:
        """16 hex digits of a hash of the weights, the tokenizer and the settings of the modules, and of the prompt.

        bfloat16 and float32 are not told apart: they are a cosine of .00005 apart, and a cache filled on a GPU must
        serve on a CPU. Vectors of int8 have a revision of their own.
        """
        whole = hashlib.sha256()
        paths = [p for p in self.folder.glob("**/*") if p.suffix == ".safetensors" or p.name in HASHED]
        for path in sorted(paths, key=lambda p: p.relative_to(self.folder).as_posix()):
            whole.update(f"{path.relative_to(self.folder).as_posix()} {_sha256(path)}\n".encode())
        if self.prompt:
            whole.update(f"prompt {self.prompt}\n".encode("utf-8", "surrogatepass"))
        if self.precision == "int8":
            whole.update(b"int8\n")
        return whole.hexdigest()[:16]

    @cached_property
    def device(self) -> str:
        """ "cuda" when there is one and it was not ruled out, else "cpu"."""
        import torch

        return ("cuda" if torch.cuda.is_available() else "cpu") if self._device == "auto" else self._device

    @cached_property
    def _halved(self) -> bool:
        if self.precision == "auto":
            return _halves_pay(self.device)
        return self.precision == "bfloat16"

    @cached_property
    def model(self) -> Any:
        """The SentenceTransformer of the folder, ready to encode. Code that lies in the folder is not run."""
        import torch
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging as talk

        _only_theirs(self.folder / "modules.json")
        bars = talk.is_progress_bar_enabled()
        talk.disable_progress_bar()
        try:
            return SentenceTransformer(
                str(self.folder),
                device=self.device,
                local_files_only=True,
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True, "dtype": torch.bfloat16 if self._halved else torch.float32},
            ).eval()
        finally:
            if bars:
                talk.enable_progress_bar()

    @cached_property
    def _packed(self) -> Packed | None:
        """The same model without padding: on a CPU, where it is of a kind that `Packed` knows and gives the same."""
        eight = self.precision == "int8"
        found = None if self._halved or self.device != "cpu" else Packed.of(self.model, eight)
        if found is not None:
            rows = self.model.tokenizer(list(PROBE))["input_ids"]
            theirs = np.concatenate([self._padded([row]) for row in rows])
            if float((found.forward(rows) * theirs).sum(axis=1).min()) < (0.9 if eight else 0.99999):
                log.debug("encoder %s: the packed forward pass differs, so it is not used", self.name)
                found = None
        if eight and found is None:
            raise ConfigError(
                f"precision = 'int8' works on a CPU, with encoders of BERT's kind: {self.name} on {self.device} is "
                "none; take 'auto'"
            )
        return found

    def embed(self, texts: Sequence[str], progress: Progress | None = None) -> Floats:
        """Vectors of the texts, (n, d) float32, each of length one. Longer texts are cut at the model's limit.

        Texts are sorted by tokens and batched to a fixed number of tokens, so little or nothing is spent on padding.

        Raises:
            ConfigError: int8 was asked for and cannot be had: see `Encoder`.
        """
        clean = [text.encode("utf-8", "replace").decode() for text in texts]  # a lone surrogate stops a tokenizer
        tokenizer: Any = getattr(self.model, "tokenizer", None)
        if not clean or not hasattr(tokenizer, "pad") or self._leaves_prompts_out:
            found = self.model.encode(
                clean, prompt=self.prompt, batch_size=64, normalize_embeddings=True, show_progress_bar=False
            )
            return np.asarray(found, dtype=np.float32)
        tokens: list[list[int]] = tokenizer(
            [self.prompt + text for text in clean], truncation=True, max_length=self.model.max_seq_length or 512
        )["input_ids"]
        forward = self._padded if self._packed is None else self._packed.forward
        order: list[int] = []
        parts: list[Floats] = []
        for batch, vectors in self._batches(tokens, forward):
            order += batch
            parts.append(vectors)
            if progress:
                progress(len(order), len(clean))
        out = np.empty((len(clean), parts[0].shape[1]), dtype=np.float32)
        out[order] = np.concatenate(parts)
        return out

    @property
    def _leaves_prompts_out(self) -> bool:
        """Whether the prompt is read, but is no part of the mean over the text."""
        return bool(self.prompt) and not all(getattr(module, "include_prompt", True) for module in self.model)

    def _batches(self, tokens: list[list[int]], forward: Forward) -> Iterator[tuple[list[int], Floats]]:
        """The longest first: a batch too big for a GPU shows at once, and is halved."""
        import torch

        order = np.argsort([-len(row) for row in tokens], kind="stable").tolist()
        budget = TOKENS["cpu" if self.device == "cpu" else "cuda"]
        done = 0
        while done < len(order):
            batch = order[done : done + max(1, budget // max(1, len(tokens[order[done]])))]
            try:
                vectors = forward([tokens[i] for i in batch])
            except torch.OutOfMemoryError:
                if len(batch) == 1:
                    raise
                budget //= 2
                continue
            done += len(batch)
            yield batch, vectors

    def _padded(self, rows: list[list[int]]) -> Floats:
        import torch

        batch = self.model.tokenizer.pad({"input_ids": rows}, return_tensors="pt")
        with torch.inference_mode():
            found = self.model({name: tensor.to(self.device) for name, tensor in batch.items()})["sentence_embedding"]
            return cast(Floats, torch.nn.functional.normalize(found.float(), dim=1).cpu().numpy())


def _only_theirs(listed: Path) -> None:
    """Raises ConfigError where a list of modules names code that is no part of sentence-transformers."""
    try:
        types = [str(row["type"]) for row in json.loads(listed.read_text(encoding="utf-8"))]
    except (OSError, ValueError, KeyError, TypeError):
        return  # none, or one that sentence-transformers does not read either
    for name in types:
        if not name.startswith("sentence_transformers."):
            raise ConfigError(
                f"{listed} names {name[:60]!r}, which is no part of sentence-transformers. Code that a file names is "
                "not run: take another encoder"
            )


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
