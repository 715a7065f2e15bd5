"""Two ways of asking a language model that labeling tools use, for comparison only: free text, and a forced choice.

Both are greedy. Knows the product's scorer, because both are run on the very same loaded model and kept prefix.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from agent.oracles._scorer import Ids, Scorer, Tree

Allowed = Callable[[str], list[int] | None]
"""What may come after the text generated so far: token ids, [] for "it is complete", None for anything."""


def generate_and_choose(
    scorer: Scorer, texts: Sequence[Ids], prefix: Ids, choices: Sequence[str], steps: int = 6
) -> tuple[list[str], list[str]]:
    """For each text: what the model writes up to a line break, and which of the choices it is led to.

    The choice is made as constrained decoding makes it: at each step the likeliest of all tokens with which some
    choice goes on, a single letter as well as a whole word.
    """
    import torch

    k = min(len(prefix), min(len(text) for text in texts) - 1)
    if any(text[:k] != prefix[:k] for text in texts):
        raise ValueError("the prefix must be what all texts begin with")
    with torch.inference_mode():
        kept = scorer._prefix(prefix, k)
        logits, cache = scorer._forward([text[k:] for text in texts], Tree([]), kept, k)
        free = _greedy(scorer, texts, k, logits[:, -1], cache, lambda so_far: [] if "\n" in so_far else None, steps)
        if grown := cache.get_seq_length() - max(map(len, texts)):
            cache.crop(-grown)  # a negative number is how many tokens to take off
        allowed = _choice_tokens(scorer, choices)
        forced = _greedy(scorer, texts, k, logits[:, -1], cache, allowed, max(map(len, choices)))
    return [text.strip().split("\n")[0] for text in free], [text.strip() for text in forced]


def _choice_tokens(scorer: Scorer, choices: Sequence[str]) -> Allowed:
    """The tokens with which some choice goes on. Choices must be ASCII: byte-level tokens write it as is."""
    vocabulary = scorer.tokenizer.get_vocab()
    words = [f" {choice}" for choice in choices]

    def allowed(so_far: str) -> list[int] | None:
        rests = {word[len(so_far) :] for word in words if word.startswith(so_far)} - {""}
        pieces = {rest[:end].replace(" ", "Ġ") for rest in rests for end in range(1, len(rest) + 1)}
        return sorted(vocabulary[piece] for piece in pieces if piece in vocabulary)

    return allowed


def _greedy(
    scorer: Scorer, texts: Sequence[Ids], k: int, logits: Any, cache: Any, allowed: Allowed, steps: int
) -> list[str]:
    """The likeliest allowed token, again and again; one row a text. Rows that are complete repeat their last token."""
    import torch

    n, width = len(texts), max(map(len, texts))
    seen = torch.zeros((n, width), dtype=torch.bool)
    for row, text in enumerate(texts):  # padding stands between the prefix and the rest of a text
        seen[row, :k] = True
        seen[row, width - (len(text) - k) :] = True
    written = [""] * n
    for step in range(steps):
        picked = []
        for row in range(n):
            may = allowed(written[row])
            if may is None:
                token = int(logits[row].argmax())
            elif may:
                token = may[int(logits[row, may].argmax())]
            else:
                picked.append(0)
                continue
            written[row] += scorer.tokenizer.decode([token])
            picked.append(token)
        if step + 1 == steps or all(allowed(text) == [] for text in written):
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
