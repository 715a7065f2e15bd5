"""A sample of the pool that new rows are held against, and the file it lies in. Knows no new rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agent.drift import scores
from agent.errors import Damaged, MissingExtra
from agent.types import Floats, Ints, Layout

FILE = "reference.safetensors"
FORMAT = "1"
ANCHORS, RANKED = 1_024, 2_048
LEAST = 40
"""Rows of a pool below which there is nothing to compare with."""


@dataclass(frozen=True)
class Reference:
    """A sample of a pool. anchors: (m, d) float32 rows of length one, dense or CSR. distance, doubt: (c,) of rows that
    are no anchors. counts: (width,) how many of those c rows have which label."""

    anchors: Any
    distance: Floats
    doubt: Floats
    counts: Ints


def sample(n: int, seed: int = 0) -> Ints:
    """Rows of a pool of n that a reference is made of, at most 3,072, in order: all that must be read or embedded."""
    return np.sort(np.random.default_rng(seed).permutation(n)[: ANCHORS + RANKED])


def reference(features: Any, said: Floats, layout: Layout, seed: int = 0) -> Reference | None:
    """A sample of the pool to hold new rows against; None for fewer than 40 rows.

    Args:
        features: (n, d) dense (may be a memory map) or CSR. said: (n, width) the student's probabilities, of rows it
            was taught by twins that were not taught them.
    """
    n = features.shape[0]
    if n < LEAST:
        return None
    anchors = min(n // 3, ANCHORS)
    drawn = np.random.default_rng(seed).permutation(n)[: anchors + RANKED]
    near, ranked = np.sort(drawn[:anchors]), np.sort(drawn[anchors:])
    kept = scores.unit(features[near])
    sure = np.asarray(said[ranked], dtype=np.float32)
    counts = np.bincount(scores.labels(sure, layout).ravel(), minlength=layout.width)
    return Reference(kept, scores.distance(features[ranked], kept), scores.doubt(sure, layout), counts)


def write(reference: Reference, folder: str | Path) -> Path:
    """Lay a reference beside a saved student; about 0.8 MB at 384 dimensions. Takes an older one's place at once."""
    save = _safetensors("saving a drift reference").numpy.save
    arrays: dict[str, Any] = {"distance": reference.distance, "doubt": reference.doubt, "counts": reference.counts}
    if hasattr(reference.anchors, "indptr"):
        parts = reference.anchors.tocsr()
        arrays["anchors.data"] = parts.data.astype(np.float16)
        arrays["anchors.indices"] = parts.indices.astype(np.int32)
        arrays["anchors.indptr"] = parts.indptr.astype(np.int32)
    else:
        arrays["anchors"] = np.ascontiguousarray(reference.anchors, dtype=np.float16)
    told = {"format": FORMAT, "shape": json.dumps(list(reference.anchors.shape)), "neighbours": str(scores.NEIGHBOURS)}
    place = Path(folder) / FILE
    draft = place.with_name(f".{FILE}.tmp")
    draft.write_bytes(save({name: np.ascontiguousarray(a) for name, a in arrays.items()}, metadata=told))
    draft.replace(place)
    return place


def read(folder: str | Path) -> Reference | None:
    """The reference beside a saved student; None where there is none.

    Raises:
        Damaged: the file does not read.
    """
    place = Path(folder) / FILE
    if not place.is_file():
        return None
    found = _safetensors("reading a drift reference")
    try:
        with found.safe_open(place, framework="numpy") as file:
            told = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        if told["format"] != FORMAT or told["neighbours"] != str(scores.NEIGHBOURS):
            raise ValueError(f"format {told['format']}")
        return Reference(_anchors(arrays, told), arrays["distance"], arrays["doubt"], arrays["counts"])
    except (found.SafetensorError, ValueError, KeyError, TypeError, OSError) as error:
        why = type(error).__name__
        raise Damaged(
            f"{place} does not read as a drift reference ({why}): remove it, or save the model anew"
        ) from None


def _safetensors(why: str) -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise MissingExtra("safetensors", "local", why) from error
    return safetensors


def _anchors(arrays: Mapping[str, Any], told: Mapping[str, str]) -> Any:
    if "anchors" in arrays:
        return np.asarray(arrays["anchors"], dtype=np.float32)
    from scipy.sparse import csr_array

    parts = (arrays["anchors.data"].astype(np.float32), arrays["anchors.indices"], arrays["anchors.indptr"])
    return csr_array(parts, shape=tuple(json.loads(told["shape"])))
