"""vLLM in this process: no server, batches straight to the engine. Knows no task and no ledger.

Options are chosen by code or by name and read from log-probabilities: of exactly the codes' tokens, or the names' first
tokens, where these tell the options apart and this vLLM can give them (`logprob_token_ids`), else of the top 20 of an
answer under a constraint. While the engine works on one batch, what is asked meanwhile becomes the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.errors import CallFailed, EndpointDown, MissingExtra, TutelageError
from agent.oracles import Token, _bodies, _weights, _words, read_codes, readout
from agent.types import Answer, Context, Most, Prompt, Traits

MOST_IDS = 128
"""Tokens whose log-probabilities vLLM gives at once."""


@dataclass(frozen=True)
class Settings:
    """Keys of a `[[rung]]` with oracle = "vllm".

    model: folder of the weights, or their name at Hugging Face. It needs a chat template.
    dtype: of the weights in memory; "float32" keeps log-probabilities off the coarse grid of bf16.
    max_model_len: most tokens of prompt and answer together; None is the model's own.
    memory: share of the GPU's memory that vLLM may take.
    eager: skip compilation: starts sooner, runs slower.
    in_flight: questions asked at once, and the largest batch.
    max_tokens: most tokens an answer may have; for kind multi it is raised to 8 for each option.
    template: prompt template, one of ours or a path.
    max_chars: characters of an item that are shown; of a longer one the middle is left out.
    revision: commit, branch or tag at Hugging Face; "" is the newest one there or here. For a folder leave it out: its
        files are told by their names, sizes and ends.
    """

    model: str
    dtype: str = "auto"
    max_model_len: int | None = None
    memory: float = 0.9
    eager: bool = False
    in_flight: int = 256
    max_tokens: int = 16
    template: str = "codes.j2"
    max_chars: int = 6_000
    revision: str = ""


def build(settings: Settings, context: Context) -> Vllm:
    """The oracle; weights are loaded when it is to be ready, or at the first question."""
    return Vllm(settings, context.seed)


class Vllm:
    """One model in this process."""

    def __init__(self, settings: Settings, seed: int = 0) -> None:
        self.settings = settings
        self._seed = seed
        folder = Path(settings.model).expanduser()
        self._weights = _weights.fingerprint(folder) if folder.is_dir() else settings.revision
        self._engine: Any = None
        self._waiting: list[tuple[Prompt, asyncio.Future[Answer]]] = []
        self._worker: asyncio.Task[None] | None = None

    @property
    def traits(self) -> Traits:
        """What the house must know of it."""
        at = self.settings
        recipe = {name: str(getattr(at, name)) for name in ("model", "dtype", "max_tokens", "max_chars")}
        recipe["weights"] = self._weights
        return Traits(
            at.model,
            recipe,
            at.template,
            readout(at.template),
            in_flight=at.in_flight,
            local=True,
            others=("words_chat.j2",),
        )

    def most(self, prompt: Prompt) -> Most:
        """Nothing."""
        return Most()

    async def ready(self) -> None:
        """Start the engine: the weights are loaded and compiled for, which may take many minutes.

        Raises:
            MissingExtra: vllm is not installed.
            EndpointDown: the engine cannot be started.
        """
        await asyncio.to_thread(self._load)

    async def answer(self, prompt: Prompt) -> Answer:
        """Ask, in a batch with whatever else is waiting.

        Raises:
            MissingExtra: vllm is not installed.
            EndpointDown: the engine cannot be started, or died.
            CallFailed: the engine refuses this prompt (too long, no chat template).
        """
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((prompt, future))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        await asyncio.sleep(0.005)  # let the questions that are asked together arrive
        while self._waiting:
            batch, self._waiting = self._waiting[: self.settings.in_flight], self._waiting[self.settings.in_flight :]
            await self._serve(batch)

    async def _serve(self, batch: Sequence[tuple[Prompt, asyncio.Future[Answer]]]) -> None:
        """Answer a batch. One bad prompt fails all of it, so then each is asked by itself."""
        try:
            answers = await asyncio.to_thread(self._ask, [prompt for prompt, _ in batch])
        except TutelageError as error:
            for _, future in batch:
                if not future.cancelled():
                    future.set_exception(error)
        except Exception as error:  # noqa: BLE001 - the engine raises what it likes, and its words may quote the item
            for one in batch if len(batch) > 1 else ():
                await self._serve([one])
            if len(batch) == 1 and not batch[0][1].cancelled():
                why = f"vLLM refuses this question ({type(error).__name__}): is it too long, or has the model no chat?"
                batch[0][1].set_exception(CallFailed(why))
        else:
            for (_, future), answer in zip(batch, answers, strict=True):
                if not future.cancelled():
                    future.set_result(answer)

    def _ask(self, prompts: Sequence[Prompt]) -> list[Answer]:
        engine = self._load()
        from vllm import SamplingParams
        from vllm.sampling_params import StructuredOutputsParams

        several, known = [], list[Mapping[int, str]]()
        for prompt in prompts:
            told, many = _bodies.spellings(prompt), prompt.question.many
            room = _bodies.room(prompt, self.settings.max_tokens)
            ids = {} if many or not hasattr(SamplingParams, "logprob_token_ids") else self._ids(prompt)
            first = bool(ids) and prompt.readout == "words"
            free = many or first or prompt.rationale or len(told) > _bodies.CONSTRAINED
            choice = None if free else StructuredOutputsParams(choice=told)
            how = SamplingParams(
                temperature=0.0, max_tokens=1 if first else room, logprobs=20, structured_outputs=choice
            )
            if ids:
                how.logprobs, how.logprob_token_ids = len(ids), list(ids)
            several.append(how)
            known.append(ids if first else {})
        talks = [[{"role": m.role, "content": m.content} for m in prompt.messages] for prompt in prompts]
        try:
            outputs = engine.chat(talks, several, use_tqdm=False)
        except Exception as error:
            if type(error).__name__ != "EngineDeadError":  # its place in the package changes
                raise
            self._engine = None
            raise EndpointDown("vLLM's engine in this process died (out of memory?): run again to go on") from None
        done = zip(prompts, outputs, known, strict=True)
        return [_answer(prompt, output, self.settings.model, ids) for prompt, output, ids in done]

    def _ids(self, prompt: Prompt) -> Mapping[int, str]:
        """The tokens of all codes, with and without a space before, none where a code is several tokens; of names the
        tokens they begin with, and the names, none where these do not tell them apart."""
        tokenizer, told = self._engine.get_tokenizer(), _bodies.spellings(prompt)
        if prompt.readout == "words":
            forms = [form for name in told for form in (name, f" {name}")]
            spelt = {form: tokenizer.encode(form, add_special_tokens=False) for form in forms}
            names = {} if prompt.rationale else _words.firsts(told, spelt)
            return names if len(names) <= MOST_IDS else {}
        found: dict[int, str] = {}
        for code in told:
            bare, spaced = (tokenizer.encode(text, add_special_tokens=False) for text in (code, f" {code}"))
            if len(bare) != 1:
                return {}
            found |= dict.fromkeys(bare + (spaced if len(spaced) == 1 else []), "")
        return found if len(found) <= MOST_IDS else {}

    def _load(self) -> Any:
        if self._engine is None:
            try:
                from vllm import LLM
            except ImportError as error:
                raise MissingExtra("vllm", "vllm", "the oracle vllm") from error
            at = self.settings
            try:
                self._engine = LLM(
                    model=at.model,
                    revision=at.revision or None,
                    dtype=at.dtype,
                    max_model_len=at.max_model_len,
                    gpu_memory_utilization=at.memory,
                    enforce_eager=at.eager,
                    enable_prefix_caching=True,
                    seed=self._seed,
                )
            except Exception as error:
                raise EndpointDown(f"vLLM cannot start with model = {at.model!r}: {error}") from error
        return self._engine

    async def close(self) -> None:
        """Let go of the engine."""
        self._engine = None


def _answer(prompt: Prompt, output: Any, model: str, known: Mapping[int, str]) -> Answer:
    """One finished request as an answer; constraints come after the log-probabilities, which stay raw.

    `known`: token -> the name it begins, where one token was asked for.
    """
    said = output.outputs[0]
    tokens = []
    for token, seen in zip(said.token_ids, said.logprobs or (), strict=False):
        spelt = {i: f"token_id:{i}" if known else entry.decoded_token or "" for i, entry in seen.items()}
        others = {spelt[i]: float(entry.logprob) for i, entry in seen.items()}
        tokens.append(Token(spelt[token], float(seen[token].logprob), others))
    text, why = _bodies.two(said.text) if prompt.rationale else (said.text, "")
    if prompt.question.many:
        read = None
    elif prompt.readout == "words":
        read = _words.read(prompt.question, text, tokens, known)
    else:
        read = read_codes(prompt.question, text, tokens)
    scores, mass = read if read else (None, 1.0)
    flags = prompt.flags + ((f"mass={mass:.2f}",) if mass < 0.995 else ())
    named = prompt.readout == "words" and not prompt.question.many
    if read is None and named and _words.is_code(prompt.question, text):
        text, flags = "", (*flags, _words.NO_NAME)
    cached = int(getattr(output, "num_cached_tokens", None) or 0)
    return Answer(
        text=text,
        logprobs=scores,
        tokens_in=len(output.prompt_token_ids or ()),
        tokens_out=len(said.token_ids),
        tokens_cached=cached,
        served_model=model,
        flags=flags,
        rationale=why,
    )
