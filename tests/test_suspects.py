"""Likely wrong labels: what the sources say against a label, laws and worlds where the wrong ones are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given as each
from hypothesis import strategies as st

from agent import suspects
from agent.types import Doubles, Floats, Ints, Layout

ONE = Layout(("label",), (("a", "b", "c"),))
TWO = Layout(("toxic", "rude"), (("no", "yes"), ("no", "yes")))


def world(seed: int, n: int = 3_000, wrong: float = 0.2) -> tuple[Ints, Ints, list[Floats]]:
    """Labels of which a share is wrong, the truth, and two sources that know something of the truth."""
    draw = np.random.default_rng(seed)
    truth = draw.integers(0, 3, n)
    given = np.where(draw.random(n) < wrong, (truth + draw.integers(1, 3, n)) % 3, truth)
    lean = 1.5 * np.eye(3)[truth]
    sources = [ONE.normalise((lean + draw.normal(0, 1, (n, 3))).astype(np.float32)) for _ in range(2)]
    return given[:, None], truth, [np.log(s) for s in sources]


def auroc(score: Doubles, wrong: Ints) -> float:
    order = np.argsort(score)
    ranks = np.empty(len(score))
    ranks[order] = np.arange(1, len(score) + 1)
    bad = int(wrong.sum())
    return float((ranks[wrong.astype(bool)].sum() - bad * (bad + 1) / 2) / (bad * (len(score) - bad)))


def test_wrong_labels_stand_first_and_two_sources_find_more_than_one() -> None:
    given, truth, sources = world(1)
    everyone = np.ones(len(truth), bool)
    wrong = (given[:, 0] != truth).astype(np.int64)
    both = auroc(suspects.suspicion(given, sources, [everyone] * 2, ONE), wrong)
    single = [auroc(suspects.suspicion(given, [s], [everyone], ONE), wrong) for s in sources]
    # A score that knows nothing has .5 with a standard deviation of about .01 here (Mann-Whitney, 600 × 2,400).
    assert min(single) > 0.8
    assert both > max(single) + 0.03


@each(st.integers(0, 50), st.permutations([0, 1, 2]))
def test_the_names_of_the_labels_do_not_matter(seed: int, order: list[int]) -> None:
    given, _, sources = world(seed, 40)
    everyone = np.ones(40, bool)
    renamed = np.argsort(order)[given]
    before = suspects.suspicion(given, sources, [everyone] * 2, ONE)
    after = suspects.suspicion(renamed, [s[:, order] for s in sources], [everyone] * 2, ONE)
    assert np.allclose(before, after, atol=1e-5)


def test_a_label_nobody_else_spoke_of_is_not_suspicious_and_no_label_is_none() -> None:
    given = np.array([[0], [-1], [0]])
    logs = np.log(np.array([[0.1, 0.8, 0.1]] * 3, np.float32))
    found = suspects.suspicion(given, [logs], [np.array([True, True, False])], ONE)
    assert found[0] == pytest.approx(np.log(8), abs=1e-5)
    assert found[1] == found[2] == -np.inf


def test_a_rare_label_is_not_suspect_because_it_is_rare() -> None:
    draw = np.random.default_rng(4)
    truth = (draw.random(4_000) < 0.05).astype(np.int64)
    given = np.where(draw.random(4_000) < 0.05, 1 - truth, truth)[:, None]
    layout = Layout(("label",), (("usual", "rare"),))
    # A source that knows how rare the label is and little else.
    says = np.stack([2.0 + draw.normal(0, 0.5, 4_000) - 0.5 * truth, np.zeros(4_000)], axis=1).astype(np.float32)
    logs = np.log(layout.normalise(says))
    everyone, right_and_rare = np.ones(4_000, bool), (given[:, 0] == 1) & (truth == 1)
    wrong = given[:, 0] != truth
    plain = suspects.suspicion(given, [logs], [everyone], layout)
    cured = suspects.suspicion(given, [suspects.centred(given, logs, layout)], [everyone], layout)
    # Uncured, every rare label that is right stands before the usual ones that are wrong.
    assert (plain[right_and_rare].min() > plain[wrong & (given[:, 0] == 0)]).mean() > 0.9
    assert (cured[right_and_rare].min() > cured[wrong & (given[:, 0] == 0)]).mean() < 0.5


def test_a_source_that_knows_nothing_of_the_labels_has_no_say() -> None:
    given, _, sources = world(5)
    noise = np.log(ONE.normalise(np.random.default_rng(6).normal(0, 2, (len(given), 3)).astype(np.float32)))
    assert np.abs(suspects.centred(given, noise, ONE)).max() < 0.2
    kept, whole = suspects.centred(given, sources[0], ONE), sources[0] - sources[0].mean(axis=0)
    say = float((kept * whole).sum() / (whole * whole).sum())
    assert 0.3 < say <= 1.0
    assert np.allclose(kept, say * whole, atol=1e-3), "the same say everywhere"


def test_a_label_of_several_parts_is_as_suspicious_as_its_worst_part() -> None:
    logs = np.log(np.array([[0.9, 0.1, 0.2, 0.8]], np.float32))
    found = suspects.suspicion(np.array([[0, 0]]), [logs], [np.array([True])], TWO)
    assert found[0] == pytest.approx(np.log(4), abs=1e-5)


def test_more_votes_for_a_label_make_it_less_suspicious() -> None:
    counts = np.array([[0, 3, 0], [1, 2, 0], [2, 1, 0], [3, 0, 0]], np.float32)
    found = suspects.suspicion(np.zeros((4, 1), np.int64), [suspects.votes(counts, ONE)], [np.ones(4, bool)], ONE)
    assert (np.diff(found) < 0).all()


def test_the_confident_joint_of_a_worked_example() -> None:
    given = np.array([0, 0, 0, 1, 1, -1])
    p = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.3, 0.7], [0.2, 0.8], [0.0, 1.0]], np.float32)
    # Bars: (0.9 + 0.8 + 0.1) / 3 = 0.6 and (0.7 + 0.8) / 2 = 0.75: the fourth reaches neither and does not count.
    joint = suspects.confident_joint(given, p)
    assert joint.tolist() == [[2, 1], [0, 1]]
    assert suspects.wrong_share(joint, given) == pytest.approx(1 / 3 * 3 / 5)


@pytest.mark.parametrize("wrong", [0.05, 0.2, 0.4])
def test_the_share_of_wrong_labels_is_about_the_share_there_is(wrong: float) -> None:
    draw = np.random.default_rng(3)
    truth = draw.integers(0, 3, 6_000)
    given = np.where(draw.random(6_000) < wrong, (truth + draw.integers(1, 3, 6_000)) % 3, truth)
    sharp = ONE.normalise((6.0 * np.eye(3)[truth] + draw.normal(0, 1, (6_000, 3))).astype(np.float32))
    found = suspects.wrong_share(suspects.confident_joint(given, sharp), given)
    # Four standard deviations of the share that was drawn, and 1 % where the source itself is mistaken.
    assert abs(found - wrong) < 4 * np.sqrt(wrong * (1 - wrong) / 6_000) + 0.01


def test_where_nobody_gave_a_label_nothing_is_wrong() -> None:
    joint = suspects.confident_joint(np.full(4, -1), np.full((4, 3), 1 / 3, np.float32))
    assert joint.sum() == 0
    assert suspects.wrong_share(joint, np.full(4, -1)) == 0.0
