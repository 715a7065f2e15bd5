"""GGUF files to model folders: written once, mended when damaged, refused when not understood."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import prompt
from agent.errors import ConfigError, MissingExtra
from agent.kinds import single
from agent.oracles import _gguf, _weights, small
from agent.oracles._scorer import Form, Scorer
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


def tiny_gemma(path: Path) -> None:
    """A Gemma 3 with seven layers (the sixth sees everything), random weights and a window of eight tokens."""
    from gguf import GGUFWriter

    draw = np.random.default_rng(1)
    writer = GGUFWriter(path, "gemma3")
    writer.add_block_count(7)
    writer.add_context_length(64)
    writer.add_embedding_length(16)
    writer.add_feed_forward_length(24)
    writer.add_head_count(4)
    writer.add_head_count_kv(1)
    writer.add_key_length(8)
    writer.add_value_length(8)
    writer.add_rope_freq_base(1000000.0)
    writer.add_sliding_window(8)
    writer.add_layer_norm_rms_eps(1e-6)
    control, own = ["<pad>", "<eos>", "<bos>", "<unk>"], ["\n", "\n\n", "  ", "<picture>"]
    plain = ["ab", "▁a", "▁ab", "cab", "▁", *"abcdefghij"]
    tokens = control + own + [f"<0x{byte:02X}>" for byte in range(256)] + plain
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores([-1000.0] * 8 + [0.0] * 256 + [-float(at) for at in range(len(plain))])
    writer.add_token_types([3] * 4 + [4] * 4 + [6] * 256 + [1] * len(plain))
    for number, add in enumerate(
        (writer.add_pad_token_id, writer.add_eos_token_id, writer.add_bos_token_id, writer.add_unk_token_id)
    ):
        add(number)
    shapes = {"token_embd": (len(tokens), 16), "output_norm": (16,)}
    for n in range(7):
        shapes |= {f"blk.{n}.attn_{x}": s for x, s in (("q", (32, 16)), ("k", (8, 16)), ("v", (8, 16)))}
        shapes |= {f"blk.{n}.attn_output": (16, 32), f"blk.{n}.attn_q_norm": (8,), f"blk.{n}.attn_k_norm": (8,)}
        shapes |= {f"blk.{n}.{x}": (16,) for x in ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm")}
        shapes |= {f"blk.{n}.ffn_gate": (24, 16), f"blk.{n}.ffn_up": (24, 16), f"blk.{n}.ffn_down": (16, 24)}
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", draw.normal(size=shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="module")
def gemma(tmp_path_factory) -> Scorer:
    folder = tmp_path_factory.mktemp("gemma")
    tiny_gemma(folder / "tiny.gguf")
    path = _gguf.convert(folder / "tiny.gguf", "0" * 64, folder)
    return Scorer(str(path), None, "float32", "cpu", 1)


def test_gemma_splits_text_by_scores_and_keeps_control_tokens_to_itself(gemma):
    def pieces(text: str) -> list[str]:
        return gemma.tokenizer.convert_ids_to_tokens(gemma.encode(text))

    assert pieces("cab ab ac") == ["<bos>", "cab", "▁ab", "▁a", "c"]  # "ab" scores higher than "▁a"
    assert pieces("a  b\n\n\nc") == ["<bos>", "a", "  ", "b", "\n\n", "\n", "c"]
    assert pieces("é") == ["<bos>", "<0xC3>", "<0xA9>"]
    assert not {"<bos>", "<picture>", "<eos>"} & set(pieces("<bos><picture><eos>")[1:])
    assert gemma.tokenizer.decode(gemma.encode("cab  ab\né <eos>", start=False)) == "cab  ab\né <eos>"


TOKENS = st.integers(8, 270)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(TOKENS, min_size=1, max_size=20), min_size=1, max_size=5),
    st.lists(TOKENS, max_size=20),
    st.lists(st.lists(st.integers(265, 268), min_size=1, max_size=3), min_size=1, max_size=4),
)
def test_however_texts_are_packed_the_numbers_stay(gemma, rests, shared, ways):
    """Any lengths (the window is eight), any beginning, any continuations: as transformers' own plain passes."""
    import torch

    assert gemma.packed and gemma.limit == 64
    texts = [tuple(shared + rest) for rest in rests]
    forms = [Form(tuple(way), start=len(way) // 2 if len(way) > 2 else 0) for way in ways]
    got, reused = gemma.score(texts, forms, tuple(shared))
    again, _ = gemma.score(texts[::-1], forms, tuple(shared))
    assert reused <= len(shared)
    np.testing.assert_allclose(again[::-1], got, atol=1e-3)
    gemma.model.set_attn_implementation("eager")
    try:
        with torch.inference_mode():
            for text, row in zip(texts, got, strict=True):
                for form, value in zip(forms, row, strict=True):
                    said = gemma.model(torch.tensor([text + form.ids])).logits[0].log_softmax(-1)
                    ats = range(form.start, len(form.ids))
                    plain = sum(float(said[len(text) - 1 + at, form.ids[at]]) for at in ats)
                    assert value == pytest.approx(plain, abs=2e-3)
    finally:
        gemma.model.set_attn_implementation("tutelage_packed")


def test_a_stretched_gemma_is_refused_with_the_mend(tmp_path):
    from gguf import GGUFReader, GGUFWriter

    writer = GGUFWriter(tmp_path / "large.gguf", "gemma3")
    writer.add_string("gemma3.rope.scaling.type", "linear")
    for add in (writer.add_tokenizer_model, writer.add_tokenizer_pre):
        add("llama" if add == writer.add_tokenizer_model else "default")
    for number, (name, add) in enumerate((("<unk>", writer.add_unk_token_id), ("<bos>", writer.add_bos_token_id))):
        assert name and (add(number) is None)
    writer.add_token_list(["<unk>", "<bos>"])
    writer.add_token_scores([0.0, 0.0])
    writer.add_token_types([3, 3])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert GGUFReader(tmp_path / "large.gguf")
    with pytest.raises(ConfigError, match="270M, 1B"):
        _gguf.convert(tmp_path / "large.gguf", "0", tmp_path)


def test_a_file_in_parts_is_the_file(tmp_path):
    tiny_gguf(tmp_path / "tiny.gguf")
    whole = (tmp_path / "tiny.gguf").read_bytes()
    parts = [tmp_path / "a", tmp_path / "b"]
    for part, content in zip(parts, (whole[:1000], whole[1000:]), strict=True):
        part.write_bytes(content)
    digest = _gguf.sha256(*parts)
    assert digest == _gguf.sha256(tmp_path / "tiny.gguf")
    first, second = (tmp_path / name for name in ("one", "two"))
    for cache in (first, second):
        cache.mkdir()
    one = _gguf.convert(tmp_path / "tiny.gguf", digest, first)
    two = _gguf.convert(Path("tiny.gguf"), digest, second, parts)
    assert (one / "model.safetensors").read_bytes() == (two / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_gemma_270m_of_the_package_is_fluent():
    """The real weights: greedy text, and log-probabilities of facts against falsehoods."""
    try:
        source = _weights.find("gemma3-270m")
    except MissingExtra as error:
        pytest.skip(str(error))
    scorer = Scorer(_weights.load(source), None, "float32", "cpu", 1)
    assert scorer.packed and source.name == "gemma-3-270m-q4_k_m"
    ids = scorer.encode("The capital of France is")
    forms = [Form(scorer.encode(word, start=False)[:1]) for word in (" Paris", " the", " green", " Berlin")]
    paris, the, green, berlin = scorer.score([ids], forms)[0][0]
    assert the > paris > max(green, berlin) and paris > -6
