"""A certificate in plain sentences. Floors, never rounds up; computes nothing."""

from __future__ import annotations

import math

from agent.types import Certificate


def sentence(c: Certificate) -> str:
    """What is certified of all labels, in one sentence."""
    goal = "meets" if c.met else "does not meet"
    people = str(c.extra.get("people_are", ""))
    simulated = f" (people: {people})" if people.startswith("simulated") else ""
    return (
        f"At least {_floored(c.wrong_at_most, c.items)} % of the {c.items:,} labels are what the people said or would "
        f"have said, with {_sure(c.delta)} % confidence: {c.audited:,} machine labels drawn at random were "
        f"checked, {c.wrong:,} were wrong"
        f"{f' ({c.missing:,} of them not answered, or nobody could tell)' if c.missing else ''}, "
        f"look {c.look}. This {goal} the goal of {_percent(c.target)} %{simulated}."
    )


def lines(c: Certificate) -> list[str]:
    """The claim, and what is certified of a part where it is not met for all."""
    if c.commitment.get("test") == "walk":
        return [of_walk(c)]
    if c.commitment.get("of") == "file":
        return [of_file(c), *_classes(c), *_human(c)]
    part, out = c.accepted, [sentence(c)]
    if part and not part["all"]:
        out += [_other_terms(c) or _part(c)]
    return [*out, *_relabeled(c), *_classes(c), *_human(c), *_beside(c)]


def _relabeled(c: Certificate) -> list[str]:
    """That labels were chosen with the audit in sight, where they were."""
    found = (c.commitment.get("terms") or {}).get("relabels", [])
    if not found:
        return []
    line = (
        f"Labels were changed while the audit could be seen: {'; '.join(found)}. This is a claim about the labels as "
        f"they are now. It spends {100 * c.extra['risk_of_this_look']:.2g} % of the risk: a later look's, shared among "
        f"the {c.commitment['terms']['relabelings']:,} ways in which so many labels could have been changed."
    )
    return [line]


def _other_terms(c: Certificate) -> str:
    """Why nothing is said of a part: the terms are not those that were written down; empty where they are."""
    then = c.commitment.get("terms")
    if then is None or c.commitment["as_agreed"]:
        return ""
    if "target" not in then:
        return (
            "Of a part of them nothing is certified: this ledger was begun without its terms (target, risk, test, what "
            "becomes of the rest) being written down before the audit, and terms chosen afterwards would choose the "
            "answer. A new run.dir writes them down."
        )
    if then.get("relabels"):
        return "Of a part of them nothing is certified: what the labels are was decided with answers in sight."
    rest = "people label the rest" if then["left"] == "people" else "the rest stays open"
    return (
        "Of a part of them nothing is certified under these terms. Those written down before the first audit question "
        f"are: target {_percent(then['target'])} %, risk {_percent(then['delta'])} %, test {then['test']}, {rest}. "
        "Others would be chosen with the answers in sight."
    )


def _human(c: Certificate) -> list[str]:
    """What may be said against people's own mistakes."""
    told = c.human
    if not told:
        return []
    if "waiting" in told:
        return [f"How far people differ is not measured yet: {told['waiting']:,} second answers are open."]
    high = math.ceil(1000 * told["at_most"] - 1e-9) / 10
    floor = max(0.0, _floored(c.wrong_at_most, c.items) - high)
    twice = f"of {told['doubled']:,} audited items that two of them answered they differ on {told['differ']:,}"
    against = f"Against what people agree on at least {floor:.1f} % of all labels are right"
    share = "a mistake that two people share is not seen by this"
    out = [f"People make mistakes, too: {twice}, so on at most {high:.1f} % of all. {against}; {share}."]
    if told.get("settled"):
        pairs = f"Of the {told['differ']:,} pairs that differed a third person settled {told['settled']:,}"
        first = f"overruling the first answer in {told['overruled']:,}"
        out += [f"{pairs}, {first}; the first answers and the bound stay as they were."]
    return out


def _beside(c: Certificate) -> list[str]:
    """That labels were given beside a machine's, where they were."""
    count = int(c.extra.get("beside_a_machine", 0))
    if not count:
        return []
    given = f"Of the labels that people gave, {count:,} were given with a machine's label in sight"
    return [f"{given}. They are labels and in no estimate: what measures was always answered blind."]


def _classes(c: Certificate) -> list[str]:
    """A line a class, and that they hold together."""
    if not c.classes:
        return []
    mended = c.commitment.get("of") == "file" and any(row["wrong"] > row["missing"] for row in c.classes)
    once = ", once the wrong ones that were found are mended" if mended else ""
    out = [f"Classes, all that are certified together with {_sure(c.delta)} % confidence{once}:"]
    for row in c.classes:
        floor = _floored(int(row["wrong_at_most"]), int(row["labels"])) if row["labels"] else 0.0
        verdict = f"{_percent(c.target)} % certified" if row["certified"] else "not certified"
        missing = f", {row['missing']:,} could not be told" if row["missing"] else ""
        out.append(
            f"  {row['class']}: {verdict}; at least {floor} % of {row['labels']:,}, {row['audited']:,} checked, "
            f"{row['wrong']:,} wrong{missing}"
        )
    return out


def of_file(c: Certificate) -> str:
    """What is certified of a finished file."""
    people = str(c.extra.get("people_are", ""))
    truth = f" ({people})" if people.startswith("simulated") else f" ({c.truth})" if c.truth else ""
    mended = int(c.extra["mended"])
    found = "wrong one that was found is" if mended == 1 else f"{mended:,} wrong ones that were found are"
    once = f" once the {found} mended," if mended else ""
    why = "not answered, or nobody could tell" if c.extra["early"] else "because nobody could tell"
    missing = f", {c.missing:,} of them {why}" if c.missing else ""
    columns = c.commitment["columns"]
    drawn = f"{c.audited:,} {'clusters ' if columns['cluster'] else ''}drawn at random"
    drawn += ", doubtful ones more often," if columns["confidence"] and c.method == "betting" else ""
    verdict = "is met" if c.met else "is not met"
    return (
        f"At least {_floored(c.wrong_at_most, c.items)} % of the {c.items:,} labels are what the people{truth} said or "
        f"would have said,{once} with {_sure(c.delta)} % confidence: {drawn} were "
        f"answered, {c.wrong:,} of the labels checked were wrong{missing}, look {c.look}. "
        f"The target of {_percent(c.target)} % {verdict}."
    )


def of_walk(c: Certificate) -> str:
    """What is certified of a finished file whose rest people label."""
    walked, people = c.accepted, str(c.extra.get("people_are", ""))
    truth = f" ({people})" if people.startswith("simulated") else f" ({c.truth})" if c.truth else ""
    confidence = f"with {_sure(c.delta)} % confidence"
    made_of = (
        f"{walked['people']:,} are people's, {walked['machine']:,} the file's own, the surest; {c.audited:,} drawn "
        f"by chance among the surest were answered, {c.wrong:,} of these were wrong"
        f"{f' ({c.missing:,} of them because nobody could tell)' if c.missing else ''}, look {c.look}"
    )
    if not c.met and walked["left_open"] > walked["given_up"]:
        return (
            f"Once people{truth} have labeled the other {walked['left_open']:,}, at least "
            f"{_floored(walked['wrong_at_most'], c.items)} % of the {c.items:,} labels are what they said or would "
            f"have said, {confidence}: {made_of}."
        )
    verdict = "is met" if c.met else "is not met"
    nobody = f" {walked['left_open']:,} that no person labeled count as wrong." if walked["left_open"] else ""
    return (
        f"At least {_floored(c.wrong_at_most, c.items)} % of the {c.items:,} labels are what the people{truth} said or "
        f"would have said, {confidence}: {made_of}.{nobody} The target of {_percent(c.target)} % {verdict}."
    )


def _part(c: Certificate) -> str:
    part = c.accepted
    if not part["prefix"]:
        return (
            f"No part of the machines' labels is certified at {_percent(c.target)} %; the {part['labels']:,} labels "
            "that people gave stand."
        )
    machine, confidence = part["labels"] - part["people"], f"with {_sure(c.delta)} % confidence"
    made_of = (
        f"{part['people']:,} that people gave, and the {machine:,} that machines are surest of ({part['audited']:,} "
        f"drawn and checked there, {part['wrong']:,} wrong)"
    )
    if part["claim"] == "walk":
        return (
            f"Deliver these {part['labels']:,}: {made_of}. Once people have labeled the other {part['left_open']:,}, "
            f"at least {_percent(c.target)} % of all {c.items:,} are what they said or would have said, {confidence}."
        )
    return (
        f"At least {_percent(c.target)} % of these {part['labels']:,} labels are, {confidence}: {made_of}. "
        f"{part['left_open']:,} are left open; so many people's answers would certify all {c.items:,}. "
        "Each of the two statements has this confidence by itself."
    )


def _floored(wrong: int, items: int) -> float:
    return max((1000 * (items - wrong) // items) / 10, 0)


def _percent(share: float) -> str:
    return f"{100 * share:.4g}"


def _sure(delta: float) -> str:
    """1 − delta in percent, with as many digits as it takes not to be told as certain."""
    return f"{100 * (1 - delta):.{max(4, 4 - math.floor(math.log10(delta)))}g}"
