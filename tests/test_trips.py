"""Round trips through Label Studio, Argilla, Prodigy and sheets: blind out, matched back, nothing mixed up or twice."""

from __future__ import annotations

import json
import tempfile
import unicodedata
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from review_room import LABELS, Room
from trips_room import ENDINGS, furnished, keys, least, options, out, play, second, sheet_rows, take

from agent import prompt
from agent.cli import main
from agent.errors import DataError, UserError
from agent.review.order import blind
from agent.review.trips import tools
from agent.store import Store
from agent.types import Answer

TOOLS = list(ENDINGS)
OTHERS = [tool for tool in TOOLS if tool != "csv"]
GUESSES = ("predictions", "suggestions", "accept", "tutelage_shown")
THREE = [("first text",), ("second text",), ("third text",)]


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = furnished(tmp_path, THREE)
    yield made
    made.store.close()


def words(room: Room, extra: bool = False) -> dict[str, list[tuple[str, str]]]:
    """The user's id -> (who, what they said), oldest first; `extra`: of opinions beside the answers."""
    told: dict[str, list[tuple[str, str]]] = {}
    wanted = prompt.extra_recipe(room.recipe) if extra else room.recipe
    for call, answer in room.answers():
        if call.recipe == wanted:
            name = str(room.pool.item(room.pool.position(call.item)).name)
            told.setdefault(name, []).append((answer.who, "?" if answer.unsure else answer.text))
    return told


# ---------------------------------------------------------------- there and back


@pytest.mark.parametrize("tool", TOOLS)
def test_answers_come_back_by_key(room: Room, tool: str) -> None:
    path = out(room, tool)
    one, two, three = keys(path, tool)
    who = "3" if tool == "label-studio" else "ada"
    back = play(path, tool, {one: [(who, ["billing"])], two: [(who, None)], three: [(who, ["other"])]})
    report = take(room, back, who="ada" if tool == "csv" else None)
    named = "label-studio:3" if tool == "label-studio" else "ada"
    assert (report.taken, report.empty, report.rejected, report.people) == (2, 1, 0, [named])
    assert sorted(word for said in words(room).values() for word in said) == [(named, "billing"), (named, "other")]
    seconds = {answer.seconds for _, answer in room.answers()}
    assert seconds == ({4.25} if tool == "label-studio" else {0.0})
    before = len(room.answers())
    again = take(room, back, who="ada" if tool == "csv" else None)
    assert (again.taken, again.already, again.late, len(room.answers())) == (0, 2, 0, before)


@pytest.mark.parametrize("tool", OTHERS)
def test_the_tool_is_told_by_what_the_file_holds(room: Room, tool: str) -> None:
    path = out(room, tool)
    back = play(path, tool, {keys(path, tool)[0]: [("1", ["billing"])]})
    assert tools.guess(str(back)) == tool
    if tool == "label-studio":
        assert tools.guess(str(least(back))) == tool
    if tool == "argilla":
        nested = {"id": "x", "fields": {}, "responses": {}, "_server_id": "y"}
        back.write_text(json.dumps([nested]))
        assert tools.guess(str(back)) == tool


def test_what_no_tool_wrote_is_told(room: Room) -> None:
    path = room.folder / "what.json"
    path.write_text('[{"a": 1}]')
    with pytest.raises(UserError, match=r"cannot tell which tool wrote it; say so with --as label-studio\|argilla"):
        take(room, path)
    path.write_text('{"a": 1}\nnot json')
    with pytest.raises(DataError, match="line 2: this is no JSON"):
        take(room, path)
    path.write_text("[" * 100_000)
    with pytest.raises(DataError, match="nested too deep"):
        take(room, path)
    path.write_bytes(b"\xff\xff")
    with pytest.raises(DataError, match="not UTF-8"):
        take(room, path)
    with pytest.raises(DataError, match="cannot be read"):
        take(room, room.folder / "absent.json")


PLAIN = st.text(st.characters(exclude_categories=["Cs", "Cn"]), min_size=1, max_size=40)
NASTY = st.one_of(
    PLAIN,
    st.sampled_from(["=1+1", "'=x", "a\r\nb\rc\n", "\u202egnirts\u202c", "x\0y", "\U0001f469\u200d\U0001f52c", "$text",
                     "<script>alert(1)</script>", "a,b;\"c\"|d\te", "\ufeffb", "\u2028", "@cmd", "{{x}}", "e\u0301"]),
)  # fmt: skip
NAMES = st.one_of(
    st.text(st.characters(exclude_categories=["Cs", "Cn", "Cc"]), min_size=1, max_size=12),
    st.sampled_from(["?", "none", "(cannot tell)", "cannot tell", "$a", "=x", "a&<\"'", "\u0645\u0631", "\U0001f600"]),
)  # fmt: skip


def distinct(labels: list[str]) -> bool:
    plain = [unicodedata.normalize("NFKC", label).casefold() for label in labels]
    return len(set(plain)) == len(plain) and all(label == label.strip() for label in labels)


@pytest.mark.parametrize("tool", TOOLS)
@settings(
    max_examples=5,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
)
@given(data=st.data())
def test_any_text_and_any_label_survive(tool: str, data: st.DataObject) -> None:
    many = data.draw(st.booleans())
    names = NAMES.filter(lambda name: tool != "csv" or not (set("|,;") & set(name)))
    labels = data.draw(st.lists(names, min_size=2, max_size=5).filter(distinct))
    parts = data.draw(st.integers(1, 2))
    texts = data.draw(st.lists(st.tuples(*[NASTY] * parts), min_size=1, max_size=6))
    if tool == "csv":  # intake takes in no NUL, and a sheet could not hold it
        texts = [tuple(part.replace("\0", " ") for part in text) for text in texts]
    with tempfile.TemporaryDirectory() as folder:
        room = furnished(Path(folder), texts, labels, "multi" if many else "single")
        path = out(room, tool)
        choices = [*labels, "?"] if tool == "csv" else options(path, tool)
        assert choices[:-1] == labels
        said = {}
        for key in keys(path, tool):
            picked = data.draw(st.lists(st.sampled_from(labels), unique=True, min_size=0 if many else 1,
                                        max_size=len(labels) if many else 1))  # fmt: skip
            unsure = tool != "csv" and data.draw(st.booleans())
            said[key] = [("7", choices[-1:] if unsure else picked)]
        report = take(room, play(path, tool, said, many), who="ada" if tool == "csv" else None)
        assert report.refused == [] and report.empty == 0
        for call, answer in room.answers():
            wanted = said[call.key][0][1]
            assert answer.unsure == (wanted == choices[-1:] and tool != "csv")
            if not answer.unsure:
                assert answer.text == (json.dumps(sorted(wanted), ensure_ascii=False) if many else wanted[0])
        assert len(room.answers()) == len(texts)
        room.store.close()


def test_json_min_says_what_json_says(tmp_path: Path) -> None:
    for form in ("json", "least"):
        (tmp_path / form).mkdir()
        room = furnished(tmp_path / form, THREE, kind="multi")
        path = out(room, "label-studio")
        one, two, three = keys(path, "label-studio")
        back = play(path, "label-studio",
                    {one: [("3", ["billing", "other"])], two: [("3", [])], three: [("3", ["technical"])]})  # fmt: skip
        report = take(room, back if form == "json" else least(back))
        assert (report.taken, report.rejected) == (3, 0)
        assert sorted(room.said().values()) == ['["billing", "other"]', '["technical"]', "[]"]
        assert {answer.seconds for _, answer in room.answers()} == {4.25}
        room.store.close()


# ---------------------------------------------------------------- blind


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("assisted", ["false", "true"])
def test_files_do_not_differ_by_purpose(tmp_path: Path, tool: str, assisted: str) -> None:
    told = set()
    for stream in ("pilot", "audit", "escalation"):
        folder = tmp_path / stream
        folder.mkdir()
        room = furnished(folder, THREE[:1], streams=[stream], review=f"assisted = {assisted}", sure="other")
        path = out(room, tool)
        files = sorted(file for file in folder.iterdir() if file.name.startswith("out"))
        if stream != "escalation" or assisted == "false" or blind(room.pool.ids[0], room.config.run.seed):
            told.add(b"".join(file.read_bytes() for file in files))
        room.store.close()
        for word in ("pilot", "audit", "escalation", "0.25", "0.4", "turn", "student", room.recipe):
            assert all(word.encode() not in file.read_bytes() for file in files), (word, path)
    assert len(told) == 1


def shown(room: Room, path: Path, tool: str) -> dict[str, Any]:
    """Key -> the guess that stands beside it in the file."""
    if tool == "csv":
        return {row["key"]: row["label"] or None for row in sheet_rows(path)}
    text = path.read_text("utf-8")
    rows = [json.loads(line) for line in text.split("\n") if line] if tool == "prodigy" else json.loads(text)
    if tool == "label-studio":
        guesses = [[p["result"][0]["value"]["choices"] for p in row.get("predictions", [])] for row in rows]
        assert all(bool(guess) == ("tutelage_shown" in row["data"]) for guess, row in zip(guesses, rows, strict=True))
    elif tool == "argilla":
        guesses = [row.get("suggestions", {}).get("label") for row in rows]
        assert all(
            bool(guess) == ("tutelage_shown" in row["metadata"]) for guess, row in zip(guesses, rows, strict=True)
        )
    else:
        guesses = [row.get("accept") for row in rows]
        assert all((guess or None) == row.get("tutelage_shown") for guess, row in zip(guesses, rows, strict=True))
    return {key: guess or None for key, guess in zip(keys(path, tool), guesses, strict=True)}


@pytest.mark.parametrize("tool", TOOLS)
def test_only_what_repairs_shows_a_guess_and_only_when_assisted(tmp_path: Path, tool: str) -> None:
    texts = [(f"text {i}",) for i in range(20)]
    streams: Any = ["audit"] * 5 + ["pilot"] * 3
    room = furnished(tmp_path, texts, streams=streams, review="assisted = true", sure="other")
    guesses = shown(room, out(room, tool), tool)
    purpose = {call.key: call.purpose for call in room.pending()}
    seen = {key for key, guess in guesses.items() if guess is not None}
    assert {purpose[key] for key in seen} == (set() if tool == "csv" else {"escalation"})
    blind = sum(purpose[key] == "escalation" and key not in seen for key in guesses)
    assert blind >= 5
    room.store.close()
    (tmp_path / "blind").mkdir()
    plain = furnished(tmp_path / "blind", texts, streams=streams, sure="other")
    text = out(plain, tool).read_text("utf-8")
    assert not any(name in text for name in GUESSES)
    plain.store.close()


@pytest.mark.parametrize("tool", OTHERS)
def test_an_answer_beside_a_guess_says_so(tmp_path: Path, tool: str) -> None:
    room = furnished(tmp_path, [(f"text {i}",) for i in range(12)], review="assisted = true", sure="other")
    path = out(room, tool)
    guesses = shown(room, path, tool)
    back = play(path, tool, {key: [("1", ["billing"])] for key in guesses})
    assert take(room, back).rejected == 0
    flags = {call.key: [flag for flag in answer.flags if "assisted" in flag] for call, answer in room.answers()}
    assert flags == {key: [] if guess is None else ["assisted: other"] for key, guess in guesses.items()}
    assert sum(map(bool, flags.values())) not in (0, 12)
    assert all(answer.flags[0] == f"import: {tool}" for _, answer in room.answers())
    room.store.close()


@pytest.mark.parametrize("tool", ["label-studio", "argilla"])
def test_a_guess_that_we_did_not_send_spoils_a_blind_answer(room: Room, tool: str) -> None:
    path = out(room, tool)
    one, two, _ = keys(path, tool)
    back = play(path, tool, {one: [("1", ["billing"])], two: [("1", ["billing"])]})
    rows = json.loads(back.read_text("utf-8"))
    rows[0] |= {"predictions": [{"result": []}], "label.suggestion": "other"}
    back.write_text(json.dumps(rows), "utf-8")
    report = take(room, back)
    assert report.taken == 1 and [refused.row for refused in report.refused] == [1]
    assert "must be answered blind" in report.refused[0].why


def test_what_measures_is_not_taken_when_a_guess_was_shown(tmp_path: Path) -> None:
    room = furnished(tmp_path, THREE[:1], streams=["audit"])
    path = out(room, "prodigy")
    back = play(path, "prodigy", {keys(path, "prodigy")[0]: [("ada", ["billing"])]})
    back.write_text(json.dumps({**json.loads(back.read_text("utf-8")), "tutelage_shown": ["billing"]}), "utf-8")
    assert take(room, back).refused[0].why.startswith("a guess stood beside it")
    assert room.answers() == []
    room.store.close()


# ---------------------------------------------------------------- another item, stray rows


@pytest.mark.parametrize("tool", TOOLS)
def test_changed_texts_ids_and_stray_keys_are_reported_and_the_rest_goes_on(tmp_path: Path, tool: str) -> None:
    room = furnished(tmp_path, [(f"text {i}", "more") for i in range(5)])
    path = out(room, tool)
    order = keys(path, tool)
    back = play(path, tool, {key: [("1", ["billing"])] for key in order})
    changes: list[dict[str, str]] = [
        {},
        {"text": "quite another text"},
        {"id": "T-99"},
        {"key": "f" * 64},
        {"text": "a"},
    ]
    ids = tampered(back, tool, changes)
    report = take(room, back, who="ada" if tool == "csv" else None)
    first = 2 if tool == "csv" else 1
    assert report.taken == 1
    assert [(refused.row, refused.id) for refused in report.refused] == [(first + i, ids[i]) for i in (1, 2, 3, 4)]
    whys = [refused.why for refused in report.refused]
    assert "its text is not the text" in whys[0] and "'T-99'" in whys[1] and "no open question" in whys[2]
    assert f"rows {first + 1} ({ids[1]}), {first + 4} ({ids[4]}): its text" in str(report)
    assert "4 rows not taken" in str(report)
    room.store.close()


def tampered(back: Path, tool: str, changes: list[dict[str, str]]) -> list[str]:
    """Somebody edits the file between; the user's ids in it."""
    if tool == "csv":
        import csv

        rows: list[Any] = sheet_rows(back)
        for row, change in zip(rows, changes, strict=True):
            row |= {"c0" if name == "text" else name: told for name, told in change.items()}
        with back.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        return [row["id"] for row in rows]
    text = back.read_text("utf-8")
    rows = [json.loads(line) for line in text.split("\n") if line] if tool == "prodigy" else json.loads(text)
    inside = [row["data"] if tool == "label-studio" else row for row in rows]
    name = {"id": "tutelage_id", "key": "id" if tool == "argilla" else "tutelage_key"}
    name["text"] = "text" if tool == "prodigy" else "text_1"
    for row, change in zip(inside, changes, strict=True):
        row |= {name[what]: told for what, told in change.items()}
    back.write_text("\n".join(map(json.dumps, rows)) if tool == "prodigy" else json.dumps(rows), "utf-8")
    return [row["tutelage_id"] for row in inside]


def test_texts_tell_sorted_columns_where_there_are_no_ids(tmp_path: Path) -> None:
    room = furnished(tmp_path, THREE, names=False)
    path = out(room, "csv")
    one, two, _ = keys(path, "csv")
    back = play(path, "csv", {one: [("", ["billing"])], two: [("", ["other"])]})
    tampered(back, "csv", [{}, {}, {}])
    text = back.read_text("utf-8").replace(one, "x").replace(two, one).replace("x,", two + ",", 1)
    back.write_text(text, "utf-8")
    report = take(room, back)
    assert report.taken == 0 and len(report.refused) == 2 and "another item was judged" in report.refused[0].why
    room.store.close()


def test_spaces_line_ends_and_composed_letters_are_no_other_text(tmp_path: Path) -> None:
    long = "word " * 9000
    room = furnished(tmp_path, [("a\n b\tc",), ("cafe\u0301",), ("=1",), (long,)])
    path = out(room, "csv")
    back = play(path, "csv", {key: [("", ["billing"])] for key in keys(path, "csv")})
    text = (
        back.read_text("utf-8").replace("a\n b\tc", "a\r\nb c").replace("cafe\u0301", "caf\u00e9").replace("'=1", "=1")
    )
    back.write_text(text.replace(long, long[:32_767]), "utf-8")  # a spreadsheet's cell holds no more
    report = take(room, back)
    assert report.taken == 4, report.refused
    room.store.close()


def test_junk_is_no_crash(room: Room) -> None:
    path = room.folder / "junk.json"
    junk: list[Any] = [None, 3, "x", [], {"data": 3}, {"data": {"tutelage_key": 7}, "annotations": [3, {"result": 1}]},
                       {"data": {"tutelage_key": "\ud800", "text": 4}, "annotations": [{"result": [{"value": 1}]}]},
                       {"tutelage_key": "k", "annotation_id": 1, "lead_time": 10**400}]  # fmt: skip
    path.write_text(json.dumps(junk))
    for form in OTHERS:
        report = take(room, path, form)
        assert report.taken == 0 and room.answers() == []


# ---------------------------------------------------------------- several people


def test_the_second_annotation_is_the_second_persons_where_one_is_wanted(room: Room) -> None:
    path = out(room, "label-studio")
    one, two, _ = keys(path, "label-studio")
    item = room.store.calls([one])[one].item
    wanted = second(room, item)
    said = {one: [("ada@example.org", ["billing"]), ("bo@example.org", ["other"]), ("cy@example.org", ["other"])],
            two: [("bo@example.org", ["technical"]), ("ada@example.org", ["other"])]}  # fmt: skip
    back = play(path, "label-studio", said)
    report = take(room, back)
    assert (report.taken, report.late, report.rejected) == (5, 2, 0)
    assert report.people == ["ada@example.org", "bo@example.org", "cy@example.org"]
    assert "2 answers came after somebody else's" in str(report)
    by = {(call.recipe, call.item, answer.who): answer.text for call, answer in room.answers()}
    assert by[room.recipe, item, "ada@example.org"] == "billing"
    assert by[wanted.recipe, item, "bo@example.org"] == "other"
    assert by[prompt.extra_recipe(room.recipe), item, "cy@example.org"] == "other"
    again = take(room, back)
    assert (again.taken, again.already) == (0, 5) and len(room.answers()) == 5
    assert room.store.verify() == []


@pytest.mark.parametrize("tool", TOOLS)
def test_an_answer_after_somebody_elses_is_an_extra_opinion(room: Room, tool: str) -> None:
    path = out(room, tool)
    one, two, three = keys(path, tool)
    room.store.record_now(one, Answer("other", who="bo"))
    call = room.store.calls([two])[two]
    room.store.withdraw(two, "bo")
    who = "4" if tool == "label-studio" else "ada"
    named = "label-studio:4" if tool == "label-studio" else "ada"
    back = play(path, tool, {key: [(who, ["billing"])] for key in (one, two, three)})
    login = "ada" if tool == "csv" else None
    report = take(room, back, who=login)
    assert (report.taken, report.late) == (2, 1)
    assert [refused.why for refused in report.refused] == [
        "the question was taken back after the file was written: export again; it was not taken"
    ]
    late = [(c.recipe, c.purpose, c.turn, a.who) for c, a in room.answers() if c.recipe != room.recipe]
    assert late == [(prompt.extra_recipe(room.recipe), call.purpose, call.turn, named)]
    again = take(room, back, who=login)
    assert (again.taken, again.late, again.already) == (0, 0, 2)
    assert room.store.verify() == [] and words(room)[f"T-{int(room.store.calls([one])[one].item, 16)}"] == [
        ("bo", "other")
    ]


def test_who_answered_first_does_not_answer_again(room: Room) -> None:
    path = out(room, "csv")
    one = keys(path, "csv")[0]
    room.store.record_now(one, Answer("other", who="ada"))
    wanted = second(room, room.store.calls([one])[one].item)
    sheet = out(room, "csv", "again")
    assert keys(sheet, "csv")[-1] == wanted.key
    back = play(sheet, "csv", {wanted.key: [("", ["other"])]})
    assert "somebody else is to answer" in take(room, back, who="ada").refused[0].why
    assert take(room, back, who="bo").taken == 1
    back = play(path, "csv", {one: [("", ["billing"])]})
    assert "ada answered 'other' before, and that stands" in take(room, back, who="ada").refused[0].why


def test_who_opened_an_items_page_cannot_answer_it_blind(room: Room) -> None:
    path = out(room, "csv")
    one, two, _ = keys(path, "csv")
    room.store.review.show("ada", room.store.calls([one])[one].item)
    report = take(room, play(path, "csv", {one: [("", ["other"])], two: [("", ["other"])]}), who="ada")
    assert report.taken == 1 and "somebody else must answer it" in report.refused[0].why


def test_one_person_of_a_file_can_be_named(room: Room) -> None:
    path = out(room, "label-studio")
    one, two, _ = keys(path, "label-studio")
    assert take(room, play(path, "label-studio", {one: [("4", ["billing"])]}), who="ada").people == ["ada"]
    report = take(room, play(path, "label-studio", {one: [("4", ["other"])], two: [("5", ["other"])]}), who="ada")
    assert report.people == ["label-studio:4", "label-studio:5"] and "--who ada is not used" in str(report)


def test_a_name_in_a_file_is_shown_as_text(room: Room) -> None:
    path = out(room, "prodigy")
    one, _, _ = keys(path, "prodigy")
    who = "\x1b[2J\u202eada" + "x" * 999
    assert take(room, play(path, "prodigy", {one: [(who, ["billing"])]})).people == ["\ufffd[2J\ufffdada" + "x" * 192]
    report = take(room, play(path, "prodigy", {one: [(who, ["other"])]}))
    assert report.rejected == 1 and "\x1b" not in str(report)


def test_one_persons_two_labels_for_one_question_are_both_left(room: Room) -> None:
    path = out(room, "prodigy")
    one = keys(path, "prodigy")[0]
    report = take(room, play(path, "prodigy", {one: [("ada", ["billing"]), ("ada", ["other"])]}))
    assert report.taken == 0 and [refused.row for refused in report.refused] == [1, 2]
    assert take(room, play(path, "prodigy", {one: [("ada", ["billing"]), ("ada", ["billing"])]})).taken == 1


# ---------------------------------------------------------------- what each tool says in its own way


def test_prodigy_rejects_and_nameless_sessions(room: Room) -> None:
    path = out(room, "prodigy")
    one, two, three = keys(path, "prodigy")
    back = play(path, "prodigy", {key: [("2026-01-02_03-04-05", ["other"])] for key in (one, two, three)})
    lines = [json.loads(line) for line in back.read_text("utf-8").split("\n") if line]
    lines[0]["answer"], lines[1]["answer"] = "reject", "ignore"
    back.write_text("\n".join(map(json.dumps, lines)), "utf-8")
    report = take(room, back)
    assert (report.taken, report.unsure, report.empty, report.people) == (1, 1, 1, ["login"])


def test_argillas_drafts_stay_open_and_its_short_export_is_asked_to_say_more(room: Room) -> None:
    path = out(room, "argilla")
    one, two, _ = keys(path, "argilla")
    back = play(path, "argilla", {one: [("u-1", ["billing"])], two: [("u-1", ["other"])]})
    rows = json.loads(back.read_text("utf-8"))
    rows[1]["label.responses.status"] = ["draft"]
    back.write_text(json.dumps(rows), "utf-8")
    report = take(room, back)
    assert (report.taken, report.empty, report.rejected) == (1, 2, 0)
    short = [{**row, "responses": {}, "_server_id": "s", "status": "pending"} for row in json.loads(path.read_text())]
    short[1] |= {"status": "completed", "responses": {"label": [{"value": "other", "user_id": "u-2"}]}}
    short[2] |= {"responses": {"label": [{"value": "other", "user_id": "u-2"}]}}
    back.write_text(json.dumps(short), "utf-8")
    report = take(room, back)
    assert (report.taken, report.people) == (1, ["u-2"])
    assert [refused.row for refused in report.refused] == [3] and "flatten=True" in report.refused[0].why


def test_long_looks_are_marked_idle(room: Room) -> None:
    path = out(room, "label-studio")
    one, two, _ = keys(path, "label-studio")
    back = play(path, "label-studio", {one: [("4", ["billing"])], two: [("4", ["other"])]})
    rows = json.loads(back.read_text("utf-8"))
    rows[0]["annotations"][0]["lead_time"], rows[1]["annotations"][0]["lead_time"] = 40_000.5, None
    back.write_text(json.dumps(rows), "utf-8")
    assert take(room, back).taken == 2
    assert sorted((a.seconds, a.flags[1:]) for _, a in room.answers()) == [(0.0, ()), (600.0, ("idle",))]


def test_the_sign_for_cannot_tell_is_never_a_label(tmp_path: Path) -> None:
    room = furnished(tmp_path, THREE, ["?", "cannot tell", "(Cannot tell)", "x"])
    for tool in OTHERS:
        path = out(room, tool)
        *labels, sign = options(path, tool)
        assert labels == ["?", "cannot tell", "(Cannot tell)", "x"] and sign == "cannot tell?"
    back = play(path, tool, {keys(path, tool)[0]: [("1", [sign])], keys(path, tool)[1]: [("1", ["?"])]})
    report = take(room, back)
    assert (report.taken, report.unsure) == (1, 1)
    room.store.close()


# ---------------------------------------------------------------- files


def test_files_are_not_overwritten_unasked_and_have_the_tools_ending(room: Room) -> None:
    path = out(room, "argilla")
    with pytest.raises(UserError, match=r"is there already.*--force"):
        tools.export(room.config, room.store, room.pool, str(path), "argilla")
    with pytest.raises(UserError, match=r"Label Studio reads \.json files: write --export q\.json"):
        tools.export(room.config, room.store, room.pool, str(room.folder / "q.csv"), "label-studio")
    with pytest.raises(UserError, match=r"Prodigy reads \.jsonl files"):
        tools.export(room.config, room.store, room.pool, str(room.folder / "q.json"), "prodigy")
    assert not list(room.folder.glob("q.*"))


def test_a_label_that_xml_cannot_carry_is_told(tmp_path: Path) -> None:
    room = furnished(tmp_path, THREE, ["a\ufffe", "b"])
    with pytest.raises(UserError, match="holds a character that XML cannot carry"):
        out(room, "label-studio")
    assert not (tmp_path / "out.json").exists()
    room.store.close()


def test_many_labels_are_a_list_to_search(tmp_path: Path) -> None:
    room = furnished(tmp_path, THREE, [f"label {i}" for i in range(77)])
    path = out(room, "label-studio")
    assert 'layout="select"' in path.with_suffix(".xml").read_text() and len(options(path, "label-studio")) == 78
    room.store.close()


@pytest.mark.parametrize("tool", OTHERS)
def test_nothing_is_written_when_nothing_is_open(room: Room, tool: str) -> None:
    for call in room.pending():
        room.store.record_now(call.key, Answer("other", who="ada"))
    path = room.folder / f"q.{ENDINGS[tool]}"
    assert tools.export(room.config, room.store, room.pool, str(path), tool) == (0, "")
    assert not path.exists() and len(LABELS) == 3


# ---------------------------------------------------------------- the command, and two at once


def test_the_command_writes_takes_and_tells(room: Room) -> None:
    def call(*words: str) -> Any:
        done = CliRunner().invoke(main, ["review", "-c", str(room.folder / "tutelage.toml"), "--json", *words])
        return done.exit_code, json.loads(done.stdout) if done.stdout.startswith("{") else done.output

    path = room.folder / "out.json"
    code, told = call("--export", str(path), "--as", "label-studio")
    assert (code, told["questions"], told["wrote"]) == (0, 3, str(path)) and "Labeling Interface" in told["how"]
    one, two, _ = keys(path, "label-studio")
    back = play(path, "label-studio", {one: [("4", ["billing"])], two: [("4", ["other"])]})
    tampered(back, "label-studio", [{}, {"id": "T-99"}, {}])
    code, told = call("--import", str(back))
    assert (code, told["taken"], told["people"]) == (2, 1, ["label-studio:4"])
    assert [(refused["row"], refused["id"]) for refused in told["refused"]] == [(2, "T-99")]
    assert call("--as", "csv")[0] == 2


def test_two_files_at_once_lose_and_double_nothing(tmp_path: Path) -> None:
    room = furnished(tmp_path, [(f"text {i}",) for i in range(40)])
    path = out(room, "csv")
    back = play(path, "csv", {key: [("", ["billing"])] for key in keys(path, "csv")})
    others = [replace(room, store=Store.open(tmp_path / "tutelage-run" / "ledger.db")) for _ in range(2)]
    with ThreadPoolExecutor(3) as threads:
        rooms = [room, *others]
        reports = list(threads.map(lambda i: take(rooms[i], back, who=f"person {i}"), range(3)))
    assert [(report.taken, report.rejected) for report in reports] == [(40, 0)] * 3
    assert sum(report.late for report in reports) == 80
    assert len({(call.item, answer.who) for call, answer in room.answers()}) == len(room.answers()) == 120
    assert sum(call.recipe == room.recipe for call, _ in room.answers()) == 40 and room.store.verify() == []
    for other in rooms:
        other.store.close()
