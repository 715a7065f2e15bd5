"""What a person types: single keys of a terminal, or lines of anything else. Knows nothing of labels.

Both give tokens and raise EOFError at the end: `Keys` one key at a time, `Lines` one line without its end. Keys that
come faster than anybody types are pasted text, and where one key is one decision they are no answers.
"""

from __future__ import annotations

import codecs
import os
import select
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Protocol, TextIO

ENTER, BACK, CLEAR = "\r", "\x7f", "\x15"
PASTED = "pasted"
"""The token in place of a burst of keys; no key is as long."""

BURST, GAP, QUIET = 3, 0.03, 0.2
"""More than `BURST` keys, each within `GAP` seconds of the one before, are pasted; they end with `QUIET` seconds."""

_SAME = {"\n": ENTER, "\b": BACK}
_ESCAPE, _END = "\x1b", "\x04"


class Hand(Protocol):
    """Where tokens come from. `lines`: a token is a whole line."""

    lines: bool

    def read(self, typing: bool = False) -> str: ...
    def line(self) -> str: ...


class Lines:
    """Lines of a pipe, a file, or a terminal without single keys."""

    lines = True

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def read(self, typing: bool = False) -> str:
        """The next line."""
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

    def __init__(self, handle: int, echo: IO[str]) -> None:
        self._handle = handle
        self._echo = echo
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._ahead: deque[str] = deque()

    def read(self, typing: bool = False) -> str:
        """The next key. A burst of keys is one token, `PASTED`, except where words are typed (`typing`)."""
        if not typing and not self._ahead and self._burst():
            return PASTED
        key = self._ahead.popleft() if self._ahead else self._one()
        if key == _END:
            raise EOFError
        return key

    def line(self) -> str:
        """A line typed with its echo; Enter ends it."""
        typed = ""
        while (key := self.read(typing=True)) != ENTER:
            if key == BACK and typed:
                typed = typed[:-1]
                self._say("\b \b")
            elif key.isprintable():
                typed += key
                self._say(key)
        self._say("\n")
        return typed

    def _burst(self) -> bool:
        """Read ahead what comes at once; True, and nothing is kept, when it is too much to be typed."""
        count, wait = 0, GAP
        while not count or select.select([self._handle], [], [], wait)[0]:
            key = self._one()
            count += 1
            if count <= BURST:
                self._ahead.append(key)
            else:
                self._ahead.clear()
                wait = QUIET  # a slow line brings a paste in pieces
            if key == _END:
                break
        return count > BURST

    def _one(self) -> str:
        """A key; the end of the input is one too."""
        while True:
            got = os.read(self._handle, 1)
            key = self._decode(got) if got else _END
            if key == _ESCAPE:
                self._drain()
            elif key:
                return _SAME.get(key, key)

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
def keyboard(stream: TextIO, echo: IO[str]) -> Iterator[Hand]:
    """Keys when `stream` is a terminal, which is put back as it was at the end; lines otherwise.

    `echo`: where words that are typed are shown.
    """
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
        yield Keys(handle, echo)
    finally:
        termios.tcsetattr(handle, termios.TCSADRAIN, before)
