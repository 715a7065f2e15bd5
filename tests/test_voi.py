"""What an answer is worth: the laws of `agent.voi`."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from agent import voi

Seeds = st.integers(0, 2**32 - 1)
MANY = settings(max_examples=60, deadline=None)


class World:
    """Items of five labels on a sphere, with their likest others, some of which people answered."""

    def __init__(self, seed: int, n: int = 40, k: int = 5) -> None:
        draw = self.draw = np.random.default_rng(seed)
        self.n, self.doubt = n, draw.random(n).astype(np.float32)
        self.label, self.answered = draw.integers(0, 5, n), draw.random(n) < 0.3
        self.wrong = draw.random(n) < self.doubt
        self.features = draw.normal(size=(n, 6)).astype(np.float32)
        unit = self.features / np.linalg.norm(self.features, axis=1, keepdims=True)
        cosine = unit @ unit.T
        np.fill_diagonal(cosine, -2)
        self.likest = np.argsort(-cosine, axis=1)[:, :k]
        self.likest[draw.random((n, k)) < 0.1] = -1
        self.rows = np.sort(draw.choice(n, n // 2, replace=False))
        self.like = voi.likeness(self.features, self.likest, self.rows)

    def value(self, chance: NDArray[np.float64]) -> NDArray[np.float64]:
        return voi.value(chance, self.rows, self.likest, self.like)


@MANY
@given(Seeds)
def test_likeness_is_the_cosine_where_it_is_positive(seed: int) -> None:
    world = World(seed)
    for row, likes, others in zip(world.rows, world.like, world.likest[world.rows], strict=True):
        for like, other in zip(likes, others, strict=True):
            one, two = world.features[row], world.features[other]
            cosine = 0.0 if other < 0 else max(one @ two / np.linalg.norm(one) / np.linalg.norm(two), 0.0)
            assert abs(like - cosine) < 1e-5


@MANY
@given(Seeds)
def test_likeness_is_the_same_of_sparse_features(seed: int) -> None:
    from scipy.sparse import csr_matrix

    world = World(seed)
    sparse = voi.likeness(csr_matrix(world.features), world.likest, world.rows)
    np.testing.assert_allclose(sparse, world.like, atol=1e-5)


@MANY
@given(Seeds)
def test_a_label_that_people_mended_more_than_foretold_is_doubted_more_and_no_other(seed: int) -> None:
    world = World(seed)
    wrong = world.wrong.copy()
    wrong[world.label == 2] = True
    now = voi.chance(world.doubt, world.label, world.answered, wrong)
    here = world.label == 2
    none = voi.chance(world.doubt, world.label, np.zeros(world.n, bool), wrong)
    np.testing.assert_allclose(none, np.clip(world.doubt, 1e-6, 1 - 1e-6), rtol=1e-4)
    assert (now[here] >= none[here] - 1e-12).all()
    others = voi.chance(world.doubt, world.label, world.answered, world.wrong)
    np.testing.assert_array_equal(now[~here], others[~here])


@MANY
@given(Seeds)
def test_among_items_of_one_label_the_more_doubtful_stay_the_more_doubtful(seed: int) -> None:
    world = World(seed)
    now = voi.chance(world.doubt, world.label, world.answered, world.wrong)
    for label in range(5):
        here = world.label == label
        assert (np.diff(now[here][np.argsort(world.doubt[here])]) >= 0).all()


def test_what_people_found_is_foretold_once_they_said_enough() -> None:
    """Labels off by their own offsets: after 400 answers to each the chance is closer to the truth than the doubt."""
    draw = np.random.default_rng(0)
    label, doubt = draw.integers(0, 4, 4_000), draw.uniform(0.05, 0.5, 4_000).astype(np.float32)
    truth = 1 / (1 + (1 / doubt.astype(float) - 1) * np.exp(-np.array([-1.5, -0.5, 0.5, 1.5])[label]))
    wrong, answered = draw.random(4_000) < truth, draw.random(4_000) < 0.4
    now = voi.chance(doubt, label, answered, wrong)
    assert np.abs(now - truth).mean() < 0.6 * np.abs(doubt - truth).mean()


@MANY
@given(Seeds, st.floats(0, 1))
def test_a_value_is_between_its_own_part_and_all_likes_mended(seed: int, share: float) -> None:
    world = World(seed)
    chance = np.clip(world.doubt.astype(float), 0, share)
    value = world.value(chance)
    assert (value >= chance[world.rows] - 1e-12).all()
    assert (value <= chance[world.rows] * (1 + voi.TAUGHT * world.likest.shape[1]) + 1e-12).all()
    np.testing.assert_allclose(voi.value(chance, world.rows), chance[world.rows])


@MANY
@given(Seeds)
def test_more_doubt_anywhere_never_makes_an_answer_worth_less(seed: int) -> None:
    world = World(seed)
    chance = world.doubt.astype(float)
    raised = chance + world.draw.random(world.n) * (1 - chance)
    assert (world.value(raised) >= world.value(chance) - 1e-12).all()


@MANY
@given(Seeds)
def test_what_is_settled_teaches_nothing_and_copies_count(seed: int) -> None:
    world = World(seed)
    chance = world.doubt.astype(float)
    alone = voi.value(chance, world.rows, world.likest, world.like, np.ones(world.n, bool))
    np.testing.assert_allclose(alone, chance[world.rows])
    three = voi.value(chance, world.rows, world.likest, world.like, None, np.full(world.n, 3))
    np.testing.assert_allclose(three - world.value(chance), 2 * chance[world.rows])


@MANY
@given(Seeds, st.integers(0, 30))
def test_in_turn_every_place_once_and_worth_less_and_less(seed: int, want: int) -> None:
    world = World(seed)
    worth = world.value(world.doubt.astype(float))
    places, values = voi.in_turn(worth, world.rows, world.likest, world.like, want)
    assert len(places) == len(values) == min(want, len(world.rows)) == len(set(places.tolist()))
    assert (np.diff(values) <= 1e-12).all()
    assert (values <= worth[places] + 1e-12).all()
    first = voi.in_turn(worth, world.rows, None, None, want)[0]
    np.testing.assert_array_equal(first, np.argsort(-worth, kind="stable")[:want])
    assert not want or places[0] == first[0]


def test_twins_are_not_asked_about_one_after_the_other() -> None:
    likest = np.array([[1], [0], [-1]])
    like = np.array([[1.0], [1.0], [0.0]])
    places, values = voi.in_turn(np.array([0.9, 0.8, 0.3]), np.arange(3), likest, like, 3)
    assert places.tolist() == [0, 2, 1]
    np.testing.assert_allclose(values, [0.9, 0.3, 0.8 * (1 - voi.SAME)])


@MANY
@given(Seeds)
def test_who_leads_leads_itself_and_is_like_those_it_leads(seed: int) -> None:
    world = World(seed)
    leads = voi.leaders(world.rows, world.likest, world.like)
    leader = dict(zip(world.rows.tolist(), leads.tolist(), strict=True))
    place = {row: number for number, row in enumerate(world.rows.tolist())}
    for row, lead in leader.items():
        assert leader[lead] == lead
        if row != lead:
            near = world.likest[lead].tolist()
            assert world.like[place[lead]][near.index(row)] >= voi.ALIKE
            assert place[lead] < place[row]
    np.testing.assert_array_equal(voi.leaders(world.rows, None, None), world.rows)


@MANY
@given(Seeds)
def test_the_order_of_the_rows_changes_no_value(seed: int) -> None:
    world = World(seed)
    mixed = world.draw.permutation(len(world.rows))
    chance = world.doubt.astype(float)
    like = voi.likeness(world.features, world.likest, world.rows[mixed])
    again = voi.value(chance, world.rows[mixed], world.likest, like)
    np.testing.assert_allclose(again, world.value(chance)[mixed])
