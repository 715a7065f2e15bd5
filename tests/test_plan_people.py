"""What `tutelage plan` says of people: audits and minutes for a target, and whether they agree with one another."""

from __future__ import annotations

import csv
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cli_room import LADDER, call, good, with_ladder, with_pool
from hypothesis import given, settings
from hypothesis import strategies as st
from review_room import furnish
from scipy.stats import hypergeom

from agent import config, opinions, prompt
from agent.certify import risk_of_look, walk, wrong_at_most
from agent.certify.needed import POWER, audits_needed
from agent.cli import audits, raters
from agent.cli.hour import stands
from agent.cli.target import target
from agent.loop.people import Share, split
from agent.types import Answer, Call, Task

FIRST = risk_of_look(0.05, 1)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a pool of 60 rows, which is the current one."""
    return with_pool(tmp_path, monkeypatch)


def goal(accuracy: float = 0.95, delta: float = 0.05, left: str = "open") -> Any:
    """As much of a configuration as a forecast reads."""
    return SimpleNamespace(
        goal=SimpleNamespace(
            accuracy=accuracy,
            delta=delta,
            test="exact",
            left=left,
            audit=None,
            audit_twice=0,
            person_minutes=20.0,
            pilot=None,
        ),
        review=SimpleNamespace(overlap=0.0),
        person=SimpleNamespace(settings=SimpleNamespace(seconds=6.0)),
    )


# How many audits.


@settings(max_examples=30)
@given(st.data())
def test_the_audits_told_do_and_one_fewer_does_not(data: st.DataObject) -> None:
    """Against the exact bound itself, over every size of audit."""
    population = data.draw(st.integers(5, 60))
    allowed = data.draw(st.integers(0, population // 4))
    wrong = data.draw(st.integers(0, population // 4))
    delta = data.draw(st.sampled_from([0.05, 0.1, 0.3]))

    def chance(n: int) -> float:
        passes = [k for k in range(n + 1) if k <= wrong and wrong_at_most(population, n, k, delta) - k <= allowed]
        return float(hypergeom.cdf(max(passes), population, wrong, n)) if passes else 0.0

    found = audits_needed(population, allowed, wrong, delta)
    enough = [n for n in range(population + 1) if chance(n) >= POWER]
    assert found is not None and found == enough[0]


@pytest.mark.parametrize(
    ("population", "target", "truth", "at_most"),
    [(10_000, 0.95, 0.97, 600), (10_000, 0.95, 0.98, 234), (10_000, 0.95, 0.99, 124), (10_000, 0.9, 0.95, 178),
     (10_000, 0.98, 0.99, 890), (2_000, 0.95, 0.98, 226)],
)  # fmt: skip
def test_no_more_than_an_audit_whose_finds_are_not_mended(
    population: int, target: float, truth: float, at_most: int
) -> None:
    """The known sizes of the exact test that mends nothing; mending what is found spares some."""
    needed = audits_needed(population, round(population * (1 - target)), round(population * (1 - truth)), 0.05)
    assert needed is not None and 0.75 * at_most <= needed <= at_most


def test_audits_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be"):
        audits_needed(10, 1, 11, 0.05)
    assert audits_needed(10, 10, 3, 0.05) == 0 and audits_needed(0, 0, 0, 0.05) == 0


def test_before_any_answer_small_pools_are_told_what_they_are_up_against() -> None:
    share = Share(40, 12, 15)
    found = audits.before(goal(), share, 60)
    assert found.allowed == 3 and found.least == audits_needed(35, 3, 0, FIRST), (
        "13 are repaired, and the first look has its share of δ"
    )
    lines = audits.before_lines(_plain(found), 0.95, 60)
    assert lines[0] == f"only 3 of 60 labels may be wrong: at least {found.least} audits, all of them right, prove 95 %"
    none = audits.before_lines(_plain(audits.before(goal(0.99), share, 60)), 0.99, 60)
    assert none[0].startswith("none of 60 labels may be wrong")


def test_the_better_the_machines_the_fewer_the_audits() -> None:
    found = audits.before(goal(), Share(300, 90, 180), 10_000)
    sizes = [need.audits for need in found.needs]
    assert None not in sizes and sizes == sorted(sizes) and sizes[0] == audits_needed(9_880, 500, 99, FIRST)
    assert [round(need.right, 3) for need in found.needs] == [0.99, 0.98, 0.97, 0.96]
    assert found.needs[0].minutes == pytest.approx((sizes[0] or 0) / 10, abs=0.05)
    (line,) = (one for one in audits.before_lines(_plain(found), 0.95, 10_000) if "of all labels" in one)
    assert f"{sizes[0]:,} (" in line and "if 99 % of them are right" in line and "if 96 %" in line


@settings(max_examples=30)
@given(
    st.integers(100, 1000), st.integers(10, 60), st.integers(1, 100), st.integers(0, 60), st.sampled_from([0.9, 0.99])
)
def test_the_two_numbers_of_audits_agree(total: int, pilot: int, audit: int, repairs: int, accuracy: float) -> None:
    share = Share(min(pilot + audit + repairs, total), pilot, min(audit, total - pilot))
    least, found = audits.before(goal(accuracy), share, total).least, target(goal(accuracy), share, total)
    assert least is not None and (found.wrong >= 0) == (share.audit >= least)
    assert not found.room[1] or found.room[1] >= least


def test_the_plan_says_what_promise_its_audits_are_for() -> None:
    assert audits.assumed(goal()) == []
    assert 'goal.left = "people" fewer do' in audits.assumed(goal(left="people"))[0]
    other = goal()
    other.goal.test = "anytime"
    assert 'for goal.test = "exact"' in audits.assumed(other)[0]


def _plain(found: audits.Before) -> dict[str, Any]:
    return {
        "allowed": found.allowed,
        "least": found.least,
        "needs": [{"right": n.right, "audits": n.audits, "minutes": n.minutes} for n in found.needs],
    }


# After a pilot.


@pytest.mark.parametrize("left", ["open", "people"])
def test_what_an_audit_buys_grows_with_it_and_ends_where_all_is_certified(left: str) -> None:
    rng = np.random.default_rng(0)
    risk = rng.beta(0.3, 6, 80).tolist()
    found = audits.bought(goal(0.9, left=left), split(40, 6.0, None, None, 5_000), 5_000, risk)
    assert [one.audits for one in found] == sorted({one.audits for one in found})
    labels = [one.labels for one in found]
    assert labels == sorted(labels) and labels[-1] == 5_000 and all(count < 5_000 for count in labels[:-1])
    assert all(one.answers >= 80 + one.audits for one in found)


def test_where_people_label_the_rest_a_forecast_is_kept_by_the_walk() -> None:
    """Worlds in which the risks are true: the labels that were foretold are about those that the walk accepts."""
    rng = np.random.default_rng(1)
    risk = np.sort(rng.beta(0.5, 3, 3_000))
    share = Share(0, 0, 400)
    found = audits.bought(goal(left="people"), share, 3_000, risk.tolist())[0]
    got = []
    for _ in range(200):
        wrong = rng.random(3_000) < risk
        drawn = np.sort(rng.choice(3_000, 400, replace=False))
        may = walk.may_find(3_000, 400, 150, FIRST)
        size = int(walk.end_of(3_000, may, drawn, wrong[drawn]))
        got.append(size + int((drawn >= size).sum()))
    # The end of a walk scatters by the square root of the errors it may find; its middle is what is foretold.
    assert np.quantile(got, 0.3) <= found.labels <= np.quantile(got, 0.7)


def test_hopeless_machines_are_not_sold() -> None:
    found = audits.bought(goal(), split(40, 6.0, None, None, 5_000), 5_000, [0.6] * 40)
    lines = audits.bought_lines([vars_of(one) for one in found], 0.95, 5_000, 6.0)
    assert len(lines) == 5 and all("no machine's label is certified" in line for line in lines[1:])
    assert audits.bought(goal(), Share(10, 10, 0), 100, [0.1]) == ()
    assert audits.bought(goal(), Share(10, 5, 5), 100, []) == ()


def vars_of(one: audits.Bought) -> dict[str, Any]:
    return {"audits": one.audits, "minutes": one.minutes, "labels": one.labels, "answers": one.answers}


def test_a_pilot_that_people_answered_says_what_audits_buy(here: Path) -> None:
    with_ladder(here)
    call("run", "--people", "gold")
    body = good("plan", "--pilot", "20", "--yes")
    assert len(body["pilot"]["risk"]) == 12 and all(0 <= risk <= 1 for risk in body["pilot"]["risk"])
    assert body["people"]["certifies"][0]["audits"] == 15
    assert "people's audit, if all items are like the pilot's" in call("plan", "--pilot", "20", "--yes").stdout


# Do they agree?


def recorded(here: Path, agree: float, people: int = 3) -> None:
    """Votes of some people, each of whom names the gold label with chance `agree`, else the other one."""
    rng = random.Random(4)
    with open("mail.csv", newline="") as stream:
        gold = {row["id"]: row["label"] for row in csv.DictReader(stream)}
    with open("votes.csv", "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "annotator", "label"])
        for item, label in gold.items():
            for person in range(people):
                other = "technical" if label == "billing" else "billing"
                writer.writerow([item, f"p{person}", label if rng.random() < agree else other])
    (here / "tutelage.toml").write_text(LADDER.replace('oracle = "person"', 'oracle = "person"\npeople = "votes.csv"'))


def test_a_target_that_people_themselves_do_not_reach_is_called_so(here: Path) -> None:
    recorded(here, 0.75)
    found = good("plan")["people"]
    # Two of them agree with chance .75² + .25² = .625, and no labels can pass .75
    low, high = found["agree"]["pairs"][1:]
    assert low < 0.625 < high and found["agree"]["items"] == 60 and found["agree"]["people"] == 3
    assert 0.75 <= found["agree"]["ceiling"] < 0.97
    text = call("plan").stdout
    assert "97 % is out of reach: two people say the same in" in text and "write goal.accuracy = 0.8" in text


def test_recorded_votes_lie_beside_the_configuration(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded(here, 1.0)
    (here / "elsewhere").mkdir()
    monkeypatch.chdir(here / "elsewhere")
    assert good("plan", "-c", "../tutelage.toml")["people"]["agree"]["items"] == 60


def test_people_of_one_mind_leave_the_target_alone(here: Path) -> None:
    recorded(here, 1.0)
    text = call("plan").stdout
    assert "out of reach" not in text and "two people say the same in 100 %" in text


def test_one_vote_an_item_says_nothing_of_agreement(here: Path) -> None:
    recorded(here, 0.75, people=1)
    assert good("plan")["people"]["agree"] is None and "agreement" not in call("plan").stdout
    with_ladder(here)
    assert good("plan")["people"]["agree"] is None


def test_second_answers_in_the_ledger_are_held_against_the_first(tmp_path: Path) -> None:
    room = furnish(tmp_path, counts={"audit": 40})
    recipe = prompt.person_recipe(config.the_task(room.config))
    second = prompt.second_recipe(recipe)
    items = list(room.purpose)
    again = [Call(prompt.key(second, i, 0), second, i, "person", 1, "audit", turn=1) for i in items[:32]]
    room.store.reserve(again, None)
    for number, item in enumerate(items):
        room.store.record_now(prompt.key(recipe, item, 0), Answer("billing", who="ada"))
        if number < 32:
            said = Answer("billing" if number % 4 else "other", who="bob")
            room.store.record_now(prompt.key(second, item, 0), said if number else Answer("", unsure=True, who="bob"))
    assert raters.consent(room.config) is None and "32 more items" in raters.waits(room.config)
    last = max(seq for seq, _, _ in room.store.answers_since(0))
    room.store.add_certificate("x", {"met": False, "extra": {"answers_up_to": last}})
    found = raters.consent(room.config)
    # 31 items that both could tell; bob says otherwise on 7 of them
    assert found is not None and (found.items, found.people) == (31, 2) and found.pairs[0] == pytest.approx(24 / 31)
    assert "ledger" in found.where
    room.store.close()


def test_the_plan_makes_no_run_and_needs_some_items(here: Path) -> None:
    with_ladder(here)
    read = config.load("tutelage.toml")
    assert raters.consent(read) is None and not (here / "tutelage-run").exists()
    task = Task("t", "single", {"a": "", "b": ""})
    said: opinions.Said = {f"i{k}": {"ann": "a", "bob": "a" if k % 4 else "b"} for k in range(40)}
    found = raters.judged(said, task, "here")
    assert found is not None and found.pairs[0] == pytest.approx(0.75) and found.where == "here"
    assert raters.judged(dict(list(said.items())[:10]), task, "") is None


def test_a_machine_may_stand_in_for_people_where_votes_of_several_are_recorded(here: Path) -> None:
    recorded(here, 0.9)
    told = (here / "tutelage.toml").read_text()
    (here / "tutelage.toml").write_text(told.replace("pilot = 12\naudit = 15", "pilot = 40\naudit = 15"))
    body = good("plan", "--pilot", "40", "--yes")
    found = body["pilot"]["machines"]["scripted"]["stands"]
    assert found["people"] == 3 and found["items"] == 40 and 0 <= found["wins"] <= 1 and found["advantage"] > 0.5
    text = call("plan", "--pilot", "40", "--yes").stdout
    assert "stand in for one of these people: it beats" in text
    assert stands({**found, "passed": True}).startswith("may stand in")
    assert stands({**found, "passed": False}).startswith("may not stand in")


def test_overlap_is_told_with_its_minutes_and_takes_a_fifth_of_the_risk(here: Path) -> None:
    from agent.cli import hour
    from agent.cli.target import first_risk

    with_ladder(here)
    plain = config.load("tutelage.toml")
    doubled = config.load("tutelage.toml", ["review.overlap=0.25"])
    assert first_risk(doubled) == pytest.approx(0.8 * first_risk(plain))
    one, two = hour.asked(plain, 60, ()), hour.asked(doubled, 60, ())
    assert one["second"] == 0 and two["second"] == round(0.25 * two["questions"])
    assert two["second_minutes"] == round(two["second"] * two["seconds_each"] / 60, 1)
