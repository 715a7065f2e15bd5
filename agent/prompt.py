"""A question to the text an annotator receives, and to the call's key. Knows nothing of engines or money.

A template (`prompts/*.j2`, or a file of the user's own) has two blocks. The first sees only what all items share, so
that nothing of an item can be in the prefix; the second sees the item too and ends with it.
  `system` and `user`    a chat of two messages (`codes.j2`)
  `shared` and `item`    one plain text, sent as one user message (`words.j2`)
Its file's name begins with `codes` or `words`, for what it asks to be answered: the options' codes or their names.
Both see: question, guidelines, labels (name -> description), shots (text, values, yes: label -> bool), fence (of the
shots), many, short (the options are a shortlist), rationale (a sentence of why is wanted), subject, ask and settings
(the oracle's own). The second also: text, text_fence, options (code, choice, description), choices. Filter `line` puts
a text on one line.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.errors import ConfigError
from agent.oracles import readout
from agent.types import Answer, Example, Item, Message, Prompt, Question, Task, Traits

if TYPE_CHECKING:
    from jinja2 import Template

MAX_CHARS = 6_000
"""Characters of an item that are shown to a machine; `max_chars` in an oracle's `traits.recipe` overrides it."""

GAP = "\n[…]\n"
"""Stands where the middle of a long text was left out."""

CHARS_A_TOKEN = 3
"""Characters that a token holds at the least in most texts, where an oracle says its limit in tokens."""

MOST_PARTS = 8
"""Parts of a long text that are asked about (`overflow = "chunk"`); a still longer one loses its middle first."""

TOO_LONG = "too long"
"""Flag of a prompt that must not be sent: its text does not fit and `overflow = "fail"`."""

HOMES = (Path(__file__).parent / "_prompts", Path(__file__).parent.parent / "prompts")
"""Where templates lie: in an installed wheel, in the repository."""

FORMS = (("system", "user"), ("shared", "item"))


@lru_cache
def template_text(name: str) -> str:
    """The template called `name`: one of ours, or the path of a user's own file. Read once a process.

    Raises:
        ConfigError: there is no such file, or it cannot be read.
    """
    own = Path(name)
    found = [own] if own.parent != Path() else [home / name for home in HOMES if (home / name).is_file()] or [own]
    try:
        return found[0].read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        known = sorted({path.name for home in HOMES for path in home.glob("*.j2")})
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"prompt template {name!r} cannot be read ({why}); ours are {', '.join(known)}") from error


ROOM = 64
"""An answer that is one code and was cut short is asked again with room for 256 tokens, so that any `max_tokens` up to
this comes to the same."""


def recipe(
    task: Task,
    kind_name: str,
    traits: Traits,
    shots: Sequence[Example] = (),
    template: str | None = None,
    max_chars: int = MAX_CHARS,
) -> str:
    """sha256 of everything that could change an answer except item and sample.

    `template`: the template's text; None: that of `traits.template`. A machine's name does not count, so that a rung
    can be renamed. For a person only annotator, kind and label names count: a mended guideline must not throw away
    what people said.
    """
    if traits.person:
        return _sha(["person", traits.annotator, kind_name, sorted(task.labels)])
    return _sha(
        {
            "kind": kind_name,
            "labels": list(task.labels.items()),
            "question": task.question,
            "guidelines": task.guidelines,
            "shots": [[shot.text, shot.value] for shot in shots],
            "settings": _telling(traits, kind_name),
            "readout": traits.readout,
            "template": template_text(traits.template) if template is None else template,
            "max_chars": _limit(traits, max_chars),
        }
    )


def _telling(traits: Traits, kind_name: str) -> dict[str, str]:
    """An oracle's settings without those that cannot change the answer."""
    settings = dict(traits.recipe)
    one = kind_name != "multi" and traits.readout == "codes" and not settings.get("rationale")
    if one and settings.get("logprobs") != "no" and int(settings.get("max_tokens") or ROOM + 1) <= ROOM:
        del settings["max_tokens"]
    return settings


def person_recipe(task: Task) -> str:
    """The recipe under which people answer: the review, the loop and the claim must mean the same questions."""
    return recipe(task, task.kind, Traits(annotator="person", recipe={}, person=True))


def second_recipe(recipe: str) -> str:
    """The recipe under which a second person answers what is asked under `recipe`; only a comparison reads it."""
    return _sha(["second", recipe])


def open_recipes(recipe: str) -> tuple[str, str]:
    """The recipes under which people are asked: the first of them, and a second one. What is open under others, as
    under labels that were changed since, waits for nobody."""
    return recipe, second_recipe(recipe)


def extra_recipe(recipe: str) -> str:
    """The recipe of answers that came when another person's stood already: opinions that only a comparison reads."""
    return _sha(["extra", recipe])


def settled_recipe(recipe: str) -> str:
    """The recipe under which a third person settles what two people answered differently."""
    return _sha(["settled", recipe])


def key(recipe: str, item_id: str, sample: int) -> str:
    """The call's key: sha256 of recipe, item and sample."""
    return _sha([recipe, item_id, sample])


def asking(
    traits: Traits, template: str = "", shortlist: int = 0, overflow: str = "head+tail", rationale: bool = False
) -> Traits:
    """An oracle's traits with what a rung says of how it is asked; all of it is part of the recipe.

    `shortlist`: labels shown, 0 is all of them. What has its default leaves the recipe as it was.
    """
    said = {"shortlist": str(shortlist or ""), "overflow": overflow.replace("head+tail", "")}
    said["rationale"] = "yes" if rationale else ""
    mixed = {**traits.recipe, **{name: value for name, value in said.items() if value}}
    if not template or template == traits.template:
        return replace(traits, recipe=mixed)
    # By its name a template says what it asks for; one that says nothing is read as the oracle reads anyway.
    return replace(traits, recipe=mixed, template=template, readout=readout(template, traits.readout))


def parts(item: Item, traits: Traits, max_chars: int = MAX_CHARS) -> int:
    """How many prompts it takes to ask about the whole item: one, but for a long text that is asked in chunks."""
    if traits.recipe.get("overflow") != "chunk":
        return 1
    return len(_chunks(_clean(item), _limit(traits, max_chars)))


def stamp(prompt: Prompt, answer: Answer) -> Answer:
    """The answer with what only the one who asked knows: the options of a shortlist, and the prompt's flags."""
    flags = tuple(dict.fromkeys((*prompt.flags, *answer.flags)))
    options = tuple(option.choice for option in prompt.question.options) if prompt.question.short else ()
    if flags == answer.flags and options == answer.options:
        return answer
    return replace(answer, flags=flags, options=options)


def _sha(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def render(
    task: Task,
    question: Question,
    traits: Traits,
    recipe: str,
    sample: int,
    shots: Sequence[Example] = (),
    max_chars: int = MAX_CHARS,
    template: str | None = None,
    part: int = 0,
) -> Prompt:
    """The prompt for one question; `prefix` is the same text for all items of a recipe.

    A text longer than `max_chars` characters keeps its head and tail and the prompt is flagged "truncated"; with
    `overflow` "chunk" in the recipe it shows part number `part` ("chunked=n"), with "fail" it is flagged "too long".
    People are shown the question, not a prompt: theirs carries the key alone.

    Raises:
        ConfigError: the template cannot be read, or is wrong.
    """
    name = key(recipe, question.item.id, sample)
    seed = int(name[:8], 16) >> 1
    if traits.person:
        return Prompt(name, question, (), readout=traits.readout, seed=seed)
    text, flags = _text(question.item, _limit(traits, max_chars), traits.recipe.get("overflow", ""), part)
    shared = _shared(task, question, traits, recipe, shots)
    several = {
        "text": text,
        "text_fence": _fence(name, text),
        "options": question.options,
        "choices": [option.choice for option in question.options],
    }
    source = template_text(traits.template) if template is None else template
    chat, first, second = _blocks(traits.template, source, shared, shared | several)
    if chat:
        messages = tuple(m for m in (Message("system", first.strip()), Message("user", second.strip())) if m.content)
        prefix = first.strip()
    else:
        messages, prefix = (Message("user", first + second),), first
    why = bool(traits.recipe.get("rationale"))
    return Prompt(name, question, messages, prefix, traits.readout, seed, flags, why)


def _limit(traits: Traits, max_chars: int) -> int:
    """Characters of a text that are shown at once."""
    limit = int(traits.recipe.get("max_chars") or max_chars)
    tokens = int(traits.recipe.get("max_tokens_item") or 0)
    # Left to itself an engine that counts tokens cuts the text, which "fail" and "chunk" are to avoid.
    return min(limit, CHARS_A_TOKEN * tokens) if tokens and traits.recipe.get("overflow") else limit


def _clean(item: Item) -> str:
    """The item's text without what no engine takes (lone surrogates)."""
    return item.text.encode("utf-8", "replace").decode("utf-8")


def _text(item: Item, limit: int, overflow: str, part: int) -> tuple[str, tuple[str, ...]]:
    """What of the item's text is shown, and the flags that say so."""
    text = _clean(item)
    if len(text) <= limit:
        return text, ()
    if overflow == "fail":
        return shorter(text, limit), (TOO_LONG,)
    if overflow != "chunk":
        return shorter(text, limit), ("truncated",)
    found = _chunks(text, limit)
    flags = ("truncated",) if len(text) > MOST_PARTS * limit else ()
    return found[part], (f"chunked={len(found)}", *flags)


def shorter(text: str, limit: int) -> str:
    """A text of at most `limit` characters: a longer one keeps its head and its tail."""
    if len(text) <= limit:
        return text
    head = max(limit - len(GAP), 0) * 2 // 3
    tail = max(limit - len(GAP), 0) - head
    return text[:head] + GAP + text[len(text) - tail :]


def _chunks(text: str, limit: int) -> list[str]:
    """A text in parts of about one length, none longer than `limit`, cut between words where there are such."""
    text = shorter(text, MOST_PARTS * limit)
    out: list[str] = []
    while text:
        left = MOST_PARTS - len(out)
        even = -(-len(text) // max(-(-len(text) // limit), 1))
        # Room that is spared here must not be missing at the end.
        least = max(len(text) - (left - 1) * limit, even * 3 // 4, 1)
        cut = len(text) if len(text) <= limit else max(text.rfind(" ", least, even) + 1, least)
        out.append(text[:cut])
        text = text[cut:]
    return out or [""]


def _fence(salt: str, *texts: str) -> str:
    """A word that none of the texts contains, so that none can close the fence it stands in."""
    word = hashlib.sha256(salt.encode()).hexdigest()[:8]
    while any(word in text for text in texts):
        word = hashlib.sha256(word.encode()).hexdigest()[:8]
    return word


def _shared(task: Task, asked: Question, traits: Traits, recipe: str, shots: Sequence[Example]) -> dict[str, Any]:
    shown = []
    for shot in shots:
        values = (shot.value,) if isinstance(shot.value, str) else shot.value
        shown.append({"text": shot.text, "values": values, "yes": {name: name in values for name in task.labels}})
    return {
        "question": task.question.strip(),
        "guidelines": task.guidelines.strip(),
        "labels": task.labels,
        "shots": shown,
        "fence": _fence(recipe, *(shot.text for shot in shots)),
        "many": asked.many,
        "short": asked.short,
        "rationale": bool(traits.recipe.get("rationale")),
        "subject": traits.recipe.get("subject", "Text"),
        "ask": traits.recipe.get("ask", "Labels" if asked.many else "Label"),
        "settings": traits.recipe,
    }


def _blocks(name: str, source: str, shared: Mapping[str, Any], every: Mapping[str, Any]) -> tuple[bool, str, str]:
    """Is it a chat, the text of the shared block, and that of the block with the item."""
    from jinja2 import TemplateError

    try:
        template = _compile(source)
        form = next((form for form in FORMS if set(form) <= set(template.blocks)), None)
        if form is None:
            raise ConfigError(f"prompt template {name!r} must have the blocks system and user, or shared and item")
        first, second = (
            "".join(template.blocks[block](template.new_context(dict(variables))))
            for block, variables in zip(form, (shared, every), strict=True)
        )
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        where = f", line {line}" if line else ""
        raise ConfigError(f"prompt template {name!r}{where}: {error.message}") from error
    return form == FORMS[0], first, second


@lru_cache(maxsize=64)
def _compile(source: str) -> Template:
    """Item text only ever arrives as a variable, so template code in it stays text."""
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        autoescape=False, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["line"] = lambda text: " ".join(str(text).split())
    return environment.from_string(source)
