"""Texts to the sum of their tokens' vectors: a table distilled from a sentence encoder. Knows no labels.

The distillation is model2vec's (Tulkens and van Dongen, 2024): each token of the encoder's vocabulary goes through the
encoder by itself, the vectors are turned to their principal axes and weighted by smooth inverse frequency (Arora et
al., 2017), frequencies being Zipf's of the vocabulary's order. It is done once an encoder, offline.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agent import encode
from agent.errors import DataError, MissingExtra
from agent.students import _student
from agent.types import Floats

log = logging.getLogger("tutelage")

BLOCK = 8_192
"""Texts cut into tokens at once."""
FEW = 64
"""Up to so many texts are summed one by one: the sparse product costs more than it saves."""


class Table:
    """Rows of length one (all zero for a text without a known token), from `tokenizers` and numpy alone.

    encoder: what the table is distilled from, None where it was restored from a saved student. folder: where the
    distilled table is kept ("" = memory only). dims: columns at most.
    """

    def __init__(self, encoder: encode.Encoder | None, folder: str, dims: int) -> None:
        self._encoder = encoder
        self._folder = folder
        self._dims = dims
        self._origin = {"name": encoder.name, "revision": encoder.revision} if encoder else {}
        self._arrays: dict[str, Any] = {}
        self._table: Floats | None = None
        self._tokenizer: Any = None

    def rows(self, texts: Sequence[str], progress: _student.Progress | None = None) -> Floats:
        """(n, dims) float32."""
        self._open()
        assert self._table is not None
        out = np.zeros((len(texts), self._table.shape[1]), dtype=np.float32)
        for start in range(0, len(texts), BLOCK):
            clean = [text.encode("utf-8", "replace").decode() for text in texts[start : start + BLOCK]]
            self._sum(self._tokenizer.encode_batch_fast(clean, add_special_tokens=False), out[start : start + BLOCK])
            if progress:
                progress(min(start + BLOCK, len(texts)), len(texts))
        return out

    def _sum(self, cut: Sequence[Any], out: Floats) -> None:
        table = self._table
        assert table is not None
        if len(cut) <= FEW:
            for row, tokens in zip(out, cut, strict=True):
                table[tokens.ids].sum(axis=0, out=row)
        else:
            from scipy.sparse import csr_array

            ends = np.concatenate([[0], np.cumsum([len(tokens) for tokens in cut])])
            which = np.fromiter((i for tokens in cut for i in tokens.ids), dtype=np.int64, count=int(ends[-1]))
            out[:] = csr_array((np.ones(len(which), np.float32), which, ends), shape=(len(cut), len(table))) @ table
        out /= np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-12)

    def _open(self) -> None:
        """Have the table in memory: as restored, as kept in the folder, or distilled now."""
        if self._table is not None:
            return
        if not self._arrays:
            assert self._encoder is not None
            kept = Path(self._folder) / f"static-{self._encoder.revision}-{self._dims}.safetensors"
            self._arrays = (_kept(kept) if self._folder else None) or self._distil(kept)
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise MissingExtra("tokenizers", "static", 'student = "static"') from error
        self._table = np.ascontiguousarray(self._arrays["table"], dtype=np.float32)
        self._tokenizer = Tokenizer.from_buffer(bytes(self._arrays["tokenizer"]))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def _distil(self, kept: Path) -> dict[str, Any]:
        assert self._encoder is not None
        log.info("distilling a table of tokens from %s; once, under a minute", self._encoder.name)
        arrays = distil(self._encoder.folder, self._encoder.device, self._dims)
        if self._folder:
            from safetensors.numpy import save

            try:
                kept.parent.mkdir(parents=True, exist_ok=True)
                draft = kept.with_name(f"{kept.name}.{os.getpid()}.tmp")
                draft.write_bytes(save(arrays))
                os.replace(draft, kept)
            except OSError as error:
                log.warning("static: cannot write to %s (%s); kept in memory only", kept.parent, error.strerror)
        return arrays

    def card(self) -> dict[str, Any]:
        return {"table": {**self._origin, "dims": self._dims}}

    def arrays(self) -> dict[str, Any]:
        """`table`: (tokens, dims) float16, weights included; `tokenizer`: the bytes of a tokenizer.json."""
        self._open()
        return dict(self._arrays)

    def restore(self, card: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
        found = card.get("table")
        if found is None or "table" not in arrays:
            raise DataError(f"the saved student is of the kind {card.get('student')!r}, not 'static'; train anew")
        revision, dims = found["revision"], int(found["dims"])
        if self._encoder is not None and (revision, dims) != (self._encoder.revision, self._dims):
            raise DataError(
                f"the saved student was distilled from {found['name']} ({revision}, dims = {dims}), here is "
                f"{self._encoder.name} ({self._encoder.revision}, dims = {self._dims}); train anew"
            )
        self._origin, self._dims, self._table = {"name": found["name"], "revision": revision}, dims, None
        self._arrays = {name: arrays[name] for name in ("table", "tokenizer")}


def _kept(path: Path) -> dict[str, Any] | None:
    """What an earlier run distilled; None where there is nothing that reads."""
    if not path.is_file():
        return None
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        found = load(path.read_bytes())
        return {"table": found["table"], "tokenizer": found["tokenizer"]}
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        log.warning("static: %s does not read (%s) and is distilled again", path.name, type(error).__name__)
        return None


def distil(folder: Path, device: str, dims: int) -> dict[str, Any]:
    """`table` (tokens, dims) float16 and `tokenizer` (bytes) of the encoder in `folder`.

    Raises:
        MissingExtra: model2vec or what its distillation needs is not installed.
    """
    try:
        from model2vec.distill import distill
    except ImportError as error:
        raise MissingExtra("model2vec and skeletoken", "static", 'student = "static"') from error
    place, modules = folder, folder / "modules.json"
    if modules.is_file():
        place = folder / json.loads(modules.read_text("utf-8"))[0]["path"]
    with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
        made = distill(str(place), device=device, pca_dims=dims)
    table = np.array(made.embedding, dtype=np.float16)
    if made.unk_token_id is not None:
        table[made.unk_token_id] = 0
    cut = json.loads(made.tokenizer.to_str()) | {"truncation": None, "padding": None}
    return {"table": table, "tokenizer": np.frombuffer(json.dumps(cut, ensure_ascii=False).encode(), np.uint8)}
