"""Files of requests answered by the real `vllm run-batch` on the CPU, and read back."""

import subprocess
from pathlib import Path

import pytest

from agent import config as settings
from agent import loop
from agent.store import Store
from eval import _vllm
from tests.cli_room import with_pool
from tests.test_batch import LADDER

pytestmark = pytest.mark.slow

FLAGS = ("--max-model-len", "2048", "--dtype", "float32", "--block-size", "32", "--enforce-eager")


def test_round_trip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not (_vllm.HOME / "bin" / "vllm").exists():
        pytest.skip("no vLLM here: make vllm-env")
    here = with_pool(tmp_path, monkeypatch)
    ladder = LADDER.format(url="http://127.0.0.1:9/v1").replace('"tiny"', f'"{_vllm.MODEL}"')
    (here / "tutelage.toml").write_text(ladder)
    config = settings.load(here / "tutelage.toml")
    assert loop.run(config, batch="files").code == 4
    requests, output = (config.folder / "batch" / f"small-0001{end}" for end in (".jsonl", ".output.jsonl"))
    subprocess.run(
        [_vllm.HOME / "bin" / "vllm", "run-batch", "-i", requests, "-o", output, "--model", _vllm.weights(),
         "--served-model-name", _vllm.MODEL, *FLAGS],
        check=True, env=dict(_vllm.surroundings()), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert loop.run(config, batch="files").code == 0
    with Store.open(config.store_url) as store:
        answers = [answer for _, _, answer in store.answers_since(0)]
        assert len(answers) == 60 and all(a.logprobs and set(a.logprobs) == {"A", "B"} for a in answers)
        assert store.spend().total.requests == 60 and store.spend().reserved == 0
        assert store.verify() == []
