"""What every page stands on: the run's ledger and pool, templates, and who is asking. Knows no page by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from agent.config import Config
from agent.pool import Pool
from agent.store import Store
from agent.store.review import Person
from agent.types import Kind, Task
from agent.web.text import shortened, visible

ROOM = Path(__file__).parent
TEMPLATES, STATIC = ROOM / "templates", ROOM / "static"
OWNER = "owner"


@dataclass
class Site:
    """One server's view of one run. `flags`: what commands that it names must be given to mean this run."""

    config: Config
    task: Task
    kind: Kind
    store: Store
    pool: Pool
    flags: str = ""
    notes: dict[str, Any] = field(default_factory=dict)
    """What pages keep between requests, by their own name."""

    @cached_property
    def room(self) -> Any:
        """The templates: autoescape on, an unknown name is an error."""
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        room = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,  # a server goes on with the templates of its own version
        )
        room.filters.update(visible=visible, shortened=shortened)
        room.globals["nav"] = []
        return room

    def page(self, request: Any, template: str, names: Mapping[str, Any], status: int = 200) -> Any:
        """A template as a response. Beside `names` it may say: who, role, csrf, site, path."""
        from starlette.responses import HTMLResponse

        told = {
            "who": self.person(request).name,
            "role": self.person(request).role,
            "csrf": request.state.csrf,
            "site": self,
            "path": request.url.path,
            **names,
        }
        return HTMLResponse(self.room.get_template(template).render(**told), status)

    def person(self, request: Any) -> Person:
        """Who is asking; `guard` let nobody through that has no name."""
        found: Person = request.state.person
        return found

    def owner_only(self, request: Any) -> None:
        """Raise 403 where the one who asks is not the owner."""
        from starlette.exceptions import HTTPException

        if self.person(request).role != OWNER:
            raise HTTPException(403, "this page is the owner's")
