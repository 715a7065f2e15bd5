"""The oracle `openai` against a real vLLM server on the CPU, with SmolLM2 (`make vllm-env` makes its ground)."""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
from pathlib import Path

import pytest

from agent import plugins, prompt
from agent.errors import CallFailed, EndpointDown
from agent.oracles import openai
from agent.types import Answer, Context, Item, Part, Prompt, Task
from eval import _vllm

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SINGLE = Task("t", "single", {"negative": "", "positive": ""}, "What is the sentiment of this movie review?")
MULTI = Task("t", "multi", {"rude": "", "toxic": "", "spam": ""})
TEXTS = ["A wonderful, moving film.", "Dull, stupid and far too long.", "I laughed and cried.", "A waste of time."]


@pytest.fixture
def server(vllm: _vllm.Server) -> str:
    return vllm.url


def asked(task: Task, oracle: openai.OpenAI, text: str, sample: int = 0) -> Prompt:
    recipe = prompt.recipe(task, task.kind, oracle.traits)
    question = plugins.load("kinds", task.kind).question(task, Item(text[:20], (Part("text/plain", text),)), sample)
    return prompt.render(task, question, oracle.traits, recipe, sample)


def ask(oracle: openai.OpenAI, prompts: list[Prompt]) -> list[Answer]:
    async def run() -> list[Answer]:
        try:
            return list(await asyncio.gather(*map(oracle.answer, prompts)))
        finally:
            await oracle.close()

    return asyncio.run(run())


def built(server: str, task: Task, model: str = "smollm2", logprobs: str = "auto", **more: int) -> openai.OpenAI:
    settings = openai.Settings(model, server, logprobs=logprobs, deadline=120.0, **more)
    return openai.build(settings, Context(task, plugins.load("kinds", task.kind).choices(task)))


def test_the_codes_get_exact_log_probabilities(server: str) -> None:
    oracle = built(server, SINGLE)
    prompts = [asked(SINGLE, oracle, text, sample) for text in TEXTS for sample in (0, 1)]
    answers = ask(oracle, prompts)
    assert oracle.wire.vllm and "logprob_token_ids" not in oracle.wire.without
    for made, answer in zip(prompts, answers, strict=True):
        assert set(answer.logprobs) == {"A", "B"}
        assert 0 < sum(map(math.exp, answer.logprobs.values())) <= 1 + 1e-6
        assert answer.served_model == "smollm2" and answer.tokens_in > 50
        label = plugins.load("kinds", "single").parse(SINGLE, made.question, answer)["label"]
        assert sum(label.values()) == pytest.approx(1)


def test_exact_ids_and_the_top_list_agree(server: str) -> None:
    """The list is of a constrained answer, where the codes share all the mass: the odds between them are the same."""
    exact, listed = built(server, SINGLE), built(server, SINGLE)
    listed.wire.without.add("logprob_token_ids")
    prompts = [asked(SINGLE, exact, text) for text in TEXTS]
    for one, other in zip(ask(exact, prompts), ask(listed, prompts), strict=True):
        odds = [answer.logprobs["A"] - answer.logprobs["B"] for answer in (one, other)]
        assert odds[0] == pytest.approx(odds[1], abs=0.02)
        assert any(flag.startswith("mass=") for flag in one.flags), "what the model would rather write is seen"


def test_votes_and_sets(server: str) -> None:
    oracle = built(server, SINGLE, logprobs="no", votes=4)
    (answer,) = ask(oracle, [asked(SINGLE, oracle, TEXTS[0])])
    assert "votes" in answer.flags and sum(map(math.exp, answer.logprobs.values())) == pytest.approx(1)
    several = built(server, MULTI)
    made = asked(MULTI, several, TEXTS[1])
    (answer,) = ask(several, [made])
    assert set(plugins.load("kinds", "multi").parse(MULTI, made.question, answer)) == set(MULTI.labels)


def test_faults_of_the_real_server(server: str) -> None:
    oracle = built(server, SINGLE, model="nope")
    with pytest.raises(EndpointDown, match="it serves smollm2"):
        ask(oracle, [asked(SINGLE, oracle, TEXTS[0])])
    oracle = built(server, SINGLE, max_chars=100_000)
    with pytest.raises(CallFailed, match="max_chars"):
        ask(oracle, [asked(SINGLE, oracle, "SENTINEL words " * 5_000)])


def test_probe_of_the_real_server(server: str) -> None:
    (found,) = asyncio.run(openai.endpoints(openai.Settings("smollm2", server, deadline=120.0)))
    assert not found.trouble and not found.missed and found.server == "vLLM" and found.served == "smollm2"
    assert found.exact and found.top >= 20 and found.mode == "raw" and found.context == 2048
    assert found.enforced == {"structured_outputs": "obeyed", "response_format": "obeyed", "guided_choice": "ignored"}
    assert set(found.codes) == {"A", "B"} and found.cached is not None


IN_PROCESS = """
import asyncio, json, sys
from agent import plugins, prompt
from agent.oracles import vllm
from agent.types import Context, Item, Part, Task

def main():
    task = Task("t", "single", {"negative": "", "positive": ""}, "What is the sentiment of this movie review?")
    kind = plugins.load("kinds", "single")
    settings = vllm.Settings(
        sys.argv[1], "float32", max_model_len=1024, eager=True, max_chars=20_000, template=sys.argv[2]
    )
    oracle = vllm.build(settings, Context(task, kind.choices(task)))

    async def ask(text):
        question = kind.question(task, Item(text[:9], (Part("text/plain", text),)), 0)
        made = prompt.render(task, question, oracle.traits, prompt.recipe(task, "single", oracle.traits), 0)
        try:
            answer = await oracle.answer(made)
            return kind.parse(task, question, answer)["label"]["positive"]
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    async def every():
        return await asyncio.gather(*map(ask, ["A wonderful film.", "A waste of time.", "SENTINEL words " * 2000]))

    print("FOUND" + json.dumps(asyncio.run(every())))

if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize("template", ["codes.j2", "words_chat.j2"])
def test_the_oracle_vllm_in_its_own_process(root: Path, tmp_path: Path, template: str) -> None:
    """Good prompts of a batch are answered although another is too long."""
    try:
        folder = _vllm.weights()
    except _vllm.Absent as error:
        pytest.skip(str(error))
    if not (_vllm.HOME / "bin" / "vllm").exists():
        pytest.skip("no .venv-vllm here: run `make vllm-env` (3.5 GB)")
    script = tmp_path / "ask.py"
    script.write_text(IN_PROCESS)
    done = subprocess.run(
        [_vllm.HOME / "bin" / "python", script, folder, template],
        env={**_vllm.surroundings(), "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    good, bad, long = json.loads(done.stdout.split("FOUND")[1].splitlines()[0])
    assert 0 < good < 1 and 0 < bad < 1
    assert long.startswith("CallFailed") and "SENTINEL" not in long
