"""A GGUF file (Llama, Gemma 3) to an ordinary model folder: config, safetensors, tokenizer. Knows no prompts.

The folder is written once into a cache, under the hash of the file, so that the next start takes a second.
Only what the packages cannot do is done here: the layers' names, the undoing of what GGUF does to some tensors (the
order of Llama's query and key rows, the 1 added to Gemma's norms), and the tokenizers, from the file's own vocabulary:
the known converter loses SmolLM2's rule that every digit is a token of its own, and lets a text write Gemma's control
tokens.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
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
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
LLAMA = LAYER | {"ffn_norm": "post_attention_layernorm"}
GEMMA = LAYER | {
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
CONTROL, OWN, BYTE = 3, 4, 6
"""GGUF's kinds of tokens that are not ordinary: control, defined by the model's makers, a single byte."""

Fields = dict[str, Any]


def sha256(*parts: Path) -> str:
    """The hash of a file's bytes, or of all parts of a file one after the other, hexadecimal."""
    digest = hashlib.sha256()
    for part in parts:
        with part.open("rb") as handle:
            while block := handle.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


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


def convert(path: Path, digest: str, cache: Path, parts: Sequence[Path] = ()) -> Path:
    """The folder that holds the weights of the GGUF file `path` (sha256 `digest`), written if it is not there whole.

    Dequantised to float32. The folder appears by one rename, and only after its mark with the checksum is in it.
    With `parts`, `path` only names the folder: the file is these parts, one after the other.

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
        _write(_joined(parts, Path(part) / path.name) if parts else path, folder)
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


def _joined(parts: Sequence[Path], path: Path) -> Path:
    with path.open("wb") as handle:
        for part in parts:
            with part.open("rb") as source:
                shutil.copyfileobj(source, handle, 1 << 20)
    return path


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
    family = FAMILIES.get(fields["general.architecture"])
    if family is None:
        raise ConfigError(
            f"model = {path.name!r} is a GGUF file of architecture {fields['general.architecture']!r}; only"
            f" {' and '.join(map(repr, FAMILIES))} are read here. Give a Hugging Face id or folder of the same model"
        )
    tokenizer = _tokenizer(fields, path)
    config = family(fields, path)
    weights = {}
    for tensor in reader.tensors:
        name = _name(tensor.name, GEMMA if family is _gemma else LLAMA)
        weights[name] = _undone(dequantize(tensor.data, tensor.tensor_type), name, config)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config |= {"tie_word_embeddings": "lm_head.weight" not in weights}
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(_tokenizer_config(fields), indent=1))


def _name(name: str, layer: dict[str, str]) -> str:
    """`blk.3.attn_q.weight` to `model.layers.3.self_attn.q_proj.weight`."""
    if name in WHOLE:
        return WHOLE[name]
    _, number, part, suffix = name.split(".")
    return f"model.layers.{number}.{layer[part]}.{suffix}"


def _undone(array: Any, name: str, config: Fields) -> Any:
    """A tensor as its makers wrote it."""
    if config["model_type"] != "llama":
        return array - 1 if name.endswith("norm.weight") else array
    if ".q_proj." in name or ".k_proj." in name:
        heads = config["num_attention_heads" if ".q_proj." in name else "num_key_value_heads"]
        # GGUF pairs the two halves of each head's rows for its rotary embedding: back, one after the other.
        rows = array.reshape(heads, -1, 2, array.shape[-1])
        return rows.swapaxes(1, 2).reshape(array.shape).copy()
    return array


def _shape(fields: Fields) -> Fields:
    """What the configurations of all families have."""
    of = fields["general.architecture"]
    return {
        "hidden_size": int(fields[f"{of}.embedding_length"]),
        "intermediate_size": int(fields[f"{of}.feed_forward_length"]),
        "num_hidden_layers": int(fields[f"{of}.block_count"]),
        "num_attention_heads": int(fields[f"{of}.attention.head_count"]),
        "num_key_value_heads": int(fields[f"{of}.attention.head_count_kv"]),
        "max_position_embeddings": int(fields[f"{of}.context_length"]),
        "rms_norm_eps": float(fields[f"{of}.attention.layer_norm_rms_epsilon"]),
        "vocab_size": len(fields["tokenizer.ggml.tokens"]),
        "bos_token_id": int(fields["tokenizer.ggml.bos_token_id"]),
        "eos_token_id": int(fields["tokenizer.ggml.eos_token_id"]),
        "pad_token_id": int(fields["tokenizer.ggml.padding_token_id"]),
        "dtype": "float32",
    }


def _llama(fields: Fields, _: Path) -> Fields:
    shape = _shape(fields)
    width = shape["hidden_size"] // shape["num_attention_heads"]
    return shape | {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "head_dim": int(fields.get("llama.rope.dimension_count", width)),
        "rope_parameters": {"rope_type": "default", "rope_theta": float(fields["llama.rope.freq_base"])},
    }


def _gemma(fields: Fields, path: Path) -> Fields:
    if "gemma3.rope.scaling.type" in fields:  # from 4B on, with pictures: another model class
        raise ConfigError(
            f"model = {path.name!r} is a Gemma 3 with stretched positions; of GGUF files only the small ones (270M, 1B)"
            " are read here. Give a Hugging Face id or folder of the same model"
        )
    width = int(fields["gemma3.attention.key_length"])
    theta = {"full_attention": float(fields["gemma3.rope.freq_base"]), "sliding_attention": 10000.0}
    return _shape(fields) | {
        "architectures": ["Gemma3ForCausalLM"],
        "model_type": "gemma3_text",
        "hidden_activation": "gelu_pytorch_tanh",
        "head_dim": width,
        "query_pre_attn_scalar": width,
        "sliding_window": int(fields["gemma3.attention.sliding_window"]),
        "rope_parameters": {kind: {"rope_type": "default", "rope_theta": base} for kind, base in theta.items()},
    }


FAMILIES = {"llama": _llama, "gemma3": _gemma}


def _tokenizer(fields: Fields, path: Path) -> Any:
    """The tokenizer of the file's own vocabulary."""
    from tokenizers import AddedToken

    kind = (fields["tokenizer.ggml.model"], fields.get("tokenizer.ggml.pre"))
    if kind == ("gpt2", "smollm"):
        tokenizer = _byte_level(fields)
    elif kind == ("llama", "default") and fields["general.architecture"] == "gemma3":
        tokenizer = _pieces(fields)
    else:
        raise ConfigError(
            f"model = {path.name!r} has a tokenizer of kind {kind[0]}/{kind[1]}, which is not known here."
            " Give a Hugging Face id or folder of the same model"
        )
    tokens, kinds = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    # Runs of blanks and line breaks stand for themselves; what else the makers added is control: no text may write it.
    blank = [t for t, kind in zip(tokens, kinds, strict=True) if kind == OWN and not t.strip()]
    control = [t for t, kind in zip(tokens, kinds, strict=True) if kind == CONTROL or (kind == OWN and t.strip())]
    tokenizer.add_tokens([AddedToken(t, normalized=False) for t in blank])
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in control])
    return tokenizer


def _byte_level(fields: Fields) -> Any:
    """Byte-level BPE by the file's merges, each digit apart."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"]]
    vocabulary = {token: i for i, token in enumerate(fields["tokenizer.ggml.tokens"])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _pieces(fields: Fields) -> Any:
    """SentencePiece's BPE: of all neighbours those merge first whose whole scores highest; bytes for the rest."""
    from tokenizers import Tokenizer, decoders, models, normalizers, processors

    tokens, scores = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.scores"]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    whole = [i for i, kind in enumerate(fields["tokenizer.ggml.token_type"]) if kind not in (CONTROL, OWN, BYTE)]
    plain = {tokens[i] for i in whole}
    merges = []
    for i in sorted(whole, key=lambda i: -scores[i]):
        pairs = [(tokens[i][:at], tokens[i][at:]) for at in range(1, len(tokens[i]))]
        pairs = [pair for pair in pairs if pair[0] in plain and pair[1] in plain]
        merges += sorted(pairs, key=lambda pair: (vocabulary[pair[0]], vocabulary[pair[1]]))
    unknown, begin = (tokens[int(fields[f"tokenizer.ggml.{name}_token_id"])] for name in ("unknown", "bos"))
    tokenizer = Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, unk_token=unknown, fuse_unk=True, byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A", special_tokens=[(begin, vocabulary[begin])]
    )
    return tokenizer


def _tokenizer_config(fields: Fields) -> Fields:
    tokens = fields["tokenizer.ggml.tokens"]
    names = {
        f"{short}_token": tokens[int(fields[f"tokenizer.ggml.{long}_token_id"])]
        for short, long in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding"))
    }
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": int(fields[f"{fields['general.architecture']}.context_length"]),
        "chat_template": fields.get("tokenizer.chat_template", ""),
        "clean_up_tokenization_spaces": False,
        **names,
    }
