"""An encoder with a linear head in torch: opened, run over texts, saved. Knows no labels, only columns of atoms.

The network is a `torch.nn.ModuleDict` of "encoder" (a sentence-transformers model) and "head" (a linear layer on its
sentence embedding of length one). Untrained, with the head of the student `linear`, it is the student `linear`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agent.errors import ConfigError, Damaged, MissingExtra
from agent.students._head import Head
from agent.types import Floats

DEVICES = ("auto", "cpu", "cuda", "mps")
TOKENS = {"cpu": 2_048, "cuda": 32_768, "mps": 8_192}
"""Tokens a forward pass, padding included."""
COMPLETE = "complete"
"""An empty file that is written into an encoder's folder last: without it the folder is half of a save."""
RANK = 16

Progress = Callable[[int, int], None]


def device_of(wanted: str) -> str:
    """The torch device a setting means; "auto" is cuda, then mps, then cpu.

    Raises:
        ConfigError: a device was named that is not here.
    """
    if wanted == "cpu":
        return wanted
    import torch

    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if wanted == "auto":
        return next((name for name, there in here.items() if there), "cpu")
    if not here[wanted]:
        raise ConfigError(f'device = "{wanted}": there is no such device here; write device = "auto" or "cpu"')
    return wanted


def precision_of(device: str) -> str:
    """ "bf16" where a GPU computes in it, "fp16" on older GPUs, "fp32" elsewhere."""
    if device != "cuda":
        return "fp32"
    import torch

    return "bf16" if torch.cuda.is_bf16_supported() else "fp16"


def open_encoder(folder: Path, device: str) -> Any:
    """The sentence-transformers model in `folder`, in float32. Nothing but JSON, text and safetensors is read.

    Raises:
        MissingExtra: sentence-transformers is not installed. Damaged: the files do not read.
    """
    try:
        import torch
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise MissingExtra("sentence-transformers", "local", 'student = "finetune"') from error
    try:
        with quiet():
            return SentenceTransformer(
                str(folder),
                device=device,
                local_files_only=True,
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True, "dtype": torch.float32},
            ).eval()
    except (OSError, ValueError, KeyError) as error:
        raise Damaged(f"{folder} does not read as an encoder: {type(error).__name__}") from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the progress bars of transformers."""
    from transformers.utils import logging as talk

    bars = talk.is_progress_bar_enabled()
    talk.disable_progress_bar()
    try:
        yield
    finally:
        if bars:
            talk.enable_progress_bar()


def make(encoder: Any, head: Head, device: str) -> Any:
    """The network of an encoder and a head."""
    import torch

    linear = torch.nn.Linear(len(head.weight) - 1, head.weight.shape[1])
    net = torch.nn.ModuleDict({"encoder": encoder, "head": linear}).to(device)
    set_head(net, head)
    return net


def head_of(net: Any) -> Head:
    """The network's head as the array the other students use."""
    weight, bias = net["head"].weight.detach().float().cpu(), net["head"].bias.detach().float().cpu()
    return Head(np.concatenate([weight.numpy().T, bias.numpy()[None]]).astype(np.float32))


def set_head(net: Any, head: Head) -> None:
    """Give the network another head of the same shape."""
    import torch

    with torch.no_grad():
        net["head"].weight.copy_(torch.from_numpy(np.ascontiguousarray(head.weight[:-1].T)))
        net["head"].bias.copy_(torch.from_numpy(np.ascontiguousarray(head.weight[-1])))


def digest(encoder: Any) -> str:
    """12 hex digits of a hash of the encoder's weights."""
    whole = hashlib.sha256()
    for name, tensor in encoder.state_dict().items():
        whole.update(name.encode())
        whole.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return whole.hexdigest()[:12]


def adapt(encoder: Any) -> None:
    """Freeze the encoder and add low-rank matrices to its linear layers (LoRA, Hu et al., 2022), in place.

    Raises:
        MissingExtra: peft is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise MissingExtra("peft", "finetune", 'mode = "lora"') from error
    config = LoraConfig(r=RANK, lora_alpha=2 * RANK, lora_dropout=0.05, target_modules="all-linear", bias="none")
    for parameter in encoder.parameters():
        parameter.requires_grad_(False)
    layers = {name for name, module in encoder[0].named_modules() if type(module).__name__ == "Linear"}
    config.target_modules = {name for name in layers if "pooler" not in name}
    inject_adapter_in_model(config, encoder[0])


def merge(encoder: Any) -> None:
    """Add the low-rank matrices into the layers they adapt, and drop them, in place."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in list(encoder[0].named_modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge()
            parent, _, own = name.rpartition(".")
            setattr(encoder[0].get_submodule(parent), own, module.get_base_layer())
    for parameter in encoder.parameters():
        parameter.requires_grad_(True)


def tokens_of(encoder: Any, texts: Sequence[str], longest: int | None, prompt: str = "") -> list[list[int]]:
    """Token numbers of each text behind the encoder's prompt, cut at `longest` or at the model's own limit."""
    clean = [prompt + text.encode("utf-8", "replace").decode() for text in texts]  # a lone surrogate stops a tokenizer
    limit = min(longest or 512, encoder.max_seq_length or 512)
    found: list[list[int]] = encoder.tokenizer(clean, truncation=True, max_length=limit)["input_ids"] if clean else []
    return found


def padded(encoder: Any, tokens: Sequence[Sequence[int]], device: str) -> dict[str, Any]:
    """A batch as tensors on the device."""
    batch = encoder.tokenizer.pad({"input_ids": [list(t) for t in tokens]}, return_tensors="pt")
    return {name: tensor.to(device) for name, tensor in batch.items()}


def forward(encoder: Any, batch: Mapping[str, Any], precision: str) -> Any:
    """Sentence embeddings of length one, (n, d) float32; keeps the gradient."""
    import torch

    kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)
    where = next(iter(batch.values())).device.type
    with torch.autocast(where, dtype=kind, enabled=kind != torch.float32):
        found = encoder(dict(batch))["sentence_embedding"]
    return torch.nn.functional.normalize(found.float(), dim=1)


def embed(encoder: Any, tokens: Sequence[Sequence[int]], progress: Progress | None = None) -> Floats:
    """Embeddings of texts given as tokens, (n, d) float32, each of length one; long ones together with long ones."""
    import torch

    device = encoder.device.type
    precision = precision_of(device)
    order = np.argsort([-len(t) for t in tokens], kind="stable")
    budget, done = TOKENS[device], 0
    parts: list[Floats] = []
    training = encoder.training
    encoder.eval()
    with torch.inference_mode():
        while done < len(order):
            rows = order[done : done + max(1, budget // max(1, len(tokens[order[done]])))]
            batch = padded(encoder, [tokens[i] for i in rows], device)
            try:
                parts.append(forward(encoder, batch, precision).cpu().numpy())
            except torch.OutOfMemoryError:
                if len(rows) == 1:
                    raise
                budget //= 2
                continue
            done += len(rows)
            if progress:
                progress(done, len(order))
    encoder.train(training)
    if not parts:
        return np.zeros((0, int(encoder.get_sentence_embedding_dimension() or 0)), dtype=np.float32)
    out = np.empty((len(order), parts[0].shape[1]), dtype=np.float32)
    out[order] = np.concatenate(parts)
    return out


def write_encoder(encoder: Any, place: Path, name: str) -> None:
    """Save the encoder as `place/name`, whole or not at all: the folder is given its name when it is complete."""
    draft = place / f"{name}.{os.getpid()}.tmp"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    with quiet():
        encoder.save(str(draft), create_model_card=False)
    (draft / COMPLETE).touch()
    for path in draft.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    os.replace(draft, place / name)


def drop_others(place: Path, prefix: str, keep: str) -> None:
    """Remove folders of earlier saves, and what a killed save left."""
    for path in place.glob(f"{prefix}*"):
        if path.name != keep and path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
