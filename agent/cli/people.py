"""`tutelage people`: who may come in by a browser, and their tokens. `agent.review.people` does the work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from agent.cli.house import Common, common, many
from agent.errors import UserError

if TYPE_CHECKING:
    from agent.store.review import Person

DOOR = "http://127.0.0.1:8700"
"""Where `tutelage review --web` serves when nothing else is said."""


@click.group()
def people() -> None:
    """Name the people who may answer in a browser, and give them their tokens.

    A token is printed once: only its hash is kept. Everybody signs in with their own, as every answer bears a name.
    Roles: an annotator answers; an adjudicator also settles where two people differ; an owner sees everything.

    \b
    Example:
      tutelage people add ada --role owner
      tutelage people add berta
      tutelage people token berta
    """


@people.command(name="list")
@common
def list_(common: Common) -> None:
    """Say who there is.

    \b
    Example:
      tutelage people list
    """
    from agent.cli.figures import opened
    from agent.store.review import GONE

    with opened(common.config(), common.flags) as store:
        found = list(store.review.people().values())
    rows = [{"name": one.name, "role": one.role} for one in found]
    width = max((len(one.name) for one in found), default=0)
    words = "\n".join(
        f"{one.name:<{width}}  {one.role if one.role != GONE else 'may not come in any more'}" for one in found
    )
    common.show({"people": rows}, words or f"nobody yet: tutelage people add NAME --role owner{common.flags}")


@people.command()
@click.argument("name")
@click.option("--role", type=click.Choice(["owner", "annotator", "adjudicator"]), default="annotator",
              show_default=True, help="What they may do.")  # fmt: skip
@click.option("--at", default=DOOR, show_default=True, metavar="URL", help="Where their browser finds the page.")
@common
def add(common: Common, name: str, role: str, at: str) -> None:
    """Name somebody and print their token, once.

    \b
    Example:
      tutelage people add ada --role owner
      tutelage people add berta --at https://review.corp.example
    """
    from agent.cli.figures import opened
    from agent.review import people as room

    config = common.config()
    machine = next((rung.name for rung in config.rung if rung.name.casefold() == name.strip().casefold()), None)
    if machine is not None:
        raise UserError(f"{machine!r} is the name of a rung in tutelage.toml: take another name for a person")
    with opened(config, common.flags) as store:
        made, secret = room.add(store, name, role)
    _hand_over(common, made, secret, at)


@people.command()
@click.argument("name")
@click.option("--at", default=DOOR, show_default=True, metavar="URL", help="Where their browser finds the page.")
@common
def token(common: Common, name: str, at: str) -> None:
    """Print a new token for somebody; the old one and every browser signed in with it end.

    \b
    Example:
      tutelage people token berta
    """
    from agent.cli.figures import opened
    from agent.review import people as room

    with opened(common.config(), common.flags) as store:
        made, secret = room.renew(store, name)
    _hand_over(common, made, secret, at)


@people.command()
@click.argument("name")
@click.argument("role", type=click.Choice(["owner", "annotator", "adjudicator"]))
@common
def role(common: Common, name: str, role: str) -> None:
    """Give somebody another role. Their token stays.

    \b
    Example:
      tutelage people role berta adjudicator
    """
    from agent.cli.figures import opened
    from agent.review import people as room

    with opened(common.config(), common.flags) as store:
        made = room.appoint(store, name, role)
    common.show({"name": made.name, "role": made.role}, f"{made.name} is {made.role} now")


@people.command()
@click.argument("name")
@common
def remove(common: Common, name: str) -> None:
    """Shut somebody out. What they answered stays, under their name.

    \b
    Example:
      tutelage people remove berta
    """
    from agent.cli.figures import opened
    from agent.review import people as room
    from agent.review.settle import DESK

    with opened(common.config(), common.flags) as store:
        gone = room.remove(store, name)
        held = [(key, who) for key, (who, _) in store.leases().items() if who in (gone.name, gone.name + DESK)]
        for key, who in held:
            store.release(key, who)
    words = f"{gone.name} may not come in any more; what they answered stays"
    words += f", {many(len(held), 'question')} on their desk went back" if held else ""
    common.show({"removed": gone.name, "questions_back": len(held)}, words)


def _hand_over(common: Common, person: Person, secret: str, at: str) -> None:
    link = f"{at.rstrip('/')}/login#{secret}"
    common.show(
        {"name": person.name, "role": person.role, "token": secret, "link": link},
        f"{person.name} ({person.role}) signs in with this token, which is shown only now:\n\n  {secret}\n\n"
        f"or opens this link, once  tutelage review --web{common.flags}  serves there (elsewhere: --at URL):\n\n"
        f"  {link}",
    )
