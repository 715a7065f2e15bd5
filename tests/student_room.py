"""What the tests of `static` and `finetune` share: a sentence encoder of two layers and 32 dimensions, made here.

Its weights are drawn at random, its words are those of the toy texts: seconds instead of minutes, no download.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from agent.types import Context, Floats, Item, Layout, Part, Task

COLOURS = {"red": "", "blue": "", "green": ""}
WORDS = {
    "red": ["rose", "blood", "cherry", "ruby", "tomato", "rust"],
    "blue": ["sky", "sea", "jeans", "denim", "navy", "ink"],
    "green": ["grass", "leaf", "moss", "lime", "frog", "pine"],
}
FILLERS = ["the", "a", "of", "and", "near", "old", "some", "very", "this", "that"]


def encoder(folder: Path) -> Path:
    """A sentence-transformers folder: BERT at random, mean pooling, length one."""
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer
    from tokenizers.processors import TemplateProcessing
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    named = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    words = [*named.values(), *FILLERS, *COLOURS, *(word for some in WORDS.values() for word in some)]
    cut = Tokenizer(WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    cut.normalizer, cut.pre_tokenizer = BertNormalizer(), BertPreTokenizer()
    cut.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    PreTrainedTokenizerFast(tokenizer_object=cut, model_max_length=32, **named).save_pretrained(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=len(words),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=64,
        )
        BertModel(config).save_pretrained(folder)
    kinds = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
    parts = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (kind, path) in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(parts), "utf-8")
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling), "utf-8")
    return folder


def colours(n: int, seed: int = 0) -> tuple[list[Item], Floats]:
    """Texts of which one word tells the colour, and their labels as rows."""
    rng = np.random.default_rng(seed)
    names = list(COLOURS)
    texts, says = [], rng.integers(0, 3, n)
    for colour in says:
        words = [*rng.choice(FILLERS, 4), str(rng.choice(WORDS[names[colour]]))]
        texts.append(" ".join(rng.permutation(words)))
    return items(texts), np.eye(3, dtype=np.float32)[says]


def items(texts: list[str]) -> list[Item]:
    return [Item(str(i), (Part("text/plain", text),)) for i, text in enumerate(texts)]


def context(folder: str = "", labels: dict[str, str] | None = None, layout: Layout | None = None) -> Context:
    labels = labels or COLOURS
    return Context(Task("t", "single", labels), layout or Layout(("label",), (tuple(labels),)), 0, folder)


def ones(n: int) -> Floats:
    return np.ones(n, dtype=np.float32)


def accuracy(p: Floats, targets: Floats) -> float:
    return float((p.argmax(axis=1) == targets.argmax(axis=1)).mean())
