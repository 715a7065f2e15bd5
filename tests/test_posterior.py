"""The posterior: laws of pooling, worlds made to mislead it, and Dawid-Skene beside a slow reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from agent import aggregate
from agent.posterior import Source, cast, nearest, neighbours, pool
from agent.posterior.crowd import crowd
from agent.posterior.risk import recalibrate
from agent.types import Floats, Ints, Layout

THREE = Layout(("label",), (("a", "b", "c"),))
MANY = Layout(("x", "y"), (("no", "yes"), ("p", "q", "r")))
NOBODY = np.zeros(0, np.int64)


def coin(truth: Ints, right: float, choices: int, rng: np.random.Generator) -> Ints:
    """Votes that are right with a chance, else any other choice."""
    wrong = (truth + rng.integers(1, choices, len(truth))) % choices
    return np.where(rng.random(len(truth)) < right, truth, wrong)


def one_hot(truth: Ints, layout: Layout) -> Floats:
    """(n,) or (n, atoms) choices as rows."""
    named = truth.reshape(len(truth), len(layout.slices))
    parts = [np.eye(s.stop - s.start, dtype=np.float32)[named[:, a]] for a, s in enumerate(layout.slices)]
    return np.concatenate(parts, axis=1)


def sources(layout: Layout, n: int, seed: int) -> tuple[list[Source], Ints]:
    """Four sources of both kinds, some silent here and there, and the truth (n, atoms)."""
    rng = np.random.default_rng(seed)
    truth = np.stack([rng.integers(0, s.stop - s.start, n) for s in layout.slices], axis=1)
    out = []
    for number, strength in enumerate((2.0, 1.0, 0.5)):
        logs = rng.normal(0, 1, (n, layout.width)).astype(np.float32)
        for a, s in enumerate(layout.slices):
            logs[np.arange(n), s.start + truth[:, a]] += strength
        out.append(Source(f"m{number}", np.log(layout.normalise(logs)), rng.random(n) < 0.9))
    student = np.log(layout.normalise(rng.normal(0, 1, (n, layout.width)).astype(np.float32)))
    return [*out, Source("student", student, np.ones(n, bool), "student")], truth


@given(st.sampled_from([THREE, MANY]), st.integers(0, 10**6), st.sampled_from([0, 5, 30, 160]))
@settings(max_examples=15, deadline=None)
def test_it_gives_distributions_and_chances_whatever_the_order_of_items(layout: Layout, seed: int, m: int) -> None:
    heard, truth = sources(layout, 200, seed)
    rows = np.random.default_rng(seed).choice(200, m, replace=False)
    found = pool(heard, rows, one_hot(truth[rows], layout), layout)
    for s in layout.slices:
        assert np.allclose(found.posterior[:, s].sum(axis=1), 1, atol=1e-5)
    assert ((found.error >= 0) & (found.error <= 1)).all() and sum(found.trust.values()) == pytest.approx(1)
    order = np.random.default_rng(seed + 1).permutation(200)
    place = np.argsort(order)
    moved = [Source(s.name, s.logs[order], s.heard[order], s.role) for s in heard]
    again = pool(moved, place[rows], one_hot(truth[rows], layout), layout)
    assert np.allclose(again.posterior, found.posterior[order], atol=1e-4)
    assert np.allclose(again.error, found.error[order], atol=1e-4)


@given(st.integers(0, 10**6), st.sampled_from([0, 30, 160]))
@settings(max_examples=10, deadline=None)
def test_neither_the_order_of_sources_nor_the_names_of_labels_matter(seed: int, m: int) -> None:
    heard, truth = sources(THREE, 200, seed)
    rows = np.arange(m)
    said = one_hot(truth[rows], THREE)
    found = pool(heard, rows, said, THREE)
    turned = pool(heard[::-1], rows, said, THREE)
    assert np.allclose(turned.posterior, found.posterior, atol=2e-3)
    turn = [2, 0, 1]
    renamed = [Source(s.name, s.logs[:, turn], s.heard, s.role) for s in heard]
    assert np.allclose(pool(renamed, rows, said[:, turn], THREE).posterior, found.posterior[:, turn], atol=2e-3)


def test_without_answers_machines_share_a_vote_and_the_silent_leave_theirs_to_the_others() -> None:
    votes = np.array([[0, 0, 1], [0, -1, -1], [-1, -1, -1], [2, 1, 2]])
    found = pool([cast(str(j), votes[:, j], THREE) for j in range(3)], NOBODY, one_hot(NOBODY, THREE), THREE)
    assert set(found.weights.values()) == {1 / 3} and found.temperature == 1
    assert found.posterior[0].argmax() == 0 and found.posterior[1].argmax() == 0
    assert found.posterior[1, 0] > found.posterior[0, 0], "one voice alone is the whole vote"
    assert np.allclose(found.posterior[2], 1 / 3, atol=1e-6)


def test_what_a_machine_says_of_nearly_every_item_is_little_news() -> None:
    rng = np.random.default_rng(10)
    truth = rng.integers(0, 3, 900)
    votes = [coin(truth, 0.6, 3, rng), *(np.where(rng.random(900) < 0.9, 1, coin(truth, 0.5, 3, rng)) for _ in "ab")]
    found = pool([cast(str(j), v, THREE) for j, v in enumerate(votes)], NOBODY, one_hot(NOBODY, THREE), THREE)
    assert (found.posterior.argmax(axis=1) == truth).mean() > 0.58
    assert (aggregate.majority(np.stack(votes, axis=1), 3).argmax(axis=1) == truth).mean() < 0.45


def test_a_source_that_never_spoke_changes_nothing() -> None:
    heard, truth = sources(THREE, 300, 1)
    mute = Source("mute", np.full((300, 3), np.nan, np.float32), np.zeros(300, bool), "neighbours")
    for m in (0, 60):
        said = one_hot(truth[:m], THREE)
        with_it = pool([*heard, mute], np.arange(m), said, THREE)
        assert np.allclose(with_it.posterior, pool(heard, np.arange(m), said, THREE).posterior, atol=5e-3)


def test_an_answer_is_never_told_back() -> None:
    """What is said of an answered item rests on the other answers: one answer changed leaves its own row as it was."""
    heard, truth = sources(THREE, 200, 3)
    said = one_hot(truth[:40, 0], THREE)
    other = said.copy()
    other[7] = np.roll(said[7], 1)
    one, two = (pool(heard, np.arange(40), s, THREE) for s in (said, other))
    held = np.abs(one.posterior[7] - two.posterior[7]).max()
    # Only trust and temperature, two numbers of all forty answers, may move it; a fit on its own answer moves it .2.
    assert held < 0.08


def world(name: str, n: int, rng: np.random.Generator) -> tuple[list[Ints], Ints]:
    """Votes and truth of three choices, made so that one way of pooling is right and the others are misled."""
    truth = rng.integers(0, 3, n)
    if name == "one knows":
        return [coin(truth, 0.9, 3, rng), *(coin(truth, 0.36, 3, rng) for _ in range(8))], truth
    if name == "all alike":
        return [coin(truth, 0.65, 3, rng) for _ in range(6)], truth
    if name == "five copies err together":
        copy = coin(truth, 0.5, 3, rng)
        copies = [np.where(rng.random(n) < 0.9, copy, coin(truth, 0.5, 3, rng)) for _ in range(5)]
        return [*copies, coin(truth, 0.8, 3, rng)], truth
    if name == "hard items fool all":
        hard, wrong = rng.random(n) < 0.4, (truth + 1) % 3
        return [np.where(hard & (rng.random(n) < 0.8), wrong, coin(truth, 0.9, 3, rng)) for _ in range(5)], truth
    if name == "labels slip":
        slip = [np.where(rng.random(n) < 0.8, np.minimum(truth + 1, 2), coin(truth, 0.5, 3, rng)) for _ in range(4)]
        return [*slip, coin(truth, 0.55, 3, rng)], truth
    if name == "each knows one label":
        knows = [np.where(truth == c, coin(truth, 0.95, 3, rng), coin(truth, 0.45, 3, rng)) for c in range(3)]
        return [*knows, coin(truth, 0.6, 3, rng)], truth
    return [rng.integers(0, 3, n) for _ in range(5)], truth


@pytest.mark.parametrize(
    "name",
    ["one knows", "all alike", "five copies err together", "hard items fool all", "labels slip", "nobody knows"],
)
def test_it_is_not_worse_than_the_best_simple_choice(name: str) -> None:
    """Mean over 12 draws of 50 answers, held against the better of majority and best single on the same draws.

    A draw's difference has a standard deviation of about 3 points (measured), its mean one of .9: 2.5 points are
    nearly three of them. "labels slip" is a world where every simple choice is wrong: there it must win clearly.
    """
    gaps = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        votes, truth = world(name, 1_000, rng)
        found = pool(
            [cast(str(j), v, THREE) for j, v in enumerate(votes)], np.arange(50), one_hot(truth[:50], THREE), THREE
        )
        right = np.array([(v == truth) for v in votes])
        single = right[right[:, :50].sum(axis=1).argmax(), 50:].mean()
        counted = np.stack([(np.array(votes) == k).sum(axis=0) for k in range(3)], axis=1)
        top = counted == counted.max(axis=1, keepdims=True)
        majority = (top / top.sum(axis=1, keepdims=True))[np.arange(1_000), truth][50:].mean()
        gaps.append((found.posterior.argmax(axis=1) == truth)[50:].mean() - max(majority, single))
    assert np.mean(gaps) > (0.08 if name == "labels slip" else -0.025)


def test_who_agrees_with_whom_is_heard_where_answers_are_too_few_to_tell() -> None:
    """Each machine knows one label. Fifty answers hardly show it, their votes on 1,000 items do.

    Twelve draws of 950 items: the mean's standard error is under .005 (measured), the gain is about .05.
    """
    gaps = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        votes, truth = world("each knows one label", 1_000, rng)
        heard = [cast(str(j), v, THREE) for j, v in enumerate(votes)]
        found = pool(heard, np.arange(50), one_hot(truth[:50], THREE), THREE)
        counts = np.stack([np.sum([v == c for v in votes], axis=0) for c in range(3)], axis=1)
        gaps.append((found.posterior.argmax(axis=1) == truth)[50:].mean() - (counts.argmax(axis=1) == truth).mean())
    assert np.mean(gaps) > 0.02


@pytest.mark.parametrize("learnt", [10_000, 200])
def test_a_crowds_own_word_is_dawid_and_skenes(learnt: int) -> None:
    """Of each atom by itself, with silences; learnt from a part of the items it is nearly the same."""
    heard, _ = sources(MANY, 400, 11)
    spoke = np.stack([s.heard for s in heard[:3]], axis=1)
    found = crowd(heard, MANY, seed=1, learnt=learnt)
    assert found is not None and crowd(heard[:2], MANY) is None, "two can only contradict one another"
    said = found.says(heard, slice(None), MANY)
    for s in MANY.slices:
        votes = np.where(spoke, np.stack([h.logs[:, s].argmax(axis=1) for h in heard[:3]], axis=1), -1)
        whole = aggregate.dawid_skene(votes, s.stop - s.start)[0]
        mine = np.exp(said[:, s]) / np.exp(said[:, s]).sum(axis=1, keepdims=True)
        same = (mine.argmax(axis=1) == whole.argmax(axis=1)).mean()
        assert same > (0.995 if learnt > 400 else 0.7)


def test_what_is_said_to_be_wrong_one_time_in_ten_is() -> None:
    """Correlated mistakes make a plain pool too sure of itself; 300 answers mend that."""
    rng = np.random.default_rng(5)
    votes, truth = world("hard items fool all", 4_000, rng)
    heard = [cast(str(j), v, THREE) for j, v in enumerate(votes)]
    found = pool(heard, np.arange(300), one_hot(truth[:300], THREE), THREE)
    wrong = found.posterior[300:].argmax(axis=1) != truth[300:]
    # 300 answers tell a share to within .028 (one standard error); the rest is what a monotone curve adds.
    assert abs(found.error[300:].mean() - wrong.mean()) < 0.08


def test_after_rounds_by_doubt_the_error_of_what_is_left_is_not_made_small() -> None:
    """Fitted on 90 answers drawn at random, people then answer the 400 least sure items: what is left is as wrong as
    was said, or less.

    Ten draws. Pilots of 90 tell a mean error of .1 to .03 each, ten of them to .01; items that fool all alike leave
    predictions up to .02 too high (measured).
    """
    said, true = [], []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        truth, hard = rng.integers(0, 3, 2_000), rng.random(2_000) < 0.35
        heard = []
        for number, strength in enumerate((2.2, 1.6, 1.2)):
            logs = rng.normal(0, 1, (2_000, 3))
            logs[np.arange(2_000), truth] += strength * np.where(hard, 0.4, 1.6)
            heard.append(Source(str(number), np.log(THREE.normalise(logs.astype(np.float32))), np.ones(2_000, bool)))
        found = pool(heard, np.arange(90), one_hot(truth[:90], THREE), THREE, seed=seed)
        left = np.argsort(found.error[90:])[: 2_000 - 90 - 400] + 90
        said.append(found.error[left].mean())
        true.append((found.posterior[left].argmax(axis=1) != truth[left]).mean())
    assert -0.015 < np.mean(said) - np.mean(true) < 0.035


def test_answers_that_were_sought_out_weigh_what_they_stand_for() -> None:
    """Items on which two machines differ are asked about five times as often; weighed by 1/π the shares come out."""
    rng = np.random.default_rng(6)
    truth = rng.choice(3, 6_000, p=[0.6, 0.3, 0.1])
    one, two = coin(truth, 0.7, 3, rng), coin(truth, 0.6, 3, rng)
    chance = np.where(one == two, 0.05, 0.25)
    rows = np.flatnonzero(rng.random(6_000) < chance)
    heard = [cast("one", one, THREE), cast("two", two, THREE)]
    loss = []
    for importance in (None, 0.25 / chance[rows]):
        found = pool(heard, rows, one_hot(truth[rows], THREE), THREE, importance)
        rest = np.setdiff1d(np.arange(6_000), rows)
        loss.append(-np.log(found.posterior[rest, truth[rest]]).mean())
    assert loss[1] < loss[0] + 0.005


@given(st.integers(0, 10**6), st.integers(1, 80))
@settings(max_examples=40, deadline=None)
def test_recalibration_keeps_the_order_and_stays_a_chance(seed: int, m: int) -> None:
    rng = np.random.default_rng(seed)
    predicted = np.round(rng.random(200), 2)
    seen = rng.choice(predicted, m)
    out = recalibrate(predicted, seen, (rng.random(m) < 0.5).astype(float), np.ones(m))
    order = np.argsort(predicted, kind="stable")
    steps, apart = np.diff(out[order]), np.diff(predicted[order])
    assert (out >= 0).all() and (out <= 1).all()
    assert (steps[apart > 0] > 0).all() and np.allclose(steps[apart == 0], 0)


def test_recalibration_learns_that_sure_items_are_often_wrong() -> None:
    predicted = np.linspace(0.01, 0.5, 400)
    seen = np.full(300, 0.02)
    out = recalibrate(predicted, seen, (np.arange(300) % 5 == 0).astype(float), np.ones(300))
    assert 0.1 < out[10] < 0.25 and out[-1] > out[10]
    assert np.array_equal(recalibrate(predicted, seen[:0], seen[:0], seen[:0]), predicted), "no answers, no change"


def test_neighbours_speak_of_the_others_only() -> None:
    rng = np.random.default_rng(7)
    truth = rng.integers(0, 3, 300)
    vectors = np.eye(3)[truth] + rng.normal(0, 0.1, (300, 3))
    graph = nearest(vectors, 5)
    assert (graph != np.arange(300)[:, None]).all()
    said = neighbours(vectors, one_hot(truth, THREE), THREE, k=5)
    assert (said.argmax(axis=1) == truth).mean() > 0.98
    alone = one_hot(truth, THREE)
    alone[1:] = 0
    lone = neighbours(vectors, alone, THREE, graph=graph)
    assert np.allclose(np.exp(lone[0]), 1 / 3), "its own label is not evidence of it"
    from scipy.sparse import csr_array

    some = nearest(csr_array(vectors), 5)
    assert np.array_equal(np.sort(some, axis=1), np.sort(graph, axis=1))
    sampled = nearest(vectors, 5, exact=100)
    assert (truth[sampled] == truth[:, None]).mean() > 0.98


# ---------------------------------------------------------------- Dawid and Skene


def slow(votes: Ints, choices: int, smoothing: float, steps: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Their paper's steps (2.3 to 2.5), one vote at a time."""
    n, many = votes.shape
    belief = aggregate.majority(votes, choices).astype(float)
    for _ in range(steps):
        table = np.full((many, choices, choices), smoothing)
        for i in range(n):
            for j in range(many):
                if votes[i, j] >= 0:
                    table[j, :, votes[i, j]] += belief[i]
        table /= table.sum(axis=2, keepdims=True)
        prior = belief.sum(axis=0) + smoothing
        prior /= prior.sum()
        for i in range(n):
            row = prior.copy()
            for j in range(many):
                if votes[i, j] >= 0:
                    row *= table[j, :, votes[i, j]]
            belief[i] = row / row.sum()
    return belief, table


@given(st.integers(0, 10**6), st.integers(2, 4), st.integers(1, 5), st.integers(1, 6))
@settings(max_examples=15, deadline=None)
def test_dawid_skene_is_the_slow_reference(seed: int, choices: int, many: int, steps: int) -> None:
    votes = np.random.default_rng(seed).integers(-1, choices, (25, many))
    posterior, confusion = aggregate.dawid_skene(votes, choices, steps=steps, tolerance=-np.inf)
    known, table = slow(votes, choices, 0.01, steps)
    assert np.allclose(posterior, known, atol=1e-5) and np.allclose(confusion, table, atol=1e-8)


def test_dawid_skene_finds_the_one_who_knows() -> None:
    rng = np.random.default_rng(8)
    truth = rng.integers(0, 3, 2_000)
    votes = np.stack([coin(truth, right, 3, rng) for right in (0.9, 0.6, 0.5, 0.5, 0.4)], axis=1)
    votes[rng.random(votes.shape) < 0.2] = -1
    posterior, confusion = aggregate.dawid_skene(votes, 3)
    plain = aggregate.majority(votes, 3).argmax(axis=1)
    assert (posterior.argmax(axis=1) == truth).mean() > (plain == truth).mean() + 0.03
    assert np.abs(np.trace(confusion, axis1=1, axis2=2) / 3 - [0.9, 0.6, 0.5, 0.5, 0.4]).max() < 0.08


def test_dawid_skene_takes_many_annotators_and_says_what_is_wrong_with_a_vote() -> None:
    rng = np.random.default_rng(9)
    truth = rng.integers(0, 2, 500)
    votes = np.stack([coin(truth, 0.7, 2, rng) for _ in range(80)], axis=1)
    votes[rng.random(votes.shape) < 0.9] = -1
    assert (aggregate.dawid_skene(votes, 2)[0].argmax(axis=1) == truth).mean() > 0.8
    with pytest.raises(ValueError, match="between -1 and 1"):
        aggregate.dawid_skene(np.array([[0, 2]]), 2)
    nobody = aggregate.dawid_skene(np.full((2, 3), -1), 2)[0]
    assert np.allclose(nobody, 0.5)
