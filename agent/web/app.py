"""The application: every page's routes, static files, errors in plain words, and the guard before all. Knows no page's
work and no command line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from agent.errors import UserError
from agent.web import cards, dashboard, guide, item, login, team
from agent.web.guard import Door, Guard
from agent.web.site import STATIC, Site

WORDS = {
    400: ("This request cannot be read", "Go back and try again."),
    403: ("This is not yours to see", "Ask the owner of this project if you need it."),
    404: ("There is no such page", "It may have been withdrawn, or the address is mistyped."),
    405: ("This page does not take that", "Go back and try again."),
    408: ("This came in too slowly", "Try again, with a better connection."),
    409: ("This does not go together any more", "Ask the owner of this project to start the page again."),
    413: ("That is too long", "A form may hold one megabyte."),
    422: ("This answer cannot be taken", "Go back and look at it once more."),
}


class Page(Protocol):
    """A module with pages. `routes`: of Starlette, made for one site."""

    @property
    def routes(self) -> Callable[[Site], list[Any]]: ...


PAGES: tuple[Page, ...] = (login, cards, dashboard, item, guide, team)
NAV = (
    ("/", "Answer", ("owner", "annotator", "adjudicator")),
    ("/guidelines", "Guidelines", ("owner", "annotator", "adjudicator")),
    ("/confusions", "Confusions", ("owner", "adjudicator")),
    ("/settle", "Settle", ("owner", "adjudicator")),
    ("/team", "Team", ("owner",)),
    ("/me", "My figures", ("annotator", "adjudicator")),
    ("/dashboard", "Dashboard", ("owner", "annotator", "adjudicator")),
)
"""(path, word, roles that see it in the navigation); pages that are not there are left out."""


def build(site: Site, hosts: Sequence[str] = (), https: bool = False, proxied: bool = False) -> Any:
    """The ASGI application of one site.

    Args:
        hosts: names by which it may be called, beside 127.0.0.1, localhost and [::1]. https: browsers reach it by TLS,
            here or at a proxy. proxied: the address of who asks is the last one in X-Forwarded-For.
    """
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.middleware import Middleware
    from starlette.routing import Mount
    from starlette.staticfiles import StaticFiles

    routes = [route for page in PAGES for route in page.routes(site)]
    there = {route.path for route in routes}
    site.room.globals["nav"] = [entry for entry in NAV if entry[0] in there]

    def strayed(request: Any, error: Any) -> Any:
        told = error.detail if error.detail and error.status_code not in (404, 405) else ""
        return refusal(site, request, error.status_code, told, error.headers)

    def refused(request: Any, error: UserError) -> Any:
        return refusal(site, request, 409, str(error))

    routes.append(Mount("/static", StaticFiles(directory=STATIC), name="static"))
    door = Door(hosts, https, proxied)
    return Starlette(
        routes=routes,
        exception_handlers={HTTPException: strayed, UserError: refused},
        middleware=[Middleware(Guard, site=site, door=door, refuse=refusal)],
    )


def refusal(site: Site, request: Any, code: int, told: str = "", headers: Any = None) -> Any:
    """An error as a page, or as a short notice where htmx asks; `told`: what is wrong, in plain words."""
    title, mend = WORDS.get(code, ("This did not work", "Try again."))
    short = "hx-request" in request.headers
    names = {"code": code, "title": title, "told": told, "mend": mend}
    answer = site.page(request, "notice.html" if short else "error.html", names, code)
    answer.headers.update(headers or {})
    return answer
