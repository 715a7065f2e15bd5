"""The certificate of a ledger: gathers what `certify` needs, writes it down, derives it again. Asks nobody.

Frozen and sealed: the label of every item as it stands, the random order, the audit answers. Items fall in three. What
people said of those they were asked about (pilot, escalations, opened audit items) is their own word, right by
definition. What they were asked and could not tell, or have not answered, counts as wrong. The rest are a machine's
labels, and the audited among them are a uniform sample of them. See `certify` for the argument.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent import certify, prompt
from agent import config as settings
from agent.config import Config
from agent.errors import DataError, Unparsable
from agent.pool import Pool
from agent.store import Store
from agent.types import Certificate, Value


@dataclass(frozen=True)
class Evidence:
    """What the claim rests on. Positions are the pool's.

    labels: as they stand, people's words in their place; None where nothing was decided. said: by people, of items they
    were asked about to teach or repair. lost: such items without an answer. audit: of the others, what people said of
    them; None: could not tell, or no answer. unanswered, waiting: open questions of the audit, and the others. upto:
    number of the last answer that was read.
    """

    labels: list[Value | None]
    said: Mapping[int, Value]
    lost: frozenset[int]
    audit: Mapping[int, Value | None]
    unanswered: int
    waiting: int
    turn: int
    upto: int
    who: tuple[str, ...]


def person_recipe(config: Config) -> str:
    """Under which recipe people answer."""
    return prompt.person_recipe(settings.the_task(config))


def gather(config: Config, store: Store, pool: Pool, turn: int | None = None, upto: int | None = None) -> Evidence:
    """Read the evidence as of the end of `turn` and answer number `upto` (None: now).

    Raises:
        DataError: nothing was decided yet.
    """
    decided = store.decisions(turn)
    if len(decided) == 0:
        raise DataError("nothing is labeled yet, so there is nothing to certify: run `tutelage run` first")
    labels: list[Value | None] = [None] * len(pool)
    for item, value in zip(decided.items, decided.values, strict=True):
        labels[pool.position(item)] = value
    last = max(decided.turns)
    words, who, seen = _words(config, store, pool, upto)
    recipe = person_recipe(config)
    opened = {pool.position(item) for item, t in store.opened(recipe).items() if turn is None or t <= turn}
    asked = [c for c in store.asked(recipe) if turn is None or c.turn <= turn]
    drawn = [pool.position(c.item) for c in asked if c.purpose == "audit"]
    repairs = {pool.position(c.item) for c in asked if c.purpose != "audit"} | (opened & set(drawn))
    said = {i: word for i in repairs if (word := words.get(i)) is not None}
    for i, word in said.items():
        labels[i] = word
    audit = {i: words.get(i) for i in drawn if i not in repairs}
    return Evidence(
        labels=labels,
        said=said,
        lost=frozenset(repairs - set(said)),
        audit=audit,
        unanswered=sum(i not in words for i in audit),
        waiting=sum(i not in words for i in repairs),
        turn=last,
        upto=seen,
        who=who,
    )


def _words(
    config: Config, store: Store, pool: Pool, upto: int | None
) -> tuple[dict[int, Value | None], tuple[str, ...], int]:
    """What people said of each item (None: cannot tell), who they were, and the number of the last answer read."""
    task, kind = settings.the_task(config), settings.kind(config)
    words: dict[int, Value | None] = {}
    who: set[str] = set()
    seen = 0
    for seq, status, call, answer in store.events_since(0, [person_recipe(config)]):
        if upto is not None and seq > upto:
            break
        seen, i = seq, pool.position(call.item)
        if status != "ok":
            words.pop(i, None)
            continue
        who.add(answer.who)
        words[i] = None
        if not answer.unsure:
            try:
                read = kind.parse(task, kind.question(task, pool.item(i), call.sample), answer)
            except Unparsable:
                read = None
            if read is not None:
                words[i] = kind.value(task, {atom: max(d, key=d.__getitem__) for atom, d in read.items()})
    return words, tuple(sorted(who)), seen


def derive(config: Config, pool: Pool, evidence: Evidence, accuracy: float, delta: float, look: int) -> Certificate:
    """The certificate that this evidence carries."""
    kind, task = settings.kind(config), settings.the_task(config)
    n, ids = len(pool), pool.ids
    nothing = {i for i in range(n) if evidence.labels[i] is None}
    lost = len(evidence.lost | nothing)
    machine = n - len(evidence.said) - lost
    measured = sorted(i for i in evidence.audit if i not in nothing)
    missing = sum(evidence.audit[i] is None for i in measured)
    differ = 0
    for i in measured:
        said, given = evidence.audit[i], evidence.labels[i]
        differ += said is not None and given is not None and kind.loss(task, given, said) > 0
    wrong = differ + missing
    spent = certify.risk_of_look(delta, look)
    # The errors found are mended on export, where a person's word replaces the label.
    remaining = certify.wrong_at_most(machine, len(measured), wrong, spent) - differ + lost
    guess = wrong / len(measured) * machine - differ if measured else float(machine)
    return Certificate(
        items=n,
        people=len(evidence.said),
        machine=machine,
        audited=len(measured),
        wrong=wrong,
        missing=missing,
        delta=delta,
        wrong_at_most=remaining,
        accuracy_at_least=1 - remaining / n,
        accuracy_estimate=1 - (guess + lost) / n,
        target=accuracy,
        met=remaining <= (1 - accuracy) * n + 1e-9,
        look=look,
        seed=config.run.seed,
        turn=evidence.turn,
        labels_sha256=seal(pool, evidence),
        audit_sha256=certify.sha256_of((ids[i], json.dumps(evidence.audit[i])) for i in sorted(evidence.audit)),
        truth=", ".join(evidence.who) if len(evidence.who) <= 5 else f"{len(evidence.who)} people",
        extra={
            "lost": lost,
            "unanswered": evidence.unanswered,
            "risk_of_this_look": spent,
            "answers_up_to": evidence.upto,
        },
    )


def seal(pool: Pool, evidence: Evidence) -> str:
    """The hash of all labels as they stand."""
    ids = pool.ids
    return certify.sha256_of((ids[i], json.dumps(evidence.labels[i])) for i in range(len(pool)))


def check_draw(config: Config, store: Store, pool: Pool) -> list[str]:
    """Is the audit the random draw it has to be?

    In the order of the seed everything before the last audited item was put to people as well, and not later than the
    audits behind it; and no audit question was taken back without being asked again.
    """
    asked = {pool.position(call.item): call for call in store.asked(person_recipe(config))}
    order = certify.draw(pool.ids, config.run.seed)
    ranks = [rank for rank, i in enumerate(order) if i in asked and asked[i].purpose == "audit"]
    if not ranks:
        return ['no item was audited: give people minutes (goal.person_minutes) and a rung with oracle = "person"']
    missed = later = 0
    behind = asked[order[max(ranks)]].turn
    for rank in range(max(ranks), -1, -1):
        call = asked.get(order[rank])
        if call is None:
            missed += 1
        elif call.purpose == "audit":
            behind = min(behind, call.turn)
        else:
            later += call.turn > behind
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


def make(
    config: Config,
    store: Store,
    pool: Pool,
    accuracy: float | None = None,
    delta: float | None = None,
    early: bool = False,
) -> Certificate:
    """Take a look: derive the certificate, write it into the ledger and to `certificate.json`.

    The same labels and answers make the same certificate and spend nothing; other labels are another look.

    `early`: look although questions to people are open, which count as wrong.

    Raises:
        DataError: nothing labeled, no audit, an audit that was not drawn at random, or, unless `early`, a look that
            would be charged before it can be good.
    """
    problems = check_draw(config, store, pool)
    if problems:
        raise DataError("; ".join(problems))
    accuracy = config.goal.accuracy if accuracy is None else accuracy
    delta = config.goal.delta if delta is None else delta
    evidence = gather(config, store, pool)
    waiting = evidence.unanswered + evidence.waiting
    if waiting and not early:
        raise DataError(
            f"{waiting:,} open question{'s' * (waiting > 1)} to people would count as wrong, and each "
            "look at the audit uses up a part of goal.delta: have them answered first (tutelage review, or run with "
            "recorded people), or look all the same with --now"
        )
    earlier = store.certificates()
    found = derive(config, pool, evidence, accuracy, delta, 1)
    same = next((c["look"] for c in earlier if _seals(c["body"]) == (found.labels_sha256, found.audit_sha256)), None)
    made = derive(config, pool, evidence, accuracy, delta, same or len(earlier) + 1)
    made = dataclasses.replace(made, extra={**made.extra, "people_are": people_are(store)})
    if same is None:
        store.add_certificate(made.labels_sha256, dataclasses.asdict(made), made.look)
    write(made, config.folder / "certificate.json")
    return made


def _seals(body: Mapping[str, Any]) -> tuple[str, str]:
    return body["labels_sha256"], body["audit_sha256"]


def people_are(store: Store) -> str:
    """Who answered for people in this ledger. One simulated run makes the whole of it simulated."""
    told = [str(o["people_are"]) for o in store.outcomes() if o.get("people_are")]
    return next((words for words in reversed(told) if words.startswith("simulated")), told[-1] if told else "")


def write(certificate: Certificate, path: Path) -> None:
    """As JSON, whole or not at all."""
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps({"tutelage": 1, **dataclasses.asdict(certificate)}, indent=2, sort_keys=True) + "\n")
    draft.replace(path)


def verify(config: Config, store: Store, pool: Pool, path: Path) -> list[str]:
    """Derive a certificate file again from the ledger; what does not agree, in plain words (empty: it holds)."""
    try:
        claimed = json.loads(path.read_text("utf-8"))
        turn, look, upto = int(claimed["turn"]), int(claimed["look"]), int(claimed["extra"]["answers_up_to"])
        accuracy, delta = float(claimed["target"]), float(claimed["delta"])
    except FileNotFoundError:
        return [f"{path.name} is not there: `tutelage certify` makes it"]
    except (ValueError, KeyError, TypeError):
        return [f"{path.name} is not a certificate of this program"]
    problems = check_draw(config, store, pool) + store.verify()
    recorded = next((c["body"] for c in store.certificates() if c["look"] == look), None)
    if recorded is None:
        problems.append(f"the ledger knows no look number {look}")
    elif _seals(recorded) != _seals(claimed):
        problems.append(f"look {look} of the ledger was at other labels or other answers")
    made = dataclasses.asdict(derive(config, pool, gather(config, store, pool, turn, upto), accuracy, delta, look))
    for name, value in made.items():
        if name != "extra" and claimed.get(name) != value:
            problems.append(f"{name}: the file says {claimed.get(name)!r}, the ledger gives {value!r}")
    return problems


def sentence(c: Certificate) -> str:
    """The claim in one plain sentence, floored, never rounded up."""
    floor = (1000 * (c.items - c.wrong_at_most) // c.items) / 10
    goal = "meets" if c.met else "does not meet"
    people = str(c.extra.get("people_are", ""))
    simulated = f" (people: {people})" if people.startswith("simulated") else ""
    return (
        f"At least {max(floor, 0):.1f} % of the {c.items:,} labels are what the people said or would have said, "
        f"with {100 * (1 - c.delta):.4g} % confidence: {c.audited:,} machine labels drawn at random were checked, "
        f"{c.wrong:,} were wrong{f' ({c.missing:,} of them not answered, or nobody could tell)' if c.missing else ''}, "
        f"look {c.look}. This {goal} the goal of {100 * c.target:.4g} %{simulated}."
    )
