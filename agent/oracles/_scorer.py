"""How likely a causal language model finds given words after given texts. Knows tokens and tensors, not labels.

One forward pass a batch: the keys and values of the part all texts share are computed once and kept; behind each
text stands the *tree* of all continuations, whose branches do not see one another (an attention mask of four
dimensions), so that labels of several tokens cost a few more columns instead of a second pass.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.errors import CallFailed, ConfigError, MissingExtra

Ids = tuple[int, ...]
KEPT_PREFIXES = 4
ROWS = 1024
"""Rows of logits held at once; with 50,000 words of vocabulary 200 MB."""


@dataclass(frozen=True, slots=True)
class Form:
    """A continuation. Its tokens from number `start` on are scored; those before only lead to them."""

    ids: Ids
    start: int = 0


class Tree:
    """Continuations with their common beginnings merged. Node 0 is the end of the text."""

    def __init__(self, forms: Sequence[Form]) -> None:
        self.tokens: list[int] = []
        self.depth: list[int] = []
        self.lines: list[list[int]] = []
        """For each node after the root: itself and its ancestors, without the root."""
        self.reads: list[tuple[int, int, int]] = []
        """(form, node, token): the log-probability of `token` at `node` counts for `form`."""
        known: dict[Ids, int] = {(): 0}
        for number, form in enumerate(forms):
            for at, token in enumerate(form.ids):
                node = known[form.ids[:at]]
                if at >= form.start:
                    self.reads.append((number, node, token))
                if at + 1 < len(form.ids) and form.ids[: at + 1] not in known:
                    self._grow(known, form.ids[: at + 1], node)
        self.forms = len(forms)

    def _grow(self, known: dict[Ids, int], path: Ids, parent: int) -> None:
        node = len(self.tokens) + 1
        known[path] = node
        self.tokens.append(path[-1])
        self.depth.append(len(path))
        self.lines.append([*(self.lines[parent - 1] if parent else []), node])

    def __len__(self) -> int:
        return len(self.tokens)


class Scorer:
    """A loaded model. One thread at a time may use it.

    `model` is a Hugging Face id or folder. The output head always works in float32: logits in bfloat16 lie on a grid
    of 1/8, which ties labels and ruins calibration.

    Raises:
        MissingExtra: torch or transformers is absent.
        ConfigError: the model cannot be loaded.
    """

    def __init__(self, model: str, revision: str | None, dtype: str, device: str, threads: int | None) -> None:
        try:
            import torch
            import transformers
        except ImportError as error:
            raise MissingExtra(error.name or "torch", "local", "a model in this process (oracle 'small')") from error
        if threads:
            torch.set_num_threads(threads)
        self.device = choose_device(device)
        self.dtype = choose_dtype(dtype, self.device)
        where = {} if Path(model).is_dir() else {"revision": revision}
        try:
            with _quiet(transformers):
                self.tokenizer = transformers.AutoTokenizer.from_pretrained(model, **where)
                self.model = transformers.AutoModelForCausalLM.from_pretrained(
                    model, dtype=getattr(torch, self.dtype), attn_implementation="sdpa", **where
                )
        except (OSError, ValueError, KeyError) as error:
            raise ConfigError(f"model = {model!r} cannot be loaded as a causal language model: {error}") from error
        self.model.to(self.device).eval()
        if self.dtype != "float32":
            self._float32_head()
        limits = [getattr(self.model.config, name, None) for name in ("max_position_embeddings", "sliding_window")]
        self.limit = min([n for n in limits if n], default=2048)
        self._kept: OrderedDict[Ids, list[tuple[Any, Any]]] = OrderedDict()

    def _float32_head(self) -> None:
        import copy

        import torch

        head = copy.deepcopy(self.model.get_output_embeddings()).to(torch.float32)
        head.register_forward_pre_hook(lambda _, args: (args[0].float(),))
        self.model.set_output_embeddings(head)

    def encode(self, text: str, start: bool = True) -> Ids:
        """The tokens of a text; with `start` what the model expects at the beginning (a BOS token) is put there.

        Text is data: "<|im_end|>" in an item is these ten characters, not the end of a turn.
        """
        return tuple(self.tokenizer(text, add_special_tokens=start, split_special_tokens=True)["input_ids"])

    def score(self, texts: Sequence[Ids], forms: Sequence[Form], prefix: Ids = ()) -> tuple[list[list[float]], int]:
        """Summed log-probabilities of each form after each text, shape (texts, forms), and how many tokens were reused.

        `prefix`: tokens that many texts begin with. Texts are padded to the longest: sort them by length before.
        The reused length is that of the beginning common to the prefix and all texts (0 without a prefix).

        Raises:
            CallFailed: a text with its forms is longer than the model reads.
        """
        import torch

        tree = Tree(forms)
        longest = max(map(len, texts)) + max(tree.depth, default=0)
        if longest > self.limit:
            raise CallFailed(
                f"the question has {longest} tokens, the model reads {self.limit}: lower max_tokens_item or shots,"
                " or shorten the guidelines"
            )
        k = min(_common(prefix, text) for text in texts)
        step = max(1, ROWS // (len(tree) + 1))
        out: list[list[float]] = []
        with torch.inference_mode():
            kept = self._prefix(prefix, k)
            for begin in range(0, len(texts), step):
                logits = self._forward([t[k:] for t in texts[begin : begin + step]], tree, kept, k)[0]
                out += _read(logits, tree)
        return out, k

    def _prefix(self, prefix: Ids, k: int) -> list[tuple[Any, Any]]:
        """Keys and values (1, heads, k, d) of each layer for the prefix's first k tokens; the latest few are kept."""
        import torch
        from transformers import DynamicCache

        if not k:
            return []
        if prefix not in self._kept:
            cache = DynamicCache()
            ids = torch.tensor([prefix], device=self.device)
            self.model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
            self._kept[prefix] = [(layer.keys, layer.values) for layer in cache.layers]
            while len(self._kept) > KEPT_PREFIXES:
                self._kept.popitem(last=False)
        self._kept.move_to_end(prefix)
        return [(keys[:, :, :k], values[:, :, :k]) for keys, values in self._kept[prefix]]

    def _forward(self, rests: list[Ids], tree: Tree, kept: list[tuple[Any, Any]], k: int) -> tuple[Any, Any]:
        """Logits (texts, 1 + nodes, vocabulary) at the end of each text and at each node, and the cache behind them."""
        import torch
        from transformers import DynamicCache

        n, s = len(rests), len(tree)
        t = max(map(len, rests))
        ids = torch.zeros((n, t + s), dtype=torch.long)
        positions = torch.zeros((n, t + s), dtype=torch.long)
        mask = torch.zeros((n, t + s, k + t + s), dtype=torch.bool)
        mask[:, :, :k] = True
        mask[:, :, k:] = torch.eye(t + s, dtype=torch.bool)  # a padding column sees at least itself: no 0/0
        causal = torch.ones((t, t), dtype=torch.bool).tril()
        for row, rest in enumerate(rests):  # texts end in the same column: padding stands before them
            pad = t - len(rest)
            ids[row, pad:t] = torch.tensor(rest)
            positions[row, pad:t] = torch.arange(k, k + len(rest))
            mask[row, pad:t, k + pad : k + t] = causal[: len(rest), : len(rest)]
            mask[row, t:, k + pad : k + t] = True
            positions[row, t:] = torch.tensor(tree.depth, dtype=torch.long) + (k + len(rest) - 1)
        if s:
            ids[:, t:] = torch.tensor(tree.tokens)
            for number, line in enumerate(tree.lines):
                mask[:, t + number, [k + t + node - 1 for node in line]] = True
        cache = DynamicCache()
        for number, (keys, values) in enumerate(kept):
            cache.update(keys.expand(n, -1, -1, -1), values.expand(n, -1, -1, -1), number)
        output = self.model(
            input_ids=ids.to(self.device),
            position_ids=positions.to(self.device),
            attention_mask=mask[:, None].to(self.device),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=s + 1,
        )
        return output.logits.float(), cache


def choose_device(device: str) -> str:
    """ "auto": the GPU where there is one."""
    import torch

    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"


def choose_dtype(dtype: str, device: str) -> str:
    """ "auto": bfloat16 where the hardware multiplies it quickly, else float32."""
    import torch

    if dtype != "auto":
        return dtype
    if device.startswith("cuda"):
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    fast = device == "cpu" and any(
        getattr(torch.cpu, name, lambda: False)() for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    )
    return "bfloat16" if fast else "float32"


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """No progress bars while loading: they end in the middle of the board."""
    bars = transformers.utils.logging
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()


def _common(prefix: Ids, text: Ids) -> int:
    """How many tokens both begin with; at least one token of the text stays to be read."""
    most = min(len(prefix), len(text) - 1)
    return next((i for i in range(most) if prefix[i] != text[i]), most)


def _read(logits: Any, tree: Tree) -> list[list[float]]:
    """Sums of the log-probabilities the tree asks for: (texts, forms)."""
    import torch

    forms, nodes, tokens = (torch.tensor(x, device=logits.device) for x in zip(*tree.reads, strict=True))
    logprobs = logits[:, nodes, tokens] - torch.logsumexp(logits, dim=-1)[:, nodes]
    out = torch.zeros((len(logits), tree.forms), device=logits.device).index_add_(1, forms, logprobs)
    rows: list[list[float]] = out.tolist()
    return rows
