"""A GGUF file of the Llama family to an ordinary model folder (config, safetensors, tokenizer). Knows no prompts.

The folder is written once into a cache, under the hash of the file, so that the next start takes a second.
Only what the packages cannot do is done here: the layers' names, the undoing of GGUF's reordering of the query and
key rows, and the tokenizer (the known converter loses SmolLM2's rule that every digit is a token of its own).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from agent.errors import ConfigError, MissingExtra

MARK = "complete.json"
WHOLE = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
LAYER = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def sha256(path: Path) -> str:
    """The hash of a file's bytes, hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def cache_folder(folder: str = "") -> Path:
    """Where converted weights are kept: the user's cache directory, for all runs; `folder` if that is read-only."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tutelage" / "weights"
    try:
        root.mkdir(parents=True, exist_ok=True)
        if os.access(root, os.W_OK):
            return root
    except OSError:
        pass
    fallback = Path(folder or tempfile.gettempdir()) / "weights"
    fallback.mkdir(parents=True, exist_ok=True)
    return fallback


def convert(path: Path, digest: str, cache: Path) -> Path:
    """The folder that holds the weights of the GGUF file `path` (sha256 `digest`), written if it is not there whole.

    Dequantised to float32. The folder appears by one rename, and only after its mark with the checksum is in it.

    Raises:
        ConfigError: an architecture or tokenizer other than those known here.
        MissingExtra: the package gguf, safetensors or tokenizers is absent.
    """
    target = cache / f"{path.stem}-{digest[:16]}"
    if _whole(target):
        return target
    with tempfile.TemporaryDirectory(dir=cache, prefix=".part-") as part:
        folder = Path(part) / target.name
        folder.mkdir()
        _write(path, folder)
        weights = folder / "model.safetensors"
        mark = {"source": digest, "size": weights.stat().st_size, "sha256": sha256(weights)}
        (folder / MARK).write_text(json.dumps(mark))
        if target.exists() and not _whole(target):
            shutil.rmtree(target)
        try:
            folder.rename(target)
        except OSError:
            if not _whole(target):  # else another process was faster, and wrote the same
                raise
    return target


def _whole(folder: Path) -> bool:
    mark, weights = folder / MARK, folder / "model.safetensors"
    if not (mark.exists() and weights.exists()):
        return False
    said = json.loads(mark.read_text())
    return bool(said["size"] == weights.stat().st_size and said["sha256"] == sha256(weights))


def _write(path: Path, folder: Path) -> None:
    try:
        from gguf import GGUFReader, dequantize
        from safetensors.numpy import save_file
    except ImportError as error:
        raise MissingExtra(error.name or "gguf", "local", f"reading {path.name}") from error
    reader = GGUFReader(path)
    fields = {key: field.contents() for key, field in reader.fields.items()}
    if fields["general.architecture"] != "llama":
        raise ConfigError(
            f"model = {path.name!r} is a GGUF file of architecture {fields['general.architecture']!r}; only 'llama' is"
            " read here. Give a Hugging Face id or folder of the same model"
        )
    heads = int(fields["llama.attention.head_count"])
    keys = int(fields["llama.attention.head_count_kv"])
    weights = {}
    for tensor in reader.tensors:
        array = dequantize(tensor.data, tensor.tensor_type)
        if ".attn_q." in tensor.name or ".attn_k." in tensor.name:
            array = _unshuffle(array, heads if ".attn_q." in tensor.name else keys)
        weights[_name(tensor.name)] = array
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(_config(fields, "lm_head.weight" not in weights), indent=1))
    _tokenizer(fields, path).save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(_tokenizer_config(fields), indent=1))


def _name(name: str) -> str:
    """`blk.3.attn_q.weight` to `model.layers.3.self_attn.q_proj.weight`."""
    if name in WHOLE:
        return WHOLE[name]
    _, number, part, suffix = name.split(".")
    return f"model.layers.{number}.{LAYER[part]}.{suffix}"


def _unshuffle(array: Any, heads: int) -> Any:
    """GGUF pairs the two halves of each head's rows for its rotary embedding; put them back one after the other."""
    rows = array.reshape(heads, -1, 2, array.shape[-1])
    return rows.swapaxes(1, 2).reshape(array.shape).copy()


def _config(fields: dict[str, Any], tied: bool) -> dict[str, Any]:
    heads = int(fields["llama.attention.head_count"])
    width = int(fields["llama.embedding_length"])
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": width,
        "head_dim": int(fields.get("llama.rope.dimension_count", width // heads)),
        "intermediate_size": int(fields["llama.feed_forward_length"]),
        "num_hidden_layers": int(fields["llama.block_count"]),
        "num_attention_heads": heads,
        "num_key_value_heads": int(fields["llama.attention.head_count_kv"]),
        "max_position_embeddings": int(fields["llama.context_length"]),
        "rms_norm_eps": float(fields["llama.attention.layer_norm_rms_epsilon"]),
        "rope_parameters": {"rope_type": "default", "rope_theta": float(fields["llama.rope.freq_base"])},
        "vocab_size": len(fields["tokenizer.ggml.tokens"]),
        "bos_token_id": int(fields["tokenizer.ggml.bos_token_id"]),
        "eos_token_id": int(fields["tokenizer.ggml.eos_token_id"]),
        "pad_token_id": int(fields["tokenizer.ggml.padding_token_id"]),
        "tie_word_embeddings": tied,
        "dtype": "float32",
    }


def _tokenizer(fields: dict[str, Any], path: Path) -> Any:
    """Byte-level BPE from the file's own vocabulary and merges, each digit apart."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    kind = (fields["tokenizer.ggml.model"], fields.get("tokenizer.ggml.pre"))
    if kind != ("gpt2", "smollm"):
        raise ConfigError(
            f"model = {path.name!r} has a tokenizer of kind {kind[0]}/{kind[1]}, which is not known here."
            " Give a Hugging Face id or folder of the same model"
        )
    tokens = fields["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    control = [t for t, kind in zip(tokens, fields["tokenizer.ggml.token_type"], strict=True) if kind == 3]
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in control])
    return tokenizer


def _tokenizer_config(fields: dict[str, Any]) -> dict[str, Any]:
    tokens = fields["tokenizer.ggml.tokens"]
    names = {
        f"{short}_token": tokens[int(fields[f"tokenizer.ggml.{long}_token_id"])]
        for short, long in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding"))
    }
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": int(fields["llama.context_length"]),
        "chat_template": fields.get("tokenizer.chat_template", ""),
        "clean_up_tokenization_spaces": False,
        **names,
    }
