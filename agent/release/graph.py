"""The whole student as ONNX: token numbers in, probabilities out. Written only where it answers as the student does.

Knows encoders and arrays, no run. `model.onnx` is float32; `model_int8.onnx` has weights in 8 bits and rounds what
flows between to 8 bits as it runs (dynamic quantisation).
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agent.errors import MissingExtra
from agent.release.parts import Parts
from agent.types import Bools, Floats, Layout

FOLDER, PLAIN, SMALL = "onnx", "model.onnx", "model_int8.onnx"
SAME = 0.999
"""Least share of real rows on which float32 must choose as the student does."""
SAME_SMALL = 0.9
"""The same for 8 bits: under it the file is no good to anybody."""
BATCH = 32
BIG = 1_500_000_000
"""Bytes of weights from which they lie in a file of their own: one file of protobuf ends at 2 GiB."""


@dataclass(frozen=True)
class Parity:
    """How an ONNX file compares with the student on real rows.

    rows: how many. same: on how many every atom's likeliest choice is the same. furthest: greatest difference of a
    probability. kept: whether the file was written. bytes: its size.
    """

    rows: int
    same: int
    furthest: float
    kept: bool
    bytes: int


def ready() -> None:
    """Raise where ONNX files cannot be made.

    Raises:
        MissingExtra: names the package.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(package, "onnx", "an ONNX file (--onnx)")


def write(parts: Parts, target: Path, texts: Sequence[str], said: Floats) -> dict[str, Parity]:
    """Write `target/onnx`: both files, the tokenizer with its limit, and `parity.json`.

    Args:
        texts: real rows. said: (n, width) what the student says of them.
    Returns:
        File name -> how it compares. A file that differs too often is not kept.
    """
    folder = target / FOLDER
    folder.mkdir()
    write_tokenizer(parts, folder / "tokenizer.json")
    export(parts, folder / PLAIN)
    found = {PLAIN: _judge(folder / PLAIN, parts, texts, said, SAME)}
    if found[PLAIN].kept:
        shrink(folder / PLAIN, folder / SMALL)
        found[SMALL] = _judge(folder / SMALL, parts, texts, said, SAME_SMALL)
    told = {name: asdict(parity) for name, parity in found.items()}
    (folder / "parity.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return found


def _judge(path: Path, parts: Parts, texts: Sequence[str], said: Floats, least: float) -> Parity:
    p = run(path, path.parent / "tokenizer.json", texts, parts.encoder.prompt)
    same = int(alike(p, said, parts.layout).sum())
    kept, files = same >= least * len(texts), [path, path.with_name(path.name + ".data")]
    size = sum(file.stat().st_size for file in files if file.exists())
    if not kept:
        for file in files:
            file.unlink(missing_ok=True)
    return Parity(len(texts), same, float(np.abs(p - said).max(initial=0.0)), kept, size)


def alike(one: Floats, other: Floats, layout: Layout) -> Bools:
    """(n,) whether both choose the same in every atom."""
    out = np.ones(len(one), dtype=bool)
    for atom in layout.slices:
        out &= one[:, atom].argmax(axis=1) == other[:, atom].argmax(axis=1)
    return out


def write_tokenizer(parts: Parts, path: Path) -> None:
    """The encoder's tokenizer as one file for `tokenizers`: it cuts at the model's limit and pads to the longest."""
    model = parts.encoder.model
    tokenizer: Any = model.tokenizer
    fast = type(tokenizer.backend_tokenizer).from_str(tokenizer.backend_tokenizer.to_str())
    fast.enable_truncation(model.max_seq_length or 512)
    fast.enable_padding(pad_id=tokenizer.pad_token_id, pad_token=tokenizer.pad_token)
    fast.save(str(path))


def export(parts: Parts, path: Path) -> None:
    """The float32 graph: `input_ids`, `attention_mask` (int64, texts × tokens) -> `probabilities` (texts × width)."""
    import torch

    whole = _module(parts)
    ids = torch.tensor([[1, 2, 3, 4, 5], [1, 2, 3, 4, 5]])
    texts, tokens = torch.export.Dim("texts"), torch.export.Dim("tokens")
    shape = {0: texts, 1: tokens}
    size = sum(p.numel() * 4 for p in whole.parameters())
    with _quiet():
        torch.onnx.export(
            whole, (ids, torch.ones_like(ids)), str(path), input_names=["input_ids", "attention_mask"],
            output_names=["probabilities"], dynamic_shapes={"input_ids": shape, "attention_mask": shape},
            dynamo=True, external_data=size > BIG, verbose=False,
        )  # fmt: skip


def _module(parts: Parts) -> Any:
    """Encoder, pooling, head and softmax as one torch module in float32 on the CPU."""
    import copy

    import torch

    class Whole(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.steps = copy.deepcopy(parts.encoder.model).cpu().float().eval()
            self.weight = torch.nn.Parameter(torch.from_numpy(np.ascontiguousarray(parts.weight)))
            self.bias = torch.nn.Parameter(torch.from_numpy(np.ascontiguousarray(parts.bias)))

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            told = {"input_ids": input_ids, "attention_mask": attention_mask}
            for step in self.steps:
                told = step(told)
            vectors = torch.nn.functional.normalize(told["sentence_embedding"], dim=1)
            logits = vectors @ self.weight + self.bias
            return torch.cat([torch.softmax(logits[:, atom], dim=1) for atom in parts.layout.slices], dim=1)

    return Whole().eval()


def shrink(path: Path, small: Path) -> None:
    """The same graph with matrices of 8 bits, a scale for each column; the head, which chooses, stays as it is."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    nodes = onnx.load(path, load_external_data=False).graph.node
    head = [node.name for node in nodes if node.op_type in ("MatMul", "Gemm") and "weight" in node.input]
    with _quiet():
        quantize_dynamic(
            path, small, weight_type=QuantType.QInt8, per_channel=True, op_types_to_quantize=["MatMul"],
            nodes_to_exclude=head, use_external_data_format=path.with_name(path.name + ".data").exists(),
        )  # fmt: skip


def run(path: Path, tokenizer: Path, texts: Sequence[str], prompt: str = "") -> Floats:
    """(n, width) probabilities by ONNX Runtime on the CPU, sorted by length. Needs no torch."""
    import onnxruntime
    from tokenizers import Tokenizer

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    cutter = Tokenizer.from_file(str(tokenizer))
    clean = [(prompt + text).encode("utf-8", "replace").decode() for text in texts]
    order = sorted(range(len(clean)), key=lambda i: len(clean[i]))
    out: Floats = np.zeros((len(clean), session.get_outputs()[0].shape[1]), dtype=np.float32)
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        cut = cutter.encode_batch([clean[i] for i in rows])
        feed = {
            "input_ids": np.array([c.ids for c in cut], dtype=np.int64),
            "attention_mask": np.array([c.attention_mask for c in cut], dtype=np.int64),
        }
        out[rows] = session.run(None, feed)[0]
    return out


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter talks to the terminal of things nobody here can mend."""
    chatty = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "root", "")]
    levels = [logger.level for logger in chatty]
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        for logger in chatty:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(chatty, levels, strict=True):
                logger.setLevel(level)
