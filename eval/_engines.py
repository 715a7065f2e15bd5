"""One engine in a process of its own: reads prompts, prints seconds, CPU seconds and log-probabilities as JSON.

Run by `eval.engines` as `PYTHON eval/_engines.py ENGINE FILE`, for vLLM with the Python of its own environment; so only
the standard library is imported before the engine is chosen. CPU seconds are those of all processes of the session,
for vLLM works in several. Linux only.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Read = Callable[[list[dict[str, Any]], list[str]], list[list[float]]]
"""Log-probabilities of the labels' first tokens after each text, shape (texts, labels)."""


def cpu() -> float:
    """CPU seconds of all processes of this session so far, the ended ones that were waited for among them."""
    tick, session, total = os.sysconf("SC_CLK_TCK"), os.getsid(0), 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[3]) == session:
            total += sum(map(int, fields[11:15]))
    return total / tick


def ours(given: dict[str, Any]) -> Read:
    """The oracle `small` by its own door: all questions asked at once, each answered by itself."""
    from agent.kinds import single
    from agent.oracles import small
    from agent.types import Context, Item, Message, Option, Part, Prompt, Question, Task

    task = Task("sst2", "single", dict.fromkeys(given["labels"], ""))
    settings = small.Settings(model=given["folder"], dtype="float32", device="cpu", threads=given["threads"])
    oracle = small.build(settings, Context(task, single.choices(task)))

    def read(rows: list[dict[str, Any]], words: list[str]) -> list[list[float]]:
        options = tuple(Option(word, word, "") for word in words)
        prompts = [
            Prompt(
                row["text"],
                Question(Item(row["text"], (Part("text/plain", row["item"]),)), options),
                (Message("user", row["text"]),),
                given["prefix"],
                "words",
            )
            for row in rows
        ]

        async def ask() -> list[list[float]]:
            answers = await asyncio.gather(*map(oracle.answer, prompts))
            return [[(answer.logprobs or {})[word] for word in words] for answer in answers]

        return asyncio.run(ask())

    return read


def generate(given: dict[str, Any]) -> Read:
    """`transformers.generate` as people use it: batches padded on the left, a few new tokens, no prefix kept."""
    import torch
    import transformers

    torch.set_num_threads(given["threads"])
    transformers.utils.logging.disable_progress_bar()
    tokenizer = transformers.AutoTokenizer.from_pretrained(given["folder"], padding_side="left")
    model = transformers.AutoModelForCausalLM.from_pretrained(given["folder"], dtype=torch.float32)
    fixed = transformers.GenerationConfig(
        max_new_tokens=4, do_sample=False, output_scores=True, return_dict_in_generate=True, pad_token_id=0
    )

    def read(rows: list[dict[str, Any]], words: list[str]) -> list[list[float]]:
        first = [tokenizer(f" {word}", add_special_tokens=False)["input_ids"][0] for word in words]
        out: list[list[float]] = []
        for begin in range(0, len(rows), 32):
            batch = tokenizer([row["text"] for row in rows[begin : begin + 32]], padding=True, return_tensors="pt")
            with torch.inference_mode():
                done = model.generate(**batch, generation_config=fixed)
            out += done.scores[0].float().log_softmax(-1)[:, first].tolist()
        return out

    return read


def vllm(given: dict[str, Any]) -> Read:
    """`vllm.LLM` with its prefix cache, one token an answer and the log-probabilities of the labels' tokens."""
    from vllm import LLM, SamplingParams

    engine = LLM(
        given["folder"],
        dtype="float32",
        max_model_len=1024,
        enforce_eager=given["eager"],
        enable_prefix_caching=True,
        block_size=32,
        max_num_seqs=256,
        disable_log_stats=True,
    )
    tokenizer = engine.get_tokenizer()

    def read(rows: list[dict[str, Any]], words: list[str]) -> list[list[float]]:
        first = [tokenizer(f" {word}", add_special_tokens=False)["input_ids"][0] for word in words]
        how = SamplingParams(temperature=0.0, max_tokens=1, logprobs=len(first), logprob_token_ids=first)
        outputs = engine.generate([{"prompt_token_ids": row["ids"]} for row in rows], how, use_tqdm=False)
        return [[output.outputs[0].logprobs[0][token].logprob for token in first] for output in outputs]

    return read


def main() -> None:
    """Load, read a few rows to warm up, then all rows, then all rows again in other words for the labels."""
    given = json.loads(Path(sys.argv[2]).read_text())
    began = time.perf_counter()
    read: Read = {"ours": ours, "vllm": vllm, "generate": generate}[sys.argv[1]](given)
    read(given["warm"], given["labels"])
    found: dict[str, Any] = {"load": time.perf_counter() - began}
    for name, words in (("cold", given["labels"]), ("again", given["others"])):
        before, began = cpu(), time.perf_counter()
        said = read(given["rows"], words)
        found[name] = {"seconds": time.perf_counter() - began, "cpu": cpu() - before, "logprobs": said}
    print("FOUND" + json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
