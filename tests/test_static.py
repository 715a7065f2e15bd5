"""The student on static embeddings: distilled once, saved whole, quick and without torch where it is served."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from agent import encode
from agent.errors import ConfigError, DataError
from agent.students import _student, _table, static, tfidf
from tests import cli_room
from tests.student_room import COLOURS, WORDS, accuracy, colours, context, encoder, items, ones


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> str:
    pytest.importorskip("sentence_transformers")
    pytest.importorskip("skeletoken", reason="pip install 'tutelage[local,static]'")
    return str(encoder(tmp_path_factory.mktemp("encoder")))


def make(toy: str, folder: str = "", dims: int = 32) -> _student.HeadStudent:
    return static.build(static.Settings(encoder=toy, dims=dims), context(folder))


def test_it_learns_what_words_tell(toy: str) -> None:
    pool, targets = colours(200)
    student = make(toy)
    features = student.features(pool)
    assert features.shape == (200, 32) and features.dtype == np.float32
    assert np.allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)
    student.fit(features[:120], targets[:120], ones(120))
    assert accuracy(student.predict(features[120:]), targets[120:]) > 0.9


def test_rows_do_not_change_with_the_call_and_strange_texts_have_one(toy: str) -> None:
    student = make(toy)
    pool, _ = colours(2 * _table.FEW)
    whole = student.features(pool)
    assert np.allclose(whole[3:5], student.features(pool[3:5]), atol=1e-6)
    strange = student.features(items(["", "\ud800", "\U0001f642 zzz", "rose " * 5_000]))
    assert not strange[:3].any() and np.allclose(strange[3], student.features(items(["rose"]))[0], atol=1e-5)
    assert student.features([]).shape == (0, 32)
    assert np.allclose(student.predict(strange).sum(axis=1), 1, atol=1e-5)


def test_it_is_distilled_once_an_encoder(toy: str, tmp_path: Path) -> None:
    pool, _ = colours(5)
    first = make(toy, str(tmp_path)).features(pool)
    (kept,) = tmp_path.iterdir()
    assert kept.name == f"static-{encode.Encoder(toy, toy).revision}-32.safetensors"
    stamp = kept.stat().st_mtime_ns
    assert np.array_equal(make(toy, str(tmp_path)).features(pool), first) and kept.stat().st_mtime_ns == stamp
    kept.write_bytes(b"torn")
    assert np.array_equal(make(toy, str(tmp_path)).features(pool), first) and kept.stat().st_size > 1_000


ALONE = """
import sys
for name in ("torch", "transformers", "sentence_transformers", "model2vec"):
    sys.modules[name] = None  # as where it is not installed
import numpy as np
from agent import plugins
from agent.types import Item, Part
student = plugins.load("students", "static").load_from(sys.argv[1])
texts = ["rose of the sea", "", "old moss"]
np.save(sys.argv[2], student.predict(student.features([Item(t, (Part("text/plain", t),)) for t in texts])))
"""


def test_a_saved_one_is_whole_and_needs_no_torch(toy: str, tmp_path: Path) -> None:
    pool, targets = colours(60)
    student = make(toy)
    student.fit(student.features(pool), targets, ones(60))
    student.save(str(tmp_path / "model"))
    card = json.loads((tmp_path / "model" / "student.json").read_text("utf-8"))
    assert card["student"] == "static" and card["labels"] == COLOURS
    answer = tmp_path / "p.npy"
    subprocess.run([sys.executable, "-c", ALONE, str(tmp_path / "model"), str(answer)], check=True)
    here = student.predict(student.features(items(["rose of the sea", "", "old moss"])))
    assert np.allclose(np.load(answer), here, atol=1e-6)
    again = make(toy)
    again.load(str(tmp_path / "model"))
    assert np.allclose(again.predict(again.features(pool)), student.predict(student.features(pool)), atol=1e-6)


def test_what_cannot_be_is_told(toy: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="dims = 2 must be 8"):
        static.Settings(dims=2)
    with pytest.raises(ConfigError, match="l2 = 0"):
        static.Settings(l2=0)
    make(toy).save(str(tmp_path))
    with pytest.raises(DataError, match=r"dims = 32.*train anew"):
        make(toy, dims=16).load(str(tmp_path))
    words = tfidf.build(tfidf.Settings(), context())
    words.features(colours(9)[0])
    words.save(str(tmp_path / "words"))
    with pytest.raises(DataError, match="'tfidf', not 'static'"):
        static.load_from(str(tmp_path / "words"))
    with pytest.raises(DataError, match="not 'static'"):
        make(toy).load(str(tmp_path / "words"))


def test_labels_names_are_worth_something_before_the_first_label(toy: str) -> None:
    """The toy encoder is random, so a name tells nothing of other words: only texts with the very name are known."""
    student = make(toy)
    p = student.predict(student.features(items(list(COLOURS))))
    assert p.argmax(axis=1).tolist() == [0, 1, 2]
    assert set(WORDS) == set(COLOURS)


def test_a_run_with_it_from_the_command_to_predictions(
    toy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The encoder does not know these words, so nothing is claimed of how right it is."""
    here = cli_room.with_ladder(cli_room.with_pool(tmp_path, monkeypatch))
    text = (here / "tutelage.toml").read_text("utf-8")
    told = f'student = "static"\nencoder = "{toy}"\ndims = 16'
    (here / "tutelage.toml").write_text(text.replace('student = "tfidf"', told), "utf-8")
    done = cli_room.good("run", "--people", "gold", "--budget", "1")
    assert done["items"] == 60 == sum(done["accepted"].values()) + done["unsure"]
    assert json.loads((here / "tutelage-run" / "model" / "student.json").read_text("utf-8"))["student"] == "static"
    lines = cli_room.call("predict", "mail.csv", "--text", "body").stdout.splitlines()
    assert len(lines) == 60 and {json.loads(line)["label"] for line in lines} <= {"billing", "technical"}
