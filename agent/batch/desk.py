"""Where batches are handed in: OpenAI's `files` and `batches`, by its own package. Knows no ledger, label or question.

Files go to the address that was written and to no other: no redirect is followed, and only a far one is reached by the
environment's proxies.

A job carries the batch's token in its metadata, so that one which was handed in just before we died is found again.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.batch.files import URL, WORD
from agent.errors import EndpointDown, UserError
from agent.oracles import _keys, nearness

if TYPE_CHECKING:
    from openai import AsyncOpenAI

OVER = ("completed", "failed", "expired", "cancelled")
"""States of a job that nothing follows."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job as the provider tells of it. `why`: codes of what is wrong with it."""

    id: str
    status: str
    done: int
    total: int
    output: str | None
    errors: str | None
    why: str

    @property
    def over(self) -> bool:
        return self.status in OVER


class Refused(EndpointDown):
    """Nothing was taken on: it can be done in another way. `unknown`: the server knows no such address."""

    def __init__(self, message: str, unknown: bool = False) -> None:
        super().__init__(message)
        self.unknown = unknown


@contextlib.contextmanager
def _plainly(what: str) -> Iterator[None]:
    """Trouble in plain words, without what the server wrote, which might hold a key or an item's text."""
    import openai

    try:
        yield
    except openai.AuthenticationError as error:
        raise Refused(f"{what}: the key was refused: look at the variable that api_key_env names") from error
    except openai.APIStatusError as error:
        code = str(error.code or error.type or "")
        more = f" ({code})" if WORD.fullmatch(code) else ""
        if 300 <= error.status_code < 400:
            more = ": it sends us on to another address, where no file is sent unasked: write that as base_url"
        words = f"{what}: refused with status {error.status_code}{more}"
        if error.status_code >= 500:
            raise EndpointDown(words) from error
        raise Refused(words, error.status_code in (404, 405)) from error
    except openai.OpenAIError as error:
        raise EndpointDown(f"{what}: no answer ({type(error).__name__})") from error


class Desk:
    """The batch interface of one provider. Raises EndpointDown for whatever goes wrong; asking again is safe."""

    def __init__(self, base_url: str, api_key_env: str | None, retries: int = 5) -> None:
        import openai

        self._where = base_url
        key = _keys.key(base_url, api_key_env, base_url) or "none"
        self._client: AsyncOpenAI = openai.AsyncOpenAI(
            base_url=base_url, api_key=key, max_retries=retries, http_client=_transport(base_url)
        )

    @classmethod
    def of(cls, settings: Any) -> Desk:
        """At a rung's endpoint, the first where it has several. Raises UserError for one that has no such interface."""
        if getattr(settings, "azure_api_version", ""):
            raise UserError("--batch submit does not hand in at Azure: use --batch, and hand the file in yourself")
        url = settings.base_url if isinstance(settings.base_url, str) else settings.base_url[0]
        return cls(url, settings.api_key_env)

    async def hand_in(self, path: Path, token: str) -> str:
        """The job's number. Never tried twice: what is not known to have arrived is looked for by `find`."""
        with _plainly(f"batch file {path.name} at {self._where}"):
            file = await self._client.files.create(file=path, purpose="batch")
            once = self._client.with_options(max_retries=0)
            job = await once.batches.create(
                input_file_id=file.id, endpoint=URL, completion_window="24h", metadata={"tutelage": token}
            )
        return job.id

    async def find(self, token: str) -> str:
        """The job that carries this token; "" where there is none."""
        with _plainly(f"the list of batches at {self._where}"):
            async for job in self._client.batches.list(limit=100):
                if (job.metadata or {}).get("tutelage") == token:
                    return job.id
        return ""

    async def look(self, job: str) -> Job:
        """How it stands."""
        with _plainly(f"batch job {job} at {self._where}"):
            return _job(await self._client.batches.retrieve(job))

    async def cancel(self, job: str) -> None:
        """Asks for it to be cancelled; one that is over stays as it is."""
        if not (await self.look(job)).over:
            with _plainly(f"batch job {job} at {self._where}"):
                await self._client.batches.cancel(job)

    async def fetch(self, file: str) -> bytes:
        """A file of answers."""
        with _plainly(f"file {file} at {self._where}"):
            return (await self._client.files.content(file)).content

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def _transport(url: str) -> Any:
    """What requests go out by. As the package comes it follows redirects and tells every server of this machine."""
    import openai

    far = nearness(url) == "far"
    unsaid = ("x-stainless-",) if _keys.of_openai(url) else ("x-stainless-", "openai-")

    async def quiet(request: Any) -> None:
        for name in [name for name in request.headers if name.lower().startswith(unsaid)]:
            del request.headers[name]

    return openai.DefaultAsyncHttpxClient(
        follow_redirects=False,
        trust_env=far,
        # Without the environment it would not know the certificate of one's own house (SSL_CERT_FILE).
        verify=True if far else ssl.create_default_context(),
        event_hooks={"request": [quiet]},
    )


def _job(told: Any) -> Job:
    counts = told.request_counts
    listed = (told.errors.data or []) if told.errors else []
    codes = [str(e.code) for e in listed if WORD.fullmatch(str(e.code))]
    done, total = ((counts.completed or 0) + (counts.failed or 0), counts.total or 0) if counts else (0, 0)
    why = ", ".join(dict.fromkeys(codes[:3]))
    return Job(told.id, told.status, done, total, told.output_file_id, told.error_file_id, why)
