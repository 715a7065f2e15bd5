"""How likely a causal language model finds given words after given texts. Knows tokens and tensors, not labels.

The keys and values of the part all texts share are computed once and kept; behind each text stands the *tree* of all
continuations, whose branches do not see one another, so that labels of several tokens cost a few more columns instead
of a second pass. On a CPU the texts stand one behind the other (`_packed`); elsewhere, and for models whose attention
cannot be exchanged, they are padded to one length. Where only a text's end is read, its last hidden state is kept, so
that asking again about other words costs the output head alone.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agent.errors import CallFailed, ConfigError, MissingExtra
from agent.oracles import _packed
from agent.oracles._tree import Form, Ids, Tree

__all__ = ["Form", "Ids", "Scorer", "Tree"]

KEPT_PREFIXES, KEPT_BYTES = 8, 1 << 28
"""Shared beginnings whose keys and values are kept, and the most they may weigh together (one is always kept)."""
ENDS_BYTES = 1 << 26
"""The most that the kept last hidden states weigh: 29,000 texts of a model 576 wide."""
LOGITS = 1 << 26
"""Logits held at once (256 MB)."""
TOKENS = 1024
"""Tokens in one packed pass; fewer make the products small (SmolLM2 on one core, 256: −18 %, 512: −5 %)."""


class Scorer:
    """A loaded model. One thread at a time may use it.

    `model` is a Hugging Face id or folder. The output head always works in float32: logits in bfloat16 lie on a grid
    of 1/8, which ties labels and ruins calibration.

    Raises:
        MissingExtra: torch or transformers is absent.
        ConfigError: the model cannot be loaded.
    """

    def __init__(
        self, model: str, revision: str | None, dtype: str, device: str, threads: int | None, batch: int = 32
    ) -> None:
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
        self._batch = batch
        self._kept: OrderedDict[Ids, list[tuple[Any, Any]]] = OrderedDict()
        self._ends: OrderedDict[bytes, Any] = OrderedDict()
        self._head_alone = False
        self._before_head: Any = None
        self.model.get_output_embeddings().register_forward_pre_hook(self._look)
        self.packed = False
        self.packed = self.device == "cpu" and self._packs()
        # Padded passes know no sliding window, so their texts must fit into one.
        names = ("max_position_embeddings",) if self.packed else ("max_position_embeddings", "sliding_window")
        self.limit = min([n for name in names if (n := getattr(self.model.config, name, None))], default=2048)

    def _packs(self) -> bool:
        """Whether this model's code can run packed: its attention can be exchanged, and a trial gives the same."""
        import torch

        if not getattr(self.model, "_supports_attention_backend", False):
            return False
        ids = tuple(range(5, 17))
        texts, tree = [ids, ids[:9]], Tree([Form((3,)), Form((4, 3))])
        with torch.inference_mode():
            try:
                plain = [(text, (*text, 4)) for text in texts]
                ends = [[self.model(torch.tensor([ids])).logits[0, -1].float() for ids in row] for row in plain]
                truth = torch.stack([torch.stack(row) for row in ends])
                self.packed = True
                self.model.set_attn_implementation(_packed.register())
                plan = _packed.Plan([text[4:] for text in texts], tree.tokens, tree.depth, tree.lines, 4)
                logits = _packed.run(self.model, plan, self._prefix(ids[:4], 4))
                near = 1e-4 if self.dtype == "float32" else 0.05
                same = torch.allclose(logits.softmax(-1), truth.softmax(-1), atol=near)
                head = self.model.get_output_embeddings()
                self._head_alone = torch.equal(head(self._before_head).float().view(logits.shape), logits)
            except (TypeError, ValueError, RuntimeError, IndexError, KeyError):  # whatever that code does not know
                same = False
        self._kept.clear()
        if not same:
            self.model.set_attn_implementation("sdpa")
        return bool(same)

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

        `prefix`: tokens that many texts begin with.
        The reused length is that of the beginning common to the prefix and all texts (0 without a prefix).

        Raises:
            CallFailed: a text with its forms is longer than the model reads.
        """
        out: list[list[float]] = [[]] * len(texts)
        reused = 0
        for rows, said, cached in self.passes(texts, forms, prefix):
            reused = cached
            for row, values in zip(rows, said, strict=True):
                out[row] = values
        return out, reused

    def passes(
        self, texts: Sequence[Ids], forms: Sequence[Form], prefix: Ids = ()
    ) -> Iterator[tuple[list[int], list[list[float]], int]]:
        """The same pass by pass: numbers of texts, their log-probabilities (texts, forms), tokens reused for each."""
        import torch

        tree = Tree(forms)
        longest = max(map(len, texts)) + max(tree.depth, default=0)
        if longest > self.limit:
            raise CallFailed(
                f"the question has {longest} tokens, the model reads {self.limit}: lower max_tokens_item or shots,"
                " or shorten the guidelines"
            )
        k = min(_common(prefix, text) for text in texts)
        known = [row for row, text in enumerate(texts) if not len(tree) and _name(text) in self._ends]
        with torch.inference_mode():
            for begin in range(0, len(known), self._batch):
                rows = known[begin : begin + self._batch]
                ends = torch.stack([self._end(texts[row]) for row in rows])
                yield rows, _read(self.model.get_output_embeddings()(ends)[:, None].float(), tree), k
        for rows in self._rounds(sorted(set(range(len(texts))) - set(known)), texts, k, len(tree)):
            with torch.inference_mode():
                said = self._pass([texts[row] for row in rows], tree, self._prefix(prefix, k), k)
            yield rows, said, k

    def _pass(self, texts: list[Ids], tree: Tree, kept: list[tuple[Any, Any]], k: int) -> list[list[float]]:
        rests = [text[k:] for text in texts]
        if not self.packed:
            return _read(self._forward(rests, tree, kept, k)[0], tree)
        plan = _packed.Plan(rests, tree.tokens, tree.depth, tree.lines, k)
        said = _read(_packed.run(self.model, plan, kept), tree)
        if self._head_alone:
            ends = self._before_head.view(len(texts), 1 + len(tree), -1)[:, 0]
            for text, end in zip(texts, ends, strict=True):
                self._ends[_name(text)] = end.clone()
            while len(self._ends) * ends[0].nbytes > ENDS_BYTES:
                self._ends.popitem(last=False)
        return said

    def _end(self, text: Ids) -> Any:
        self._ends.move_to_end(_name(text))
        return self._ends[_name(text)]

    def _look(self, _: Any, args: tuple[Any, ...]) -> None:
        self._before_head = args[0]

    def _rounds(self, asked: list[int], texts: Sequence[Ids], k: int, nodes: int) -> Iterator[list[int]]:
        """Which texts go through the model together: packed by their tokens, padded only with others as long."""
        most = max(1, LOGITS // (self.model.config.vocab_size * (nodes + 1)))
        rows: list[int] = []
        size = 0
        for row in sorted(asked, key=lambda row: len(texts[row])):
            new = len(texts[row]) - k + nodes
            if self.packed:
                full = size + new > TOKENS
            else:
                full = len(rows) == self._batch or bool(rows and len(texts[row]) > 1.5 * len(texts[rows[0]]) + 16)
            if rows and (full or len(rows) == most):
                yield rows
                rows, size = [], 0
            rows.append(row)
            size += new
        if rows:
            yield rows

    def _prefix(self, prefix: Ids, k: int) -> list[tuple[Any, Any]]:
        """Keys and values (1, heads, k, d) of each layer for the prefix's first k tokens; the latest few are kept."""
        if not k:
            return []
        if prefix not in self._kept:
            self._kept[prefix] = self._keys(prefix)
            weight = [sum(part.nbytes for layer in kept for part in layer) for kept in self._kept.values()]
            while len(weight) > 1 and (len(weight) > KEPT_PREFIXES or sum(weight) > KEPT_BYTES):
                self._kept.popitem(last=False)
                del weight[0]
        self._kept.move_to_end(prefix)
        return [(keys[:, :, :k], values[:, :, :k]) for keys, values in self._kept[prefix]]

    def _keys(self, prefix: Ids) -> list[tuple[Any, Any]]:
        import torch
        from transformers import DynamicCache

        with torch.inference_mode():
            if self.packed:
                return _packed.keys(self.model, prefix)
            cache = DynamicCache()
            ids = torch.tensor([prefix], device=self.device)
            self.model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
            return [(layer.keys, layer.values) for layer in cache.layers]

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


def _name(text: Ids) -> bytes:
    return hashlib.blake2b(array("q", text).tobytes(), digest_size=16).digest()


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
