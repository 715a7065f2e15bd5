"""The nouns: frozen, slotted, without behaviour. Know nothing of files, databases, clocks or networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Value = str | tuple[str, ...]
"""A label: its name for kind `single`, the sorted names for kind `multi`."""

Distribution = Mapping[str, Mapping[str, float]]
"""atom -> choice -> probability; within an atom the probabilities sum to one."""

Stream = Literal["pick", "escalation", "pilot", "audit"]
"""Why an item was asked about. Only `audit` makes claims; `pilot` (random too) calibrates; the rest teach or repair."""

NONE_OF_THESE = "none of these"
"""The choice that closes a shortlist: the label is not among those shown. No label of a task has this name."""

Action = Literal["accept", "ask", "abstain"]
Status = Literal["ok", "error", "failed", "withdrawn"]


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of an item: `text/plain` and the text, or `image/png` and a URI."""

    media: str
    data: str


@dataclass(frozen=True, slots=True)
class Item:
    """A thing to label. `id` is a hash of the parts and the user's own id; `gold` is never shown to an annotator."""

    id: str
    parts: tuple[Part, ...]
    gold: Value | None = None
    name: str | None = None
    """The user's own id, as text, when the pool has one."""

    @property
    def text(self) -> str:
        """All text parts, joined by a blank line."""
        return "\n\n".join(part.data for part in self.parts if part.media.startswith("text/"))


@dataclass(frozen=True, slots=True)
class Example:
    """A text with its label, shown to an LLM before the question."""

    text: str
    value: Value


@dataclass(frozen=True, slots=True)
class Known:
    """What the user knows of a label besides its name: words that speak for it, and texts that bear it."""

    keywords: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Task:
    """What is asked of every item. `labels`: name -> description (may be empty)."""

    name: str
    kind: str
    labels: Mapping[str, str]
    question: str = ""
    guidelines: str = ""
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True, slots=True)
class Option:
    """One thing an annotator may choose, and the one-token code it is shown under."""

    code: str
    choice: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """An item as one annotator is shown it: options in a seeded order. `many`: any number may be chosen.

    `short`: the options are a shortlist, not all of the task's labels; the answer must say which they were.
    """

    item: Item
    options: tuple[Option, ...]
    many: bool = False
    short: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation with a chat model."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """What an oracle receives.

    `prefix` is the part all items of one recipe share (instructions, labels, examples) and `messages` the whole
    conversation, item last. `readout`: "codes" reads the option codes, "words" the choices' names, each an answer
    the engine may give. For `many`, each option is judged by itself.
    """

    key: str
    question: Question
    messages: tuple[Message, ...]
    prefix: str = ""
    readout: Literal["codes", "words"] = "codes"
    seed: int = 0
    flags: tuple[str, ...] = ()
    """Facts about the prompt that belong to its answer too, such as "truncated"."""
    rationale: bool = False
    """The answer is to say why: the label on the first line, one sentence after it."""


@dataclass(frozen=True, slots=True)
class Most:
    """The most that one question may take: US dollars, tokens (in and out together), requests on the wire.

    An engine inside this process takes none of them: `Most()`.
    """

    usd: float = 0.0
    tokens: int = 0
    requests: int = 0


@dataclass(frozen=True, slots=True)
class Budget:
    """What machines may take in all, in US dollars, tokens and calls (requests sent); None is no limit."""

    usd: float | None = None
    tokens: int | None = None
    calls: int | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """The intent to ask. `key` = sha256 of all that could change the answer; `usd`, `tokens` (in and out together) and
    `requests` (on the wire) are the most it can take.

    `recipe` hashes everything of the key but the item and the sample (annotator, model, prompt, labels): votes of
    today's recipes count, those of older ones stay in the ledger. `probability` is the chance with which the item
    was drawn into its stream.
    """

    key: str
    recipe: str
    item: str
    annotator: str
    sample: int = 0
    purpose: Stream = "pick"
    probability: float = 1.0
    usd: float = 0.0
    turn: int = 0
    tokens: int = 0
    requests: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, as it came: this is the thing that cost money.

    `logprobs`: log-probability of each option code, raw (not renormalised) as the engine gave it; for a `many` question
    log P(yes). `None` where the engine gives none. `unsure`: a person chose "none of these / cannot tell". `who` names
    the person. `flags` carries facts such as "truncated", "votes" (fallback readout), "flagged: reason". `requests`:
    how many it took on the wire. `options`: the choices in the order they were shown under codes, where that was a
    shortlist and not all of the task's. `rationale`: why, in the model's words, where that was asked for. `guide`:
    the version of the guidelines that a person had before them, 0 where that is not known.
    """

    text: str
    logprobs: Mapping[str, float] | None = None
    usd: float = 0.0
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    served_model: str = ""
    unsure: bool = False
    who: str = ""
    seconds: float = 0.0
    flags: tuple[str, ...] = ()
    requests: int = 0
    options: tuple[str, ...] = ()
    rationale: str = ""
    guide: int = 0


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided. `by`: the rung whose word settled it. `value`: None where nobody was asked. `why`: in words."""

    item: str
    action: Action
    by: str
    value: Value | None
    confidence: float
    why: str = ""
    turn: int = 0


@dataclass(frozen=True, slots=True)
class SetAside:
    """A row that could not become an item: where it stands, and why."""

    file: str
    row: int
    reason: str


@dataclass(frozen=True, slots=True)
class Certificate:
    """Of `items` labels at most `wrong_at_most` differ from what the people said, with probability ≥ 1 − delta.

    `accuracy_at_least` = 1 − wrong_at_most / items. `audited` answers were drawn at random from the `machine` labels,
    `wrong` of them differed. See `certify` for the argument. `accepted`: the largest part of a frozen order that is
    proved to meet the target. `commitment`: what was fixed before an answer was used, the plan among it. `classes`:
    labels that were certified each by itself. `human`: how far people differ from one another.
    """

    items: int
    people: int
    machine: int
    audited: int
    wrong: int
    missing: int
    delta: float
    wrong_at_most: int
    accuracy_at_least: float
    accuracy_estimate: float
    target: float
    met: bool
    look: int
    seed: int
    turn: int
    labels_sha256: str
    audit_sha256: str
    truth: str
    method: str = "hypergeometric"
    extra: Mapping[str, Any] = field(default_factory=dict)
    accepted: Mapping[str, Any] = field(default_factory=dict)
    commitment: Mapping[str, Any] = field(default_factory=dict)
    classes: Sequence[Mapping[str, Any]] = ()
    human: Mapping[str, Any] = field(default_factory=dict)
