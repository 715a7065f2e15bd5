"""The guidelines people read, by version: what the configuration says, and what was written since. Knows no page.

A version holds the text, the labels' descriptions and examples. Each part follows the configuration when that part of
the file changes, and else stays as it was last written.
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
from agent.store.review import Guide

FILE = "tutelage.toml"
"""Who wrote what came from the configuration."""

LONGEST = 200_000
"""Characters of the guidelines' text."""


@dataclass(frozen=True, slots=True)
class Sample:
    """An example in the guidelines. `label`: the names it bears, none for "none of them"; `item`: the pool's item it
    was, "" where it was none; `accepted`: the owner lets people see it; `file`: it stands in the configuration."""

    text: str
    label: tuple[str, ...]
    why: str = ""
    who: str = ""
    item: str = ""
    accepted: bool = True
    file: bool = False


def text(guide: Guide) -> str:
    """The guidelines as they were written, without the labels and examples."""
    return str(guide.body["text"])


def labels(guide: Guide) -> dict[str, str]:
    """Label -> its description, in the task's order."""
    return dict(guide.body["labels"])


def samples(guide: Guide, proposed: bool = False) -> list[Sample]:
    """The examples people see; `proposed`: those that wait for the owner's word."""
    every = [Sample(**{**one, "label": tuple(one["label"])}) for one in guide.body["examples"]]
    return [one for one in every if one.accepted is not proposed]


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

    Part by part: a text mended on the page stays when only a description in the file is changed.

    Raises:
        UserError: the ledger has other labels by now.
    """
    refuse_moved(store, config)
    newest, told = store.review.newest_guide(), _told(config)
    marks = {part: _sha(value) for part, value in told.items()}
    if newest is None:
        return _add(store, FILE, told | {"file": marks})
    if newest.body["file"] == marks:
        return newest
    body = dict(newest.body)
    for part in (part for part in marks if marks[part] != newest.body["file"].get(part)):
        body[part] = told[part] if part != "examples" else _mixed(told[part], newest.body["examples"])
    return _add(store, FILE, body | {"file": marks})


def add(store: Store, who: str, text: str, examples: Sequence[Sample]) -> Guide:
    """A new version with this text and these examples (those that wait for the owner's word among them).

    Raises:
        UserError: there are no guidelines yet, or the text is too long.
    """
    if len(text) > LONGEST:
        raise UserError(f"guidelines of {len(text):,} characters: nobody reads more than {LONGEST:,}; cut them")
    newest = store.review.newest_guide()
    if newest is None:
        raise UserError("there are no guidelines yet: open the review page, or run `tutelage guidelines`")
    plain = text.replace("\r\n", "\n").strip()
    return _add(store, who, {**newest.body, "text": plain, "examples": [asdict(one) for one in examples]})


def propose(store: Store, who: str, sample: Sample, accepted: bool) -> Guide:
    """Adds an example; unless `accepted`, it waits for the owner's word. None is added twice."""
    newest = store.review.newest_guide()
    if newest is None:
        raise UserError("there are no guidelines yet: open the review page, or run `tutelage guidelines`")
    every = samples(newest) + samples(newest, proposed=True)
    if any(_same(one, sample) and (one.accepted or not accepted) for one in every):
        return newest
    kept = [one for one in every if not _same(one, sample)]
    return add(store, who, text(newest), [*kept, replace(sample, who=who, accepted=accepted)])


def judge(store: Store, who: str, sha: str, accepted: bool) -> Guide | None:
    """The owner's word on an example, by its `sign`: people see it from now on, or it goes. None where it is gone."""
    newest = store.review.newest_guide()
    every = [] if newest is None else samples(newest) + samples(newest, proposed=True)
    found = next((one for one in every if sign(one) == sha), None)
    if newest is None or found is None:
        return None
    kept = [one for one in every if one != found] + ([replace(found, accepted=True)] if accepted else [])
    return add(store, who, text(newest), kept)


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
    for proposed in (False, True):
        for one in samples(guide, proposed):
            names = ", ".join(one.label) or "none of them"
            why = f" ({one.why})" if one.why else ""
            out.append(f"{'proposed example' if proposed else 'example'} of {names}: {' '.join(one.text.split())}{why}")
    return out


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
    mine = [{**known.get((one["text"], tuple(one["label"])), one), "file": True, "accepted": True} for one in told]
    have = {(one["text"], tuple(one["label"])) for one in told}
    return mine + [one for key, one in known.items() if key not in have and not one["file"]]


def _same(one: Sample, other: Sample) -> bool:
    return (one.text, one.label) == (other.text, other.label)


def _sha(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def _add(store: Store, who: str, body: Mapping[str, Any]) -> Guide:
    store.review.add_guide(_sha(body), body, who)
    found = store.review.newest_guide()
    assert found is not None  # a version was added just now
    return found
