"""What `[privacy]` means for each machine: whether it may be asked at all, and what of a text it is shown.

Knows no pool and no ledger. The ladder is refused before anything is sent; what is covered is part of the recipe, so
that answers to covered texts and to bare ones are never taken for one another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from agent import egress, mask
from agent.config import Config, Rung
from agent.mask import Mask
from agent.types import Traits


def mask_of(config: Config) -> Mask:
    """What is covered for rungs that texts leave this machine for.

    Raises:
        ConfigError: the file of names cannot be read, or a region is none.
        MissingExtra: the extra `privacy` is needed.
    """
    at = config.privacy
    return mask.build(at.mask, at.regions, config.root / at.names if at.names else None)


def hosts(rung: Rung, traits: Traits) -> tuple[str, ...]:
    """Where a rung sends texts: what its oracle says, else the hosts of its base_url; none for one in this process."""
    if traits.hosts:
        return traits.hosts
    urls: str | Sequence[str] = getattr(rung.settings, "base_url", ())
    found = [urlsplit(url).hostname or "" for url in ([urls] if isinstance(urls, str) else urls)]
    return tuple(dict.fromkeys(host for host in found if host))


def admitted(config: Config, rung: Rung, traits: Traits, covers: Mask) -> tuple[Traits, Mask]:
    """The traits with what is covered in their recipe, and the mask that holds for this rung.

    Raises:
        ConfigError: it sends texts where privacy.egress does not allow them to go.
    """
    egress.check(rung.name, hosts(rung, traits), traits.local, config.privacy.egress)
    if not covers.kinds or (traits.local and not config.privacy.mask_local):
        return traits, Mask()
    return replace(traits, recipe={**traits.recipe, "mask": covers.seal}), covers
