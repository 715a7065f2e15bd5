"""The forward pass of BERT and its kind on a CPU without padding: all tokens of a batch are rows of one matrix.

Knows the weights of a loaded model, no text. Four fifths of the time are then matrix products at the processor's full
speed. What is left out changes nothing: a query's softmax does not see the bias of the keys, and as its weights sum to
one, the bias of the values passes through to the layer's output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from threading import local
from typing import Any, cast

from agent.types import Floats

KINDS = ("BertModel", "RobertaModel", "XLMRobertaModel")
SHORT = 48
"""Texts of fewer tokens: two plain products are faster than torch's own attention."""


@dataclass(frozen=True, slots=True)
class Layer:
    """Tensors of one layer. products: the weights of attention inward and outward, of the wide layer up and down."""

    products: tuple[Any, Any, Any, Any]
    query: Any
    out: Any
    up: Any
    down: Any
    first: tuple[Any, Any]
    second: tuple[Any, Any]


class Packed:
    """A forward pass over texts of any lengths. `of` makes one of a loaded SentenceTransformer."""

    def __init__(self, model: Any, eight: bool) -> None:
        bert = model[0].auto_model
        table, config = bert.embeddings, bert.config
        start = 0 if type(bert).__name__ == "BertModel" else table.padding_idx + 1
        self._heads: int = config.num_attention_heads
        self._eps: float = config.layer_norm_eps
        self._words = table.word_embeddings.weight.detach()
        self._places = (table.position_embeddings.weight[start:] + table.token_type_embeddings.weight[0]).detach()
        self._norm = (table.LayerNorm.weight.detach(), table.LayerNorm.bias.detach())
        self._layers = [_layer(layer, self._heads, eight) for layer in bert.encoder.layer]
        self._product = _int8 if eight else _float32
        self._rest = list(model)[1:]
        self._kept = local()

    @classmethod
    def of(cls, model: Any, eight: bool = False) -> Packed | None:
        """The packed pass of `model`, or None where it is of a kind that is not known here.

        eight: weights and activations are rounded to 8 bits, each column of a weight and each token by itself.
        """
        import torch

        bert = getattr(model[0], "auto_model", None)
        config = getattr(bert, "config", None)
        if type(bert).__name__ not in KINDS or config is None or (eight and not hasattr(torch, "_int_mm")):
            return None
        plain = getattr(config, "position_embedding_type", "absolute") == "absolute" and config.hidden_act == "gelu"
        return cls(model, eight) if plain and not getattr(config, "is_decoder", False) else None

    def forward(self, rows: Sequence[Sequence[int]]) -> Floats:
        """Token numbers of texts, best sorted by length, to their vectors: (n, d) float32 of length one."""
        import torch

        with torch.inference_mode():
            groups = [torch.tensor(list(group)) for _, group in groupby(rows, key=len)]
            found = torch.cat([self._pool(part) for part in self._tokens(groups)])
            return cast(Floats, torch.nn.functional.normalize(found, dim=1).numpy())

    def _room(self, rows: int, width: int) -> Any:
        """A matrix that is kept from batch to batch: new memory costs a tenth of the time. Its content is anything."""
        import torch

        kept: dict[int, Any] = self._kept.__dict__.setdefault("rooms", {})
        if width not in kept or len(kept[width]) < rows:
            kept[width] = torch.empty(rows, width)
        return kept[width][:rows]

    def _pool(self, tokens: Any) -> Any:
        """What comes after the encoder: pooling, normalising, a projection. (n, length, d) to (n, d)."""
        import torch

        told = {"token_embeddings": tokens, "attention_mask": torch.ones(tokens.shape[:2], dtype=torch.int64)}
        for module in self._rest:
            told = module(told)
        return told["sentence_embedding"]

    def _tokens(self, groups: Sequence[Any]) -> list[Any]:
        """Vectors of all tokens, a (texts, length, d) tensor for each group of texts of one length."""
        import torch
        from torch.nn.functional import embedding, layer_norm

        d = self._words.shape[1]
        sizes = [group.numel() for group in groups]
        h = torch.cat([(embedding(g, self._words) + self._places[: g.shape[1]]).view(-1, d) for g in groups])
        h = layer_norm(h, (d,), *self._norm, self._eps)
        mixed, mix, wide = (self._room(len(h), width) for width in (d, 3 * d, len(self._layers[0].up)))
        for layer in self._layers:
            inward, outward, up, down = layer.products
            self._product(h, inward, mix)
            mix[:, :d] += layer.query
            for group, part, room in zip(groups, mix.split(sizes), mixed.split(sizes), strict=True):
                _attend(part, room, group.shape[1], self._heads)
            h += layer.out
            h = layer_norm(self._product(mixed, outward, h, h), (d,), *layer.first, self._eps)
            torch.ops.aten.gelu_(self._product(h, up, wide, layer.up))
            h += layer.down
            h = layer_norm(self._product(wide, down, h, h), (d,), *layer.second, self._eps)
        return [part.view(*group.shape, d) for group, part in zip(groups, h.split(sizes), strict=True)]


def _attend(mix: Any, room: Any, length: int, heads: int) -> None:
    """Attention within texts of one length. mix: (texts · length, 3 d), scaled queries, keys, values; room: the same,
    of d columns, is filled."""
    import torch

    texts, size = len(mix) // length, mix.shape[1] // 3 // heads
    parts = mix.view(texts, length, 3, heads, size).permute(2, 0, 3, 1, 4)
    if length < SHORT:
        q, k, v = parts.reshape(3, texts * heads, length, size)
        weight = torch.bmm(q, k.transpose(1, 2))
        weight.sub_(weight.amax(dim=-1, keepdim=True)).exp_()
        found = torch.bmm(weight, v).div_(weight.sum(dim=-1, keepdim=True)).view(texts, heads, length, size)
    else:
        found = torch.nn.functional.scaled_dot_product_attention(*parts, scale=1.0)
    room.view(texts, length, heads, size).copy_(found.transpose(1, 2))


def _layer(layer: Any, heads: int, eight: bool) -> Layer:
    import torch

    inner, out = layer.attention.self, layer.attention.output
    scale = (inner.query.weight.shape[0] // heads) ** -0.5
    inward = torch.cat([inner.query.weight * scale, inner.key.weight, inner.value.weight])
    weights = (inward, out.dense.weight, layer.intermediate.dense.weight, layer.output.dense.weight)
    turned = [weight.detach().t().contiguous() for weight in weights]
    products = tuple(_rounded(weight) for weight in turned) if eight else tuple(turned)
    return Layer(
        cast(tuple[Any, Any, Any, Any], products),
        query=(inner.query.bias * scale).detach(),
        out=(out.dense.bias + out.dense.weight @ inner.value.bias).detach(),
        up=layer.intermediate.dense.bias.detach(),
        down=layer.output.dense.bias.detach(),
        first=(out.LayerNorm.weight.detach(), out.LayerNorm.bias.detach()),
        second=(layer.output.LayerNorm.weight.detach(), layer.output.LayerNorm.bias.detach()),
    )


def _float32(rows: Any, weight: Any, room: Any, more: Any = None) -> Any:
    """rows · weight + more, written to `room`, which may be `more` itself."""
    import torch

    return torch.mm(rows, weight, out=room) if more is None else torch.addmm(more, rows, weight, out=room)


def _int8(rows: Any, weight: tuple[Any, Any], room: Any, more: Any = None) -> Any:
    """The same in 8 bits, each row scaled by its largest entry."""
    import torch

    scale = rows.abs().amax(dim=1, keepdim=True).clamp_min_(1e-9) / 127
    whole = torch._int_mm((rows / scale).round_().to(torch.int8), weight[0])
    found = torch.mul(whole, weight[1]).mul_(scale)
    return room.copy_(found) if more is None else torch.add(found, more, out=room)


def _rounded(weight: Any) -> tuple[Any, Any]:
    """A weight as whole numbers from -127 to 127, and the scale of each column."""
    import torch

    scale = weight.abs().amax(dim=0, keepdim=True).clamp_min(1e-9) / 127
    return (weight / scale).round().to(torch.int8).contiguous(), scale
