"""What the loop writes of what answers are worth: of whom, in which unit, and that no audit answer speaks in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from test_loop import LADDER, opened, project, run

from agent.belief import believe
from agent.loop import turn, valuing
from agent.loop.ground import open_ground
from agent.loop.measure import soft

AT_A_SCREEN = LADDER.replace('people = "gold"\n', "").replace("0.85", "0.7")
STREAMS = ["goal.pilot=30", "goal.audit=20", "goal.accuracy=0.99"]


def test_open_escalations_have_a_worth_whatever_the_audit_said_and_nothing_else_has(tmp_path: Path) -> None:
    path = project(tmp_path, rungs=AT_A_SCREEN)
    config, _ = run(path, "goal.person_minutes=6", *STREAMS, people="gold")
    store, _ = opened(config)
    with store:
        assert store.review.worths() == (0, {}), "recorded people leave nothing open"
    config, _ = run(path, "goal.person_minutes=12", *STREAMS)
    store, _ = opened(config)
    with store:
        worths = store.review.worths()[1]
        asked = {call.item for call in store.open_calls(annotator="person") if call.purpose == "escalation"}
    assert set(worths) == asked != set()
    assert all(0 < value < 3 and leader in worths for value, leader in worths.values())

    ground = open_ground(config, None, None, True)
    with ground.store:
        board = ground.board
        board.refresh(ground.store, ground.recipes)
        turn.teach_student(ground, lambda event: None, 0)
        belief = believe(board, ground.student_says, soft(ground), True, ground.likest)
        rows = np.array(sorted(ground.pool.position(item) for item in asked), np.int64)
        told = valuing.worths(ground, belief, rows)
        assert {row for row, _, _ in told} == set(rows.tolist())
        assert board.audit.answered.any()
        board.audit.said[:] = 1 - board.audit.said
        board.opened[:] = True
        assert valuing.worths(ground, belief, rows) == told
        assert sorted(valuing.in_turn(ground, belief, rows, 3)) == rows.tolist()
        assert valuing.in_turn(ground, belief, rows, 3)[0] == told[0][0]
        assert [value for _, value, _ in told] == sorted((value for _, value, _ in told), reverse=True)
        assert valuing.worths(ground, belief, rows[:0]) == []
