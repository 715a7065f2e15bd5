"""Why the rule does what it does: its price list, and for one item what was said, believed and weighed. Asks nobody.

All of it is computed from the ledger as a run that goes on would; nothing is written.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from agent import aggregate, route
from agent.belief import Belief, believe
from agent.config import Config
from agent.loop import decisions, forming, people, turn, worth
from agent.loop.ground import Ground, open_ground
from agent.loop.measure import only, soft
from agent.route import ABSTAIN, ACCEPT, ASK, Routes
from agent.types import Floats


class Look:
    """A run as it stands, and what would be decided of each item now. To be closed."""

    def __init__(self, config: Config) -> None:
        self.ground: Ground = open_ground(config, None, None, False, look=True)
        ground = self.ground
        ground.budget = config.goal.budget
        try:
            forming.begin(ground)
            ground.board.refresh(ground.store, ground.recipes)
            turn.recall(ground)
            turn.teach_student(ground, lambda event: None, 0)
            people = ground.person is not None
            self.belief: Belief = believe(ground.board, ground.student_says, soft(ground), people, ground.likest)
            self.routes: Routes = decisions.decide(ground, self.belief)
        except BaseException:
            ground.store.close()
            raise

    @property
    def outlook(self) -> worth.Outlook | None:
        found: worth.Outlook | None = self.ground.outlook
        return found

    def close(self) -> None:
        """Let go of the ledger."""
        self.ground.store.close()


def prices(look: Look) -> dict[str, Any]:
    """The price list and what follows from it, for all items."""
    ground, outlook, routes = look.ground, look.outlook, look.routes
    took, person = ground.board.took, ground.person
    rows, learnt = [], None if outlook is None else {option.name for option in outlook.ladder.options}
    for number, rung in enumerate(ground.config.rung):
        row: dict[str, Any] = {"rung": rung.name, "bar": rung.bar}
        if rung.student:
            row |= {"usd": 0.0, "from": "taught, never asked", "answers": None}
        elif rung.person:
            words = f"{rung.settings.seconds:g} s at ${ground.config.goal.person_usd_per_hour:g} an hour"
            row |= {"usd": worth.person_price(ground), "from": words, "answers": int(ground.board.spoken.sum())}
        else:
            machine = ground.machine(rung.name)
            words = "measured" if took[rung.name].answers else "the most a question can cost"
            words += "" if took[rung.name].usd > 0 or not took[rung.name].answers else ": this computer's time"
            answers = int(ground.board.machine[rung.name].any.sum())
            row |= {"usd": worth.machine_price(ground, machine), "from": words, "answers": answers}
            if machine.shut:
                row["shut"] = machine.shut
            if learnt is not None and rung.name + " again" in learnt:
                row["another_vote_usd"] = worth.another_price(ground, machine)
        row["settles"] = int(((routes.action == ACCEPT) & (routes.rung == number)).sum())
        row["would_be_asked"] = int(((routes.action == ASK) & (routes.rung == number)).sum())
        rows.append(row)
    out: dict[str, Any] = {"items": ground.n, "rungs": rows, "by": "bars" if outlook is None else "the rule"}
    out["expected_wrong_now"] = float(look.belief.error.astype(np.float64).sum())
    out["unsure"] = int((routes.action == ABSTAIN).sum())
    if outlook is not None:
        solved, limits = outlook.solved, outlook.limits
        left = None if person is None else int(limits.people)
        out |= {"one_wrong_label_usd": solved.worth, "expected_wrong": solved.wrong, "may_be_wrong": limits.wrong}
        out |= {"reached": solved.reached, "people_expected": solved.people, "people_left": left}
        out |= {"machines_usd_expected": solved.usd}
    return out


def item(look: Look, row: int) -> dict[str, Any]:
    """What is known of item number `row`, what each action is expected to come to, and what is decided."""
    ground, belief, routes = look.ground, look.belief, look.routes
    action, rung = int(routes.action[row]), int(routes.rung[row])
    found = ground.pool.item(row)
    out: dict[str, Any] = {"item": found.id, "id": found.name, "said": _said(look, row)}
    out["believed"] = _label(ground, belief.posterior[row])
    out["chance_wrong"] = float(belief.error[row])
    out["action"] = decisions.ACTIONS[action]
    again = routes.again is not None and bool(routes.again[row])
    out["rung"] = None if rung == route.NOBODY else ground.rungs[rung] + " again" * again
    out["actions"] = _actions(look, row)
    out["why"] = why(look, row, out["actions"])
    return out


def _label(ground: Ground, row: Floats) -> Any:
    value = ground.kind.value(ground.task, ground.layout.best(row))
    return list(value) if isinstance(value, tuple) else value


def _said(look: Look, row: int) -> list[dict[str, Any]]:
    """What each annotator said and how sure it is, calibrated; for a person only what he said."""
    ground, board = look.ground, look.ground.board
    out: list[dict[str, Any]] = []

    def tell(name: str, posterior: Floats, answers: int = 1) -> None:
        sure = float(aggregate.confidence(posterior[None, :], ground.layout)[0])
        out.append({"annotator": name, "label": _label(ground, posterior), "sure": sure, "answers": answers})

    if ground.student_says is not None:
        tell(ground.config.rung[0].name, ground.student_says[row])
    for machine in ground.machines:
        heard = board.machine[machine.rung.name]
        if heard.any[row]:
            alone = believe(only(ground, [machine]), None, soft(ground), ground.person is not None).machine
            tell(machine.rung.name, alone[row], answers=int(heard.soft[row] + heard.hard[row]))
        elif heard.silent[row]:
            out.append({"annotator": machine.rung.name, "label": None, "sure": None})
    if board.spoken[row]:
        out.append({"annotator": "person", "label": _label(ground, board.words()[row]), "sure": None})
    elif board.doubtful[row]:
        out.append({"annotator": "person", "label": None, "sure": None})
    return out


def _actions(look: Look, row: int) -> list[dict[str, Any]]:
    """What each action costs by itself and with what follows it, the error after its answer and in the end."""
    outlook = look.outlook
    at = [] if outlook is None else np.flatnonzero(outlook.rows == row).tolist()
    if outlook is None or not at:
        return []
    ladder, items, mu = outlook.ladder, outlook.items, outlook.solved.worth
    error, state = float(items.error[at[0]]), int(items.state[at[0]])
    bar = ladder.bars[state]
    out = [{"action": "stop", "usd": 0.0, "error_after": error, "usd_in_all": 0.0, "error_in_the_end": error,
            "barred": bool(1 - error < bar), "total_usd": mu * error}]  # fmt: skip
    for number, option in enumerate(ladder.options):
        if not (ladder.follows[state, number] and items.open_to[at[0], number]):
            continue
        usd, people_, left = route.ask_value(ladder, number, error, mu)
        whole = usd + people_ * max(o.price for o in ladder.options if o.step is None)
        after = option.left if option.step is None else float(option.step.mean(np.array([error]))[0])
        out.append({"action": f"ask {option.name}", "usd": option.price, "error_after": after, "usd_in_all": whole,
                    "error_in_the_end": left, "barred": False, "total_usd": whole + mu * left})  # fmt: skip
    return out


def usd(amount: float) -> str:
    """Dollars in as few digits as tell something."""
    return (
        f"${amount:,.2f}" if amount >= 0.1 or amount == 0 else f"${amount:.2g}" if amount >= 1e-4 else f"${amount:.1e}"
    )


def share(chance: float) -> str:
    """A chance in per cent."""
    return f"{100 * chance:.1f} %" if chance >= 0.001 or chance == 0 else "under 0.1 %"


def why(look: Look, row: int, actions: list[dict[str, Any]]) -> str:
    """The decision in plain words."""
    ground, belief, outlook = look.ground, look.belief, look.outlook
    wrong, action = float(belief.error[row]), int(look.routes.action[row])
    again = look.routes.again is not None and bool(look.routes.again[row])
    name = ground.rungs[int(look.routes.rung[row])] + " again" * again
    if ground.board.spoken[row]:
        return "A person said so, and people have the last word."
    if ground.board.doubtful[row]:
        return "A person was asked and could not tell: the machines' best guess is given, and nobody else is asked."
    if people.queued(ground)[row]:
        return "It lies in people's queue: their answer is to come."
    if outlook is None:
        start = "It is not known yet what answers are worth here"
        if ground.person is None:
            start += " (there are no people to measure machines by)"
        bar = f"a rung settles what is at least {min(ground.bars()):.2f} sure"
        return f"{start}, so that bars decide: {bar.replace('0.00', 'as')}; now {_decided(action, name)}."
    mu = outlook.solved.worth
    if mu == 0:
        lines = [
            "Enough was asked: the labels are expected to be as good as planned, so a further answer is worth nothing."
        ]
    elif outlook.solved.reached:
        lines = [f"One wrong label is worth {usd(mu)} here, the least with which the goal is expected to be kept."]
    else:
        bear = "the most that people's minutes and the money bear: the goal is not expected to be reached"
        lines = [f"One wrong label is worth {usd(mu)} here, {bear}."]
    now = f"As it stands the label is wrong with a chance of {share(wrong)}"
    if actions and actions[0]["barred"]:
        lines.append(f"{now}: below the bar that was written down, so it may not stop here.")
    else:
        lines.append(f"{now}, worth {usd(mu * wrong)}." if mu else f"{now}.")
    for one in actions[1:] if mu else []:
        lines.append(
            f"To {one['action']} costs {usd(one['usd'])} and is expected to leave {share(one['error_after'])}; "
            f"with what may follow it comes to {usd(one['usd_in_all'])} and {share(one['error_in_the_end'])}, "
            f"in all {usd(one['total_usd'])}."
        )
    if len(actions) < 2:
        lines.append("There is nobody left to ask.")
    return " ".join([*lines, f"So {_decided(action, name)}."])


def _decided(action: int, name: str) -> str:
    if action == ASK:
        return f"{name} is asked next"
    return f"nobody is asked any more, and the label is {'accepted' if action == ACCEPT else 'given as unsure'}"
