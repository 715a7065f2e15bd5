"""Is the audit in the ledger the random draw that it has to be? Knows the seeded order; reads no answer's content."""

from __future__ import annotations

from agent import certify
from agent.claim.evidence import person_recipe
from agent.config import Config
from agent.pool import Pool
from agent.store import Store
from agent.types import Call


def check_draw(config: Config, store: Store, pool: Pool) -> list[str]:
    """Is the audit the random draw it has to be?

    In the order of the seed everything before the last audited item was put to people as well, and not later than the
    audits behind it; and no audit question was taken back without being asked again.
    """
    asked: dict[int, Call] = {}
    for call in store.asked(person_recipe(config)):
        asked.setdefault(pool.position(call.item), call)  # one that was asked again stays where it was drawn
    order = certify.draw(pool.ids, config.run.seed)
    ranks = [rank for rank, i in enumerate(order) if i in asked and asked[i].purpose == "audit"]
    if not ranks:
        return ['no item was audited: give people minutes (goal.person_minutes) and a rung with oracle = "person"']
    missed = later = 0
    behind = asked[order[max(ranks)]].turn
    for rank in range(max(ranks), -1, -1):
        one = asked.get(order[rank])
        if one is None:
            missed += 1
        elif one.purpose == "audit":
            behind = min(behind, one.turn)
        else:
            later += one.turn > behind
    problems = []
    if missed:
        problems.append(f"{missed} items of the random order were passed over: seed {config.run.seed} drew otherwise")
    if later:
        problems.append(f"{later} items were put to people only after audits behind them in the random order")
    gone = {
        call.item
        for _, status, call, _ in store.events_since(0, [person_recipe(config)])
        if status == "withdrawn" and call.purpose == "audit"
    } - {call.item for call in asked.values() if call.purpose == "audit"}
    if gone:
        problems.append(f"{len(gone)} audit questions were taken back and not asked again")
    return problems
