"""Examples chosen from candidates: by label, by distance, by block; an item is never among its own examples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from agent import shots


def block_of(found: shots.Blocks, candidates: np.ndarray, pool: np.ndarray, number: np.ndarray) -> np.ndarray:
    """The block of each item: that of the nearest anchor, for a candidate its own."""
    return np.where(number >= 0, found.own[number], shots.nearest(candidates[found.anchors], pool))


def cloud(n: int, d: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


@given(st.lists(st.sampled_from("abc"), max_size=30), st.integers(0, 12))
def test_labels_are_shown_as_evenly_as_they_can_be(labels: list[str], want: int) -> None:
    taken = shots.balanced(labels, want)
    assert len(taken) == len(set(taken)) == min(want, len(labels))
    counts = {label: sum(labels[i] == label for i in taken) for label in labels}
    for label, count in counts.items():
        assert count == labels.count(label) or count >= max(counts.values()) - 1


def test_of_one_label_the_first_come_first() -> None:
    assert shots.balanced(["a", "a", "b", "a"], 3) == [0, 2, 1]


def test_diverse_examples_lie_far_apart_and_a_longer_list_begins_with_the_shorter() -> None:
    four = np.repeat(np.eye(4, dtype=np.float32), 5, axis=0) + 0.01 * cloud(20)
    taken = shots.diverse(four, 4)
    assert {i // 5 for i in taken} == {0, 1, 2, 3}
    assert shots.diverse(four, 9)[:4] == taken
    assert shots.diverse(four, 99) and sorted(shots.diverse(four, 99)) == list(range(20))
    assert shots.diverse(four, 0) == [] and shots.diverse(four[:0], 3) == []


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
def test_items_of_a_block_are_shown_what_is_near_them(sparse: bool) -> None:
    middles = 10 * np.eye(4, dtype=np.float32)
    pool = np.repeat(middles, 60, axis=0) + cloud(240)
    pilot = np.arange(0, 240, 6)
    own = np.full(240, -1)
    own[pilot] = np.arange(40)
    made = csr_array(pool) if sparse else pool
    found = shots.blocks(made[pilot], 3, 240)
    where = block_of(found, made[pilot], made, own)
    assert len(found.anchors) == 5
    for item in range(240):
        shown = pilot[list(found.shots[where[item]])]
        assert len(shown) == 3 and item not in shown
        assert (shown // 60 == item // 60).all()


def test_a_pool_that_grows_keeps_its_blocks_and_gets_more() -> None:
    pilot = cloud(40)
    small, large = (shots.blocks(pilot, 4, n) for n in (200, 900))
    assert len(small.anchors) < len(large.anchors)
    assert (large.anchors[: len(small.anchors)] == small.anchors).all()
    count = len(small.anchors)
    assert large.shots[:count] == small.shots[:count]
    assert [some[-1] for some in small.shots[:count]] == small.anchors.tolist(), "the anchor stands next to the item"


@pytest.mark.parametrize("m", [1, 2, 3])
def test_few_candidates_are_shown_all_but_themselves(m: int) -> None:
    pilot = cloud(m)
    found = shots.blocks(pilot, 3, 10)
    for candidate, block in enumerate(block_of(found, pilot, pilot, np.arange(m))):
        assert sorted(found.shots[block]) == [i for i in range(m) if i != candidate]
    others = block_of(found, pilot, cloud(5, seed=1), np.full(5, -1))
    assert all(sorted(found.shots[block]) == list(range(m)) for block in others)
