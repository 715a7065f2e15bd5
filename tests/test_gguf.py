"""GGUF files to model folders: written once, mended when damaged, refused when not understood."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import numpy as np
import pytest

from agent import prompt
from agent.errors import ConfigError
from agent.kinds import single
from agent.oracles import _gguf, _weights, small
from agent.types import Context, Item, Part, Task

for needed in ("torch", "transformers", "gguf", "safetensors"):
    pytest.importorskip(needed, reason="the extra 'local' is not installed")

TASK = Task("t", "single", {"a": "", "b": ""})
CONTEXT = Context(TASK, single.choices(TASK))


def tiny_gguf(path: Path, architecture: str = "llama") -> None:
    """A model of the Llama family with two layers of random weights."""
    from gguf import GGUFWriter
    from tokenizers.pre_tokenizers import ByteLevel

    draw = np.random.default_rng(0)
    writer = GGUFWriter(path, architecture)
    writer.add_block_count(2)
    writer.add_context_length(64)
    writer.add_embedding_length(16)
    writer.add_feed_forward_length(24)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(4)
    writer.add_layer_norm_rms_eps(1e-5)
    tokens = ["<end>", *sorted(ByteLevel.alphabet()), "ab"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3] + [1] * (len(tokens) - 1))
    writer.add_token_merges(["a b"])
    for add in (writer.add_bos_token_id, writer.add_eos_token_id, writer.add_unk_token_id, writer.add_pad_token_id):
        add(0)
    shapes = {"token_embd": (len(tokens), 16), "output_norm": (16,)}
    for n in range(2):
        shapes |= {f"blk.{n}.attn_{x}": s for x, s in (("q", (16, 16)), ("k", (8, 16)), ("v", (8, 16)))}
        shapes |= {f"blk.{n}.attn_output": (16, 16), f"blk.{n}.attn_norm": (16,), f"blk.{n}.ffn_norm": (16,)}
        shapes |= {f"blk.{n}.ffn_gate": (24, 16), f"blk.{n}.ffn_up": (24, 16), f"blk.{n}.ffn_down": (16, 24)}
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", draw.normal(size=shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_converted_weights_are_written_once_and_again_when_damaged(tmp_path):
    file = tmp_path / "tiny.gguf"
    tiny_gguf(file)
    folder = _gguf.convert(file, _gguf.sha256(file), tmp_path)
    weights = folder / "model.safetensors"
    whole, when = weights.read_bytes(), weights.stat().st_mtime_ns
    assert _gguf.convert(file, _gguf.sha256(file), tmp_path) == folder and weights.stat().st_mtime_ns == when
    weights.write_bytes(whole[:-1] + b"?")
    assert _gguf.convert(file, _gguf.sha256(file), tmp_path) == folder and weights.read_bytes() == whole
    assert [p.name for p in tmp_path.glob(".part-*")] == []


def test_a_folder_and_a_gguf_file_are_models_too(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "tiny.gguf"
    tiny_gguf(file)
    folder = _gguf.convert(file, _gguf.sha256(file), tmp_path)
    rows = []
    for model in (file, folder):
        oracle = small.build(small.Settings(model=str(model), dtype="float32", threads=1), CONTEXT)
        recipe = prompt.recipe(TASK, "single", oracle.traits)
        asked = prompt.render(
            TASK, single.question(TASK, Item("i", (Part("text/plain", "ab"),)), 0), oracle.traits, recipe, 0
        )
        rows.append(asyncio.run(oracle.answer(asked)).logprobs)
        asyncio.run(oracle.close())
    assert rows[0] == pytest.approx(rows[1])
    before = _weights.find(str(folder)).revision
    shutil.copy(folder / "config.json", folder / "generation_config.json")
    assert _weights.find(str(folder)).revision != before


def test_a_gguf_file_of_another_family_is_refused_with_the_mend(tmp_path):
    tiny_gguf(tmp_path / "other.gguf", "qwen2")
    with pytest.raises(ConfigError, match="Hugging Face id or folder"):
        _gguf.convert(tmp_path / "other.gguf", "0", tmp_path)
