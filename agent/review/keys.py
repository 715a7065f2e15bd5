"""What a person types: single keys of a terminal, or lines of anything else. Knows nothing of labels.

Both give tokens and raise EOFError at the end: `Keys` one key at a time, `Lines` one line without its end.
"""

from __future__ import annotations

import codecs
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

ENTER, BACK, CLEAR = "\r", "\x7f", "\x15"
_SAME = {"\n": ENTER, "\b": BACK}
_ESCAPE, _END = "\x1b", "\x04"


class Hand(Protocol):
    """Where tokens come from. `lines`: a token is a whole line."""

    lines: bool

    def read(self) -> str: ...
    def line(self) -> str: ...


class Lines:
    """Lines of a pipe, a file, or a terminal without single keys."""

    lines = True

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def read(self) -> str:
        got = self._stream.readline()
        if not got:
            raise EOFError
        return got.rstrip("\r\n")

    def line(self) -> str:
        """A line that is wanted whole, such as a reason."""
        return self.read()


class Keys:
    """Keys of a terminal that has been put into single-key mode by `keyboard`. Arrow and function keys are ignored."""

    lines = False

    def __init__(self, handle: int, echo: TextIO) -> None:
        self._handle = handle
        self._echo = echo
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode

    def read(self) -> str:
        while True:
            key = self._one()
            if key == _END:
                raise EOFError
            if key == _ESCAPE:
                self._drain()
                continue
            return _SAME.get(key, key)

    def line(self) -> str:
        """A line typed with its echo; Enter ends it."""
        typed = ""
        while (key := self.read()) != ENTER:
            if key == BACK and typed:
                typed = typed[:-1]
                self._say("\b \b")
            elif key.isprintable():
                typed += key
                self._say(key)
        self._say("\n")
        return typed

    def _one(self) -> str:
        text = ""
        while not text:
            got = os.read(self._handle, 1)
            if not got:
                raise EOFError
            text = self._decode(got)
        return text

    def _drain(self) -> None:
        """The rest of an escape sequence, which arrives at once."""
        while select.select([self._handle], [], [], 0.02)[0]:
            byte = os.read(self._handle, 1)
            if not byte or byte.isalpha() or byte == b"~":
                return

    def _say(self, text: str) -> None:
        self._echo.write(text)
        self._echo.flush()


@contextmanager
def keyboard(stream: TextIO) -> Iterator[Hand]:
    """Keys when `stream` is a terminal, which is put back as it was at the end; lines otherwise."""
    try:
        handle = stream.fileno()
        is_terminal = os.isatty(handle)
    except (OSError, ValueError):  # a stream without a file behind it
        is_terminal = False
    if not is_terminal:
        yield Lines(stream)
        return
    try:
        import termios
        import tty
    except ImportError:  # Windows
        yield Lines(stream)
        return
    before = termios.tcgetattr(handle)
    try:
        tty.setcbreak(handle)  # signals keep working: Ctrl-C is a KeyboardInterrupt
        yield Keys(handle, sys.stdout)
    finally:
        termios.tcsetattr(handle, termios.TCSADRAIN, before)
