"""The default strategy and those beside it: when it changes over, whom it leaves alone, and what makes it switch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from agent.acquire import _bandit, _needs, _noise, auto, committee, knowledge
from agent.types import Floats, Layout, PoolView, Tried

SINGLE = Layout(("label",), (("a", "b", "c"),))
MULTI = Layout(("x", "y"), (("no", "yes"), ("p", "q", "r")))
ARMS = ("margin", "typiclust", "random")


def circle(angles: Any) -> Floats:
    """Points of length one."""
    angles = np.asarray(angles, dtype=np.float64)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def rows(*given: Sequence[float], times: int = 1) -> Floats:
    return np.repeat(np.array(given, dtype=np.float32), times, axis=0)


SURE, UNSURE = (0.98, 0.01, 0.01), (0.4, 0.35, 0.25)


def half_doubtful(labeled: int) -> PoolView:
    """400 sure candidates, 200 doubtful ones that lie apart."""
    rng = np.random.default_rng(0)
    angles = np.concatenate([rng.uniform(0, 2, 400), rng.uniform(3, 5, 200)])
    p = np.concatenate([rows(SURE, times=400), rows(UNSURE, times=200)])
    features = circle(angles)
    return PoolView(SINGLE, p, features, features[:labeled] if labeled else None)


def test_typical_items_until_there_are_two_labels_a_choice_and_doubtful_ones_from_then_on() -> None:
    few, many = auto.pick(half_doubtful(5), 5, 0), auto.pick(half_doubtful(6), 5, 0)
    assert few.by == "typiclust" and (few.rows < 400).any()
    assert many.by == "margin" and (many.rows >= 400).all()


def test_knowledge_of_the_labels_spares_a_long_cold_start_unless_answers_speak_against_it() -> None:
    view = half_doubtful(0)
    knowing = replace(view, knowledge=view.probabilities)
    assert auto.pick(knowing, 5, 0).by == "margin"
    assert auto.pick(knowing, 6, 0).by == "typiclust"  # two labels a choice are one batch
    assert auto.pick(replace(view, knowledge=np.full_like(view.probabilities, 1 / 3)), 5, 0).by == "typiclust"
    asked = replace(knowing, labeled=view.features[:4], targets=rows((1, 0, 0), times=4))
    for said, by in ((rows(SURE, times=4), "margin"), (rows((0.1, 0.8, 0.1), times=4), "typiclust")):
        assert auto.pick(replace(asked, said=said), 5, 0).by == by


def test_where_answers_stay_open_and_the_student_disagrees_nobody_is_asked_again() -> None:
    """Two doubtful corners: in one, answers nearby are split and not what the student says; in the other they are
    clear."""
    rng = np.random.default_rng(1)
    here, there = rng.uniform(0, 0.2, 60), rng.uniform(3, 3.2, 60)
    features, asked = circle(np.concatenate([here, there])), circle([0.05, 0.1, 0.15, 3.05, 3.1, 3.15])
    split, clear = (0.5, 0.5, 0.0), (0.0, 1.0, 0.0)
    view = PoolView(
        SINGLE,
        rows(UNSURE, times=120),
        features,
        asked,
        np.concatenate([rows(split, times=3), rows(clear, times=3)]),
        rows((0.05, 0.05, 0.9), times=6),
    )
    ambiguous = _noise.ambiguity(view, np.arange(120), 0)
    assert ambiguous[:60].min() > 0.5 and ambiguous[60:].max() == 0
    assert (auto.pick(view, 3, 0).rows >= 60).all()
    assert len(auto.pick(view, 100, 0).rows) == 100  # asked about they are when nothing else is left


@pytest.mark.parametrize(
    ("target", "said", "quarrel"),
    [
        ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), 0.0),  # settled and not expected: news
        ((0.5, 0.5, 0.0), (0.5, 0.5, 0.0), 0.0),  # open, and known to be
        ((0.5, 0.5, 0.0), (0.0, 0.0, 1.0), 1.0),
        ((0.85, 0.075, 0.075), (0.0, 1.0, 0.0), 0.0),  # what one vote of a fallible annotator comes to
    ],
)
def test_only_an_open_answer_that_was_not_expected_is_a_quarrel(
    target: Sequence[float], said: Sequence[float], quarrel: float
) -> None:
    assert _noise.quarrel(rows(target), rows(said), SINGLE)[0] == pytest.approx(quarrel)


def test_one_contradiction_far_off_is_no_evidence() -> None:
    view = PoolView(SINGLE, rows(UNSURE), circle([0.0]), circle([1.3]), rows((0.5, 0.5, 0.0)), rows((0.0, 0.0, 1.0)))
    assert _noise.ambiguity(view, np.arange(1), 0)[0] == 0
    assert _noise.ambiguity(replace(view, labeled=circle([0.1])), np.arange(1), 0)[0] == pytest.approx(0.5, abs=0.01)


def tried(by: str, gain: float, error: float, labels: int = 50) -> Tried:
    return Tried(by, labels, gain, error)


def test_without_a_yardstick_the_first_arm_stays() -> None:
    assert _bandit.choose([], ARMS) == "margin"
    assert _bandit.choose([tried("knowledge", 1.0, 0.0)], ARMS) == "margin"


def falling(first: str, rates: dict[str, float], batches: int, error: float, seed: int = 0) -> list[str]:
    """A run in which the arm that is chosen gains in proportion to the growth of what is known, as measured."""
    rng = np.random.default_rng(seed)
    history = [tried(first, 1.0, error)]
    for number in range(1, batches):
        by = _bandit.choose(history, ARMS)
        history.append(tried(by, rates[by] / (number + 0.5) + error * rng.normal(), error))
    return [batch.by for batch in history[1:]]


def test_it_moves_where_another_arm_clearly_gains_more_and_not_where_it_gains_less() -> None:
    better = falling("typiclust", {"margin": 0.1, "typiclust": 0.5, "random": 0.2}, 30, 0.001)
    assert better.count("typiclust") >= 20
    worse = falling("typiclust", {"margin": 0.5, "typiclust": 0.35, "random": 0.3}, 30, 0.001)
    assert worse.count("margin") >= 26


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), margin=st.floats(0.05, 0.5), other=st.floats(0.05, 0.5))
def test_a_noisy_yardstick_leaves_the_prior_order(seed: int, margin: float, other: float) -> None:
    """The error is several times what there is to gain."""
    chosen = falling("typiclust", {"margin": margin, "typiclust": other, "random": other}, 20, 2.0, seed)
    assert chosen.count("margin") >= 17


def test_a_student_that_hardly_knows_more_than_a_guess_is_not_trusted_with_the_choice() -> None:
    view = half_doubtful(40)
    assert auto.pick(view, 5, 0).by == "margin"
    vague = replace(view, probabilities=rows((0.4, 0.33, 0.27), times=600))  # (.4 − 1/3) / (2/3) = .1
    picks = auto.pick(vague, 6, 0)
    assert picks.by == "random" and np.allclose(picks.probabilities, 0.01)
    early = replace(half_doubtful(10), targets=rows((1, 0, 0), times=10))
    for said, by in ((SURE, "margin"), ((0.1, 0.8, 0.1), "random")):
        assert auto.pick(replace(early, said=rows(said, times=10)), 5, 0).by == by


def test_what_it_chose_is_told_and_followed() -> None:
    view = half_doubtful(200)
    bad = [tried("margin", 0.001, 0.0005, 50) for _ in range(3)]
    good = [tried("random", 0.2, 0.01, 50) for _ in range(3)]
    picks = auto.pick(replace(view, history=good[:1] + bad + good), 12, 0)
    assert picks.by == "random" and np.allclose(picks.probabilities, 12 / 600)
    assert (picks.rows < 500).any()


def test_balance_prefers_what_is_rare_among_the_answers() -> None:
    rng = np.random.default_rng(2)
    common, rare = (0.5, 0.4, 0.1), (0.1, 0.42, 0.48)
    p = np.concatenate([rows(common, times=300), rows(rare, times=60)])
    features = circle(rng.uniform(0, 6, 360))
    answers = np.concatenate([rows((1, 0, 0), times=25), rows((0, 1, 0), times=25), rows((0, 0, 1), times=2)])
    view = PoolView(SINGLE, p, features, circle(rng.uniform(0, 6, 52)), answers.astype(np.float32))
    even = replace(view, balance=True)
    for seed in range(3):
        assert (auto.pick(even, 3, seed).rows >= 300).all()
    assert _needs.rarity(rows(common), np.full(3, 7.0), SINGLE)[0] == pytest.approx(1)


def test_choices_nobody_has_seen_are_sought_where_knowledge_tells_of_them() -> None:
    rng = np.random.default_rng(3)
    knows = np.concatenate([rows((0.6, 0.39, 0.01), times=400), rows((0.3, 0.2, 0.5), times=3)])
    says = np.concatenate([rows((0.5, 0.49, 0.01), times=400), rows((0.9, 0.05, 0.05), times=3)])
    features = circle(rng.uniform(0, 6, 403))
    seen = rows((1, 0, 0), (0, 1, 0), times=4)
    view = PoolView(SINGLE, says, features, circle(rng.uniform(0, 6, 8)), seen, knowledge=knows)
    assert _needs.missing(view).tolist() == [2]
    assert (auto.pick(view, 8, 0).rows >= 400).sum() == 1
    many = replace(view, labeled=circle(rng.uniform(0, 6, 18)), targets=rows((1, 0, 0), (0, 1, 0), times=9))
    assert not len(_needs.missing(many)) and (auto.pick(many, 8, 0).rows < 400).all()


@pytest.mark.parametrize("kind", ["dense", "sparse", "half", "none"])
@pytest.mark.parametrize("layout", [SINGLE, MULTI])
@pytest.mark.parametrize("strategy", [auto, committee, knowledge])
def test_every_field_several_atoms_any_features(strategy: Any, layout: Layout, kind: str) -> None:
    rng = np.random.default_rng(4)

    def some(n: int) -> Floats:
        return np.concatenate([rng.dirichlet(np.ones(len(c)), n) for c in layout.choices], axis=1).astype(np.float32)

    points: Any = rng.normal(size=(80, 6)).astype(np.float16 if kind == "half" else np.float32)
    points = csr_array(np.where(points > 0.5, points, 0)) if kind == "sparse" else points
    vote = some(60)
    vote[::2] = np.nan
    view = PoolView(
        layout,
        some(60).astype(np.float16) if kind == "half" else some(60),
        None if kind == "none" else points[:60],
        None if kind == "none" else points[60:],
        some(20),
        some(20),
        (some(60), some(60)),
        (vote,),
        some(60),
        True,
        (tried("margin", 0.1, 0.1),),
    )
    for n in (0, 1, 7, 60, 70):
        first, second = strategy.pick(view, n, 5), strategy.pick(replace(view, memory={}), n, 5)
        assert len(set(first.rows.tolist())) == len(first.rows) == min(n, 60)
        assert np.array_equal(first.rows, second.rows) and np.array_equal(first.probabilities, second.probabilities)


def test_a_committee_asks_where_voices_differ() -> None:
    says = np.concatenate([rows(UNSURE, times=10), rows(SURE, times=10)])
    vote = np.full((20, 3), np.nan, dtype=np.float32)
    vote[:10], vote[15] = UNSURE, (0.0, 0.0, 1.0)
    assert committee.pick(PoolView(SINGLE, says, votes=(vote,)), 1, 0).rows.tolist() == [15]
    alone = committee.pick(PoolView(SINGLE, says), 4, 0)
    assert np.allclose(alone.probabilities, 4 / 20)


@given(st.lists(st.integers(0, 2), min_size=2, max_size=6))
def test_disagreement_of_certain_voices_is_the_vote_entropy(votes: list[int]) -> None:
    voices = [(1.0, np.eye(3)[[vote]]) for vote in votes]
    share = np.bincount(votes, minlength=3) / len(votes)
    entropy = -(share[share > 0] * np.log(share[share > 0])).sum() / np.log(3)
    assert committee.disagreement(voices)[0] == pytest.approx(entropy, abs=1e-5)


def test_knowledge_finds_a_rare_choice_before_it_was_seen() -> None:
    rng = np.random.default_rng(5)
    knows = np.concatenate([rows((0.5, 0.4, 0.1), times=500), rows((0.2, 0.2, 0.6), times=12)])
    seen = rows((1, 0, 0), (0, 1, 0), times=5)
    view = PoolView(SINGLE, np.full((512, 3), 1 / 3, np.float32), circle(rng.uniform(0, 6, 512)), None, seen)
    assert set((knowledge.pick(replace(view, knowledge=knows), 5, 0).rows >= 500).tolist()) == {True}
    assert np.allclose(knowledge.pick(view, 5, 0).probabilities, 5 / 512)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=8), st.integers(0, 40), st.integers(0, 99))
def test_shares_lift_the_lowest_first(seen: list[int], n: int, seed: int) -> None:
    counts = np.array(seen, dtype=np.float64)
    given_ = knowledge.shares(counts, n, seed)
    level = counts + given_
    assert given_.sum() == n and (given_ >= 0).all()
    assert level[given_ > 0].max(initial=0) <= level.min() + 1
