"""The fine-tuned student: it learns what a frozen encoder cannot, keeps what is better only, and survives a kill."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from agent import teach
from agent.errors import ConfigError, Damaged, DataError
from agent.release import graph
from agent.students import _finetune_lesson, _finetune_net, _finetune_noise, _finetune_train, finetune
from agent.students._finetune_student import FinetuneStudent
from agent.types import Layout
from tests.cli_room import good
from tests.student_room import COLOURS, accuracy, colours, context, encoder, items, ones

TAUGHT, ALL = 160, 300


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> str:
    pytest.importorskip("sentence_transformers")
    pytest.importorskip("accelerate", reason="pip install 'tutelage[local,finetune]'")
    return str(encoder(tmp_path_factory.mktemp("encoder")))


def make(toy: str, folder: str = "", seed: int = 0, layout: Layout | None = None, **told: object) -> FinetuneStudent:
    settings = finetune.Settings(**{"encoder": toy, "device": "cpu", "rate": 1e-3, "names": False, **told})  # type: ignore[arg-type]
    student = finetune.build(settings, context(folder, layout=layout))
    student._seed = seed
    return student


@pytest.fixture(scope="module")
def taught(toy: str) -> FinetuneStudent:
    pool, targets = colours(ALL)
    student = make(toy, epochs=12, patience=12)
    features = student.features(pool)
    student.fit(features[:TAUGHT], targets[:TAUGHT], ones(TAUGHT))
    return student


def test_it_learns_more_than_the_frozen_encoder_and_stops_at_its_best(taught: FinetuneStudent) -> None:
    pool, targets = colours(ALL)
    features = taught.features(pool)
    assert taught._frozen is not None and taught.told["tuned"]
    frozen = accuracy(taught._frozen.predict(features[TAUGHT:], taught.layout.slices), targets[TAUGHT:])
    p = taught.predict(features[TAUGHT:])
    assert p.shape == (ALL - TAUGHT, 3) and p.dtype == np.float32 and np.allclose(p.sum(axis=1), 1, atol=1e-5)
    assert accuracy(p, targets[TAUGHT:]) > max(frozen, 0.9)
    losses = taught.told["losses"]
    assert taught.told["epoch"] == int(np.argmin(losses)) > 0


def test_what_is_kept_is_the_best_state_and_not_the_last(toy: str) -> None:
    """A rate so high that the network is ruined: it stays what it was, a linear head on frozen embeddings."""
    pool, targets = colours(TAUGHT)
    student = make(toy, rate=0.3, epochs=3)
    features = student.features(pool)
    student.fit(features, targets, ones(TAUGHT))
    assert student.told["epoch"] == 0 and not student.told["tuned"]
    assert min(student.told["losses"][1:]) > student.told["losses"][0]
    assert student._frozen is not None
    assert np.array_equal(student.predict(features), student._frozen.predict(features, student.layout.slices))


def test_a_dozen_rows_drop_what_was_taught_only_when_they_are_sure() -> None:
    """Worse by .1 on each row, give or take 1: chance on 12 rows. On 1,200 the standard error is .03."""
    worse = np.tile([1.1, -0.9], 6).astype(np.float32)
    best = np.zeros_like(worse)
    assert _finetune_train.good(worse, best, 1.0) and not _finetune_train.good(worse, best, 0.0)
    assert not _finetune_train.good(np.tile(worse, 100), np.tile(best, 100), 1.0)
    assert _finetune_train.good(-worse, best, 0.0) and _finetune_train.good(best, best, 0.0)


@pytest.mark.parametrize("mode", ["lora", "contrastive"])
def test_the_other_modes_lower_the_held_out_loss(toy: str, mode: str) -> None:
    if mode == "lora":
        pytest.importorskip("peft")
    pool, targets = colours(TAUGHT)
    student = make(toy, mode=mode, epochs=8, patience=8, rate=1e-2 if mode == "lora" else 1e-3)
    features = student.features(pool)
    student.fit(features, targets, ones(TAUGHT))
    assert student.told["tuned"] and min(student.told["losses"]) < student.told["losses"][0]
    assert accuracy(student.predict(features), targets) > 0.75  # the frozen encoder: .58; chance: .33


def test_low_rank_matrices_are_few_and_are_merged_without_a_trace(toy: str) -> None:
    import torch

    pytest.importorskip("peft")
    whole = _finetune_net.open_encoder(Path(toy), "cpu")
    names, tokens = set(whole.state_dict()), _finetune_net.tokens_of(whole, ["rose of the sea", "moss"], None)
    _finetune_net.adapt(whole)
    free = [p for p in whole.parameters() if p.requires_grad]
    assert 0 < sum(p.numel() for p in free) < 0.7 * sum(p.numel() for p in whole.parameters())
    with torch.no_grad():
        for parameter in free:
            parameter += 0.05
    adapted = _finetune_net.embed(whole, tokens)
    _finetune_net.merge(whole)
    assert set(whole.state_dict()) == names and np.allclose(_finetune_net.embed(whole, tokens), adapted, atol=1e-5)
    untouched = _finetune_net.embed(_finetune_net.open_encoder(Path(toy), "cpu"), tokens)
    assert not np.allclose(untouched, adapted, atol=1e-3)


def test_equal_arguments_and_seed_give_equal_answers_and_the_process_keeps_its_chance(toy: str) -> None:
    import torch

    pool, targets = colours(80)
    said = []
    for seed in (0, 0, 1):
        np.random.seed(5)
        torch.manual_seed(5)
        student = make(toy, seed=seed, epochs=2, patience=5)
        features = student.features(pool)
        student.fit(features, targets, ones(80))
        said.append(np.array(student.told["losses"]))
        assert np.random.get_state()[1][0] == 5 and torch.initial_seed() == 5
    assert np.array_equal(said[0], said[1]) and not np.array_equal(said[0], said[2])


def test_few_rows_are_a_matter_for_the_frozen_head(toy: str) -> None:
    pool, targets = colours(20)
    student = make(toy, names=True)
    features = student.features(pool)
    before = student.predict(features)
    assert before.shape == (20, 3) and np.allclose(before.sum(axis=1), 1, atol=1e-5)
    student.fit(features, targets, ones(20))
    assert not student.told["tuned"] and accuracy(student.predict(features), targets) > 0.6
    assert np.allclose(make(toy).predict(features), 1 / 3)


def test_rows_of_another_student_are_refused(toy: str) -> None:
    pool, targets = colours(30)
    student = make(toy)
    features = student.features(pool)
    student.fit(np.array(features), targets, ones(30))  # a copy of the rows is as good
    with pytest.raises(ValueError, match="did not give"):
        student.fit(features + 1, targets, ones(30))
    with pytest.raises(ValueError, match="do not fit"):
        student.fit(features, targets[:5], ones(30))


def test_a_text_is_held_out_always_or_never() -> None:
    rows = np.random.default_rng(0).normal(size=(4_000, 8)).astype(np.float32)
    keys = _finetune_lesson.fingerprints(rows)
    held = _finetune_lesson.held_out(keys, 0)
    assert np.array_equal(held[:50], _finetune_lesson.held_out(keys[:50], 0))
    assert not np.array_equal(held, _finetune_lesson.held_out(keys, 1))
    # A share of .2 of 4,000: standard error sqrt(.2 · .8 / 4000) = .0063; four of them
    assert abs(held.mean() - _finetune_lesson.HELD) < 0.026


def test_cross_fitted_answers_come_from_two_twins(toy: str) -> None:
    pool, targets = colours(60)
    student = make(toy, epochs=1)
    features = student.features(pool)
    lesson = teach.Lesson(np.arange(50), targets[:50], ones(50))
    said = teach.teach(student, features, lesson, 60, folds=5, seed=0)
    assert said.shape == (60, 3) and student.folds == 2
    twin = student.fresh()
    fold = teach.cross.fold_of(np.arange(50), 2, 0)
    twin.fit(features[:50][fold != 0], targets[:50][fold != 0], ones(int((fold != 0).sum())))
    assert np.allclose(said[:50][fold == 0], twin.predict(features[:50][fold == 0]), atol=1e-5)


def test_several_labels_and_soft_targets(toy: str) -> None:
    """Two atoms; the second is told as .8 to .2, and that is what is learnt, not 1 to 0."""
    layout = Layout(("red", "other"), (("no", "yes"), ("no", "yes")))
    pool, colour = colours(120)
    red = colour[:, :1]
    targets = np.concatenate([1 - red, red, np.full((120, 1), 0.2), np.full((120, 1), 0.8)], axis=1).astype(np.float32)
    student = make(toy, layout=layout, epochs=14, patience=14)
    features = student.features(pool)
    student.fit(features, targets, ones(120))
    p = student.predict(features)
    assert ((p[:, 1] > 0.5) == (red[:, 0] > 0.5)).mean() > 0.9
    assert abs(float(p[:, 3].mean()) - 0.8) < 0.1


def test_saved_it_is_whole_by_itself_and_goes_on_where_it_was(
    taught: FinetuneStudent, toy: str, tmp_path: Path
) -> None:
    pool, targets = colours(ALL)
    features = taught.features(pool)
    taught.save(str(tmp_path))
    card = json.loads((tmp_path / "student.json").read_text("utf-8"))
    assert card["student"] == "finetune" and card["labels"] == COLOURS
    whole = tmp_path / card["tuned"]
    assert {"config.json", "model.safetensors", "modules.json", "tokenizer.json"} <= {p.name for p in whole.iterdir()}
    alone = finetune.load_from(str(tmp_path), "cpu")
    rows = alone.features(pool[:40])
    assert np.allclose(rows, taught.served(features[:40]), atol=1e-5)
    assert np.allclose(alone.predict(rows), taught.predict(features[:40]), atol=1e-5)
    with pytest.raises(ValueError, match="not taught on"):
        alone.fit(rows, targets[:40], ones(40))
    again = make(toy, epochs=1)
    again.load(str(tmp_path))
    features = again.features(pool)
    assert np.allclose(again.predict(features), taught.predict(features), atol=1e-5)
    again.fit(features[: TAUGHT + 40], targets[: TAUGHT + 40], ones(TAUGHT + 40))
    assert again.told["warm"] and again.told["losses"][0] < 0.1  # it began from the loaded weights
    again.save(str(tmp_path))
    assert len([p for p in tmp_path.iterdir() if p.is_dir()]) == 1
    (whole if whole.exists() else next(p for p in tmp_path.iterdir() if p.is_dir())).joinpath("complete").unlink()
    with pytest.raises(Damaged, match="not whole"):
        finetune.load_from(str(tmp_path), "cpu")


KILLED = """
import sys
import numpy as np
from agent.students import finetune
from tests.cli_room import good
from tests.student_room import colours, context, ones
settings = finetune.Settings(encoder=sys.argv[1], device="cpu", epochs=500, patience=500, rate=1e-3)
student = finetune.build(settings, context())
pool, targets = colours(120)
features = student.features(pool)
student.load(sys.argv[2])
def told(done, total):
    print(done, flush=True)
student.progress = told
while True:
    student.fit(features, targets, ones(120))
"""


def test_a_kill_in_the_middle_leaves_the_last_student(taught: FinetuneStudent, toy: str, tmp_path: Path) -> None:
    taught.save(str(tmp_path))
    before = {p.relative_to(tmp_path): p.stat().st_size for p in tmp_path.rglob("*") if p.is_file()}
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, toy, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    assert child.stdout is not None
    for line in child.stdout:
        if int(line) >= 3:
            break
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert {p.relative_to(tmp_path): p.stat().st_size for p in tmp_path.rglob("*") if p.is_file()} == before
    # what a kill inside `save` can leave: half an encoder under its draft's name, and a complete one no card names
    (tmp_path / "encoder-half.1.tmp").mkdir()
    (tmp_path / "encoder-0123456789ab").mkdir()
    pool, _ = colours(10)
    alone = finetune.load_from(str(tmp_path), "cpu")
    assert np.allclose(alone.predict(alone.features(pool)), taught.predict(taught.features(pool)), atol=1e-5)
    taught.save(str(tmp_path))
    assert len([p for p in tmp_path.iterdir() if p.is_dir()]) == 1
    assert time.time() - (tmp_path / "student.json").stat().st_mtime < 60


def test_each_of_two_networks_learns_the_rows_the_other_finds_easy() -> None:
    """Heads that are certain: the first of rows 0 and 1, the second of 2 and 3; half of the batch is left out."""
    import torch

    targets = torch.eye(2)[[0, 0, 0, 0]]
    rows = [
        torch.tensor([[9.0], [9], [-9], [-9]], requires_grad=True),
        torch.tensor([[-9.0], [-9], [9], [9]], requires_grad=True),
    ]
    heads = [torch.nn.Linear(1, 2, bias=False) for _ in rows]
    for head in heads:
        head.weight.data = torch.tensor([[1.0], [-1.0]])
    loss = _finetune_train.label_loss(rows, heads, targets, torch.ones(4), (slice(0, 2),), 0.5)
    loss.backward()
    assert rows[0].grad is not None and rows[1].grad is not None
    assert (rows[0].grad[:2] == 0).all() and (rows[0].grad[2:] != 0).all()  # taught the second's easy rows
    assert (rows[1].grad[2:] == 0).all() and (rows[1].grad[:2] != 0).all()
    alone = _finetune_train.label_loss(rows[:1], heads[:1], targets, torch.ones(4), (slice(0, 2),), 0.5)
    assert float(alone.detach()) < 1e-6  # small loss: its own easy rows, of which it is certain


def test_soft_targets_are_not_taken_for_wrong_ones() -> None:
    """What is left to learn of a row is its loss less its own entropy: a doubtful teacher is no noise."""
    import torch

    targets = torch.tensor([[0.5, 0.5], [1.0, 0.0]])
    loss, left = _finetune_train.row_losses(torch.zeros(2, 2), targets, (slice(0, 2),))
    assert torch.allclose(loss, torch.full((2,), float(np.log(2))), atol=1e-6)
    assert torch.allclose(left, torch.tensor([0.0, float(np.log(2))]), atol=1e-6)


def test_pairs_are_drawn_together_or_apart() -> None:
    import torch

    targets = torch.eye(2)[[0, 0, 1]]
    near = torch.nn.functional.normalize(torch.tensor([[1.0, 0], [1, 0], [0, 1]]), dim=1)
    far = torch.nn.functional.normalize(torch.tensor([[1.0, 0], [0, 1], [1, 0]]), dim=1)
    good, bad = (_finetune_train.pair_loss(rows, targets, torch.ones(3), (slice(0, 2),)) for rows in (near, far))
    assert float(good) == pytest.approx(0, abs=1e-6) and float(bad) > 1


def test_the_share_left_out_is_chosen_by_held_out_loss() -> None:
    """Clear rows: nothing. A third of the labels wrong and room to learn them by heart: something."""
    rng = np.random.default_rng(0)
    right = np.eye(2, dtype=np.float32)[rng.integers(0, 2, 200)]
    x = rng.normal(size=(200, 60)).astype(np.float32)
    x[:, 0] += 8 * right[:, 0] - 4
    wrong = np.where((rng.random(200) < 0.33)[:, None], right[:, ::-1], right).astype(np.float32)
    shares = [_finetune_noise.share(x, t, ones(200), (slice(0, 2),), 0.01, 0) for t in (right, wrong)]
    assert shares[0] == 0 and shares[1] > 0


def test_the_temperature_makes_confidence_true() -> None:
    """Logits three times too large are told by a temperature near 3: 4,000 rows, of which .9 are right at odds of 9."""
    rng = np.random.default_rng(1)
    right = rng.random(4_000) < 0.9
    targets = np.eye(2, dtype=np.float32)[(~right).astype(int)]
    logits = np.tile(np.array([[3 * np.log(9), 0]], dtype=np.float32), (4_000, 1))
    found, lost = _finetune_noise.temperature(logits, targets, ones(4_000), (slice(0, 2),))
    # The share right has a standard error of .0047, log-odds 1/(.9·.1) times that: .053 of 2.2, and the grid steps 9 %
    assert 2.5 < found < 3.6 and abs(lost - 0.325) < 0.03
    assert _finetune_noise.temperature(logits[:0], targets[:0], ones(0), (slice(0, 2),)) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"mode": "half"}, "mode = 'half' is none of full, lora, contrastive"),
        ({"robust": "yes"}, "robust = 'yes' is none of"),
        ({"device": "tpu"}, "device = 'tpu' is none of auto, cpu, cuda, mps"),
        ({"mode": "contrastive", "robust": "small_loss"}, 'needs mode = "full" or "lora"'),
        ({"forget": 0.2}, "forget needs robust"),
        ({"robust": "small_loss", "forget": 1.5}, "forget = 1.5 must be 0 to .9"),
        ({"rate": 2.0}, "rate = 2.0 must be above 0"),
        ({"epochs": 0}, "epochs = 0 must be at least 1"),
    ],
)
def test_settings_that_make_no_sense_are_told(told: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError) as told_us:
        finetune.Settings(**told)  # type: ignore[arg-type]
    assert words in str(told_us.value)


def test_what_is_not_here_is_told(toy: str, tmp_path: Path) -> None:
    import torch

    with pytest.raises(ConfigError, match="no folder with a model"):
        finetune.build(finetune.Settings(encoder="no-such-model", device="cpu"), context())
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match='device = "cuda": there is no such device here'):
            finetune.build(finetune.Settings(encoder=toy, device="cuda"), context())
    with pytest.raises(DataError, match="no saved student"):
        finetune.load_from(str(tmp_path))
    assert _finetune_net.precision_of("cpu") == "fp32"


ALONE = """
import sys
sys.modules["peft"] = None  # as where it is not installed
from agent.students import finetune
from tests.cli_room import good
from tests.student_room import context
try:
    finetune.build(finetune.Settings(encoder=sys.argv[1], mode="lora", device="cpu"), context())
except Exception as error:
    print(error)
"""


def test_a_missing_package_is_named_with_its_extra(toy: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ALONE, toy], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1]
    )
    assert "'peft': pip install 'tutelage[finetune]'" in done.stdout


def test_texts_that_no_tokenizer_likes(taught: FinetuneStudent) -> None:
    p = taught.predict(taught.features(items(["", "\ud800", "rose " * 500])))
    assert np.allclose(p.sum(axis=1), 1, atol=1e-5)


RUN = """
[task]
labels = {{ red = "", blue = "", green = "" }}
[pool]
path = "mail.csv"
text = "body"
id = "id"
gold = "label"
[goal]
accuracy = 0.9
delta = 0.1
person_minutes = 5
pilot = 12
audit = 15
[[rung]]
student = "finetune"
encoder = "{encoder}"
device = "cpu"
rate = 0.001
epochs = 4
longest = 16
[[rung]]
oracle = "scripted"
accuracy = 0.95
[[rung]]
oracle = "person"
"""


def test_a_run_teaches_it_and_its_export_answers_as_it_does(
    toy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The encoder wants a prompt: what is taught, saved, exported and turned to ONNX reads the same words."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="pip install 'tutelage[onnx]'")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(toy, "wants-words")
    Path("wants-words/config_sentence_transformers.json").write_text('{"prompts": {"classification": "very old "}}')
    pool, targets = colours(150)
    lines = [
        f"{i},{item.text},{list(COLOURS)[t.argmax()]}" for i, (item, t) in enumerate(zip(pool, targets, strict=True))
    ]
    Path("mail.csv").write_text("\n".join(["id,body,label", *lines]))
    Path("tutelage.toml").write_text(RUN.format(encoder=tmp_path / "wants-words"))
    good("run", "--people", "gold", "--budget", "1")
    saved = tmp_path / "tutelage-run" / "model"
    card = json.loads((saved / "student.json").read_text("utf-8"))
    assert card["student"] == "finetune" and card["tuned"]
    texts = items([*(item.text for item in pool), "rose " * 50])
    inside = finetune.load_from(str(saved), "cpu")
    told = inside.predict(inside.features(texts))
    assert accuracy(told[:150], targets) > 0.8
    done = good("export", "model", "model", "--onnx")
    assert done["onnx"]["model.onnx"]["same"] == done["onnx"]["model.onnx"]["rows"] == 150
    shutil.rmtree("tutelage-run")
    shutil.rmtree("wants-words")
    alone = finetune.load_from("model", "cpu")
    assert np.allclose(alone.predict(alone.features(texts)), told, atol=1e-5)
    told_by = graph.run(
        Path("model/onnx/model.onnx"), Path("model/onnx/tokenizer.json"), [t.text for t in texts], "very old "
    )
    assert np.allclose(told_by, told, atol=1e-4)
