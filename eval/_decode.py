"""Two ways of asking a language model that labeling tools use, for comparison only: free text, and a forced choice.

Both are greedy. Knows the product's scorer, because both are run on the very same loaded model and kept prefix, and
behind the same forward pass that gives the labels' log-probabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from agent.errors import CallFailed
from agent.oracles import small
from agent.oracles._scorer import Ids, Scorer, Tree, _read

Allowed = Callable[[bytes], list[int] | None]
"""What may come after the bytes written so far: token ids, [] for "it is complete", None for anything."""

STEPS = 6
"""Tokens that plain generation may write, at least; as many as the longest label has, if that is more."""


def all_ways(
    scorer: Scorer, texts: Sequence[Ids], prefix: Ids, choices: Sequence[str]
) -> tuple[list[str], list[str], list[list[float]]]:
    """For each text: what the model writes up to a line break, which choice it is led to, how likely each is.

    The choice is made as constrained decoding makes it: at each step the likeliest of all tokens with which some
    choice goes on, a single letter as well as a whole word. The log-probabilities are those of the oracle `small`.

    Raises:
        CallFailed: a text is longer than the model's sliding window, which this way of decoding does not know.
    """
    import torch

    window = getattr(scorer.model.config, "sliding_window", None)
    if window and max(map(len, texts)) > window:
        raise CallFailed(f"prompts of more than {window} tokens are not decoded here")
    k = min(len(prefix), min(len(text) for text in texts) - 1)
    while any(text[:k] != prefix[:k] for text in texts):
        k -= 1
    steps = max(STEPS, *(len(scorer.encode(f" {choice}", start=False)) for choice in choices))
    width = max(map(len, texts))
    with torch.inference_mode():
        kept = scorer._prefix(prefix, k)
        tree = Tree(small.labels(scorer, choices))
        logits, cache = scorer._forward([text[k:] for text in texts], tree, kept, k)
        likely, first = _read(logits, tree), logits[:, 0]
        _crop(cache, width)
        free = _greedy(scorer, texts, k, first, cache, lambda so_far: [] if b"\n" in so_far else None, steps)
        _crop(cache, width)
        allowed = _choice_tokens(scorer, choices)
        longest = max(len(f" {choice}".encode()) for choice in choices)
        forced = _greedy(scorer, texts, k, first, cache, allowed, longest)
    return [_words(text) for text in free], [_words(text) for text in forced], likely


def _crop(cache: Any, width: int) -> None:
    if grown := cache.get_seq_length() - width:
        cache.crop(-grown)  # a negative number is how many tokens to take off


def _words(written: bytes) -> str:
    return written.decode("utf-8", "replace").strip().split("\n")[0]


@lru_cache(maxsize=2)
def _pieces(tokenizer: Any) -> dict[int, bytes]:
    """Each ordinary token as the bytes it stands for, for both spellings of vocabularies in use."""
    vocabulary, special = tokenizer.get_vocab(), set(tokenizer.all_special_ids)
    spelling = None if "▁the" in vocabulary else _byte_letters()
    out = {}
    for piece, token in vocabulary.items():
        if token in special:
            continue
        if spelling is None:
            byte = len(piece) == 6 and piece.startswith("<0x")
            out[token] = bytes([int(piece[3:5], 16)]) if byte else piece.replace("▁", " ").encode()
        elif all(letter in spelling for letter in piece):
            out[token] = bytes(spelling[letter] for letter in piece)
    return out


def _byte_letters() -> dict[str, int]:
    """The letter under which byte-level vocabularies write each byte (Radford et al. 2019), the other way round."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + n): byte for n, byte in enumerate(rest)}


def _choice_tokens(scorer: Scorer, choices: Sequence[str]) -> Allowed:
    """The tokens with which some choice goes on."""
    by: dict[bytes, list[int]] = {}
    for token, piece in _pieces(scorer.tokenizer).items():
        by.setdefault(piece, []).append(token)
    words = [f" {choice}".encode() for choice in choices]

    def allowed(so_far: bytes) -> list[int] | None:
        rests = {word[len(so_far) :] for word in words if word.startswith(so_far)} - {b""}
        pieces = {rest[:end] for rest in rests for end in range(1, len(rest) + 1)}
        return sorted(token for piece in pieces for token in by.get(piece, ()))

    return allowed


def _greedy(
    scorer: Scorer, texts: Sequence[Ids], k: int, logits: Any, cache: Any, allowed: Allowed, steps: int
) -> list[bytes]:
    """The likeliest allowed token, again and again; one row a text. Rows that are complete repeat their last token."""
    import torch

    pieces = _pieces(scorer.tokenizer)
    n, width = len(texts), max(map(len, texts))
    seen = torch.zeros((n, width), dtype=torch.bool)
    for row, text in enumerate(texts):  # padding stands between the prefix and the rest of a text
        seen[row, :k] = True
        seen[row, width - (len(text) - k) :] = True
    written, ended = [b""] * n, [False] * n
    for step in range(steps):
        picked = []
        for row in range(n):
            may = [] if ended[row] else allowed(written[row])
            if may == []:
                picked.append(0)
                continue
            token = int(logits[row].argmax()) if may is None else may[int(logits[row, may].argmax())]
            ended[row] = token not in pieces  # a special token: the end
            written[row] += pieces.get(token, b"")
            picked.append(token)
        if step + 1 == steps or all(e or allowed(text) == [] for text, e in zip(written, ended, strict=True)):
            break
        seen = torch.cat([seen, torch.ones((n, 1), dtype=torch.bool)], dim=1)
        positions = torch.tensor([[len(text) + step] for text in texts])
        output = scorer.model(
            input_ids=torch.tensor(picked)[:, None].to(scorer.device),
            position_ids=positions.to(scorer.device),
            attention_mask=seen[:, None, None, :].to(scorer.device),
            past_key_values=cache,
            use_cache=True,
        )
        logits = output.logits[:, -1].float()
    return written
