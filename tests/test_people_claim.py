"""What several people's answers do to a run and to its certificate: overlap by stream, settled pairs, no leak."""

from __future__ import annotations

import csv
import dataclasses
import shutil
from pathlib import Path

from test_claim import PEOPLE, frozen_world
from test_loop import opened, project, sentences

from agent import claim, loop, opinions, prompt
from agent import config as settings
from agent.prompt import second_recipe
from agent.review.settle import Differences
from agent.store.review import Review
from agent.types import Answer, Call


def other(label: str) -> str:
    return {"billing": "technical", "technical": "billing"}[label]


def give(review: Review, name: str, role: str) -> None:
    review.set_person(name, role, "0" * 64)


def test_overlap_puts_its_share_of_every_stream_to_a_second_person_and_only_the_audits_bound(tmp_path: Path) -> None:
    share = 0.5
    rungs = PEOPLE.replace('people = "gold"', 'people = "votes.csv"')
    path = project(tmp_path, 240, rungs=rungs, goal="person_minutes = 20\naudit = 60\npilot = 20")
    with open(tmp_path / "votes.csv", "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "annotator", "label"])
        for i, (_, label) in enumerate(sentences(240)):
            writer.writerows([[f"m{i}", "ada", label], [f"m{i}", "ben", label if i % 6 else other(label)]])
    config = settings.load(path, [f"review.overlap={share}", "goal.accuracy=0.999"])
    loop.run(config)
    store, pool = opened(config)
    with store:
        recipe = claim.person_recipe(config)
        first = {call.item: call.purpose for call in store.asked(recipe)}
        second = {call.item: call.purpose for call in store.asked(second_recipe(recipe))}
        wanted = {i: p for i, p in first.items() if claim.overlapped(config.run.seed, i, share)}
        assert second == wanted and {"pilot", "audit", "escalation"} == set(wanted.values())
        evidence = claim.gather(config, store, pool)
        audited = [i for i, purpose in wanted.items() if purpose == "audit"]
        assert sorted(evidence.twice) == sorted(map(pool.position, audited))
        made = claim.make(config, store, pool)
        differ = sum(int(str(pool.item(i).name)[1:]) % 6 == 0 for i in evidence.twice)
        assert made.human["doubled"] == len(audited) and made.human["differ"] == differ
        assert claim.verify(config, store, pool, config.folder / "certificate.json") == []
        found = opinions.of_run(store, pool, settings.the_task(config), settings.kind(config))
        assert found.doubled == len(wanted) and found.people == 2


def test_settled_pairs_are_told_and_change_neither_truth_nor_bound(tmp_path: Path) -> None:
    config, store, pool, truth = frozen_world(tmp_path, n=300, audit=100, goal="person_minutes = 60\naudit_twice = 40")
    with store:
        recipe = claim.person_recipe(config)
        drawn = [call.item for call in store.asked(recipe)]
        second = claim.second_questions(recipe, drawn[:40], 1)
        repair = next(i for i in pool.ids if i not in drawn)
        outside = Call(prompt.key(recipe, repair, 0), recipe, repair, "person", purpose="escalation", turn=1)
        # An escalation's pair, which differs: it may reach no figure of the audit.
        leak = claim.second_questions(recipe, [repair], 1, "escalation")
        store.reserve([*second, outside, *leak], None)
        name = {item: str(pool.item(pool.position(item)).name) for item in pool.ids}
        store.record_now(outside.key, Answer(truth[name[repair]], who="ada"))
        store.record_now(leak[0].key, Answer(other(truth[name[repair]]), who="bo"))
        for rank, call in enumerate(second):
            said = truth[name[call.item]]
            store.record_now(call.key, Answer(said if rank >= 8 else other(said), who="bo"))
        before = claim.make(config, store, pool)
        assert before.human["doubled"] == 40 and before.human["differ"] == 8 and "settled" not in before.human
        assert pool.position(repair) not in claim.gather(config, store, pool).twice
        kept = Path(shutil.copy(config.folder / "certificate.json", tmp_path / "before.json"))
        give(store.review, "cy", "adjudicator")
        task, kind = settings.the_task(config), settings.kind(config)
        court = Differences(store, pool, task, kind, config.run.seed)
        assert court.left("cy") == (9, 0)
        overruled = 0
        for _ in range(9):
            card = court.next("cy")
            assert card is not None
            if card.item.id == repair:
                court.skip("cy", card.key)
                continue
            overruled += (wrong := overruled < 3)
            right = truth[name[card.item.id]]
            assert court.settle("cy", card.key, card.mark, other(right) if wrong else right, 2.0) == "saved"
        while court.left("cy")[0] > 1:
            card = court.next("cy")
            assert card is not None and card.item.id != repair
            assert court.settle("cy", card.key, card.mark, truth[name[card.item.id]], 2.0) == "saved"
        after = claim.make(config, store, pool)
        assert after.human == {**before.human, "settled": 8, "overruled": 3}
        same = ("look", "wrong", "missing", "audited", "wrong_at_most", "labels_sha256", "audit_sha256", "accepted")
        assert all(getattr(after, field) == getattr(before, field) for field in same)
        assert "settled 8, overruling the first answer in 3" in claim.lines(after)[-1]
        assert claim.verify(config, store, pool, config.folder / "certificate.json") == []
        assert claim.verify(config, store, pool, kept) == []  # as it was made before anything was settled
        card = court.next("cy")
        assert card is not None and card.item.id == repair
        assert court.settle("cy", card.key, card.mark, other(truth[name[repair]]), 2.0) == "saved"
        labels = claim.gather(config, store, pool).labels
        assert labels[pool.position(repair)] == other(truth[name[repair]])
        assert claim.verify(config, store, pool, kept) == []


def test_labels_given_beside_a_machines_are_told_and_never_measure(tmp_path: Path) -> None:
    config, store, pool, truth = frozen_world(tmp_path, n=120, audit=40)
    with store:
        recipe = claim.person_recipe(config)
        drawn = [call.item for call in store.asked(recipe)]
        before = claim.gather(config, store, pool)
        repairs = [i for i in pool.ids if i not in drawn][:5]
        for number, item in enumerate(repairs):
            call = Call(prompt.key(recipe, item, 0), recipe, item, "person", purpose="escalation", turn=1)
            store.reserve([call], None)
            said = truth[str(pool.item(pool.position(item)).name)]
            store.record_now(call.key, Answer(said, who="ada", flags=(f"assisted: {said}",) if number < 3 else ()))
        made = claim.make(config, store, pool)
        assert made.extra["beside_a_machine"] == 3
        assert "3 were given with a machine's label in sight" in claim.lines(made)[-1]
        now = claim.gather(config, store, pool)
        assert now.audit == before.audit and dataclasses.replace(now).beside == 3
        assert claim.verify(config, store, pool, config.folder / "certificate.json") == []
        # Were an audit's answer flagged so, it would count as wrong.
        asked = store.calls([f"key{pool.position(drawn[0])}"]).popitem()[1]
        once = dataclasses.replace(asked, key="once more", sample=1)
        store.withdraw(asked.key, "ada")
        store.reserve([once], None)
        store.record_now(once.key, Answer(truth[str(pool.item(pool.position(drawn[0])).name)], flags=("assisted: x",)))
        assert claim.gather(config, store, pool).audit[pool.position(drawn[0])] is None
