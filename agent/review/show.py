"""A card drawn on a terminal with rich. Knows what a card holds; reads no key and no ledger."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from agent.review.queue import Card, number

FEWEST_LINES = 6
"""Lines of a long text that are shown on the smallest screen."""
MOST_MATCHES = 12
_JOINERS = "\u200c\u200d"
"""Zero-width joiners belong to ordinary writing (Persian, emoji), and stay."""

HELP = """\
1-9 0    choose a label{several}
letters  with more than ten labels: type a part of a name, Enter takes the first found
         (then u, s, n … are typed with Enter; .u where a label is called u)
{none}
u  undo the last answer (up to 20)       s  skip: the card comes back at the end
m  more or less of a long text           f  flag this item with a reason
g  guidelines                            ?  this help
q  quit; everything answered is saved"""
ONE = {"several": "", "none": "n  none of these, or unsure: cannot tell (x does the same)"}
MANY = {
    "several": ": switch it on and off, Enter when done",
    "none": "n  none of these labels                  x  cannot tell",
}


@dataclass
class View:
    """What is on the screen besides the card. `keys`: key -> label, empty when labels are found by typing."""

    keys: Mapping[str, str]
    many: bool
    chosen: Collection[str] = ()
    typed: str = ""
    matches: Sequence[str] = ()
    whole: bool = False
    guidelines: bool = False
    help: bool = False
    messages: list[str] = field(default_factory=list)


def visible(text: str) -> str:
    """`text` with control and direction characters spelled out, so that what is read is what is there."""
    text = text.replace("\r\n", "\n")
    if text.isascii() and text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return "".join(_shown(c) for c in text)


def _shown(c: str) -> str:
    if c in "\n\t" or c in _JOINERS or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return c
    return f"⟨U+{ord(c):04X}⟩" + ("\n" if c in "\u2028\u2029" else "")


def card(console: Console, it: Card, view: View) -> None:
    """Draw `it`: the question, the text, the labels, and what was said last."""
    if console.is_terminal:
        console.clear()
    task = it.task
    console.print(Rule(Text(f" {it.number} of {it.total} ", style="dim"), align="left", style="dim"))
    if task.question:
        console.print(Text(visible(task.question), style="bold"))
    console.print()
    _text(console, it, view)
    console.print()
    if it.guess is not None:
        told = it.guess if isinstance(it.guess, str) else ", ".join(it.guess) or "no label"
        console.print(Text(f"  Machines say: {visible(told)}", style="dim"))
    if view.keys:
        for key, label in view.keys.items():
            console.print(_line(f"{key}", label, task.labels[label], view))
    else:
        _found(console, it, view)
    if view.many:
        console.print(Text("  Any number of labels; Enter when done.", style="dim"))
    if view.guidelines:
        console.print(Rule("guidelines", style="dim"))
        console.print(Text(visible(task.guidelines) or "This task has no guidelines: set task.guidelines."))
    console.print()
    console.print(Text(HELP.format(**(MANY if view.many else ONE)) if view.help else _foot(it, view), style="dim"))
    for message in view.messages:
        console.print(Text(visible(message), style="yellow"))


def _foot(it: Card, view: View) -> str:
    """The keys that hold here."""
    more = " · g guidelines" if it.task.guidelines else ""
    none = "n none of these · x cannot tell" if view.many else "n or x cannot tell"
    return f"u undo · s skip · {none} · f flag{more} · ? help · q quit"


def _line(key: str, label: str, description: str, view: View) -> Text:
    on = label in view.chosen
    mark = ("[x] " if on else "[ ] ") if view.many else ""
    line = Text(f"  {key}  ", style="cyan").append(mark, style="bold" if on else "dim")
    line.append(visible(label), style="bold")
    return line.append(f"  {visible(description)}", style="dim") if description else line


def _found(console: Console, it: Card, view: View) -> None:
    if view.chosen:
        console.print(Text("  chosen: " + ", ".join(map(visible, view.chosen)), style="bold"))
    shown = view.matches[:MOST_MATCHES]
    for i, label in enumerate(shown):
        console.print(_line("→" if view.typed and i == 0 else " ", label, it.task.labels[label], view))
    if len(view.matches) > len(shown):
        console.print(
            Text(f"     … {number(len(view.matches) - len(shown), 'more label')}: type to find one", style="dim")
        )
    if view.typed:
        console.print(Text(f"  find: {visible(view.typed)}▏", style="cyan"))


def _text(console: Console, it: Card, view: View) -> None:
    """The parts; a long text is cut to the lines that leave room for the labels."""
    told = [
        visible(part.data) if part.media.startswith("text/") else f"[{part.media}: {visible(part.data)}]"
        for part in it.item.parts
    ]
    lines = Text("\n\n".join(told)).wrap(console, max(console.width, 20), tab_size=4)
    room = max(FEWEST_LINES, console.height - 10 - max(len(view.keys), min(len(view.matches), MOST_MATCHES)))
    cut = not view.whole and len(lines) > room
    for line in lines[:room] if cut else lines:
        console.print(line, soft_wrap=True)
    if cut:
        console.print(Text(f"… {number(len(lines) - room, 'more line')}: press m", style="dim italic"))
