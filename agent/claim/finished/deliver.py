"""All labels of a finished file as they are delivered, each with who gave it. Tests nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agent.claim.finished.along import Along, place_of
from agent.claim.finished.folder import Room
from agent.data import Whole
from agent.data import write as data_write
from agent.types import Value


def deliver(room: Room, whole: Whole, standing: Along) -> None:
    """Write all rows: person's label where there is one, else the file's; which of them the certificate counts."""
    data_write(_columns(whole, standing), str(place_of(room, whole)))


def differs(room: Room, whole: Whole, standing: Along) -> list[str]:
    """What is not as it was delivered, in plain words."""
    file = place_of(room, whole)
    if not file.exists():
        return [f"{file} is not there: `tutelage certify {whole.path}` writes it"]
    fresh = file.with_name(f"again{file.suffix}")
    try:
        data_write(_columns(whole, standing), str(fresh))
        same = _same(file, fresh)
    finally:
        fresh.unlink(missing_ok=True)
    return [] if same else [f"{file} holds other labels than file and ledger give"]


def _columns(whole: Whole, standing: Along) -> dict[str, Sequence[Any]]:
    rows, open_still = range(whole.rows), set(standing.rest.tolist())
    names = [_flat(value) for value in whole.names]
    label = [names[code] for code in whole.label.tolist()]
    for row, value in standing.spoken.items():
        label[row] = _flat(value)
    texts = zip(*whole.texts(rows), strict=True)
    return {
        "row": [row + 1 for row in rows],
        **({"id": whole.ids(rows)} if whole.wanted.id else {}),
        **dict(zip(whole.wanted.text, map(list, texts), strict=True)),
        "label": label,
        "by": ["person" if row in standing.spoken else "machine" for row in rows],
        "certified": [row not in open_still for row in rows],
    }


def _flat(value: Value) -> Any:
    return value if isinstance(value, str) else list(value)


def _same(one: Path, two: Path) -> bool:
    if one.suffix != ".parquet":
        return one.read_bytes() == two.read_bytes()
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return bool(pq.read_table(one).equals(pq.read_table(two)))
    except pa.ArrowException:
        return False
