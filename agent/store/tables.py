"""The ledger's tables as they stand in the database. Knows columns and indexes; how it is opened is `schema`'s.

Every table but `leases` is append-only.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Index, Integer, MetaData, Table, Text, UniqueConstraint, text

Number = BigInteger().with_variant(Integer, "sqlite")
metadata = MetaData()


def _seq() -> Column[int]:
    return Column("seq", Number, primary_key=True)


def _look() -> Column[int]:
    return Column("look", Number, primary_key=True, autoincrement=False)


def _text(name: str, index: bool = False, unique: bool = False) -> Column[str]:
    return Column(name, Text, nullable=False, index=index, unique=unique)


def _float(name: str) -> Column[float]:
    # PostgreSQL: FLOAT without digits is double precision.
    return Column(name, Float, nullable=False)


def _number(name: str, default: str | None = None) -> Column[int]:
    return Column(name, Number, nullable=False, server_default=default)


meta = Table("meta", metadata, Column("name", Text, primary_key=True), _text("value"))
items = Table("items", metadata, _seq(), _text("id", unique=True), Column("name", Text, index=True), _text("shard"))
set_aside = Table(
    "set_aside", metadata, _seq(), _text("source"), _text("file"), _number("row"), _text("reason"),
    UniqueConstraint("source", "file", "row", "reason"),
)  # fmt: skip
sources = Table(
    "sources", metadata, _seq(), _text("fingerprint", unique=True), _text("path"), _number("rows"), _number("items")
)
calls = Table(
    "calls", metadata, _seq(), _text("key", unique=True), _text("recipe", index=True), _text("item"),
    _text("annotator"), _number("sample"), _text("purpose"), _float("probability"), _float("usd"), _number("turn"),
    _float("at"), _number("tokens", "0"), _number("requests", "0"),
)  # fmt: skip
# A call asked again after an attempt that failed. `after`: the last answer's number at that moment, so that the
# reservation is open exactly while the key has no answer with a larger number.
retries = Table(
    "retries", metadata, _seq(), _text("key", index=True), _float("usd"), _number("after"), _float("at"),
    _number("tokens", "0"), _number("requests", "0"),
)  # fmt: skip
answers = Table(
    "answers", metadata, _seq(), _text("key", index=True), _text("status"), _text("body"), _float("usd"),
    _number("tokens_in"), _number("tokens_out"), _number("tokens_cached"), _text("served_model"), _text("who"),
    _float("seconds"), _float("at"), _number("requests", "0"), _number("guide", "0"),
)  # fmt: skip
for _status in ("ok", "withdrawn"):
    _where = text(f"status = '{_status}'")
    Index(f"one_{_status}_a_key", answers.c.key, unique=True, sqlite_where=_where, postgresql_where=_where)
# A file of requests on its way to whoever answers it: one row a state it came to, the last one holds. `body` is JSON;
# that of the first row holds the keys of the calls. No state twice, so nothing is handed in or read back twice.
batches = Table(
    "batches", metadata, _seq(), _text("name"), _text("annotator"), _text("state"), _text("job"), _text("body"),
    _float("at"), UniqueConstraint("name", "state"),
)  # fmt: skip
# An audit card that the ladder would have put to people anyway: from `turn` on its answer repairs and measures no more.
opened = Table(
    "opened", metadata, _seq(), _text("recipe"), _text("item"), _number("turn"), _float("at"),
    UniqueConstraint("recipe", "item"),
)  # fmt: skip
turns = Table(
    "turns", metadata, Column("n", Number, primary_key=True, autoincrement=False), _number("seed"),
    _text("config_sha256"), _text("version"), _float("at"),
)  # fmt: skip
outcomes = Table("outcomes", metadata, _seq(), _number("turn"), _text("body"), _float("at"))
decisions = Table(
    "decisions", metadata, _seq(), _number("turn"), _text("item"), _text("action"), _text("by"), _text("value"),
    _float("confidence"), _text("why"),
)  # fmt: skip
certificates = Table("certificates", metadata, _look(), _text("labels_sha256"), _text("body"), _float("at"))
# What was frozen, in what order, by which plan, before an answer of the audit was used.
commitments = Table("commitments", metadata, _look(), _text("sha256"), _text("body"), _float("at"))
leases = Table("leases", metadata, Column("key", Text, primary_key=True), _text("who"), _float("until"))
# Who may review. The last row of a name holds; role "gone" shuts them out. Only hashes of tokens are kept.
people = Table(
    "people", metadata, _seq(), _text("name", index=True), _text("role"), _text("token_sha256"), _float("at")
)
# A browser that has shown a token. It holds while its person's token is the one it was opened with.
sessions = Table(
    "sessions", metadata, _seq(), _text("sha256", unique=True), _text("name"), _text("token_sha256"), _float("at")
)
# The guidelines people read, by version. `body`: JSON of the text, examples and labels.
guides = Table(
    "guides", metadata, Column("version", Number, primary_key=True, autoincrement=False), _text("sha256"),
    _text("body"), _text("who"), _float("at"),
)  # fmt: skip
# An example that somebody proposed for them (`state` "proposed"), and the owner's word, "accepted" or "declined", on
# all before it that bear its `sign`. `body`: JSON of the text, the label and why.
proposals = Table(
    "proposals", metadata, _seq(), _text("sign", index=True), _text("item"), _text("state"), _text("body"),
    _text("who", index=True), _float("at"),
)  # fmt: skip
# A change of the labels: what became of which label. `old` and `new`: people's recipes before and after.
relabels = Table("relabels", metadata, _seq(), _text("verb"), _text("body"), _text("old"), _text("new"), _float("at"))
# What a person's answer about an item would be worth, in wrong labels mended; the last row of an item holds. `leader`:
# the item whose likes it is answered among.
worths = Table(
    "worths", metadata, _seq(), _number("turn"), _text("item", index=True), _float("value"), _text("leader"),
)  # fmt: skip
# Whose eyes an item's page was open to, with what machines say of it: they are not asked about it blind any more.
seen = Table(
    "seen", metadata, _seq(), _text("who"), _text("item"), _float("at"), UniqueConstraint("who", "item"),
)  # fmt: skip
# What stood beside an item when it was shown to somebody, answered or not. `what`: "guess", the machines' label on a
# card; "sides", what others said, to who settles.
shown = Table(
    "shown", metadata, _seq(), _text("who"), _text("item"), _text("what"), _float("at"),
    UniqueConstraint("who", "item", "what"),
)  # fmt: skip
