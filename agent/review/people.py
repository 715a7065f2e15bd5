"""Who may review: roles, names, and the tokens by which they come in. Knows the ledger's people; no page, no session.

A token is shown once, when it is made. The ledger keeps its SHA-256: it holds 256 random bits, so that nothing slower
is needed (a slow hash is for secrets that can be guessed).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import unicodedata
from collections.abc import Mapping

from agent.errors import UserError
from agent.store import Store
from agent.store.review import GONE, Person

OWNER, ANNOTATOR, ADJUDICATOR = "owner", "annotator", "adjudicator"
ROLES = (OWNER, ANNOTATOR, ADJUDICATOR, GONE)
"""owner: sees and changes everything. adjudicator: answers, and settles where two differ. annotator: answers."""

LONGEST = 60
"""Characters of a name."""


def token() -> str:
    """A new secret of 256 bits: 43 letters, digits, "-" and "_", fit for an address."""
    return secrets.token_urlsafe(32)


def digest(token: str) -> str:
    """What the ledger keeps of a token: SHA-256, hex."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def find(store: Store, token: str) -> Person | None:
    """Whose token this is; None where nobody's, or of who may not come in any more.

    Everybody's is compared, each in constant time, so that how long it takes tells nothing of any token.
    """
    given, found = digest(token), None
    for person in store.review.people().values():
        same = hmac.compare_digest(given, person.token_sha256)
        found = person if same and person.role != GONE else found
    return found


def named(name: str) -> str:
    """A name as it is kept: in Unicode's composed form (NFC), with single spaces.

    Raises:
        UserError: it is empty, too long, or holds what cannot be seen (control characters, direction marks).
    """
    found = " ".join(unicodedata.normalize("NFC", name).split())
    if not 0 < len(found) <= LONGEST:
        raise UserError(f"a name has 1 to {LONGEST} characters, this one {len(found)}: write another")
    if not found.isprintable() or any(unicodedata.category(one) in ("Cc", "Zl", "Zp") for one in name):
        raise UserError("a name may hold no control characters and no direction marks: write it with letters")
    return found


def add(store: Store, name: str, role: str = ANNOTATOR) -> tuple[Person, str]:
    """Name somebody; the person and the token, which is kept nowhere.

    Raises:
        UserError: a name that cannot be, is somebody's (but for its case, too), or an unknown role.
    """
    name = named(name)
    if role not in ROLES or role == GONE:
        raise UserError(f"there is no role {role!r}: write one of {', '.join(ROLES[:-1])}")
    taken: list[str] = []

    def free(people: Mapping[str, Person]) -> bool:
        held = (one for one in people.values() if _alike(one.name) == _alike(name))
        taken.extend(one.name for one in held if one.role != GONE or one.name != name)
        return not taken

    secret = token()
    if not store.review.set_person(name, role, digest(secret), free):
        also = "" if taken[0] == name else ", and names that look so much alike would be mixed up"
        mend = "take another name; `tutelage people token` makes a new token, `tutelage people role` gives another role"
        raise UserError(f"there is a {taken[0]!r} already{also}: {mend}")
    return store.review.people()[name], secret


def first(store: Store, name: str) -> tuple[Person, str] | None:
    """Make `name` the owner where nobody may come in yet; None where somebody may, if only since a moment ago.

    Raises:
        UserError: a name that cannot be.
    """
    name, secret = named(name), token()
    if not store.review.set_person(name, OWNER, digest(secret), nobody):
        return None
    return store.review.people()[name], secret


def nobody(people: Mapping[str, Person]) -> bool:
    """Whether none of these may come in."""
    return all(one.role == GONE for one in people.values())


def renew(store: Store, name: str) -> tuple[Person, str]:
    """A new token for somebody; the old one and every session opened with it end.

    Raises:
        UserError: nobody has this name.
    """
    held, secret = known(store, name), token()
    store.review.set_person(held.name, held.role, digest(secret))
    return store.review.people()[held.name], secret


def appoint(store: Store, name: str, role: str) -> Person:
    """Give somebody another role; token and sessions stay.

    Raises:
        UserError: nobody has this name, or nobody would be the owner any more.
    """
    held = known(store, name)
    if role != OWNER:
        _leaves_an_owner(store, held)
    store.review.set_person(held.name, role, held.token_sha256)
    return store.review.people()[held.name]


def remove(store: Store, name: str) -> Person:
    """Shut somebody out. What they answered stays, under their name.

    Raises:
        UserError: nobody has this name, or nobody would be the owner any more.
    """
    held = known(store, name)
    _leaves_an_owner(store, held)
    store.review.set_person(held.name, GONE, digest(token()))
    return held


def _leaves_an_owner(store: Store, held: Person) -> None:
    """Raise where nobody would be the owner without this person."""
    others = [one for one in store.review.people().values() if one.role == OWNER and one.name != held.name]
    if held.role == OWNER and not others:
        raise UserError(f"{held.name} is the only owner: add another one first (--role owner)")


def known(store: Store, name: str) -> Person:
    """The person of this name who may come in.

    Raises:
        UserError: there is none.
    """
    people = {one.name: one for one in store.review.people().values() if one.role != GONE}
    found = people.get(named(name))
    if found is None:
        there = ", ".join(people) or "nobody: write `tutelage people add NAME`"
        raise UserError(f"nobody is called {named(name)!r}; there is {there}")
    return found


def _alike(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()
