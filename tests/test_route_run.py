"""The rule in the loop, and `tutelage route`: what is asked, what chance is recorded, what is said of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cli_room import call, good
from test_loop import LADDER, project, run

from agent import claim, loop
from agent import config as settings
from agent.loop import explain
from agent.store import Store

TWO = LADDER.replace(
    '[[rung]]\noracle = "person"',
    '[[rung]]\noracle = "scripted"\nname = "large"\naccuracy = 0.97\nseed = 5\nbill_usd = 0.004\n'
    '[[rung]]\noracle = "person"',
)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with two machines, 200 items."""
    path = project(tmp_path_factory.mktemp("two"), n=200, rungs=TWO, goal="person_minutes = 13")
    _, finished = run(path)
    assert finished.code == 0, finished.reason
    return path


def test_every_question_says_with_what_chance_its_item_was_drawn(done: Path) -> None:
    config = settings.load(done, [])
    with Store.open(config.store_url) as store:
        calls = [call for _, call, _ in store.answers_since(0) if call.annotator in ("scripted", "large")]
        assert all(0 < call.probability <= 1 for call in calls)
        for name in ("scripted", "large"):
            asked = [c for c in calls if c.annotator == name and c.purpose != "pilot"]
            for turn in {c.turn for c in asked}:
                now = [c for c in asked if c.turn == turn]
                drawn = [c for c in now if c.probability < 1]
                # Five per cent of as many as were chosen, rounded up; what the acquisition draws by itself is its own.
                assert name == "scripted" or len(drawn) <= np.ceil(0.05 * (len(now) - len(drawn)) + 1e-9)
                assert len({c.probability for c in drawn}) <= (2 if name == "scripted" else 1), "one chance a draw"


def test_the_price_list_tells_prices_and_what_a_wrong_label_is_worth(done: Path) -> None:
    found = good("route", "-c", str(done))
    rungs = {row["rung"]: row for row in found["rungs"]}
    assert rungs["person"]["usd"] == pytest.approx(25 * 8 / 3600)
    assert rungs["scripted"]["usd"] == pytest.approx(0.001) and rungs["large"]["usd"] == pytest.approx(0.004)
    assert rungs["student"]["usd"] == 0
    assert found["by"] == "the rule" and found["one_wrong_label_usd"] >= 0
    settled = sum(row["settles"] + row["would_be_asked"] for row in rungs.values()) + found["unsure"]
    assert settled == found["items"] == 200
    text = call("route", "-c", str(done)).stdout
    assert "one wrong label is worth" in text and "8 s at $25 an hour" in text


def test_an_item_is_explained_by_any_of_its_names(done: Path) -> None:
    config = settings.load(done, [])
    by_name = good("route", "-c", str(done), "--explain", "m17")["explained"]
    assert by_name["id"] == "m17" and by_name["said"][0]["annotator"] == "student"
    for other in (by_name["item"], by_name["item"][:12]):
        assert good("route", "-c", str(done), "--explain", other)["explained"] == by_name
    row = good("route", "-c", str(done), "--explain", "19")["explained"]
    assert row["id"] in ("m17", "m18"), "the pool's row, where no id is that"
    text = call("route", "-c", str(done), "--explain", "m17").stdout
    assert "item m17" in text and "believed:" in text and by_name["why"] in text
    wrong = call("route", "-c", str(done), "--explain", "m7x")
    assert wrong.exit_code == 2 and "did you mean m7" in wrong.stderr
    assert Store.open(config.store_url).verify() == []


def test_a_tighter_goal_makes_a_wrong_label_dearer_and_says_what_is_weighed(done: Path) -> None:
    worth = [
        good("route", "-c", str(done), "--set", f"goal.accuracy={goal}")["one_wrong_label_usd"]
        for goal in (0.8, 0.99, 0.999)
    ]
    assert worth == sorted(worth) and worth[-1] > 0
    look = explain.Look(settings.load(done, ["goal.accuracy=0.999", "goal.person_minutes=60"]))
    try:
        asked = np.flatnonzero(look.routes.action == 1)
        assert len(asked), "there is something to ask"
        one = explain.item(look, int(asked[0]))
        options = {a["action"]: a for a in one["actions"]}
        best = min((a for a in one["actions"] if not a["barred"]), key=lambda a: a["total_usd"])
        assert best["action"] == f"ask {one['rung']}" and f"So {one['rung']} is asked next" in one["why"]
        assert options["ask person"]["error_in_the_end"] == 0
        assert "One wrong label is worth $" in one["why"]
    finally:
        look.close()


def test_what_people_said_is_the_end_of_it(done: Path) -> None:
    look = explain.Look(settings.load(done, []))
    try:
        row = int(np.flatnonzero(look.ground.board.spoken)[0])
        told = explain.item(look, row)
        assert told["why"].startswith("A person said so") and told["actions"] == []
        assert told["said"][-1]["annotator"] == "person"
    finally:
        look.close()


def test_a_written_bar_is_kept_whatever_the_rule_would_do(tmp_path: Path) -> None:
    path = project(tmp_path, rungs=LADDER.replace('student = "tfidf"', 'student = "tfidf"\nbar = 1.0'))
    _, finished = run(path, "goal.accuracy=0.5")
    assert finished.code == 0
    assert finished.summary["accepted"]["student"] == 0, "nothing is ever that sure"


def test_an_hour_that_costs_nothing_sends_all_that_is_left_to_people(tmp_path: Path) -> None:
    """With people free of charge the minutes alone bind."""
    path = project(tmp_path, goal="person_minutes = 8\nperson_usd_per_hour = 0")
    _, finished = run(path, "goal.accuracy=0.999")
    assert finished.code == 0
    assert finished.summary["people"] >= 25


def test_before_anybody_could_measure_bars_decide_and_that_is_said(tmp_path: Path) -> None:
    path = project(tmp_path, rungs=LADDER.partition('[[rung]]\noracle = "person"')[0])
    config = settings.load(path, [])
    assert loop.run(config).code == 0
    found = good("route", "-c", str(path), "--explain", "m3")
    assert found["by"] == "bars" and "not known yet" in found["explained"]["why"]
    assert "not known yet" in call("route", "-c", str(path)).stdout


def test_without_a_run_the_way_to_one_is_named(tmp_path: Path) -> None:
    path = project(tmp_path)
    said = call("route", "-c", str(path))
    assert said.exit_code == 2 and "tutelage run" in said.stderr


def test_where_the_audit_does_not_certify_the_plan_is_tightened_while_there_are_minutes(tmp_path: Path) -> None:
    """What people say of audited items, which nothing is decided by, differs from all that is known of the others."""
    goal = "person_minutes = 40\npilot = 40\naudit = 60"
    folders = [tmp_path / "first", tmp_path / "then"]
    for folder in folders:
        folder.mkdir()
    config, first = run(project(folders[0], n=300, goal=goal), "goal.accuracy=0.9")
    with Store.open(config.store_url) as store:
        names = dict(zip(store.item_ids(), store.names(), strict=True))
        cards = store.asked(claim.person_recipe(config))
        audited = [names[call.item] for call in cards if call.purpose == "audit"]
    turned = set(audited[::3])
    path = project(folders[1], n=300, goal=goal)
    said = [(f"m{i}", ("billing", "technical")[(i + (f"m{i}" in turned)) % 2]) for i in range(300)]
    (folders[1] / "people.csv").write_text("id,annotator,label\n" + "".join(f"{i},p,{name}\n" for i, name in said))
    path.write_text(path.read_text().replace('people = "gold"', 'people = "people.csv"'))
    config, then = run(path, "goal.accuracy=0.9")
    assert first.code == then.code == 0
    with Store.open(config.store_url) as store:
        looks = [c["body"] for c in store.certificates()]
    assert 1 < len(looks) <= 6 and not looks[0]["met"], "a look is paid for: few are taken"
    asked = [sum(run.summary["answers"].values()) + run.summary["people"] for run in (first, then)]
    assert asked[1] > asked[0], "what is not certified is asked about further"
