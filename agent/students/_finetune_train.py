"""One training of one or two networks with transformers' Trainer: soft targets, early stopping, noisy rows left out.

Knows arrays of tokens and targets, no texts and no labels. What is kept is the last state whose held-out loss
is the least, or is above it by no more than chance (`Plan.doubt`); nothing is written to disk.
"""

from __future__ import annotations

import contextlib
import copy
import math
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from agent.errors import MissingExtra
from agent.students import _finetune_net
from agent.types import Floats

Slices = Sequence[slice]
Measure = Callable[[Any], Floats]
"""A network's losses on the held-out rows, (n,), each times its weight."""
Progress = Callable[[int, int], None]
RAMP = 2.0
"""Epochs over which the share of rows left out grows to `forget` (T_k of Han et al.)."""
HEAD_FASTER = 10.0
"""The head learns so many times faster than the encoder."""


@dataclass(frozen=True)
class Rows:
    """What is learnt from: tokens of n texts, targets (n, width), weights (n,)."""

    tokens: Sequence[Sequence[int]]
    targets: Floats
    weights: Floats


@dataclass(frozen=True)
class Plan:
    """How it is learnt. aim: "labels" (cross-entropy) or "pairs" (likeness of two texts). forget: share of each batch
    left out for its loss; with two networks, each leaves out what the other finds hard. doubt: standard errors by which
    a state's held-out loss may be above the least and it still counts as good: a dozen rows cannot tell."""

    aim: Literal["labels", "pairs"]
    epochs: int
    patience: int
    batch: int
    accumulate: int
    rate: float
    forget: float
    doubt: float
    seed: int
    device: str


@dataclass(frozen=True)
class Trained:
    """epoch: that of the state kept, 0 is the start. losses: the held-out loss after each epoch, the start first, of
    the better network. which: the network kept."""

    epoch: int
    losses: tuple[float, ...]
    which: int


def row_losses(logits: Any, targets: Any, slices: Slices) -> tuple[Any, Any]:
    """(n,) cross-entropies over all atoms, and the same less the targets' own entropy: what is left to learn."""
    import torch

    total = torch.zeros(len(targets), device=targets.device)
    for atom in slices:
        total = total - (targets[:, atom] * torch.log_softmax(logits[:, atom].float(), dim=1)).sum(dim=1)
    own = torch.special.entr(targets).sum(dim=1)
    return total, total.detach() - own


def label_loss(
    embeddings: Sequence[Any], heads: Sequence[Any], targets: Any, weights: Any, slices: Slices, left_out: float
) -> Any:
    """The loss of one network, or the sum of two that teach each other (co-teaching, Han et al., 2018).

    left_out: share of the batch whose loss is largest, which is not learnt from: by the network's own loss where there
    is one (small-loss selection), by the other's where there are two.
    """
    import torch

    each = [row_losses(head(rows), targets, slices) for rows, head in zip(embeddings, heads, strict=True)]
    keep = max(1, math.ceil((1 - left_out) * len(targets)))
    if keep == len(targets):
        return torch.stack([(loss * weights).mean() for loss, _ in each]).sum()
    kept = [torch.topk(hard, keep, largest=False).indices for _, hard in each]
    chosen = kept[::-1]  # of two, the other's; of one, its own
    parts = [(loss[rows] * weights[rows]).mean() for (loss, _), rows in zip(each, chosen, strict=True)]
    return torch.stack(parts).sum()


def pair_loss(rows: Any, targets: Any, weights: Any, slices: Slices) -> Any:
    """Squared difference of cosine and likeness over all pairs of a batch, those alike weighing as much as the others.

    The contrastive step of SetFit (Tunstall et al., 2022) with soft targets: the likeness of two rows is the chance
    that they carry the same choice, the mean over atoms.
    """
    import torch

    first, second = torch.triu_indices(len(rows), len(rows), offset=1, device=rows.device)
    parts = [(targets[:, a] @ targets[:, a].T)[first, second] for a in slices]
    like = torch.stack(parts).mean(dim=0)
    cosine = (rows @ rows.T)[first, second]
    both = weights[first] * weights[second]
    same, other = (both * like), (both * (1 - like))
    lost = (cosine - like) ** 2
    return (same * lost).sum() / same.sum().clamp_min(1e-6) + (other * lost).sum() / other.sum().clamp_min(1e-6)


def train(
    nets: Sequence[Any], rows: Rows, slices: Slices, plan: Plan, measure: Measure, progress: Progress | None
) -> Trained:
    """Teach the networks in place; each ends in its own best state.

    Raises:
        MissingExtra: accelerate is not installed.
    """
    try:
        import torch
        import transformers.trainer  # noqa: F401 - tells at once what it lacks
    except ImportError as error:
        raise MissingExtra("accelerate", "finetune", 'student = "finetune"') from error
    weights = rows.weights / max(float(rows.weights.mean()), 1e-12)
    data = [
        {"input_ids": list(t), "targets": torch.from_numpy(y), "weight": float(w)}
        for t, y, w in zip(rows.tokens, rows.targets.astype(np.float32), weights, strict=True)
    ]
    best = _Best(nets, measure, plan.patience, plan.doubt)
    with _seeded(plan.seed), tempfile.TemporaryDirectory(prefix="tutelage-") as folder:
        trainer = _trainer(torch.nn.ModuleList(nets), data, slices, plan, folder, best, progress)
        if best.look():
            trainer.train()
    return best.restore()


@dataclass
class _Kept:
    """Of one network the state kept, adapters only where the rest is frozen, and the losses (n,) of the best epoch."""

    epoch: int
    loss: float
    best: Floats
    weights: dict[str, Any]


class _Best:
    """The last good states so far, in the machine's memory."""

    def __init__(self, nets: Sequence[Any], measure: Measure, patience: int, doubt: float) -> None:
        self._nets, self._measure, self._patience, self._doubt = nets, measure, patience, doubt
        self._losses: list[list[float]] = [[] for _ in nets]
        self._kept: list[_Kept | None] = [None for _ in nets]

    def look(self) -> bool:
        """Measure all networks; False when none has been good for `patience` epochs."""
        for number, net in enumerate(self._nets):
            each, last = self._measure(net), self._kept[number]
            loss, epoch = float(each.mean()), len(self._losses[number])
            if last is None or good(each, last.best, self._doubt):
                taught = {name for name, p in net.named_parameters() if p.requires_grad}
                weights = {name: t.detach().cpu() for name, t in net.state_dict().items() if name in taught}
                best = each if last is None or loss < float(last.best.mean()) else last.best
                self._kept[number] = _Kept(epoch, loss, best, copy.deepcopy(weights))
            self._losses[number].append(loss)
        return any(epoch - kept.epoch < self._patience for kept in self._kept if kept)

    def restore(self) -> Trained:
        kept = [state for state in self._kept if state]
        for net, state in zip(self._nets, kept, strict=True):
            net.load_state_dict(state.weights, strict=False)
        which = int(np.argmin([state.loss for state in kept]))
        return Trained(kept[which].epoch, tuple(self._losses[which]), which)


def good(each: Floats, best: Floats, doubt: float) -> bool:
    """Whether the mean of losses (n,) is above that of others (n,) by at most `doubt` standard errors; n > 1."""
    worse = (each - best).astype(np.float64)
    return bool(worse.mean() <= doubt * worse.std(ddof=1) / math.sqrt(len(worse)))


def _trainer(
    nets: Any, data: list[Any], slices: Slices, plan: Plan, folder: str, best: _Best, progress: Progress | None
) -> Any:
    import torch
    from transformers import PrinterCallback, Trainer

    encoders = [net["encoder"] for net in nets]
    precision = _finetune_net.precision_of(plan.device)

    class Ours(Trainer):  # type: ignore[misc]
        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            if progress:
                progress(self.state.global_step, self.state.max_steps)
            targets, weights = inputs["targets"], inputs["weights"]
            batch = {name: t for name, t in inputs.items() if name not in ("targets", "weights")}
            found = [_finetune_net.forward(encoder, batch, precision) for encoder in encoders]
            if plan.aim == "pairs":
                return pair_loss(found[0], targets, weights, slices)
            left_out = plan.forget * min(1.0, float(self.state.epoch or 0) / RAMP)
            return label_loss(found, [net["head"] for net in nets], targets, weights, slices, left_out)

        def evaluate(self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval") -> Any:
            self.control.should_training_stop = not best.look()
            return {}

    def collate(rows: list[Any]) -> dict[str, Any]:
        batch = _finetune_net.padded(encoders[0], [row["input_ids"] for row in rows], "cpu")
        return {
            **batch,
            "targets": torch.stack([row["targets"] for row in rows]),
            "weights": torch.tensor([row["weight"] for row in rows]),
        }

    fused = plan.device in ("cpu", "cuda")
    optimizer = torch.optim.AdamW(_groups(nets, plan.rate), lr=plan.rate, weight_decay=0.01, fused=fused)
    trainer = Ours(
        model=nets,
        args=_arguments(plan, folder, len(data)),
        train_dataset=data,
        eval_dataset=data[:1],  # asked for, never looked at: `evaluate` measures by itself
        data_collator=collate,
        optimizers=(optimizer, None),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _arguments(plan: Plan, folder: str, count: int) -> Any:
    """The plan in the Trainer's words, for `count` rows; one epoch of warm-up, nothing written or reported."""
    from transformers import TrainingArguments

    precision = _finetune_net.precision_of(plan.device)
    return TrainingArguments(
        output_dir=folder,
        num_train_epochs=plan.epochs,
        per_device_train_batch_size=plan.batch,
        gradient_accumulation_steps=plan.accumulate,
        warmup_steps=max(1, math.ceil(count / plan.batch / plan.accumulate)),
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        use_cpu=plan.device == "cpu",
        train_sampling_strategy="group_by_length",
        remove_unused_columns=False,
        dataloader_pin_memory=plan.device == "cuda",
        eval_strategy="epoch",
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=plan.seed,
    )


def _groups(nets: Any, rate: float) -> list[dict[str, Any]]:
    """The encoders' weights and the heads', which learn faster."""
    named = [(name, p) for name, p in nets.named_parameters() if p.requires_grad]
    heads = [p for name, p in named if ".head." in name]
    return [
        {"params": [p for name, p in named if ".head." not in name], "lr": rate},
        {"params": heads, "lr": rate * HEAD_FASTER, "weight_decay": 0.0},
    ]


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """The Trainer sets the seeds of the whole process: they are put back, and threads' numbers with them."""
    import torch

    ours, numpys = random.getstate(), np.random.get_state()
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    try:
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            yield
    finally:
        random.setstate(ours)
        np.random.set_state(numpys)
