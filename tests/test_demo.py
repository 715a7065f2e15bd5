"""The demos' data and closing table, on the real sources where they lie in the cache; the run itself is `make demo`."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval import _demo_table, _movie, _news, demo


def source(name: str) -> None:
    """Skip unless a source was fetched before: tests reach no network."""
    path = Path(_news.CACHE).expanduser() / name
    if not path.exists():
        pytest.skip(f"{path} is not there: `make demo` fetches it")


def test_the_movie_demo_lays_out_a_pool_real_votes_and_a_configuration(tmp_path: Path) -> None:
    source(_movie.ARCHIVE)
    demo.main(["movie", "--prepare", "--items", "300", "--folder", str(tmp_path)])
    pool = pq.read_table(tmp_path / "pool.parquet").to_pydict()
    people = pq.read_table(tmp_path / "people.parquet").to_pylist()
    assert len(set(pool["id"])) == 300 and set(pool["gold"]) <= {"positive", "negative", None}
    assert {p["label"] for p in people} == {"positive", "negative", None}
    votes: dict[str, list[str]] = {i: [] for i in pool["id"]}
    for p in people:
        votes[p["id"]].append(p["label"])
    assert min(map(len, votes.values())) >= 15
    firm = [(g, v) for i, g in zip(pool["id"], pool["gold"], strict=True) for v in votes[i] if g and v is not None]
    assert 0.9 < sum(g == v for g, v in firm) / len(firm) < 1.0, "single raters agree with the mean, but not always"


def test_the_news_demo_lays_out_four_groups_of_short_posts(tmp_path: Path) -> None:
    source(_news.WHEEL)
    demo.main(["news", "--prepare", "--items", "400", "--folder", str(tmp_path), "--seed", "3"])
    pool = pq.read_table(tmp_path / "pool.parquet").to_pydict()
    config = tomllib.loads((tmp_path / "tutelage.toml").read_text())
    assert set(pool["gold"]) == set(config["task"]["labels"]) == set(_news.GROUPS.values())
    assert all(_news.SHORTEST <= len(text) <= _news.LONGEST for text in pool["text"])
    assert config["rung"][-1]["people"] == "gold" and config["run"]["seed"] == 3
    assert len(set(pool["text"])) == 400


def test_the_same_seed_draws_the_same_items() -> None:
    assert demo.choose(1000, 50, 1) == demo.choose(1000, 50, 1) != demo.choose(1000, 50, 2)
    assert len(set(demo.choose(1000, 50, 1))) == 50
    assert demo.choose(10, 50, 1) == list(range(10)), "asking for more than there is takes all"


@given(st.text(), st.integers(5, 80))
def test_a_cut_text_is_short_and_begins_as_it_did(text: str, longest: int) -> None:
    short = _news.cut(text, longest)
    assert len(short) <= longest + 1 and " ".join(text.split()).startswith(short)


def test_words_are_not_cut_in_two() -> None:
    assert _news.cut("one two three", 9) == "one two"
    assert _news.cut("one two", 7) == "one two"


def test_delivered_labels_are_compared_with_gold_by_rung() -> None:
    labels = [
        {"id": "a", "label": "x", "by": "student"},
        {"id": "b", "label": "y", "by": "student"},
        {"id": "c", "label": "y", "by": "person"},
        {"id": "d", "label": "y", "by": "person"},
    ]
    found = _demo_table.against_gold(labels, {"a": "x", "b": "x", "c": "y", "d": None})
    assert {name: (e["right"], e["of"]) for name, e in found.items()} == {
        "all delivered labels": (2, 3),
        "of these, settled by person": (1, 1),
        "of these, settled by student": (1, 2),
    }


def test_the_interval_is_clopper_and_pearsons() -> None:
    low, high = _demo_table.interval(8, 10)
    assert (round(low, 4), round(high, 4)) == (0.4439, 0.9748)
    assert _demo_table.interval(0, 0) == (0.0, 1.0)
    assert _demo_table.interval(0, 10)[0] == 0.0 and _demo_table.interval(10, 10)[1] == 1.0


def test_the_closing_table_names_the_claim_and_the_truth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "labels.parquet").touch()
    certificate = {
        "items": 1000, "wrong_at_most": 90, "accuracy_at_least": 0.91,
        "delta": 0.05, "target": 0.9, "met": True, "wrong": 9, "audited": 200
    }  # fmt: skip
    used = {"answers": 900, "errors": 1, "usd": 0.0, "tokens_in": 9000, "tokens_cached": 4500, "tokens_out": 900}
    found = {
        "folder": str(tmp_path), "items": 1000, "statuses": {"accepted": 1000}, "by": {"small": 650, "person": 350},
        "gold": {"all delivered labels": _demo_table.share(930, 1000)}, "people_are": demo.PEOPLE["movie"],
        "people": {"pilot": 100, "audit": 200, "escalation": 50}, "unsure": 7, "minutes": 35.0,
        "asked": {"small": used},
        "weights": {"small": {"student": 0.5, "small": 1.0}},
        "agreement": {"small": _demo_table.share(80, 100)}, "alone": {"small": _demo_table.share(810, 1000)},
        "promise": _demo_table.share(925, 1000),
        "stopped": "nothing is left to ask", "turns": 6, "certificate": certificate, "seconds": 61,
    }  # fmt: skip
    _demo_table.show(found)
    said = capsys.readouterr().out
    assert "one real rater's rating" in said and "350 (200 audit, 50 escalation, 100 pilot)" in said
    assert "at least 91.0 % agree with people, with probability 95%" in said
    assert "92.5 % are what the person asked about each item says" in said
    assert "small alone against gold" in said and "93.0 % of 1,000" in said and str(tmp_path / "labels.parquet") in said


def test_a_folder_with_a_run_over_other_items_is_left_alone(tmp_path: Path) -> None:
    pool = {"id": ["1"], "text": ["t"], "gold": [None]}
    demo.lay_out(tmp_path, pool, "[task]\n")
    assert pq.read_table(tmp_path / "pool.parquet").schema.names == ["id", "text", "gold"]
    (tmp_path / "tutelage-run").mkdir()
    demo.lay_out(tmp_path, pool, "[task]\n")
    with pytest.raises(SystemExit, match="other items"):
        demo.lay_out(tmp_path, {**pool, "id": ["2"]}, "[task]\n")
