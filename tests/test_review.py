"""Review: blind cards, one decision at a time, nothing acknowledged lost. Driven by pipes and by a pseudo-terminal."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from review_room import Room, furnish

from agent import certify, prompt
from agent.errors import UserError
from agent.review import Card, show, terminal
from agent.review.queue import written
from agent.store import Store
from agent.types import Answer, Call, Item, Part


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = furnish(tmp_path)
    yield made
    made.store.close()


# The queue


def test_pilot_comes_first_and_the_rest_is_mixed_and_stays_in_place(room: Room) -> None:
    calls = room.pending(7)
    assert [c.purpose for c in calls[:3]] == ["pilot"] * 3
    orders = set()
    for seed in range(12):
        order = room.pending(seed)
        assert sorted(c.key for c in order) == sorted(c.key for c in calls)
        orders.add(tuple(c.purpose for c in order))
        chosen = [c.key for c in order if c.purpose == "escalation"]
        assert chosen == [c.key for c in room.store.open_calls("person") if c.purpose == "escalation"]
    assert len(orders) > 6
    audit = next(c for c in calls if c.purpose == "audit")
    room.store.record_now(audit.key, Answer("billing"))
    left = room.pending(7)
    assert [c.key for c in left if c.purpose == "audit"] == [
        c.key for c in calls if c.purpose == "audit" and c.key != audit.key
    ]


def test_audit_cards_come_in_the_order_of_the_draw(room: Room) -> None:
    for seed in range(5):
        audit = [call.item for call in room.pending(seed) if call.purpose == "audit"]
        assert audit == [room.pool.ids[i] for i in certify.draw(room.pool.ids, seed) if room.pool.ids[i] in audit]


def test_cards_are_blind(room: Room) -> None:
    assert {f.name for f in fields(Card)} == {"key", "item", "task", "number", "total", "guess", "group"}
    desk = room.desk()
    while (card := desk.next_card()) is not None:
        assert card.item.gold is None and card.guess is None
        desk.answer(card.key, "other")
    assert len(room.answers()) == 12


def test_answers_are_committed_with_who_and_how_long(room: Room) -> None:
    desk = room.desk("grace")
    card = desk.next_card()
    assert card and (card.number, card.total) == (1, 12)
    assert desk.answer(card.key, "technical", 3.5, ["flagged: odd"]).status == "saved"
    with Store.open(room.folder / "tutelage-run" / "ledger.db") as other:
        ((_, call, answer),) = other.answers_since(0)
    assert (call.key, answer.text, answer.who, answer.seconds) == (card.key, "technical", "grace", 3.5)
    assert answer.flags == ("flagged: odd",) and not answer.unsure
    second = desk.next_card()
    assert second and (second.number, second.total) == (2, 12)


def test_a_label_that_is_none_is_refused(room: Room) -> None:
    desk = room.desk()
    card = desk.next_card()
    assert card
    with pytest.raises(UserError, match="labels"):
        desk.answer(card.key, "Billing ")
    assert room.answers() == []


def test_two_people_get_different_cards_and_a_late_answer_is_told(room: Room) -> None:
    ada, grace = room.desk("ada"), room.desk("grace")
    one, two = ada.next_card(), grace.next_card()
    assert one and two and one.key != two.key
    room.store.release(one.key, "ada")  # as if the lease had run out
    again = grace.next_card()
    assert again and again.key == two.key  # a card in hand is the next card
    assert [grace.answer(card.key, "billing").status for card in (two, one)] == ["saved", "saved"]
    assert ada.answer(one.key, "other").status == "late"
    assert ada.answered() == 0 and len(room.answers()) == 3


def test_nothing_for_the_second_person_when_all_is_taken(tmp_path: Path) -> None:
    room = furnish(tmp_path, counts={"pilot": 1})
    ada, grace = room.desk("ada"), room.desk("grace")
    card = ada.next_card()
    assert card and grace.next_card() is None and grace.queue.left() == 1
    ada.leave()
    assert grace.next_card() is not None


def test_undo_asks_again_under_a_new_key(room: Room) -> None:
    desk = room.desk()
    card = desk.next_card()
    assert card
    desk.answer(card.key, "other")
    (call,) = [c for c, _ in room.answers()]
    again = desk.undo()
    assert again and again.item == card.item and again.key != card.key and again.number == 1
    assert room.answers() == []
    desk.answer(again.key, "billing")
    ((new, answer),) = room.answers()
    assert (new.sample, new.purpose, new.probability, new.recipe) == (1, call.purpose, call.probability, call.recipe)
    assert new.key == prompt.key(call.recipe, call.item, 1) and answer.text == "billing"
    used = room.store.spend().by["person"]
    assert (used.calls, used.answers, used.withdrawn) == (12, 1, 1)  # one question, one answer that stands
    assert desk.undo() is not None and desk.undo() is None
    assert len(room.pending()) == 12


def test_undo_reaches_back_twenty_answers_and_no_others(tmp_path: Path) -> None:
    room = furnish(tmp_path, counts={"pilot": 25})
    mine, other = room.desk("ada"), room.desk("grace")
    for desk, times in ((other, 2), (mine, 22)):
        for _ in range(times):
            card = desk.next_card()
            assert card
            desk.answer(card.key, "other")
    taken_back = 0
    while mine.undo() is not None:
        taken_back += 1
    assert taken_back == 20 and len(room.answers()) == 4


def test_skipped_cards_come_back_at_the_end(room: Room) -> None:
    desk = room.desk()
    first = desk.next_card()
    assert first
    desk.skip(first.key)
    seen = []
    while (card := desk.next_card()) is not None:
        seen.append(card.key)
        desk.answer(card.key, "other")
    assert len(seen) == 12 and seen[-1] == first.key


def test_questions_about_other_labels_are_not_asked(room: Room) -> None:
    old = Call("f" * 64, "old recipe", "0" * 32, "person")
    room.store.reserve([old], None)
    assert len(room.pending()) == 12
    assert room.queue().left() == 12


@given(
    st.sets(
        st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=8).map(str.strip),
        min_size=2,
        max_size=12,
    ),
    st.data(),
)
def test_what_people_say_is_read_back_by_the_kinds(names: set[str], data: st.DataObject) -> None:
    from agent.kinds import multi, single
    from agent.types import Task

    labels = dict.fromkeys(sorted(n for n in names if n), "")
    if len({n.casefold() for n in labels}) != len(labels) or len(labels) < 2:
        return
    item = Item("i", (Part("text/plain", "x"),))
    one = data.draw(st.sampled_from(sorted(labels)))
    several = tuple(sorted(data.draw(st.sets(st.sampled_from(sorted(labels))))))
    for kind, value in ((single, one), (multi, several)):
        task = Task("t", kind.__name__.rpartition(".")[2], labels)
        read = kind.parse(task, kind.question(task, item, 3), Answer(written(value)))
        assert read is not None
        assert kind.value(task, {a: max(c, key=c.__getitem__) for a, c in read.items()}) == value


# The terminal, by a pipe


def test_a_sitting_by_pipe(room: Room) -> None:
    n, shown = room.type("1\n2\ntechnical\nn\n")
    assert n == 4
    assert sorted(room.said().values()) == ["?", "billing", "technical", "technical"]
    assert {answer.guide for _, answer in room.answers()} == {1}
    assert "Which team?" in shown and "1 of 12" in shown and "5 of 12" in shown
    assert "Answered 4 (1 could not be told)" in shown and "8 open questions left" in shown
    assert "saved: billing" in shown
    for word in ("pilot", "audit", "escalation", "0.25"):
        assert word not in shown


def test_limit_and_the_end_of_the_queue(room: Room) -> None:
    assert room.type("1\n" * 20, limit=5)[0] == 5
    n, shown = room.type("1\n" * 20)
    assert n == 7 and "Nothing is waiting for people now" in shown
    assert room.type("1\n")[0] == 0


def test_undo_skip_flag_and_quit_by_pipe(room: Room) -> None:
    first = room.desk("peek").next_card()
    assert first and first.item.name
    room.store.release(first.key, "peek")
    n, shown = room.type("1\nu\n3\ns\nf two topics\n2\nf\nodd\nn\nq\n1\n")
    assert n == 3
    assert room.said()[first.item.name] == "other"
    flags = [answer.flags for _, answer in room.answers()]
    assert flags == [(), ("flagged: two topics",), ("flagged: odd",)]
    assert "taken back" in shown and "skipped" in shown
    assert "may count as a wrong label" in shown


def test_junk_does_nothing(room: Room) -> None:
    n, shown = room.type("4\n12\nfoo\n\n \nu\nf\n\n?\ng\nm\n.\n")
    assert n == 0 and room.answers() == []
    assert "no label is called 'foo'" in shown and "12 is not the number of a label" in shown
    assert "nothing to take back" in shown and "Refunds are billing." in shown and "undo the last answer" in shown


def test_leaving_gives_the_card_back(room: Room) -> None:
    room.type("1\n")
    assert room.store.leases() == {}


def test_several_labels(tmp_path: Path) -> None:
    room = furnish(tmp_path, kind="multi", counts={"pilot": 4})
    n, shown = room.type("13\n\n\nbilling\nother\nbilling\n\nx\n")
    assert n == 4
    assert list(room.said().values()) == ['["billing", "other"]', "[]", '["other"]', "?"]
    assert shown.count("no label at all? Enter again") == 1


def test_none_of_the_labels_is_not_cannot_tell(tmp_path: Path) -> None:
    room = furnish(tmp_path, kind="multi", counts={"pilot": 3})
    n, shown = room.type("n\nother\nn\nx\n\nbilling\nbilling\n?\n\nn\n")
    assert n == 3 and list(room.said().values()) == ["[]", "?", "[]"]
    assert "saved: no label" in shown and "saved: cannot tell" in shown and "switch them off first" in shown
    assert "n none of these · x cannot tell" in shown and "n  none of these labels" in shown
    assert shown.count("no label at all?") == 2  # any other key takes the first Enter back


def test_one_label_has_two_keys_for_cannot_tell(room: Room) -> None:
    n, shown = room.type("n\nx\n\n?\n")
    assert n == 2 and list(room.said().values()) == ["?", "?"]
    assert "n or x cannot tell" in shown and "none of these ·" not in shown and "no label at all" not in shown
    assert "{" not in shown


def test_one_is_said_as_one(tmp_path: Path) -> None:
    room = furnish(tmp_path, counts={"pilot": 2})
    assert "2 open questions left" in room.type("")[1]
    assert "1 open question left" in room.type("1\n")[1]


def test_many_labels_are_found_by_typing(tmp_path: Path) -> None:
    labels = (
        [f"card {w}" for w in ("lost", "stolen", "arrival", "payment fee")] + [f"topic {i}" for i in range(20)] + ["q"]
    )
    room = furnish(tmp_path, labels=labels, counts={"pilot": 6})
    n, shown = room.type("stol\nfee card\ntopic 1\nq\nzzz\nu\n.n\n.q\n1\n")
    assert n == 4
    assert list(room.said().values()) == ["card stolen", "card payment fee", "topic 1", "?"]
    assert "no label is called 'zzz'" in shown and "more labels: type to find one" in shown


def test_find_puts_the_name_itself_first_and_then_beginnings() -> None:
    labels = ["my topic", "topic 12", "topic 1", "TOPIC"]
    assert terminal.find(labels, "topic") == ["TOPIC", "topic 12", "topic 1", "my topic"]
    assert terminal.find(labels, "1 top") == ["topic 12", "topic 1"]
    assert terminal.find(labels, "") == labels


def test_a_label_that_is_a_digit_has_its_own_key() -> None:
    assert terminal.assign(["0", "1", "2"]) == {"0": "0", "1": "1", "2": "2"}
    assert terminal.assign(["none", "1", "two"]) == {"2": "none", "1": "1", "3": "two"}
    assert list(terminal.assign([f"l{i}" for i in range(10)])) == list("1234567890")


def test_what_is_read_is_what_is_there() -> None:
    assert show.visible("plain\ntext\tok ü 日本 👩‍💻") == "plain\ntext\tok ü 日本 👩‍💻"
    assert show.visible("\x1b[31mred\x07") == "⟨U+001B⟩[31mred⟨U+0007⟩"
    assert show.visible("a\u202eb\u2066c\ufeff\r\nd\re\ud800") == "a⟨U+202E⟩b⟨U+2066⟩c⟨U+FEFF⟩\nd⟨U+000D⟩e⟨U+D800⟩"


@given(st.text())
def test_nothing_shown_can_steer_a_terminal(text: str) -> None:
    assert all(c in "\n\t" or (ord(c) >= 32 and not 127 <= ord(c) < 160) for c in show.visible(text))


def test_markup_and_escapes_of_items_are_shown_as_text(tmp_path: Path) -> None:
    room = furnish(tmp_path, text="[bold red]x[/] \x1b[2J <b>", labels=["[red]a[/red]", "b"], counts={"pilot": 1})
    _, shown = room.type("1\n")
    assert "[bold red]x[/] ⟨U+001B⟩[2J <b> 0" in shown and "[red]a[/red]" in shown and "\x1b" not in shown
    assert list(room.said().values()) == ["[red]a[/red]"]


def test_long_texts_are_cut_and_opened(tmp_path: Path) -> None:
    room = furnish(tmp_path, text="\n".join(f"line {i}" for i in range(90)), counts={"pilot": 1})
    _, shown = room.type("?\nm\n1\n")
    before, after = shown.split("undo the last answer")[:1], shown.rpartition("undo the last answer")[0]
    assert "more lines: press m" in before[0] and "line 80" not in before[0]
    assert "line 80" in after


# The terminal, by its keys


class Terminal:
    """A child process at a pseudo-terminal."""

    def __init__(self, folder: Path, code: str) -> None:
        self.pid, self.master = pty.fork()
        if not self.pid:
            os.chdir(folder)
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a suite in the background ignores it, and so would its child
            os.environ.update(TERM="xterm", COLUMNS="90", LINES="40")
            os.execv(sys.executable, [sys.executable, "-c", code])
        self.text = ""

    def until(self, word: str, seconds: float = 30) -> str:
        """What was shown up to and with `word`, since the last time."""
        end = time.monotonic() + seconds
        while word not in self.text:
            if time.monotonic() > end:
                raise AssertionError(f"{word!r} never came; shown: {self.text[-1500:]!r}")
            if select.select([self.master], [], [], 0.2)[0]:
                try:
                    self.text += os.read(self.master, 65536).decode("utf-8", "replace")
                except OSError:
                    raise AssertionError(f"it ended without {word!r}: {self.text[-1500:]!r}") from None
        shown, _, self.text = self.text.partition(word)
        return shown + word

    def press(self, keys: str | bytes) -> None:
        os.write(self.master, keys.encode() if isinstance(keys, str) else keys)

    def end(self) -> int:
        """Wait for the end; the exit status, negative for a signal."""
        while True:  # drain, or the child may never end
            try:
                if not os.read(self.master, 65536):
                    break
            except OSError:
                break
        _, status = os.waitpid(self.pid, 0)
        os.close(self.master)
        return os.waitstatus_to_exitcode(status)


SITTING = """
from agent import config as settings
from agent.pool import Pool
from agent.review import terminal
from agent.store import Store
config = settings.load("tutelage.toml")
with Store.open("tutelage-run/ledger.db") as store:
    n = terminal.session(config, store, Pool("tutelage-run/pool"), "ada")
print("left with", n)
"""


def test_keys_at_a_terminal(room: Room) -> None:
    it = Terminal(room.folder, SITTING)
    it.until("1 of 12")
    it.until("q quit")
    before = termios.tcgetattr(it.master)
    assert not before[3] & termios.ICANON and not before[3] & termios.ECHO
    it.press("1")
    it.until("2 of 12")
    it.press(b"\x1b[A")  # an arrow is no answer, and its letter no command
    it.press("2")
    it.until("3 of 12")
    it.press("f")
    it.until("Why?")
    it.press("two topics\r")  # a reason is typed, and may be pasted
    it.until("marked: flagged: two topics")
    it.press("n")
    it.until("4 of 12")
    it.press("u")
    it.until("taken back")
    it.press("3")
    it.until("4 of 12")
    it.press("q")
    assert "Answered 3 in" in it.until("left with 3")
    assert it.end() == 0
    assert [a.text for _, a in room.answers()] == ["billing", "technical", "other"]
    assert all(0 <= a.seconds < 60 and a.who == "ada" for _, a in room.answers())


VERB = "from agent.cli import main; main(['review', '--who', 'ada'])"


@pytest.mark.parametrize(("key", "code"), [("\x03", 130), ("\x04", 0)])
def test_ctrl_c_and_ctrl_d_leave_in_order(room: Room, key: str, code: int) -> None:
    it = Terminal(room.folder, VERB)
    it.until("q quit")
    it.press("1")
    it.until("2 of 12")
    it.until("saved: billing")
    it.press(key)
    it.until("Answered 1 in")
    it.until("1 answer saved, 11 open questions left; next: tutelage review")
    assert it.end() == code
    assert len(room.answers()) == 1 and room.store.leases() == {}


def test_pasted_text_is_no_answer(room: Room) -> None:
    it = Terminal(room.folder, SITTING)
    it.until("q quit")
    it.press("12 cats, 3 dogs\n1\n\x1b[A2")
    assert "1 of 12" in it.until("pasted text ignored")
    it.press("x")
    assert "2 of 12" in it.until("saved: cannot tell")
    it.press("13")  # two keys may come at once
    it.until("4 of 12")
    it.until("q quit")
    it.press("1\x04")
    it.until("left with 4")
    assert it.end() == 0
    assert [a.text for _, a in room.answers()] == ["", "billing", "other", "billing"]


def verb(room: Room, *words: str, typed: str | None = None) -> Result:
    """The command itself; its standard input is no terminal."""
    from agent.cli import main

    with contextlib.chdir(room.folder):
        return CliRunner().invoke(main, ["review", "--who", "ada", *words], input=typed)


def test_a_pipe_needs_its_flag(room: Room) -> None:
    done = verb(room, typed="1\n")
    assert done.exit_code == 2 and room.answers() == []
    assert "no terminal" in done.stderr and "--pipe" in done.stderr and "--import" in done.stderr
    done = verb(room, "--pipe", typed="1\nn\n")
    assert done.exit_code == 0, done.stderr
    assert "2 answers saved, 10 open questions left" in done.stdout and len(room.answers()) == 2


def test_a_sheet_by_the_command(room: Room) -> None:
    done = verb(room, "--export", "q.csv")
    assert done.exit_code == 0, done.stderr
    assert "12 open questions in q.csv" in done.stdout and "one of: billing, technical, other" in done.stdout
    sheet = room.folder / "q.csv"
    lines = sheet.read_text().splitlines()
    lines[1:4] = [line[:-1] + label + "," for line, label in zip(lines[1:4], ["billing", "nope", "?"], strict=True)]
    sheet.write_text("\n".join(lines) + "\n")
    again = verb(room, "--export", "q.csv")
    assert again.exit_code == 2 and "--force" in again.stderr and sheet.read_text().splitlines() == lines
    back = verb(room, "--import", "q.csv")
    assert back.exit_code == 2, back.stderr
    assert "1 label taken, 1 marked" in back.stdout and "'nope'" in back.stdout and len(room.answers()) == 2
    forced = verb(room, "--export", "q.csv", "--force", "--json")
    assert forced.exit_code == 0 and json.loads(forced.stdout)["questions"] == 10


GREEK = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "mu"]


def test_typing_finds_a_label_at_a_terminal(tmp_path: Path) -> None:
    room = furnish(tmp_path, labels=[f"intent {w}" for w in GREEK],
                   counts={"pilot": 2})  # fmt: skip
    it = Terminal(room.folder, SITTING)
    it.until("q quit")
    it.press("gax\x7f")
    it.until("find: ga")
    it.until("q quit")
    it.press("\r")
    it.until("saved: intent gamma")
    it.press("q\r")
    it.until("left with 1")
    assert it.end() == 0
    assert list(room.said().values()) == ["intent gamma"]


def test_killed_between_two_answers_nothing_acknowledged_is_lost(room: Room) -> None:
    it = Terminal(room.folder, SITTING)
    it.until("q quit")
    for number in (2, 3, 4):
        it.press("1")
        it.until(f"{number} of 12")
    os.kill(it.pid, signal.SIGKILL)
    assert it.end() == -signal.SIGKILL
    assert len(room.answers()) == 3
    assert room.store.verify() == []
    held = list(room.store.leases().items())
    assert [who for _, (who, _) in held] == ["ada"]
    card = room.desk("ada").next_card()  # one's own card is there again at once
    assert card and card.key == held[0][0]


def test_a_pipe_drives_a_process(room: Room) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SITTING], input="1\n2\n", text=True, capture_output=True, cwd=room.folder, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "left with 2" in done.stdout and "\x1b" not in done.stdout
    assert len(room.answers()) == 2
