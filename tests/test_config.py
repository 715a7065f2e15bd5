"""tutelage.toml and --set: what is read, and that every complaint names the file, the key, the value and the mend."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agent import config
from agent.errors import ConfigError
from agent.oracles import person
from agent.types import Example


@dataclass(frozen=True)
class Settings:
    """What the stand-in plug-ins below may be told."""

    model: str
    temperature: float = 0.0
    stops: tuple[str, ...] = ()
    wire: Literal["chat", "decisions"] = "chat"
    api_key_env: str | None = None

    def __post_init__(self) -> None:
        if self.temperature > 2:
            raise ValueError("temperature must be 2 or less: write temperature = 1")


def build(settings: Settings, context: object) -> object:
    """Never called here."""
    return settings


Oracle = SimpleNamespace(Settings=Settings, build=build)
Nothing = object()

GOOD = """
[task]
name = "mail"
question = "Which is it?"
labels = { spam = "unwanted", ham = "" }
examples = [{ text = "buy now", label = "spam" }]

[pool]
path = "mail.csv"
text = "body"

[goal]
accuracy = 0.9
budget_usd = 5

[[rung]]
oracle = "test_config:Oracle"
name = "small"
model = "m"
stops = ["a", "b"]

[[rung]]
oracle = "test_config:Oracle"
model = "n"

[[rung]]
oracle = "person"
"""


def read(text: str = GOOD, *overrides: str) -> config.Config:
    return config.parse(text, "tutelage.toml", Path("somewhere"), overrides)


def complaint(text: str = GOOD, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(text, *overrides)
    return str(caught.value)


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    file = tmp_path / "tutelage.toml"
    file.write_text("\ufeff" + GOOD, encoding="utf-8")
    got = config.load(file, ["rung.small.bar=.9"])
    assert got.root == tmp_path and got.folder == tmp_path / "tutelage-run"
    assert got.pool_path == str(tmp_path / "mail.csv") and got.pool.text == ("body",)
    assert got.store_url == str(tmp_path / "tutelage-run" / "ledger.db")
    assert [r.name for r in got.rung] == ["small", "Oracle", "person"]
    assert got.rung[0].settings == Settings("m", stops=("a", "b")) and got.rung[0].bar == 0.9
    assert got.person is got.rung[2] and got.rung[2].settings == person.Settings(8.0, None)
    assert got.goal.budget_usd == 5 and got.goal.delta == 0.05 and got.run.seed == 0


def test_the_nouns_come_out() -> None:
    task = config.the_task(read())
    assert list(task.labels) == ["spam", "ham"] and task.examples == (Example("buy now", "spam"),)
    assert config.layout(read()).choices == (("spam", "ham"),)
    several = read(GOOD, "task.kind=multi")
    assert config.the_task(several).examples[0].value == ("spam",)
    assert config.layout(several).atoms == ("spam", "ham")


def test_the_config_cannot_be_changed() -> None:
    got: Any = read()
    with pytest.raises(ValidationError):
        got.goal.accuracy = 0.5
    with pytest.raises(FrozenInstanceError):
        got.rung[0].settings.model = "x"


def test_labels_as_a_list_keep_their_order() -> None:
    got = read(GOOD, 'task.labels=["no", "on", "spam"]')
    assert list(got.task.labels.items()) == [("no", ""), ("on", ""), ("spam", "")]


def test_guidelines_come_from_a_file_beside_it(tmp_path: Path) -> None:
    (tmp_path / "rules.md").write_text("Be fair.\n", encoding="utf-8")
    (tmp_path / "tutelage.toml").write_text(GOOD, encoding="utf-8")
    got = config.load(tmp_path / "tutelage.toml", ["task.guidelines=rules.md"])
    assert config.the_task(got).guidelines == "Be fair."
    text = config.load(tmp_path / "tutelage.toml", ["task.guidelines=Ask yourself twice."])
    assert text.task.guidelines == "Ask yourself twice."
    with pytest.raises(ConfigError, match=r"guidelines = \"other.md\": there is no such file: write .*other.md"):
        config.load(tmp_path / "tutelage.toml", ["task.guidelines=other.md"])


def test_names_are_given_and_numbered() -> None:
    nameless = GOOD.replace('name = "small"\n', "")
    assert [r.name for r in read(nameless).rung] == ["Oracle", "Oracle-2", "person"]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("goal.acuracy=0.9", ["goal.acuracy = 0.9", "no such key", "did you mean goal.accuracy?"]),
        ("gaol.accuracy=0.9", ["gaol", "did you mean goal?"]),
        ("rung.small.modle=x", ["rung.small.modle", "did you mean rung.small.model?"]),
        ("goal.accuracy=high", ['goal.accuracy = "high"', "must be a number", "accuracy = 0.95"]),
        ("goal.accuracy=95", ["goal.accuracy = 95", "less than 1", "0.95"]),
        ("goal.budget_usd=inf", ["goal.budget_usd", "finite", "leave the key out"]),
        ("goal.budget_usd=-1", ["goal.budget_usd = -1", "0 or more"]),
        ('goal={left="people", test="anytime"}', ["goal.left", "one look", 'goal.test = "exact"']),
        ("goal.pilot=2.5", ["goal.pilot = 2.5", "whole number"]),
        ("run.seed=true", ["run.seed = true", "whole number"]),
        ("task.labels=[]", ["task.labels", "no labels", "at least two"]),
        ("task.labels=['spam']", ["task.labels", "only label", "second"]),
        ("task.labels=['spam', '']", ["task.labels", "empty name"]),
        ("task.labels=['spam', 'spam']", ["task.labels", "'spam'", "twice"]),
        ("task.labels=['spam', 'Spam']", ["task.labels", "'spam'", "'Spam'", "differ only by case", "rename"]),
        ("task.labels=['spam', 'ﬁle', 'file']", ["'ﬁle'", "'file'", "rename"]),
        ("task.labels=['spam', 'STRASSE', 'straße']", ["'straße'", "rename"]),
        ("task.labels=['spam', ' ham']", ["' ham'", "space"]),
        ("task.labels=['spam', 1]", ["task.labels", 'write "1" in quotes']),
        ("task.labels=['ham', 'spa']", ['task.examples.0.label = "spam"', "did you mean spa?"]),
        ("task.kind=singel", ["task.kind", "'singel'", "did you mean 'single'"]),
        ("rung.small.oracle=opnai", ["rung.small.oracle", "'opnai'", "person"]),
        ("rung.small.oracle=test_config:Nothing", ["rung.small.oracle", "Settings", "build"]),
        ("rung.small.oracle=nowhere.at.all:it", ["rung.small.oracle", "cannot be imported"]),
        ("rung.small.stops=a", ['rung.small.stops = "a"', "must be a list"]),
        ("rung.small.stops=[1]", ["rung.small.stops.0 = 1", "text"]),
        ("rung.small.wire=grpc", ['rung.small.wire = "grpc"', "'chat' or 'decisions'"]),
        ("rung.small.temperature=3", ["rung.small", "temperature = 1"]),
        ("rung.small.model=none", ["rung.small.model is missing", "add it"]),
        ("rung.small.samples=0", ["rung.small.samples = 0", "1 or more"]),
        ("rung.small.bar=1.5", ["rung.small.bar = 1.5", "1 or less"]),
        ("rung.small.name=a b", ['name = "a b"', "may hold only letters"]),
        ("rung.small.name=Oracle", ["'Oracle'", "twice"]),
        ("rung.small.name=person", ["name 'person' stands there twice"]),
        ("rung.small.student=linear", ["rung.small", "either a student or an oracle"]),
        ("rung.person.bar=0.5", ["rung.person.bar", "remove it"]),
        ("rung.person.name=crowd", ["only the person rung is called person"]),
        ("rung.person.seconds=0", ["rung.person.seconds", "more than 0"]),
        ("rung.large.bar=1", ["rung.large", "known: small, Oracle, person"]),
        ("rung.7.bar=1", ["rung.7", "known: small"]),
        ("goal.accuracy.high=1", ["goal.accuracy is a single value"]),
        ("goal", ["--set goal", "key=value"]),
        ("=3", ["--set", "key=value"]),
        ("pool.path=none", ["pool.path is missing"]),
        ("pool.path=''", ["pool.path", "must not be empty"]),
        ("run.store=ledger.db", ["run.store", "sqlite:///ledger.db"]),
    ],
)
def test_a_complaint_names_the_key_and_the_mend(override: str, words: list[str]) -> None:
    text = complaint(GOOD, override)
    assert "--set" in text
    for word in words:
        assert word in text
    assert "Traceback" not in text and "pydantic" not in text


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[pool]", "[pool", ["not TOML", "line 8"]),
        ('path = "mail.csv"', "path = mail.csv", ["not TOML", "line 9", "double quotes"]),
        ("[goal]", "[[goal]]", ["goal must be a table", "[goal]"]),
        ('[[rung]]\noracle = "person"\n', '[[rung]]\noracle = "person"\n' * 2, ["two person rungs"]),
        (GOOD[GOOD.index("[[rung]]") :], "", ["the ladder is empty", "[[rung]]"]),
        (GOOD[GOOD.index("[[rung]]") :], '[rung]\noracle = "person"\n', ["[[rung]] with two brackets"]),
        (
            'oracle = "person"\n',
            'oracle = "person"\n[[rung]]\noracle = "test_config:Oracle"\nmodel = "z"\n',
            ["last word"],
        ),
        ('label = "spam"', 'label = ["spam", "ham"]', ["task.examples.0.label", "takes one label"]),
        ('label = "spam"', 'lable = "spam"', ["task.examples.0.lable"]),
    ],
)
def test_a_complaint_about_the_file_names_the_file(old: str, new: str, words: list[str]) -> None:
    assert old in GOOD
    text = complaint(GOOD.replace(old, new))
    assert text.startswith("tutelage.toml: ")
    for word in words:
        assert word in text


def test_everything_wrong_is_said_at_once() -> None:
    text = complaint(
        GOOD.replace("accuracy = 0.9", 'accuracy = "x"').replace('text = "body', 'txet = "body'), "run.sed=3"
    )
    assert len(text.splitlines()) == 3
    assert "tutelage.toml with --set: goal.accuracy" in text and ": pool.txet" in text and "--set: run.sed" in text


def test_every_template_that_is_named_is_used() -> None:
    def rung(more: str) -> Any:
        return read(GOOD.replace("[[rung]]", f"[[rung]]\n{more}", 1)).rung[0]

    two = 'templates = ["a.j2", "b.j2"]'
    assert rung("").samples == 1 and rung(two).samples == 2 and rung(two).templates == ("a.j2", "b.j2")
    assert rung(f"{two}\nsamples = 4").samples == 4
    assert rung(f'{two}\nform = "pilot"').samples == 1
    assert "leave it out" in complaint(GOOD.replace("[[rung]]", f"[[rung]]\n{two}\nsamples = 1", 1))
    assert "no choice" in complaint(GOOD.replace("[[rung]]", "[[rung]]\nshortlist = 1", 1))
    assert "fixed" in complaint(GOOD.replace("[[rung]]", '[[rung]]\nshot_choice = "near"', 1))


def test_students_stand_first_and_have_a_teacher() -> None:
    student = '[[rung]]\nstudent = "test_config:Oracle"\nmodel = "s"\n'
    head, tail = GOOD[: GOOD.index("[[rung]]")], GOOD[GOOD.index("[[rung]]") :]
    assert [r.name for r in read(head + student + tail).rung] == ["student", "small", "Oracle", "person"]
    assert "asked first" in complaint(head + '[[rung]]\noracle = "test_config:Oracle"\nmodel = "n"\n' + student)
    assert "second student" in complaint(head + student + student + tail)
    assert "nobody to learn from" in complaint(head + student)
    assert "for oracles only" in complaint(head + student + "samples = 2\n" + tail)


@pytest.mark.parametrize(
    ("override", "mend"),
    [
        ("rung.small.api_key=sk-verysecret", "api_key_env"),
        ("rung.small.apikey=sk-verysecret", "api_key_env"),
        ("rung.small.password=sk-verysecret", "environment variable"),
        ("rung.small.api_key_env=sk-verysecret", "name of an environment variable"),
        ("rung.small.auth_token=sk-verysecret", "no such key"),
        ("run.store=postgresql://me:sk-verysecret@db/x", "PGPASSWORD"),
    ],
)
def test_a_secret_is_refused_and_never_shown(override: str, mend: str) -> None:
    text = complaint(GOOD, override)
    assert mend in text and "verysecret" not in text


def test_a_label_may_be_called_password() -> None:
    assert "password" in read(GOOD, 'task.labels=["password", "spam"]').task.labels


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such file.*tutelage init"):
        config.load(tmp_path / "tutelage.toml")
    (tmp_path / "latin.toml").write_bytes(b"\xe9 = 1")
    with pytest.raises(ConfigError, match="UTF-8"):
        config.load(tmp_path / "latin.toml")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("goal.budget_usd=none", None),
        ("goal.budget_usd=.5", 0.5),
        ("goal.budget_usd=2.", 2.0),
        ("goal.budget_usd=1e-3", 0.001),
        ("goal.budget_usd=7", 7.0),
    ],
)
def test_numbers_are_understood_as_people_write_them(override: str, expected: float | None) -> None:
    assert read(GOOD, override).goal.budget_usd == expected


def test_later_overrides_win_and_reach_by_number_too() -> None:
    got = read(GOOD, "rung.0.bar=0.5", "rung.small.bar=0.6", "rung.1.model=1.5.0")
    assert got.rung[0].bar == 0.6 and got.rung[1].settings.model == "1.5.0"
    assert read(GOOD, "task.question=Is it a = b?").task.question == "Is it a = b?"


def test_the_fingerprint_tells_what_matters() -> None:
    first = config.fingerprint(read())
    assert len(first) == 64 and first == config.fingerprint(read())
    assert first == config.fingerprint(read(GOOD, "run.dir=elsewhere", "pool.path=moved.csv"))
    changes = ["goal.accuracy=0.8", "rung.small.temperature=1", "run.seed=1", "task.question=?", "pool.text=title"]
    swapped = 'task.labels={ham = "", spam = "unwanted"}'
    assert len({first, *(config.fingerprint(read(GOOD, change)) for change in [*changes, swapped])}) == 7


def words(longest: int) -> st.SearchStrategy[str]:
    """Any text that can be written into a file."""
    return st.text(st.characters(exclude_categories=["Cs"]), max_size=longest)


@given(st.dictionaries(words(8), words(12), min_size=2, max_size=6))
def test_any_labels_are_read_as_written_or_refused_with_words(labels: dict[str, str]) -> None:
    table = ", ".join(f"{_toml(k)} = {_toml(v)}" for k, v in labels.items())
    text = GOOD.replace('{ spam = "unwanted", ham = "" }', "{ " + table + " }").replace(
        'examples = [{ text = "buy now", label = "spam" }]', ""
    )
    try:
        assert dict(read(text).task.labels) == labels
    except ConfigError as error:
        assert "task.labels" in str(error)


@given(st.text(max_size=30))
def test_any_override_is_taken_or_refused_with_words(override: str) -> None:
    try:
        read(GOOD, override)
    except ConfigError as error:
        assert "--set" in str(error)


def _toml(text: str) -> str:
    """A TOML basic string: everything unusual as \\UXXXXXXXX."""
    return '"' + "".join(c if c.isalnum() and c.isascii() else f"\\U{ord(c):08X}" for c in text) + '"'


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ('["http://127.0.0.1:1/v1", 5]', "rung.openai.base_url.1 = 5: must be text in quotes"),
        ("5", "rung.openai.base_url = 5: must be text in quotes"),
        ('["http://127.0.0.1:1/v1", ""]', "rung.openai: address 2 of base_url is empty"),
    ],
)
def test_what_may_be_written_in_two_ways_is_complained_of_once_and_where_it_stands(
    tmp_path: Path, value: str, says: str
) -> None:
    (tmp_path / "pool.csv").write_text("id,text\n1,a\n")
    path = tmp_path / "tutelage.toml"
    path.write_text(
        '[task]\nlabels = ["a", "b"]\n[pool]\npath = "pool.csv"\ntext = "text"\n'
        f'[[rung]]\noracle = "openai"\nmodel = "m"\nbase_url = {value}\n'
    )
    with pytest.raises(ConfigError) as caught:
        config.load(path, ())
    said = str(caught.value)
    assert says in said and "tuple" not in said and len(said.splitlines()) == 1
