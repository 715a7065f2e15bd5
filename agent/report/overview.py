"""All that the dashboard shows, as plain data that JSON can hold: figures, sentences, pictures. Knows no page.

Made in one go, away from the server that people wait for. Before a look at the audit nothing here rests on its answers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from agent import prompt
from agent.claim import person_recipe
from agent.config import Config
from agent.report import gather, plots, standing, words
from agent.report.figures import Figures, Share, ece
from agent.report.page import mixed
from agent.store import Store

MOST = 15
"""Likely errors that are listed."""
MOST_SHOWN = 12
"""Labels whose number is shown for each who settled items; the rest is summed up."""


def overview(config: Config, flags: str = "") -> dict[str, Any]:
    """The whole of it. `figures` is what `tutelage status --json` shows, number for number."""
    with Store.open(config.store_url) as store:
        figures = standing.figures(config, store)
        figures["next"] = standing.next_steps(figures, flags)
        pool = standing.pool_of(config, store)
        if figures["file"]:
            return {"figures": figures, **_empty(figures)}
        found = gather.live(config, store, pool, figures)
        return {
            "figures": figures,
            "headline": words.headline(found),
            "big": [[big.number, big.what, big.note] for big in words.numbers(found)],
            "certificate": _certificate(found),
            "learning": words.learning(found),
            "asking": [[fact.what, fact.figure, fact.means] for fact in found.asking],
            "rows": [row for row in words.rows(found) if row[1]],
            "network": words.network(found),
            "plots": _plots(found),
            "tables": _tables(found),
            "doubts": doubtful(config, store),
            "stopped": found.stopped,
        }


def _empty(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Of a finished file's audit: nothing of its answers is told before `tutelage certify` looks."""
    waits = sum(figures["questions_to_people"].values())
    certificate: dict[str, Any] = {"state": "", "lines": [], "why": f"`{figures['next'][-1]}` says how it stands."}
    return {
        "headline": f"The audit of {figures['file']}: {words.things(waits, 'question')} to people",
        "big": [], "certificate": certificate, "learning": [], "asking": [], "rows": [], "network": "",
        "plots": {}, "tables": {}, "doubts": [], "stopped": "",
    }  # fmt: skip


def _certificate(found: Figures) -> dict[str, Any]:
    """The claim in words, or what is missing."""
    if found.certificate is None:
        return {"state": "", "lines": [], "why": found.no_certificate}
    lines = [words.goal(found), words.claim(found), *words.further(found)]
    why = " ".join(line for line in (words.argument(found), words.estimate(found)) if line)
    return {"state": "good" if found.certificate.met else "warn", "lines": lines, "why": why}


def _plots(found: Figures) -> dict[str, Any]:
    drawn = {
        "sources": plots.sources(found.sources) if found.sources else "",
        "curve": plots.curve(found.curve, found.ahead) if any(p.student for p in found.curve) else "",
        "agreement": plots.agreement(found.agreement) if found.agreement else "",
        "reliability": plots.reliability(found.reliability) if found.reliability else "",
    }
    drawn |= {f"confusion{i}": plots.confusion(c, i) for i, c in enumerate(found.confusion)}
    return {name: unstyled(svg) for name, svg in drawn.items() if svg}


def _tables(found: Figures) -> dict[str, Any]:
    return {
        "sources": [
            {"by": s.annotator, "items": s.items, "labels": _commonest(s.labels)} for s in found.sources
        ],
        "curve": [[p.turn, p.answers, *_share(p.student.right, p.student.of)] for p in found.curve if p.student],
        "agreement": [
            [a.annotator, *_share(a.share.right, a.share.of), words.least(a.chance)] for a in found.agreement
        ],
        "reliability": [[words.edges(b), *_share(b.right, b.n)] for b in found.reliability],
        "error": f"{100 * ece(found.reliability):.1f}" if found.reliability else "",
        "confusion": [{"atom": c.atom, "mixed": mixed(c), "labels": len(c.labels)} for c in found.confusion],
        "spent": [[s.annotator, s.answers, s.errors, s.usd] for s in found.spent],
        "strategies": [[s.name, s.batches, s.answers, s.gain, s.error] for s in found.strategies],
    }  # fmt: skip


def _share(right: int, of: int) -> list[Any]:
    """Counts and Wilson's interval as shown."""
    share = Share(right, of)
    return [right, of, words.span(share)]


def _commonest(labels: Mapping[str, int]) -> list[list[Any]]:
    often = sorted(labels.items(), key=lambda pair: (-pair[1], pair[0]))
    rest = sum(count for _, count in often[MOST_SHOWN:])
    shown: list[list[Any]] = [[label, count] for label, count in often[:MOST_SHOWN]]
    return [*shown, [f"{len(often) - MOST_SHOWN:,} others", rest]] if rest else shown


def doubtful(config: Config, store: Store) -> list[dict[str, Any]]:
    """Machines' labels that are likeliest wrong by the last decisions, without their texts.

    Not among them: what people were asked about. What was answered since the last decisions would else come up here at
    once, unless it lies in the audit, which tells what the question was for.
    """
    found = store.decisions()
    hidden = kept_apart(config, store) | {call.item for call in store.asked(person_recipe(config))}
    rows = [
        (sure, item, by, value)
        for item, by, action, value, sure in zip(
            found.items, found.by, found.actions, found.values, found.confidences, strict=True
        )
        if action != "ask" and by != "person" and value is not None and item not in hidden
    ]
    rows.sort(key=lambda row: (row[0], row[1]))
    return [
        {"item": item, "label": value, "by": by, "rather": None, "chance_wrong": max(0.0, 1 - sure)}
        for sure, item, by, value in rows[:MOST]
    ]


def kept_apart(config: Config, store: Store) -> set[str]:
    """Items with an open question to people, and those of the audit that repair nothing (yet)."""
    recipe = person_recipe(config)
    audit = {call.item for call in store.asked(recipe) if call.purpose == "audit"} - set(store.opened(recipe))
    asking = prompt.open_recipes(recipe)
    return audit | {call.item for call in store.open_calls(annotator="person") if call.recipe in asking}


_STYLE = re.compile(r'\sstyle="([^"]*)"')
_FONT = re.compile(r"^(?:(italic|oblique)\s+)?(?:(bold|\d+)\s+)?([\d.]+px)\s+(.+)$")


def unstyled(svg: str) -> str:
    """A picture without style sheets and `style=`, which the pages' content security policy refuses: every property
    stands as an attribute of its own."""
    svg = re.sub(r"<style[^>]*>.*?</style>", "", svg, flags=re.DOTALL)
    svg = svg.replace("<svg ", '<svg stroke-linejoin="round" stroke-linecap="butt" ', 1)
    return _STYLE.sub(lambda found: "".join(_attributes(found[1].split(";"))), svg)


def _attributes(rules: Sequence[str]) -> list[str]:
    out = []
    for rule in rules:
        name, _, value = (part.strip() for part in rule.partition(":"))
        if name == "font" and (font := _FONT.match(value)):
            out.append(f' font-size="{font[3]}" font-family="{font[4]}"' + f' font-weight="{font[2]}"' * bool(font[2]))
        elif name:
            out.append(f' {name}="{value}"')
    return out
