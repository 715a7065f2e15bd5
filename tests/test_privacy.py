"""Where texts may go, what is covered on the way, and what of a text or a key ends up where it should not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent import egress, mask
from agent.errors import ConfigError, MissingExtra
from agent.mask import KINDS, Mask
from agent.types import Example, Item, Part, Task

NAMES = ["Ann Lee", "José", "Jean-Luc Picard", "O'Neill", "王小明", "शर्मा", "فاطمة", "Al"]


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Mask:
    """Everything covered."""
    path = tmp_path_factory.mktemp("names") / "names.txt"
    path.write_text("# people of the house\n" + "\n".join(NAMES) + "\n", "utf-8")
    return mask.build(KINDS, (), path)


# ---------------------------------------------------------------- where texts may go


@pytest.mark.parametrize(
    ("host", "where"),
    [
        ("localhost", "here"),
        ("LocalHost.", "here"),
        ("a.localhost", "here"),
        ("127.8.9.1", "here"),
        ("::1", "here"),
        ("[::1]", "here"),
        ("::ffff:127.0.0.1", "here"),
        ("10.1.2.3", "near"),
        ("192.168.0.9", "near"),
        ("fd00::1", "near"),
        ("fe80::1%eth0", "near"),
        ("8.8.8.8", "far"),
        ("::ffff:8.8.8.8", "far"),
        ("100.64.0.1", "far"),
        ("localhost.evil.example", "far"),
        ("127.0.0.1.evil.example", "far"),
        ("gpu-box", "far"),
        ("2130706433", "far"),
        ("", "far"),
    ],
)
def test_a_host_is_here_near_or_far(host: str, where: str) -> None:
    assert egress.place(host) == where


@pytest.mark.parametrize(
    ("listed", "host", "may"),
    [
        (["local"], "127.0.0.1", True),
        (["local"], "10.0.0.1", False),
        (["local"], "api.openai.com", False),
        (["private"], "10.0.0.1", True),
        (["private"], "8.8.8.8", False),
        (["API.OpenAI.com"], "api.openai.com.", True),
        (["api.openai.com"], "api.openai.com.evil.example", False),
        (["*.corp.example"], "llm.corp.example", True),
        (["*.corp.example"], "a.b.corp.example", True),
        (["*.corp.example"], "corp.example", False),
        (["*.corp.example"], "evilcorp.example", False),
        (["10.1.0.0/16"], "10.1.200.3", True),
        (["10.1.0.0/16"], "10.2.0.1", False),
        (["8.8.8.8"], "::ffff:8.8.8.8", True),
        (["2001:db8::1"], "[2001:DB8:0::1]", True),
        ([], "localhost", True),
    ],
)
def test_a_list_allows_what_it_says_and_this_machine(listed: list[str], host: str, may: bool) -> None:
    assert egress.allows(tuple(map(egress.entry, listed)), host) is may


@pytest.mark.parametrize("wrong", ["https://api.openai.com/v1", "api.openai.com:443", "*", "a b", "", "*.*.example"])
def test_an_entry_that_is_no_host_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="is no host"):
        egress.entry(wrong)


def test_a_rung_that_is_not_allowed_is_named_with_the_line_to_write() -> None:
    with pytest.raises(ConfigError) as caught:
        egress.check("large", ["api.openai.com"], False, ("local", "*.corp.example"))
    assert "'large'" in str(caught.value) and "api.openai.com" in str(caught.value)
    assert 'egress = ["*.corp.example", "api.openai.com"]' in str(caught.value)
    egress.check("large", ["api.openai.com"], False, None)
    egress.check("small", [], True, ("local",))
    with pytest.raises(ConfigError, match="does not say where"):
        egress.check("mine", [], False, ("local",))


GUARDED = """
import socket
from agent import egress
listening = socket.create_server(("127.0.0.1", 0))
def refused(action, *args):
    try:
        action(*args)
    except PermissionError as error:
        return str(error)
    raise SystemExit(f"{args} was let through")
with egress.guarded(("local",)):
    socket.create_connection(listening.getsockname(), 2).close()
    print(refused(socket.socket().connect, ("192.0.2.7", 9)))
    print(refused(socket.getaddrinfo, "kept.example", 443))
    print(refused(socket.socket(type=socket.SOCK_DGRAM).sendto, b"x", ("192.0.2.7", 9)))
with egress.guarded(("kept.example", "10.0.0.0/8")):
    print(refused(socket.getaddrinfo, "other.example", 443))
"""


def test_no_socket_reaches_what_is_not_listed() -> None:
    """In a process of its own: here the suite's own wall would stand before it."""
    done = subprocess.run([sys.executable, "-c", GUARDED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    refused = ["192.0.2.7", "kept.example", "192.0.2.7", "other.example"]
    assert [line.rpartition(" ")[2] for line in done.stdout.splitlines()] == refused
    assert done.stderr.count("kept.example") == 1


# ---------------------------------------------------------------- what is covered

CORPUS: list[tuple[str, str, str]] = [
    # kind, text, what must be covered; made up, with numbers kept free for fiction where there are such
    ("email", "Write to ann.lee+news@mail.example.org, please", "ann.lee+news@mail.example.org"),
    ("email", "<o'brien@sub.example.co.uk>", "o'brien@sub.example.co.uk"),
    ("email", "mailto:müller@bücher.example", "müller@bücher.example"),
    ("email", "x@[192.168.1.1] is odd but legal", "x@[192.168.1.1]"),
    ("email", "(info@example.museum).", "info@example.museum"),
    ("phone", "Call +1 212 555 0123 today", "+1 212 555 0123"),
    ("phone", "Call (212) 555-0123 today", "(212) 555-0123"),
    ("phone", "Tel. 030 901820 in Berlin", "030 901820"),
    ("phone", "Tel. +49 (0)30 901820", "+49 (0)30 901820"),
    ("phone", "Ring 020 7946 0958 in London", "020 7946 0958"),
    ("phone", "Appelez le 01 42 68 53 00.", "01 42 68 53 00"),
    ("phone", "मेरा नंबर 98765 43210 है", "98765 43210"),
    ("phone", "ligue (11) 91234-5678", "(11) 91234-5678"),
    ("phone", "WhatsApp: +254 712 345678", "+254 712 345678"),
    ("phone", "电话 +86 138 0013 8000", "+86 138 0013 8000"),
    ("phone", "tel +٩٦٦ ٥٠ ١٢٣ ٤٥٦٧", "+٩٦٦ ٥٠ ١٢٣ ٤٥٦٧"),
    ("card", "My card 4111 1111 1111 1111 12/27 was charged", "4111 1111 1111 1111"),
    ("card", "4111111111111111", "4111111111111111"),
    ("card", "5500-0000-0000-0004 is a test card", "5500-0000-0000-0004"),
    ("card", "amex 3782 822463 10005", "3782 822463 10005"),
    ("iban", "IBAN DE89 3704 0044 0532 0130 00, thanks", "DE89 3704 0044 0532 0130 00"),
    ("iban", "gb82west12345698765432", "gb82west12345698765432"),
    ("iban", "FR14 2004 1010 0505 0001 3M02 606", "FR14 2004 1010 0505 0001 3M02 606"),
    ("name", "yesterday ANN  LEE wrote", "ANN  LEE"),
    ("name", "Jose\u0301 said so", "Jose\u0301"),
    ("name", "jean luc picard's ship", "jean luc picard"),
    ("name", "Mr. O’Neill called", "O’Neill"),
    ("name", "我叫王小明今天", "王小明"),
    ("name", "शर्मा जी", "शर्मा"),
    ("name", "قالت فاطمة نعم", "فاطمة"),
]
MISSED = [
    # What is known not to be found; docs/privacy.md says so.
    ("email", "ann at example dot org", "ann at example dot org"),
    ("phone", "two one two five five five", "two one two five five five"),
    ("name", "Annie wrote", "Annie"),
]
HARMLESS = [
    "Order 123456789012 of 2024-03-05 costs 1,299.00 dollars.",
    "Version 3.11.4 and 192.168.0.1 and 12:30:45",
    "The score was 4-3, 2-1 and 6-4, 7-6, 6-2.",
    "See pages 100-120, chapter 7, ISBN 978-3-16-148410-0.",
    "@home tonight, 5 @ 3 dollars, meet @ noon",
    "Also the almond from Alabama is here.",
    "ÑÑ 10 000 000 people and 3.14159265358979",
]


@pytest.mark.parametrize(("kind", "text", "value"), CORPUS, ids=[f"{c[0]}-{i}" for i, c in enumerate(CORPUS)])
def test_personal_data_is_found(full: Mask, kind: str, text: str, value: str) -> None:
    (covered,), stands_for = full.cover(text)
    assert f"[{kind.upper()}_1]" in stands_for, stands_for
    assert value not in covered
    assert stands_for[f"[{kind.upper()}_1]"] == value


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_personal_data_stays(full: Mask, text: str) -> None:
    assert full.cover(text)[0] == (text,)


@pytest.mark.parametrize(("kind", "text", "value"), MISSED)
def test_what_is_known_to_be_missed(full: Mask, kind: str, text: str, value: str) -> None:
    assert value in full.cover(text)[0][0]


PIECES = st.one_of(
    st.text(max_size=30),
    st.text(st.characters(codec=None), max_size=8),
    st.sampled_from([value for _, _, value in CORPUS]),
    st.sampled_from(
        ["[EMAIL_1]", "[EMAIL_", "_1]", "[PHONE_2]", "[NAME_1", "]", "\ud800", "\u202e", "\u0301", "@", " "]
    ),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(PIECES, max_size=8).map("".join), st.lists(PIECES, max_size=3).map("".join))
@example("[EMAIL_1] a@b.co [EMAIL_2] a@b.co", "a@b.co")
@example("+49 30 901820@example.org", "")
@example("a@b.co4111111111111111", "4111111111111111")
def test_uncover_is_the_way_back_and_nothing_found_remains(full: Mask, first: str, second: str) -> None:
    (one, two), stands_for = full.cover(first, second)
    assert mask.uncover(one, stands_for) == first
    assert mask.uncover(two, stands_for) == second
    for placeholder, value in stands_for.items():
        assert placeholder not in first + second
        if not placeholder.startswith("[NAME"):
            assert value not in one and value not in two
    item = Item("i", (Part("text/plain", first), Part("text/plain", second)), name="ann@x.example")
    shown = full.item(item)
    assert shown.name is None and shown.id == "i"
    assert [part.data for part in shown.parts] == [one, two]
    assert full.uncover(item, f"It says {one}") == f"It says {first}"


def test_the_same_value_is_the_same_placeholder(full: Mask) -> None:
    (text,), _ = full.cover("a@b.co, c@d.co, a@b.co and then c@d.co")
    assert text == "[EMAIL_1], [EMAIL_2], [EMAIL_1] and then [EMAIL_2]"


def test_the_task_is_covered_but_for_its_labels(full: Mask) -> None:
    told = Task(
        "t",
        "single",
        {"a@b.co": "mail of Ann Lee"},
        "Ask ann@x.org",
        "Call +49 30 901820",
        (Example("José", "a@b.co"),),
    )
    shown = full.task(told)
    assert list(shown.labels) == ["a@b.co"] and shown.labels["a@b.co"] == "mail of [NAME_1]"
    assert (shown.question, shown.guidelines) == ("Ask [EMAIL_1]", "Call [PHONE_1]")
    assert shown.examples == (Example("[NAME_1]", "a@b.co"),)


def test_nothing_is_covered_where_nothing_was_asked_for(tmp_path: Path) -> None:
    item = Item("i", (Part("text/plain", "a@b.co"),), name="n")
    assert Mask().item(item) is item and Mask().seal == ""


def test_a_mask_is_sealed_by_its_names(tmp_path: Path) -> None:
    seals = set()
    for names in ("Ann\n", "Ann\nBob\n"):
        (tmp_path / "n.txt").write_text(names)
        seals.add(mask.build(("name",), (), tmp_path / "n.txt").seal)
    assert len(seals) == 2


@pytest.mark.parametrize(
    ("content", "words"), [(None, "cannot be read"), (b"\xff\xfe", "UTF-8"), (b"# x\n", "no name")]
)
def test_a_bad_file_of_names_is_named(tmp_path: Path, content: bytes | None, words: str) -> None:
    if content is not None:
        (tmp_path / "n.txt").write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        mask.build(("name",), (), tmp_path / "n.txt")


def test_a_region_that_is_none_is_named() -> None:
    with pytest.raises(ConfigError, match="'QQ' is no country"):
        mask.build(("phone",), ("QQ",), None)


@pytest.mark.parametrize("absent", ["phonenumbers", "stdnum"])
def test_an_absent_package_is_named_before_anything_is_asked(absent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, absent, None)  # as Python marks what cannot be imported
    with pytest.raises(MissingExtra, match=r"tutelage\[privacy\]"):
        mask.build(("card",), (), None)
    assert mask.build(("email",), (), None).cover("a@b.co")[0] == ("[EMAIL_1]",)
