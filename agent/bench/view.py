"""What a strategy is shown, with what is costly worked out only when it is looked at. Knows students and arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, cast, overload

from agent.types import Floats, PoolView


class LazyView(PoolView):
    """A `PoolView` whose `said` may be a function of nothing; it is called when a strategy first looks.

    Cross-fitting costs several fits, and most strategies do without.
    """

    __slots__ = ()

    def __getattribute__(self, name: str) -> Any:
        value = object.__getattribute__(self, name)
        if name == "said" and callable(value):
            value = value()
            object.__setattr__(self, name, value)
        return value


def later(make: Callable[[], Floats]) -> Floats:
    """An array of a `LazyView` that is made when it is looked at."""
    return cast(Floats, make)


class Members(Sequence[Floats]):
    """Predictions of an ensemble that is trained when one of them is looked at."""

    def __init__(self, make: Callable[[], Sequence[Floats]], count: int) -> None:
        self._make = make
        self._count = count

    @cached_property
    def _made(self) -> Sequence[Floats]:
        return self._make()

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Floats]:
        return iter(self._made)

    @overload
    def __getitem__(self, index: int) -> Floats: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Floats]: ...
    def __getitem__(self, index: int | slice) -> Floats | Sequence[Floats]:
        return self._made[index]
