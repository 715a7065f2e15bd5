"""The settings as frozen pydantic models. Knows nothing of TOML, of files or of what a plug-in's settings are."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from agent import egress
from agent.types import Budget

Fraction = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=0)]
Amount = Annotated[float, Field(ge=0)]


class Strict(BaseModel):
    """Frozen; an unknown key, a text where a number belongs, or an infinite number is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())


class ExampleConfig(Strict):
    """One text with its label, shown to an LLM before the question. `label`: one name, or a list of names."""

    text: str = Field(min_length=1)
    label: tuple[str, ...]

    @field_validator("label", mode="before")
    @classmethod
    def _one(cls, label: Any) -> Any:
        return (label,) if isinstance(label, str) else tuple(label) if isinstance(label, list) else label


class TaskConfig(Strict):
    """`[task]`: what is asked of every item.

    `kind`: a module of `agent/kinds/`. `labels`: name -> description, or a list of names. `guidelines`: the text, or
    in the file the name of an .md or .txt beside it (read on loading). `examples`: tables of `text` and `label`.
    """

    kind: str = "single"
    name: str = ""
    question: str = ""
    guidelines: str = ""
    labels: dict[str, str]
    examples: tuple[ExampleConfig, ...] = ()

    @field_validator("labels", mode="before")
    @classmethod
    def _names(cls, labels: Any) -> Any:
        if not isinstance(labels, list | tuple):
            return labels
        for label in labels:
            if not isinstance(label, str):
                raise ValueError(f'a label is text: write "{label}" in quotes instead of {label}')
            if labels.count(label) > 1:
                raise ValueError(f"the label {label!r} stands there twice: remove one")
        return dict.fromkeys(labels, "")

    @field_validator("labels")
    @classmethod
    def _distinct(cls, labels: dict[str, str]) -> dict[str, str]:
        if not labels:
            raise ValueError('there are no labels: name at least two, as in labels = ["yes", "no"]')
        seen: dict[str, str] = {}
        for label in labels:
            if not label.strip():
                raise ValueError("a label has an empty name: give it one")
            if label != label.strip() or any(unicodedata.category(c) == "Cc" for c in label):
                raise ValueError(f"the label {label!r} begins or ends with a space, or holds a line break: remove it")
            plain = unicodedata.normalize("NFKC", label).casefold()
            if plain in seen:
                raise ValueError(
                    f"the labels {seen[plain]!r} and {label!r} differ only by case or by how letters are encoded, "
                    "and would be taken for one another: rename one"
                )
            seen[plain] = label
        return labels


Words = Annotated[str, Field(min_length=1, pattern=r"\S")]


class KnownConfig(Strict):
    """`[knowledge.LABEL]`: `keywords` that speak for a label, `examples` of texts that bear it. They teach the student
    and are shown to nobody."""

    keywords: tuple[Words, ...] = ()
    examples: tuple[Words, ...] = ()


class PoolConfig(Strict):
    """`[pool]`: where the items are. `text`: one column or more, none for "find it"; `gold`: known labels, if any."""

    path: str = Field(min_length=1)
    text: tuple[str, ...] = ()
    id: str | None = None
    gold: str | None = None
    format: str = "auto"
    split: str | None = None

    @field_validator("text", mode="before")
    @classmethod
    def _one(cls, text: Any) -> Any:
        if text == "auto":
            return ()
        return (text,) if isinstance(text, str) else tuple(text) if isinstance(text, list) else text


class Goal(Strict):
    """`[goal]`: how good, how sure, and what it may cost.

    `accuracy`: of the accepted labels, against people, claimed with probability 1 − `delta`. `budget_usd`: dollars, or
    "none" for no limit that is meant so; None is no limit, either. `budget_tokens` (in and out together) and
    `budget_calls` (requests): of machines asked over the network. `person_minutes`: people's time;
    `person_usd_per_hour`: what it is worth beside machines' prices. `pilot`, `audit`: numbers of random questions to
    people; None lets the run choose from `person_minutes`.
    `audit_twice`: so many of the audit's are put to a second person, too. `test`: the certificate's, "exact" for one
    look, "anytime" to look whenever one likes. `classes`: labels that are certified each by itself, too.
    """

    accuracy: Fraction = 0.95
    delta: Fraction = 0.05
    budget_usd: Amount | None = None
    budget_tokens: Count | None = None
    budget_calls: Count | None = None
    person_minutes: Amount = 60.0
    person_usd_per_hour: Amount = 25.0
    pilot: Count | None = None
    audit: Count | None = None
    audit_twice: Count = 0
    test: Literal["exact", "anytime"] = "exact"
    left: Literal["open", "people"] = "open"
    classes: tuple[str, ...] = ()

    @field_validator("classes", mode="before")
    @classmethod
    def _listed(cls, classes: Any) -> Any:
        return tuple(classes) if isinstance(classes, list) else classes

    @field_validator("left")
    @classmethod
    def _once(cls, left: str, others: ValidationInfo) -> str:
        # The walk that this promise rests on is one look at the whole audit.
        if left == "people" and others.data.get("test") == "anytime":
            raise ValueError('"people" needs one look at all answers: write goal.test = "exact", or goal.left = "open"')
        return left

    @field_validator("budget_usd", mode="before")
    @classmethod
    def _none(cls, usd: Any) -> Any:
        return None if usd == "none" else usd

    @property
    def budget(self) -> Budget:
        """What machines may take in all."""
        return Budget(self.budget_usd, self.budget_tokens, self.budget_calls)

    @property
    def costs_what_it_costs(self) -> bool:
        """Whether "none" was said of the dollars, and not only nothing."""
        return self.budget_usd is None and "budget_usd" in self.model_fields_set


class RungKeys(Strict):
    """The keys every `[[rung]]` may carry; all others belong to its plug-in. From `samples` on: how an oracle is asked.

    `templates`: prompts of which sample s uses number s mod T, so that there are at least T samples; with
    `form = "pilot"` they are what the pilot chooses from, with "auto" it chooses where none is named. `shortlist`:
    labels shown at once; None is 20 where there are more than 26 labels; 0 shows all.
    """

    student: str | None = None
    oracle: str | None = None
    name: str = Field(min_length=1, max_length=60, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    bar: Annotated[float, Field(ge=0, le=1)] | None = None
    samples: Annotated[int, Field(ge=1)] = 1
    templates: tuple[str, ...] = ()
    form: Literal["auto", "pilot", "given"] = "auto"
    shots: Count = 0
    shot_choice: Literal["balanced", "fixed", "diverse", "knn"] = "balanced"
    shortlist: Count | None = None
    overflow: Literal["head+tail", "fail", "chunk"] = "head+tail"
    rationale: bool = False

    @field_validator("templates", mode="before")
    @classmethod
    def _listed(cls, templates: Any) -> Any:
        return tuple(templates) if isinstance(templates, list) else templates

    @model_validator(mode="before")
    @classmethod
    def _once_each(cls, keys: Any) -> Any:
        """Every template is used: without `samples`, one of each."""
        if not isinstance(keys, dict) or "samples" in keys or keys.get("form") == "pilot":
            return keys
        several = keys.get("templates")
        return {**keys, "samples": len(several)} if isinstance(several, list) and several else keys

    @model_validator(mode="after")
    def _asked_well(self) -> RungKeys:
        if self.form != "pilot" and self.samples < len(self.templates):
            raise ValueError(
                f"samples = {self.samples} leaves some of the {len(self.templates)} templates unused: "
                f"write samples = {len(self.templates)}, or leave it out"
            )
        if self.shortlist == 1:
            raise ValueError("shortlist = 1 is no choice: write 2 or more, or 0 to show all labels")
        return self


class Rung(RungKeys):
    """`[[rung]]`: one annotator of the ladder. `settings`: its plug-in's `Settings`."""

    settings: Any = None

    @property
    def person(self) -> bool:
        """Whether people answer here."""
        return self.oracle == "person"


class Run(Strict):
    """`[run]`: where and how. `store`: a database URL; None is `ledger.db` in the run folder.

    `balance`: the strategy asks for even classes. `duplicates`: near-duplicates in the pool are asked about once.
    `patience`: turns in a row whose answers changed less than they cost, after which a run stops; 0 is never.
    """

    dir: str = Field(default="tutelage-run", min_length=1)
    seed: Count = 0
    acquire: str = "auto"
    balance: bool = False
    duplicates: bool = True
    patience: Count = 3
    batch: Annotated[int, Field(ge=1)] | None = None
    max_turns: Annotated[int, Field(ge=1)] = 50
    store: str | None = None


class Review(Strict):
    """`[review]`: how people are asked. `assisted`: questions that repair show the machines' label, and the answer is
    marked so; questions that measure never do. `overlap`: the share of questions put to a second person, too.
    `order`: "value" asks first what mends most, "fifo" in the order in which questions came.
    """

    assisted: bool = False
    overlap: Annotated[float, Field(ge=0, le=1)] = 0.0
    order: Literal["value", "fifo"] = "value"


class Privacy(Strict):
    """`[privacy]`: where texts may go, and what is covered before they leave.

    `egress`: "local", or the hosts that texts may be sent to (see `agent.egress`); None is wherever the ladder says.
    `mask`: kinds of personal data that are covered in what rungs outside this machine are sent; `names`: a file with
    a name a line, for kind "name"; `regions`: countries whose phone numbers are known without their + and country
    code (two letters each; none takes those of `agent.mask`). `mask_local`: cover them for local rungs, too.
    """

    egress: tuple[str, ...] | None = None
    mask: tuple[Literal["email", "phone", "card", "iban", "name"], ...] = ()
    names: str | None = None
    regions: tuple[Annotated[str, Field(pattern="^[A-Z]{2}$")], ...] = ()
    mask_local: bool = False

    @field_validator("egress", mode="before")
    @classmethod
    def _places(cls, places: Any) -> Any:
        listed = [places] if isinstance(places, str) else places
        if not isinstance(listed, list | tuple) or not all(isinstance(one, str) for one in listed):
            return listed
        return tuple(egress.entry(one) for one in listed)

    @model_validator(mode="after")
    def _whole(self) -> Privacy:
        if ("name" in self.mask) != (self.names is not None):
            raise ValueError(
                'mask = ["name"] and names = "names.txt" (a name a line) go together: write both or neither'
            )
        return self


class Config(Strict):
    """The whole file. `root`: the folder it stands in; paths in it are taken from there."""

    task: TaskConfig
    pool: PoolConfig
    goal: Goal = Goal()
    rung: tuple[Rung, ...]
    run: Run = Run()
    review: Review = Review()
    privacy: Privacy = Privacy()
    knowledge: dict[str, KnownConfig] = {}
    root: Path = Path()

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.root / self.run.dir

    @property
    def store_url(self) -> str:
        """Where the ledger is: the database URL told, or a path in the run folder."""
        return self.run.store or str(self.folder / "ledger.db")

    @property
    def pool_path(self) -> str:
        """The pool's path, from the root when it is a file's; `-`, `hf:…` and `~/…` as they are."""
        path = self.pool.path
        return path if path == "-" or path.startswith(("hf:", "~")) else str(self.root / path)

    @property
    def person(self) -> Rung | None:
        """The rung where people answer, if there is one."""
        return next((rung for rung in self.rung if rung.person), None)
