"""The guidelines people read, by version: what the configuration says, and what was written since. Knows no page.

A version holds the text, the labels' descriptions and examples. Each part follows the configuration when that part of
the file changes, and else stays as it was last written. Whatever was worked out from a version that is not in force any
more is worked out anew, or refused. A proposed example is in no version before the owner accepts it.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from agent import prompt
from agent.config import Config, the_task
from agent.errors import UserError
from agent.store import Store
from agent.store.guides import PROPOSED, Guide, New

FILE = "tutelage.toml"
"""Who wrote what came from the configuration."""

LONGEST = 200_000
"""Characters of the guidelines' text."""

OWN = 30
"""Proposals of one's own that are told."""


@dataclass(frozen=True, slots=True)
class Sample:
    """An example in the guidelines. `label`: the names it bears, none for "none of them"; `item`: the pool's item it
    was, "" where it was none; `file`: it stands in the configuration."""

    text: str
    label: tuple[str, ...]
    why: str = ""
    who: str = ""
    item: str = ""
    file: bool = False


@dataclass(frozen=True, slots=True)
class Offer:
    """A proposed example. `who`: everybody who proposed it; `state`: "proposed" while it waits for the owner's word,
    else that word, "accepted" or "declined"."""

    sample: Sample
    who: tuple[str, ...]
    state: str = PROPOSED


def text(guide: Guide) -> str:
    """The guidelines as they were written, without the labels and examples."""
    return str(guide.body["text"])


def labels(guide: Guide) -> dict[str, str]:
    """Label -> its description, in the task's order."""
    return dict(guide.body["labels"])


def samples(guide: Guide) -> list[Sample]:
    """The examples people see."""
    return [_sample(one) for one in guide.body["examples"]]


def refuse_moved(store: Store, config: Config) -> None:
    """Raise where the ledger has other labels than this configuration by now.

    Raises:
        UserError: with what brings the two together.
    """
    moved = store.review.moved(prompt.person_recipe(the_task(config)))
    if moved is not None:
        raise UserError(
            f"the labels were changed ({moved.body['words']}), and this goes by the labels before: start it again; "
            "where tutelage.toml still has those,  tutelage labels finish  puts the new ones there"
        )


def current(store: Store, config: Config) -> Guide:
    """The guidelines in force. What the configuration says becomes the first version, and what it says anew the next.

    Part by part: a text mended on the page stays when only a description in the file is changed. For whoever has just
    read the configuration; who did so a while ago asks `now`, lest what has left the file since come back.

    Raises:
        UserError: the ledger has other labels by now.
    """
    refuse_moved(store, config)
    told = _told(config)
    while True:
        newest = store.review.newest_guide()
        body = _due(newest, told)
        if newest is not None and body is None:
            return newest
        assert body is not None  # there are no guidelines yet
        if _put(store, FILE, body, newest):
            return in_force(store)


def now(store: Store, config: Config) -> Guide:
    """The guidelines in force, whatever this configuration says.

    Raises:
        UserError: the ledger has other labels by now, or there are no guidelines yet.
    """
    refuse_moved(store, config)
    return in_force(store)


def noted(store: Store, config: Config) -> Guide:
    """Notes that the file's text and examples came from the guidelines: no news, and what was written since stands.

    Raises:
        UserError: there are no guidelines yet.
    """
    told = _told(config)
    while True:
        newest = in_force(store)
        marks = newest.body["file"] | {part: _sha(told[part]) for part in ("text", "examples")}
        body = {**newest.body, "examples": _mixed(told["examples"], newest.body["examples"]), "file": marks}
        if _put(store, FILE, body, newest):
            return in_force(store)


def in_force(store: Store) -> Guide:
    """The newest version, whatever the configuration says.

    Raises:
        UserError: there is none yet.
    """
    newest = store.review.newest_guide()
    if newest is None:
        raise UserError("there are no guidelines yet: open the review page, or run `tutelage guidelines`")
    return newest


def write(store: Store, who: str, text: str, expected: int) -> Guide | None:
    """A new version with this text, which was written on top of version `expected`; None, and nothing is written, where
    that is not in force any more.

    Raises:
        UserError: the text is too long, or there are no guidelines yet.
    """
    newest = in_force(store)
    body = {**newest.body, "text": _short(text)}
    return in_force(store) if newest.version == expected and _put(store, who, body, newest) else None


def append(store: Store, who: str, words: str) -> Guide:
    """A new version with these words at the end of the text, whatever it is by now.

    Raises:
        UserError: the text becomes too long, or there are no guidelines yet.
    """
    while True:
        newest = in_force(store)
        if _put(store, who, {**newest.body, "text": _short(f"{text(newest)}\n\n{words}")}, newest):
            return in_force(store)


def propose(store: Store, who: str, sample: Sample) -> None:
    """Notes an example for the owner's word. It is no part of the guidelines; nobody's same one is noted twice."""
    store.review.propose(sign(sample), sample.item, asdict(replace(sample, who=who)), who)


def offers(store: Store, recipes: Sequence[str]) -> list[Offer]:
    """What waits for the owner's word, but for texts that people are being asked about under `recipes`."""
    out: dict[str, Offer] = {}
    for one in store.review.proposals(recipes):
        before = out.get(one.sign)
        sample, who = (before.sample, before.who) if before else (_sample(one.body), ())
        out[one.sign] = Offer(sample, (*who, one.who))
    return list(out.values())


def own_offers(store: Store, who: str) -> list[Offer]:
    """This person's last proposals, newest first, and what became of them."""
    return [Offer(_sample(one.body), (who,), one.state) for one in store.review.proposals_of(who, OWN)]


def accept(store: Store, who: str, sha: str, recipes: Sequence[str]) -> bool:
    """The owner's word on a proposed example, by its `sign`: people see it from now on. False where it does not wait
    for that word, or people are being asked about its text under `recipes`."""
    while True:
        found = next((one.sample for one in offers(store, recipes) if sign(one.sample) == sha), None)
        if found is None:
            return False
        newest = in_force(store)
        every = samples(newest)
        if not any(_same(one, found) for one in every):
            every.append(found)
        body = {**newest.body, "examples": [asdict(one) for one in every]}
        if (done := store.review.judge(sha, who, _new(body, newest))) != "moved":
            return done == "saved"


def decline(store: Store, who: str, sha: str, recipes: Sequence[str]) -> bool:
    """The other word of the owner. False as in `accept`."""
    if not any(sign(one.sample) == sha for one in offers(store, recipes)):
        return False
    return store.review.judge(sha, who, None) == "saved"


def take_out(store: Store, who: str, sha: str) -> bool:
    """An example goes out of the guidelines, by its `sign`; False where it does not stand there."""
    while True:
        newest = in_force(store)
        kept = [one for one in samples(newest) if sign(one) != sha]
        if len(kept) == len(newest.body["examples"]):
            return False
        if _put(store, who, {**newest.body, "examples": [asdict(one) for one in kept]}, newest):
            return True


def sign(sample: Sample) -> str:
    """What names an example in a form: a hash of its text and label."""
    return _sha([sample.text, sample.label])[:16]


def difference(old: Guide | None, new: Guide) -> list[str]:
    """What changed, a line each: "+ …" came, "- …" went, "  …" stands beside it (two lines around)."""
    before, after = [] if old is None else lines(old), lines(new)
    found = list(difflib.unified_diff(before, after, n=2, lineterm=""))
    return [f"{line[:1]} {line[1:]}" if line[:2] != "@@" else "…" for line in found[2:]]


def lines(guide: Guide) -> list[str]:
    """A version as lines: the text, a line a label, and a line an example."""
    described = [f"{name}: {description}" if description else name for name, description in labels(guide).items()]
    out = [*text(guide).splitlines(), *described]
    for one in samples(guide):
        names = ", ".join(one.label) or "none of them"
        why = f" ({one.why})" if one.why else ""
        out.append(f"example of {names}: {' '.join(one.text.split())}{why}")
    return out


def _due(newest: Guide | None, told: Mapping[str, Any]) -> dict[str, Any] | None:
    """The body of the version that the configuration makes necessary; None: none."""
    marks = {part: _sha(value) for part, value in told.items()}
    if newest is None:
        return {**told, "file": marks}
    if newest.body["file"] == marks:
        return None
    body = dict(newest.body)
    for part in (part for part in marks if marks[part] != newest.body["file"].get(part)):
        body[part] = told[part] if part != "examples" else _mixed(told[part], newest.body["examples"])
    return body | {"file": marks}


def _short(text: str) -> str:
    if len(text) > LONGEST:
        raise UserError(f"guidelines of {len(text):,} characters: nobody reads more than {LONGEST:,}; cut them")
    return text.replace("\r\n", "\n").strip()


def _told(config: Config) -> dict[str, Any]:
    """The parts as the configuration has them, as JSON holds them."""
    task = config.task
    examples = [asdict(Sample(one.text, tuple(one.label), file=True)) for one in task.examples]
    return json.loads(  # type: ignore[no-any-return]
        json.dumps({"text": task.guidelines.strip(), "labels": list(task.labels.items()), "examples": examples})
    )


def _mixed(told: Sequence[Mapping[str, Any]], before: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The file's examples, and people's own that the file does not have."""
    known = {(one["text"], tuple(one["label"])): one for one in before}
    mine = [{**known.get((one["text"], tuple(one["label"])), one), "file": True} for one in told]
    have = {(one["text"], tuple(one["label"])) for one in told}
    return mine + [one for key, one in known.items() if key not in have and not one["file"]]


def _same(one: Sample, other: Sample) -> bool:
    return (one.text, one.label) == (other.text, other.label)


def _sha(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def _sample(body: Mapping[str, Any]) -> Sample:
    return Sample(**{**body, "label": tuple(body["label"])})


def _new(body: Mapping[str, Any], before: Guide | None) -> New:
    return New(_sha(body), body, before.version if before else 0)


def _put(store: Store, who: str, body: Mapping[str, Any], before: Guide | None) -> bool:
    """Adds a version; False where another one came after `before`, which this one was made from."""
    return store.review.add_guide(_new(body, before), who) is not None
