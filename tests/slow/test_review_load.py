"""Six reviewers at once before the real pages, whose server is killed three times: each answer counts exactly once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from eval import _postgres
from eval._reviewers import Held, furnish, invite, load

pytestmark = pytest.mark.slow

PEOPLE, ANSWERS, KILLS = 6, 1_500, 3


@pytest.fixture
def database() -> Iterator[str]:
    if why := _postgres.absent():
        pytest.skip(why)
    with _postgres.postgres() as url:
        yield url


def killed_under_load(folder: Path, url: str | None = None) -> Held:
    room = furnish(folder / "room", ANSWERS + 4 * PEOPLE, url)
    return load(room, invite(room, PEOPLE), ANSWERS, KILLS)


def exactly_once(held: Held) -> None:
    assert held.failed == ()
    assert held.kills == KILLS
    assert held.repeated > 0, "the server was gone for a while, so something had to be sent again"
    assert held.acknowledged >= ANSWERS
    assert (held.lost, held.doubled) == (0, 0)
    assert held.in_ledger == held.acknowledged, "what was saved was acknowledged in the end, to one reviewer each"


def test_exactly_once_on_sqlite(tmp_path: Path) -> None:
    exactly_once(killed_under_load(tmp_path))


def test_exactly_once_on_postgresql(tmp_path: Path, database: str) -> None:
    exactly_once(killed_under_load(tmp_path, database))
