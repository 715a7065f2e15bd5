"""Numbers as the sentences a report is made of. Knows nothing of HTML or Markdown, and rounds no claim up."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from fractions import Fraction

from agent.report.figures import Bin, Figures, Range, Share, down, up

NBSP = "\u00a0"

_WHO = {
    "people": "your people",
    "votes": "the recorded raters",
    "gold": "the gold column that stood in for people",
    "nobody": "people",
}


@dataclass(frozen=True, slots=True)
class Big:
    """One of the large numbers at the head: the number, what it is, and what it rests on."""

    number: str
    what: str
    note: str


def count(n: int) -> str:
    """1234 -> 1,234."""
    return f"{n:,}"


def things(n: int, one: str, many: str = "") -> str:
    """A count with its noun: "1 answer", "2 answers"."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def least(share: float | Fraction, digits: int = 1) -> str:
    """A percentage cut downwards, with its sign."""
    return f"{down(share, digits)}{NBSP}%"


def most(share: float | Fraction, digits: int = 1) -> str:
    """A percentage cut upwards, with its sign."""
    return f"{up(share, digits)}{NBSP}%"


def span(share: Share) -> str:
    """The 95 % interval of a share, widened to the digits shown."""
    low, high = share.interval
    return f"{down(low)}–{up(high)}{NBSP}%"


def dollars(usd: float) -> str:
    """Money spent, cut upwards: to the cent, below a dollar to a hundredth of a cent."""
    if usd == 0:
        return "$0"
    step = Decimal("0.01") if usd >= 1 else Decimal("0.0001")
    # Sums of prices carry errors of the sixteenth digit, which are no money.
    return f"${Decimal(repr(round(float(usd), 9))).quantize(step, rounding=ROUND_CEILING):,}"


def minutes(value: float) -> str:
    """Minutes, cut upwards to a tenth; whole above ten."""
    step = Decimal("1") if value >= 10 else Decimal("0.1")
    shown = Decimal(repr(float(value))).quantize(step, rounding=ROUND_CEILING).normalize() + Decimal(0)
    return f"{shown:f} minute" + ("" if shown == 1 else "s")


def confidence(delta: float) -> str:
    """1 − delta as a percentage without idle zeros: 0.05 -> 95 %."""
    return trimmed(1 - Decimal(repr(float(delta))))


def trimmed(share: float | Decimal) -> str:
    """A percentage somebody chose, without idle zeros: 0.95 -> 95 %; at most four digits, cut downwards."""
    shown = (100 * Decimal(str(share))).quantize(Decimal("0.0001"), rounding=ROUND_FLOOR).normalize() + Decimal(0)
    return f"{shown:f}{NBSP}%"


def people(figures: Figures) -> str:
    """How the report calls those whose word is truth."""
    return _WHO[figures.people.who]


def headline(figures: Figures) -> str:
    """The first sentence: what is delivered, and how good it is known to be."""
    first = f"{count(figures.accepted)} of {things(figures.items, 'label')} sure enough"
    got = figures.certificate
    if got is None or got.items == 0:
        return f"{first}; how many of them {people(figures)} would agree with is not certified."
    of = f"of all {count(got.items)}"
    sentence = f"{first}; at least {least(_certified(figures))} {of} agree with {people(figures)}"
    return f"{sentence} ({confidence(got.delta)} confidence)."


def goal(figures: Figures) -> str:
    """Whether the goal was reached; empty where there is no certificate."""
    got = figures.certificate
    if got is None:
        return ""
    wanted = f"Your goal of {trimmed(got.target)} is"
    return f"{wanted} reached." if got.met else f"{wanted} not reached yet."


def _certified(figures: Figures) -> Fraction:
    got = figures.certificate
    if got is None or got.items == 0:
        return Fraction(0)
    return max(Fraction(0), Fraction(got.items - got.wrong_at_most, got.items))


def claim(figures: Figures) -> str:
    """The certificate's sentence, as exact as it is proved."""
    got = figures.certificate
    if got is None:
        return ""
    return (
        f"Of {things(got.items, 'label')}, at most {count(got.wrong_at_most)} differ from what {people(figures)} said "
        f"or would have said, with probability at least {confidence(got.delta)}."
    )


def numbers(figures: Figures) -> tuple[Big, Big, Big, Big]:
    """The four large numbers."""
    got, asked = figures.certificate, figures.people
    part = Fraction(figures.accepted, figures.items) if figures.items else Fraction(0)
    others = {"unsure": figures.unsure, "waiting": figures.waiting}
    others |= {"not asked": figures.not_asked, "undecided": figures.undecided}
    open_ = [f"{count(n)} {what}" for what, n in others.items() if n]
    delivered = Big(
        count(figures.accepted),
        "labels sure enough",
        f"{least(part)} of the pool" + "".join(f", {words}" for words in open_),
    )
    if got is None or got.items == 0:
        proved = Big("–", "agreement not certified", "see below why, and what would mend it")
    else:
        proved = Big(
            f"≥{NBSP}{least(_certified(figures))}",
            f"agree with {people(figures)}",
            f"{confidence(got.delta)} confidence, {things(got.audited, 'random check')}",
        )
    how = "measured" if asked.measured else "assumed"
    who = "simulated answers of people" if asked.simulated else "answers of people"
    whose = "had people been asked" if asked.simulated else "of their time"
    human = Big(count(asked.answers), who, f"{minutes(asked.minutes)} {whose}, {how}")
    errors = sum(s.errors for s in figures.spent)
    limit = f" of {dollars(figures.budget_usd)}" if figures.budget_usd is not None else ", no limit set"
    failed = f", {count(errors)} failed" if errors else ""
    money = Big(dollars(figures.usd), f"spent{limit}", f"{things(figures.calls, 'question')} to machines{failed}")
    return delivered, proved, human, money


def network(figures: Figures) -> str:
    """What went over the network, of how much, and what is put by for calls under way; empty where nothing did."""
    n = figures.network
    if n is None:
        return ""
    calls = count(n.calls) + (f" of {count(n.most_calls)}" if n.most_calls is not None else "")
    tokens = count(n.tokens) + (f" of {count(n.most_tokens)}" if n.most_tokens is not None else "")
    held = f"{dollars(n.held_usd)}, {count(n.held_calls)} requests and {count(n.held_tokens)} tokens"
    more = f" Put by for calls under way: {held}." if n.held_calls or n.held_usd else ""
    return f"Over the network: {calls} requests, {tokens} tokens.{more}"


def argument(figures: Figures) -> str:
    """Why the claim holds, in words."""
    got = figures.certificate
    if got is None:
        return ""
    late = (
        ""
        if got.look <= 1
        else f" This was look {got.look} at audit answers; each look has a share of the risk of its own."
    )
    missing = f" {things(got.missing, 'item')} nobody answered or could tell count as wrong." if got.missing else ""
    return (
        f"Nothing that made the labels saw the checks. {things(got.audited, 'item')} were drawn at random from the "
        f"{count(got.machine)} that machines settled, and answered blind; {count(got.wrong)} differed.{missing}{late}"
    )


def further(figures: Figures) -> list[str]:
    """What else is certified, in the certificate's own words: a part where not all is, classes, people's mistakes."""
    from agent.claim.words import lines

    return [] if figures.certificate is None else [line.strip() for line in lines(figures.certificate)[1:]]


def estimate(figures: Figures) -> str:
    """How right all labels are by estimate, apart from the claim; empty where nothing was estimated."""
    got = figures.estimated
    if got is None:
        return ""
    sharp = int(got.worth) > got.answers
    worth = f", as sharp as {count(int(got.worth))} would be without the machines' predictions" if sharp else ""
    return (
        f"About {least(got.accuracy.value)} of all {things(figures.items, 'label')} agree with {people(figures)} "
        f"(95{NBSP}% interval {within(got.accuracy)}): estimated from {things(got.answers, 'random answer')}{worth}. "
        "This is for information; only the certificate is a promise."
    )


def within(of: Range) -> str:
    """An interval, widened to the digits shown."""
    return f"{down(of.low)}–{up(of.high)}{NBSP}%"


def learning(figures: Figures) -> list[str]:
    """Where the student's curve is heading, and what the last answers changed: a sentence each."""
    out, now = list[str](), next((p for p in reversed(figures.curve) if p.student is not None), None)
    if figures.ahead and now is not None and now.student is not None:
        far = figures.ahead[-1]
        out.append(
            f"With {count(far.answers - now.answers)} more answers the student is expected to agree with "
            f"{people(figures)} on {least(far.rate)} (nine in ten such forecasts: {least(far.low)} to "
            f"{most(far.high)}); now {least(now.student.exact)}. A forecast by the curve so far, no measurement."
        )
    if figures.moves is not None:
        moved = figures.moves
        out.append(
            f"The {things(moved.answers, 'answer')} of the last turn changed {things(moved.changed, 'label')}; "
            f"{least(moved.stable)} of the labels stayed as they were."
        )
    if figures.copies:
        out.append(
            f"{things(figures.copies, 'item')} {'is' if figures.copies == 1 else 'are'} nearly the same as an earlier "
            "one and took what was said of it."
        )
    return out


def simulated(figures: Figures) -> str:
    """What stood in for people, when the run did not say it itself."""
    return {
        "votes": "People: recorded votes of real raters, drawn by seed.",
        "gold": "People: the pool's gold column answered in their place.",
    }.get(figures.people.who, "")


def share(cell: Bin) -> Share:
    """A bin's agreement."""
    return Share(cell.right, cell.n)


def edges(cell: Bin) -> str:
    """A bin's edges: 80–90 %."""
    return f"{100 * cell.low:.0f}–{100 * cell.high:.0f}{NBSP}%"


def rows(figures: Figures) -> list[tuple[str, int]]:
    """Every row that came in, by what became of it."""
    aside = sum(figures.set_aside.values())
    again = figures.rows - figures.items - aside
    told = [
        ("Rows read", figures.rows),
        ("Accepted", figures.accepted),
        ("Unsure: best guess given", figures.unsure),
        *((f"of these no answer: {reason}", n) for reason, n in figures.no_answer.items()),
        ("Waiting for people", figures.waiting),
    ]
    if figures.not_asked:
        told.append(("Not asked: no label", figures.not_asked))
    if figures.undecided:
        told.append(("Not decided yet", figures.undecided))
    told += [(f"Set aside: {reason}", n) for reason, n in figures.set_aside.items()]
    return told + ([("The same item again", again)] if again > 0 else [])
