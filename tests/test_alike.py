"""Near-duplicates in a run: asked about once, said so, and never at the cost of the audit."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from test_loop import LADDER, opened, run, sentences

from agent import export
from agent.report.gather import gather

MACHINES = """
[[rung]]
student = "tfidf"
[[rung]]
oracle = "scripted"
accuracy = 0.9
"""


def project(tmp_path: Path, rungs: str, distinct: int = 60, goal: str = "", run: str = "seed = 3") -> Path:
    """Every sentence three times: as it is, shouted, and with other punctuation."""
    rows = [(f"m{i}", text, label) for i, (text, label) in enumerate(sentences(distinct))]
    rows += [(f"{name}-loud", text.upper(), label) for name, text, label in rows[:distinct]]
    rows += [(f"{name}-end", text + " !", label) for name, text, label in rows[:distinct]]
    with open(tmp_path / "pool.csv", "w", newline="") as handle:
        csv.writer(handle).writerows([("id", "text", "team"), *rows])
    (tmp_path / "tutelage.toml").write_text(
        f"""
[task]
[task.labels]
billing = "charges, invoices, refunds"
technical = "bugs, errors, things that do not work"
[pool]
path = "pool.csv"
text = ["text"]
id = "id"
gold = "team"
[goal]
accuracy = 0.9
{goal}
{rungs}
[run]
{run}
"""
    )
    return tmp_path / "tutelage.toml"


def test_a_machine_is_asked_once_about_texts_that_say_the_same(tmp_path: Path) -> None:
    config, finished = run(project(tmp_path, MACHINES))
    assert finished.code == 0
    store, pool = opened(config)
    with store:
        answers = store.spend().by["scripted"].answers
        table = export.labels(config, store, pool)
    assert answers <= 60
    labels = dict(zip(table["id"], table["label"], strict=True))
    assert all(labels[f"m{i}"] == labels[f"m{i}-loud"] == labels[f"m{i}-end"] for i in range(60))
    whys = dict(zip(table["id"], table["why"], strict=True))
    assert whys["m7-loud"].endswith("a near-duplicate of item m7") and "near-duplicate" not in whys["m7"]


def test_with_duplicates_off_each_is_asked_about(tmp_path: Path) -> None:
    config, finished = run(project(tmp_path, MACHINES), "run.duplicates=false")
    assert finished.code == 0
    with opened(config)[0] as store:
        assert store.spend().by["scripted"].answers > 60


def test_the_audit_draws_from_all_items_and_people_s_word_counts_for_likes(tmp_path: Path) -> None:
    config, finished = run(project(tmp_path, LADDER, goal="person_minutes = 12"))
    assert finished.code == 0, finished.reason
    store, pool = opened(config)
    with store:
        audited = {call.item for call in store.asked(_recipe(config)) if call.purpose == "audit"}
        names = {pool.ids[i]: item.name or "" for i, item in enumerate(pool.items(range(len(pool))))}
        assert any(names[item].endswith(("-loud", "-end")) for item in audited)
        table = export.labels(config, store, pool)
        figures = gather(config, store, pool)
    assert figures.copies == 120
    rows = {name: (label, by) for name, label, by in zip(table["id"], table["label"], table["by"], strict=True)}
    mended = [name for name, (_, by) in rows.items() if by == "person" and "-" not in name]
    assert mended
    for name in mended:
        for copy in (f"{name}-loud", f"{name}-end"):
            if rows[copy][1] != "person":
                assert rows[copy][0] == rows[name][0]


def test_a_second_run_over_the_same_pool_asks_nothing_more(tmp_path: Path) -> None:
    path = project(tmp_path, MACHINES)
    config, _ = run(path)
    with opened(config)[0] as store:
        before = store.spend().by["scripted"].answers
    run(path)
    with opened(config)[0] as store:
        assert store.spend().by["scripted"].answers == before


def test_what_a_copy_was_told_outlives_a_broken_cache(tmp_path: Path) -> None:
    path = project(tmp_path, MACHINES)
    config, _ = run(path)
    (kept,) = (config.folder / "cache").glob("alike-*.npy")
    kept.write_bytes(b"torn")
    again, finished = run(path, "run.seed=3")
    assert finished.code == 0 and again.folder == config.folder


def _recipe(config: object) -> str:
    from agent.claim import person_recipe

    return person_recipe(config)  # type: ignore[arg-type]


@pytest.mark.parametrize("order", [("m1", "m1-loud"), ("m1-loud", "m1")])
def test_whichever_of_them_comes_first_in_the_pool_speaks_for_both(tmp_path: Path, order: tuple[str, str]) -> None:
    path = project(tmp_path, MACHINES, distinct=8)
    rows = (tmp_path / "pool.csv").read_text().splitlines()
    chosen = [next(r for r in rows if r.startswith(f"{name},")) for name in order]
    rest = [r for r in rows[1:] if r not in chosen]
    (tmp_path / "pool.csv").write_text("\n".join([rows[0], *chosen, *rest]) + "\n")
    config, _ = run(path)
    store, pool = opened(config)
    with store:
        table = export.labels(config, store, pool)
    whys = dict(zip(table["id"], table["why"], strict=True))
    assert whys[order[1]].endswith(f"a near-duplicate of item {order[0]}")


def test_a_person_s_word_on_any_of_them_counts_for_all(tmp_path: Path) -> None:
    """Whichever of the three people were asked about to teach or repair; the audit's words steer nothing."""
    config, finished = run(project(tmp_path, LADDER, goal="person_minutes = 20\npilot = 60"))
    assert finished.code == 0, finished.reason
    store, pool = opened(config)
    with store:
        asked = {c.item for c in store.asked(_recipe(config)) if c.purpose != "audit"}
        names = [item.name or "" for item in pool.items(range(len(pool)))]
        spoken = {names[i] for i, item in enumerate(pool.ids) if item in asked}
        table = export.labels(config, store, pool)
    labels = dict(zip(table["id"], table["label"], strict=True))
    assert any("-" in name for name in spoken), "a copy was drawn"
    for name in spoken:
        group = {labels[name.split("-")[0] + end] for end in ("", "-loud", "-end")}
        assert len(group) == 1


def test_a_student_s_word_on_a_copy_is_no_echo_of_the_answer_lent_to_it(tmp_path: Path) -> None:
    """Where a machine errs, a student that learns by heart agrees with it if it was taught that answer in a copy.

    600 rows of 200 sentences whose words tell the label, a machine that is right on three of four: twins that were not
    taught a sentence say what the other sentences taught, the right label more often than not; those that were say the
    wrong one.
    """
    from agent.loop import forming
    from agent.loop.ground import open_ground
    from agent.loop.turn import teach_student

    ladder = MACHINES.replace("accuracy = 0.9", "accuracy = 0.75\nbar = 1.0")
    ladder = ladder.replace('student = "tfidf"', 'student = "tfidf"\nl2 = 0.001\nnames = false')
    config, _ = run(project(tmp_path, ladder, distinct=200, run="seed = 3\nmax_turns = 4"))
    ground = open_ground(config, None, None, False, look=True)
    try:
        forming.begin(ground)
        ground.board.refresh(ground.store, ground.recipes)
        teach_student(ground, lambda event: None, 1)
        heard, choices = ground.board.machine["scripted"], list(ground.layout.choices[0])
        gold = np.array([choices.index(str(label)) for label in ground.pool.gold()])
        said = heard.logs.argmax(axis=1)
        wrong = heard.any & (said != gold)
        assert wrong.sum() > 60 and ground.student_says is not None
        echoed = ground.student_says[wrong].argmax(axis=1) == said[wrong]
        assert echoed.mean() < 0.5
    finally:
        ground.store.close()
