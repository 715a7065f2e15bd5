"""A language model's pass over many texts without padding. Knows tokens and tensors, neither labels nor batches.

All texts stand in one row, one behind the other, so that every linear layer works on real tokens only. Attention is
made in two parts, joined by their log-sums: of all tokens to the beginning they share, whose keys and values are there
already (one large product, nothing is copied), and of each text to itself and the tree of continuations behind it.
The model's own code runs as it is; only its attention is ours, by transformers' registry of attention functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

NAME = "tutelage_packed"
Kept = Sequence[tuple[Any, Any]]
"""Keys and values (1, heads, k, width) of each layer."""


class Plan:
    """Where the tokens of one pass stand: `rests` (texts without their first k tokens), each followed by the tree.

    `depth` and `lines` are those of the tree's nodes: how deep each is, and which nodes (from 1) it sees, itself among
    them.
    """

    def __init__(
        self,
        rests: Sequence[Sequence[int]],
        tokens: Sequence[int],
        depth: Sequence[int],
        lines: Sequence[Sequence[int]],
        k: int,
    ) -> None:
        import torch

        s, sizes = len(tokens), [len(rest) + len(tokens) for rest in rests]
        self.k = k
        self.kept: Kept = ()
        self.made: list[tuple[Any, Any]] | None = None
        """Where each layer's keys and values are to be put, if anywhere."""
        self.ids = torch.tensor([[token for rest in rests for token in (*rest, *tokens)]])
        places = [k + at for rest in rests for at in (*range(len(rest)), *(len(rest) - 1 + deep for deep in depth))]
        self.positions = torch.tensor([places])
        self.longest = max(places) + 1
        n, t = len(rests), max(sizes)
        begins = torch.tensor([0, *sizes[:-1]]).cumsum(0)
        real = torch.arange(t) < torch.tensor(sizes)[:, None]
        self.rows = torch.where(real, begins[:, None] + torch.arange(t), 0)
        """(texts, longest text): which token of the row stands there; padding, at the end, repeats the first."""
        self.back = real.flatten().nonzero().flatten()
        """For each token of the row its place among texts × longest text."""
        self.ends = (begins[:, None] + torch.tensor(sizes)[:, None] - 1 - s + torch.arange(1 + s)).flatten()
        """Tokens whose logits are wanted: the last of each text, then the tree's nodes."""
        self.sees = torch.ones((t, t), dtype=torch.bool).tril()
        if s:
            own = torch.zeros((s, s), dtype=torch.bool)
            for number, line in enumerate(lines):
                own[number, [node - 1 for node in line]] = True
            self.sees = self.sees.repeat(n, 1, 1)
            for row, size in enumerate(sizes):
                self.sees[row, size - s : size, size - s : size] = own
            self.sees = self.sees[:, None]
        self.plain = not s
        """Each token sees all before it."""

    def mask(self, window: int | None, dtype: Any) -> Any:
        """What is added to the scores (texts, 1, longest text, k + longest text) where not all may be seen."""
        import torch

        n, t = self.rows.shape
        sees = torch.ones((n, 1, t, self.k + t), dtype=torch.bool)
        sees[..., self.k :] = self.sees
        if window:
            at = self.positions[0][self.rows]
            keys = torch.cat([torch.arange(self.k).expand(n, -1), at], dim=1)
            sees &= (at[:, :, None] - keys[:, None, :] < window)[:, None]
            sees[..., self.k :] |= torch.eye(t, dtype=torch.bool)  # padding sees at least itself: no 0/0
        return torch.zeros(sees.shape, dtype=dtype).masked_fill(~sees, -torch.inf)


def register() -> str:
    """Make the attention known to transformers; the name to give to a model. Without a plan it is ordinary SDPA."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    # Their calling convention, so **given here though nowhere else: what a model's attention knows beyond the tensors
    # comes by name, each model's own, and all of it must go on to their SDPA where there is no plan.
    AttentionInterface.register(
        NAME, lambda module, query, key, value, mask, **given: attend(module, query, key, value, mask, given)
    )
    AttentionMaskInterface.register(NAME, sdpa_mask)
    return NAME


def keys(model: Any, ids: Sequence[int]) -> list[tuple[Any, Any]]:
    """Keys and values (1, heads, tokens, width) of each layer, for a beginning that many texts share."""
    plan = Plan([ids], (), (), (), 0)
    plan.made = []
    run(model, plan, ())
    return plan.made


def run(model: Any, plan: Plan, kept: Kept) -> Any:
    """Logits (texts, 1 + nodes, vocabulary), float32, at the end of each text and at each node.

    `kept`: the keys and values of the k tokens that all texts begin with; empty if k = 0.
    """
    import torch

    plan.kept = kept

    output = model(
        input_ids=plan.ids,
        position_ids=plan.positions,
        attention_mask=torch.zeros((1, 1, 1, 1)),  # of four dimensions: the model makes none itself
        use_cache=False,
        logits_to_keep=plan.ends,
        plan=plan,
    )
    return output.logits[0].float().view(len(plan.rows), -1, output.logits.shape[-1])


def attend(
    module: Any, query: Any, key: Any, value: Any, attention_mask: Any, given: dict[str, Any]
) -> tuple[Any, None]:
    """Attention as transformers calls it: query (1, heads, tokens, width), out (1, tokens, heads, width)."""
    plan: Plan | None = given.pop("plan", None)
    if plan is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        out: tuple[Any, None] = sdpa_attention_forward(module, query, key, value, attention_mask, **given)
        return out
    if given.get("softcap") is not None:
        raise ValueError("attention with softcap is not done here")
    scaling, window = given.get("scaling"), given.get("sliding_window")
    if plan.made is not None:
        plan.made.append((key.contiguous(), value.contiguous()))
    kept = plan.kept[module.layer_idx] if plan.k else None
    if window and plan.longest > window:
        return _all_at_once(query, key, value, kept, scaling, plan.mask(window, query.dtype), plan), None
    return _in_two(query, key, value, kept, scaling, plan), None


def _in_two(query: Any, key: Any, value: Any, kept: tuple[Any, Any] | None, scaling: float | None, plan: Plan) -> Any:
    """To the text itself, and to the shared beginning; joined."""
    import torch

    flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    _, heads, tokens, width = query.shape
    groups = key.shape[1]
    own, own_sum = flash(
        *_texts(query, key, value, plan),
        0.0,
        plan.plain,
        attn_mask=None if plan.plain else plan.mask(None, query.dtype)[..., plan.k :],
        scale=scaling,
    )
    own = own.transpose(1, 2).reshape(-1, heads, width)[plan.back]
    if kept is None:
        return own[None]
    # Heads that share keys are more rows of one product: the kept keys need not be repeated for them.
    folded = query.reshape(1, groups, heads // groups * tokens, width)
    shared, shared_sum = flash(folded, *kept, 0.0, False, scale=scaling)
    shared = shared.reshape(heads, tokens, width).transpose(0, 1)
    own_sum = own_sum.transpose(1, 2).reshape(-1, heads)[plan.back]
    part = torch.sigmoid(own_sum - shared_sum.reshape(heads, tokens).T)
    return torch.lerp(shared, own, part.to(own.dtype)[..., None])[None]


def _all_at_once(
    query: Any, key: Any, value: Any, kept: tuple[Any, Any] | None, scaling: float | None, mask: Any, plan: Plan
) -> Any:
    """With the shared beginning copied before each text, where a sliding window cuts across it."""
    import torch

    q, k, v = _texts(query, key, value, plan)
    if kept is not None:
        many = q.shape[1] // kept[0].shape[1]
        first = (part.repeat_interleave(many, dim=1).expand(len(q), -1, -1, -1) for part in kept)
        k, v = (torch.cat([shared, own], dim=2) for shared, own in zip(first, (k, v), strict=True))
    out = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scaling)
    return out.transpose(1, 2).reshape(-1, q.shape[1], q.shape[3])[plan.back][None]


def _texts(query: Any, key: Any, value: Any, plan: Plan) -> tuple[Any, Any, Any]:
    """The row cut into texts of one length, keys and values repeated for the heads that share them."""
    many = query.shape[1] // key.shape[1]
    q, k, v = (part[0].transpose(0, 1)[plan.rows].transpose(1, 2) for part in (query, key, value))
    return q, k.repeat_interleave(many, dim=1), v.repeat_interleave(many, dim=1)
