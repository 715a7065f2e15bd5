"""The bench on made-up data: what oracles say, what strategies are shown, what curves come to.

The student here is a nearest-centre one: quick, soft, and easy to foresee.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import bench
from agent.bench import picture
from agent.bench.problem import UNKNOWN
from agent.errors import PluginError
from agent.types import Floats, Item, Layout, Picks, PoolView
from eval import _bench, _kept_curves
from eval._sets import Row

CLASSES, EACH = 4, 150
LAYOUT = Layout(("label",), (tuple("abcd"),))
SEEN: list[PoolView] = []
"""Views that the strategies below were shown, newest last."""


class Centres:
    """Softmax of the negative squared distances to the weighted means of the classes; remembers what it was taught."""

    name = "centres"

    def __init__(self) -> None:
        self.means: Any = None
        self.taught = 0

    def features(self, items: Sequence[Item]) -> Any:
        raise NotImplementedError

    def fit(self, features: Any, targets: Floats, weights: Floats) -> None:
        mass = targets * weights[:, None]
        self.taught = len(features)
        self.means = (mass.T @ features + 0.01) / (mass.sum(axis=0)[:, None] + 0.01 * CLASSES)

    def predict(self, features: Any) -> Floats:
        if self.means is None:
            return np.full((len(features), CLASSES), 1 / CLASSES, np.float32)
        far = ((features[:, None] - self.means[None]) ** 2).sum(axis=2)
        return LAYOUT.normalise((-3 * far).astype(np.float32))

    def fresh(self) -> Centres:
        return Centres()

    def save(self, folder: str) -> None:
        raise NotImplementedError

    def load(self, folder: str) -> None:
        raise NotImplementedError


def blobs(seed: int = 0, spread: float = 0.45) -> bench.Problem:
    """Four clouds in the plane, two of them near each other; 500 rows to ask about, 100 to test on."""
    rng = np.random.default_rng(seed)
    centres = np.array([[0, 0], [1.1, 0], [0, 3], [3, 3]], np.float32)
    gold = rng.permutation(np.repeat(np.arange(CLASSES), EACH))
    rows = (centres[gold] + spread * rng.normal(size=(len(gold), 2))).astype(np.float32)
    return bench.Problem(LAYOUT, rows[:500], gold[:500, None], rows[500:], gold[500:, None])


def first(view: PoolView, n: int, seed: int) -> Picks:
    """The first candidates; keeps what it was shown."""
    SEEN.append(view)
    return Picks(np.arange(n), np.ones(n, np.float32), by="first")


def looks(view: PoolView, n: int, seed: int) -> Picks:
    """As `first`, and looks at what the student says of items it was not taught."""
    assert view.said is None or view.said.shape == (view.labeled.shape[0], CLASSES)
    return first(view, n, seed)


def twice(view: PoolView, n: int, seed: int) -> Picks:
    """The same candidate over and over."""
    return Picks(np.zeros(n, np.int64), np.ones(n, np.float32))


PLAN = bench.Plan(labels=60, batch=15, pilot=50)


def curves(names: list[str], seeds: Sequence[int] = (0, 1), plan: bench.Plan = PLAN) -> list[bench.Curve]:
    """Curves on the blobs with a right oracle."""
    problem = blobs()
    return bench.run(problem, Centres(), names, lambda seed: bench.gold(problem), seeds, plan)


def test_a_problem_wants_a_choice_for_each_row() -> None:
    good = blobs()
    with pytest.raises(ValueError, match="500 rows and 1 atoms, but labels of"):
        bench.Problem(LAYOUT, good.pool, good.gold[:7], good.test, good.truth)
    with pytest.raises(ValueError, match="number of one of its atom's choices"):
        bench.Problem(LAYOUT, good.pool, good.gold + CLASSES, good.test, good.truth)


def test_the_same_arguments_give_the_same_curves_and_labels_are_counted() -> None:
    one, two = curves(["random", "margin"]), curves(["random", "margin"])
    assert [(c.strategy, c.seed) for c in one] == [("random", 0), ("margin", 0), ("random", 1), ("margin", 1)]
    for a, b in zip(one, two, strict=True):
        assert np.array_equal(a.accuracy, b.accuracy) and a.by == b.by
        assert a.labels.tolist() == [0, 15, 30, 45, 60] and a.right == 1
        assert a.accuracy[-1] > 0.8 > a.accuracy[0]  # centres of four clouds, two of which overlap


def test_a_strategy_is_shown_what_is_known_and_never_the_pilot() -> None:
    SEEN.clear()
    problem = blobs()
    bench.run(problem, Centres(), ["test_bench:looks"], lambda seed: bench.gold(problem), [3], PLAN)
    begin, last = SEEN[0], SEEN[-1]
    assert begin.labeled is None and begin.targets is None and begin.said is None and not begin.history
    assert len(begin.probabilities) == 450 and len(last.probabilities) == 450 - 45  # 500 less the pilot's 50
    assert last.labeled.shape == (45, 2) and last.targets is not None and last.targets.sum() == 45
    assert [t.labels for t in last.history] == [15, 15, 15] and last.history[0].by == "first"
    assert last.history[0].gain > last.history[0].error > 0  # from knowing nothing to knowing the centres
    assert last.memory is begin.memory


def test_what_a_student_says_of_taught_items_comes_from_twins_and_only_when_looked_at() -> None:
    problem = blobs()
    fits = []

    class Counts(Centres):
        def fit(self, features: Any, targets: Floats, weights: Floats) -> None:
            fits.append(len(features))
            super().fit(features, targets, weights)

        def fresh(self) -> Counts:
            return Counts()

    for name in ("test_bench:first", "test_bench:looks"):
        bench.run(problem, Counts(), [name], lambda seed: bench.gold(problem), [0], PLAN)
        if name.endswith("first"):
            assert fits == [15, 30, 45, 60]
            fits.clear()
    twins = [size for size in fits if size not in (15, 30, 45, 60)]
    assert len(twins) == 15 and sum(twins) == 4 * (15 + 30 + 45)  # of five twins a step one was not taught each item


def test_picks_that_are_not_distinct_are_refused_by_name() -> None:
    with pytest.raises(PluginError, match="test_bench:twice picked 1 items; it was asked for 15"):
        curves(["test_bench:twice"], [0])


def test_made_up_answers_are_as_right_as_said_and_worse_where_a_model_is_unsure() -> None:
    problem = blobs(spread=0.6)
    doubt = bench.doubts(problem, Centres())
    wrong = np.mean(
        [bench.noisy(problem, doubt, 0.85, seed=s).votes[0, :, 0] != problem.gold[:, 0] for s in range(40)], 0
    )
    # 40 × 500 draws: the standard deviation of the mean is at most √(.15 · .85 / 20,000) = .0025; four of them
    assert abs(wrong.mean() - 0.15) < 0.01
    unsure = np.argsort(np.diff(np.sort(doubt, axis=1)[:, -2:], axis=1)[:, 0])
    assert wrong[unsure[:100]].mean() > 2 * wrong[unsure[-100:]].mean()
    votes = bench.noisy(problem, doubt, 0.85, seed=1).votes[0, :, 0]
    taken = np.bincount(votes[(problem.gold[:, 0] == 0) & (votes != 0)], minlength=CLASSES)
    assert taken[1] > taken[2] + taken[3]  # the cloud that the first one overlaps
    with pytest.raises(ValueError, match="between 0 and 1"):
        bench.noisy(problem, doubt, 1.5)


def test_targets_are_posteriors_of_the_votes_and_hard_ones_the_first_word() -> None:
    problem = blobs()
    votes = np.repeat(problem.gold[None], 2, axis=0)
    votes[0, :100] = (votes[0, :100] + 1) % CLASSES  # the first voter is wrong on a fifth, the second on none
    votes[:, 499] = UNKNOWN
    answers = bench.recorded(problem, votes)
    pilot = np.arange(0, 499, 5)  # 100 rows, of which the first is wrong on 20
    soft = answers.targets(problem, pilot)
    assert np.allclose(soft.sum(axis=1), 1, atol=1e-5)
    own, other = problem.gold[0, 0], votes[0, 0, 0]
    # Laplace: the first is right at 81 / 102, the second at 101 / 102; mistakes fall on three choices alike
    odds = (101 / 102) / (1 / 102 / 3) * (21 / 102 / 3) / (81 / 102)
    assert soft[0, own] / soft[0, other] == pytest.approx(odds, rel=1e-3)
    assert soft[200].max() > 0.99 and soft[499].max() == pytest.approx(0.25)
    hard = answers.targets(problem, pilot, soft=False)
    assert hard[0, other] == 1 and hard[499].sum() == 0
    assert not answers.told[499] and answers.told[:499].all()
    assert np.array_equal(bench.gold(problem).targets(problem, pilot).argmax(axis=1), problem.gold[:, 0])


def test_rows_without_a_vote_are_never_asked_about() -> None:
    problem = blobs()
    votes = problem.gold[None].copy()
    votes[0, 100:] = UNKNOWN
    SEEN.clear()
    answers = bench.recorded(problem, votes)
    made = bench.run(problem, Centres(), ["test_bench:first"], lambda seed: answers, [0], PLAN)
    assert len(SEEN[0].probabilities) == 80 and made[0].labels[-1] == 60  # a fifth of 100 is the pilot


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0, 1))
def test_labels_needed_lie_where_the_curve_first_gets_there(heights: list[float], target: float) -> None:
    labels, accuracy = np.arange(len(heights)) * 10, np.array(heights)
    found = bench.needed(labels, accuracy, target)
    if found is None:
        assert accuracy.max() < target
    else:
        assert np.interp(found, labels, accuracy) == pytest.approx(target, abs=1e-6) or found == 0
        assert (accuracy[labels < found - 1e-9] < target + 1e-9).all()


def test_a_summary_averages_over_seeds_and_refuses_mixed_curves() -> None:
    made = curves(["random"], [0, 1, 2])
    one = bench.summary(made)
    assert one.seeds == 3 and one.accuracy == pytest.approx(np.mean([c.accuracy for c in made], axis=0))
    assert one.mean[0] == pytest.approx(np.mean([c.accuracy[1:].mean() for c in made]))
    assert one.mean[1] == pytest.approx(np.std([c.mean for c in made], ddof=1))
    with pytest.raises(ValueError, match="one strategy"):
        bench.summary([*made, *curves(["margin"], [0])])


def test_a_picture_is_a_png_with_words(tmp_path: Path) -> None:
    found = [bench.summary(curves([name])) for name in ("random", "margin")]
    full = bench.full(blobs(), Centres())
    told = picture.draw(tmp_path / "c.png", "Blobs", "against gold", {"centres": found}, {"centres": full})
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    assert told.startswith("Blobs. centres: ") and "margin from" in told and f"all labels {100 * full:.1f} %" in told


def test_the_evaluation_asks_about_no_text_that_it_tests_on() -> None:
    train = [Row("Card lost ", "a"), Row("card lost", "b"), Row("card stolen", "a")]
    assert _bench.apart(train, [Row("card  LOST", "a"), Row("other", "b")]) == [train[2]]


def test_a_kept_curve_hangs_on_data_answers_settings_and_strategy() -> None:
    problem, other = blobs(), blobs(1)
    heard = [bench.gold(problem)]
    noisy = [
        bench.recorded(problem, np.where(np.arange(500) == 7, (heard[0].votes[0, :, 0] + 1) % 4, 0)[None, :, None])
    ]
    seals = {
        _kept_curves.seal(name, rows, answers, *settings)
        for name, rows, answers, settings in (
            ("margin", problem, heard, [1]),
            ("auto", problem, heard, [1]),
            ("margin", other, heard, [1]),
            ("margin", problem, noisy, [1]),
            ("margin", problem, heard, [2]),
        )
    }
    assert len(seals) == 5 and _kept_curves.seal("margin", blobs(), [bench.gold(problem)], 1) in seals
    made = {file.name for file in _kept_curves.sources("auto")}
    assert {"_bandit.py", "auto.py", "engine.py", "lesson.py", "linear.py", "_penalty.py", "encoder.py"} <= made
    assert "badge.py" not in made
