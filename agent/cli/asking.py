"""How a rung would ask, without a run: its oracle and its prompts about items. Opens no ledger, sends nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agent.config import Config, Rung
    from agent.mask import Mask
    from agent.oracles._prices import Price
    from agent.types import Item, Kind, Oracle, Prompt, Task, Traits

TEXTS = (
    "The parcel came on Tuesday, and I have one question about it.",
    "Thank you for the quick answer last week; all is well now.",
)
"""Made up: what a server can do is found out without sending it a text of the pool."""


@dataclass(frozen=True)
class Asking:
    """A rung that is an oracle. `task`: as it is shown; `mask`: what it is not; `short`: labels shown, 0 is all."""

    rung: Rung
    plugin: Any
    oracle: Oracle
    kind: Kind
    task: Task
    traits: Traits
    mask: Mask
    short: int

    @property
    def recipe(self) -> str:
        """Under which its answers stand in a ledger, where it is asked in this one form."""
        from agent import prompt

        return prompt.recipe(self.task, self.task.kind, self.traits, self.task.examples)

    def prompts(self, items: Sequence[Item], best: Sequence[Sequence[str]] = ()) -> list[Prompt]:
        """What it is sent about them, without examples from the pilot. `best`: each item's shortlist, where it has one;
        else that is the first labels."""
        from agent import prompt

        first, recipe = list(self.task.labels)[: self.short], self.recipe
        lists = best or [first] * len(items)
        return [
            prompt.render(self.task, self._question(item, labels), self.traits, recipe, 0, self.task.examples)
            for item, labels in zip(map(self.mask.item, items), lists, strict=True)
        ]

    def _question(self, item: Item, labels: Sequence[str]) -> Any:
        from agent.loop import short

        if self.short:
            return short.question(self.kind, self.task, item, 0, labels, self.traits.readout == "words")
        return self.kind.question(self.task, item, 0)


def asking(config: Config, rung: Rung) -> Asking:
    """Build the rung's oracle.

    Raises:
        UserError: it cannot be built, or may not be sent texts (privacy.egress).
    """
    from dataclasses import replace

    from agent import config as settings
    from agent import plugins, prompt, shortlist
    from agent.loop import private
    from agent.loop.ground import context

    task = settings.the_task(config)
    plugin = plugins.load("oracles", str(rung.oracle))
    oracle: Oracle = plugin.build(rung.settings, context(config, task, settings.layout(config)))
    recipe = {**oracle.traits.recipe, "oracle": str(rung.oracle)}
    traits = replace(oracle.traits, annotator=rung.name, recipe=recipe)
    traits, mask = private.admitted(config, rung, traits, private.mask_of(config))
    short = shortlist.size(rung.shortlist, len(task.labels))
    template = rung.templates[0] if rung.templates else ""
    traits = prompt.asking(traits, template, short, rung.overflow, rung.rationale)
    return Asking(rung, plugin, oracle, settings.kind(config), mask.task(task), traits, mask, short)


def best_labels(config: Config, made: Asking, items: Sequence[Item]) -> list[list[str]]:
    """Each item's shortlist as a run begins with it, ranked by a student that was taught nothing; none where all labels
    are shown."""
    if not made.short:
        return []
    from agent import config as settings
    from agent import plugins, shortlist
    from agent.loop.ground import context

    layout, rung = settings.layout(config), config.rung[0]
    plugin = plugins.load("students", rung.student or "linear")
    at = rung.settings if rung.student else plugin.Settings()
    ranker = plugin.build(at, context(config, settings.the_task(config), layout))
    scores = ranker.predict(ranker.features(list(items)))
    return [[layout.choices[0][c] for c in row] for row in shortlist.likeliest(scores, made.short).tolist()]


def made_up() -> list[Item]:
    """Items that stand in no pool."""
    from agent.types import Item, Part

    return [Item(f"made-up-{number}", (Part("text/plain", text),)) for number, text in enumerate(TEXTS)]


def places(settings: Any) -> list[str]:
    """The addresses a rung asks at; none for one in this process."""
    told = getattr(settings, "base_url", None) or ()
    return [told] if isinstance(told, str) else list(told)


def far(rung: Rung) -> bool:
    """Whether any of them is neither this machine nor a private network."""
    from agent.oracles import nearness

    return any(nearness(url) == "far" for url in places(rung.settings))


def price(rung: Rung) -> Price | None:
    """What tokens cost at a rung that has a server: by its settings, the table, or nothing near by; None: not known."""
    from agent.oracles import _prices

    at = rung.settings
    told = [getattr(at, f"usd_per_mtok_{way}", None) for way in ("in", "out")]
    return _prices.price_of(str(getattr(at, "model", "")), places(at), told[0], told[1])


def usd(rung: Rung, tokens_in: float, tokens_out: float) -> float:
    """Dollars for so many tokens, none from the cache; 0 where the price is not known."""
    found = price(rung)
    return found.bill(round(tokens_in), round(tokens_out)) if found else 0.0
