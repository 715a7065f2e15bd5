"""Batches on their way: promised, written, handed in, waited for, read back. Knows what each step leaves behind when it
is cut off; knows no label and no turn.

Killed before the file is written, a batch is void and its calls are free. Killed between handing in and noting the
job's number, the job is found by its token. Answers are recorded and the batch closed in one transaction.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from agent.batch import files, lines
from agent.batch.desk import Desk, Job, Refused
from agent.batch.lines import Check, Filed
from agent.batch.sent import Sent
from agent.errors import DataError, EndpointDown
from agent.store import Batch, Came, Store
from agent.types import Answer, Budget, Call, Prompt

MOST_TIMES = 3
"""In how many batches a question is asked before it is given up for this run."""

REFUSED = (401, 402, 403, 404)
"""Statuses that every request would get."""

LONGEST_S = 60.0
"""The longest pause between two looks at a job, in seconds; they begin at one and double."""


@dataclass(frozen=True)
class Post:
    """Takes questions out in files and brings answers back.

    `submit`: hand the files in at the rung's own endpoint and wait; else people do. `tell`: hears one line a thing
    worth saying. `progress`: hears of a job that is waited for: name, done, of how many.
    """

    store: Store
    folder: Path
    submit: bool
    tell: Callable[[str], None]
    progress: Callable[[str, int, int], None]

    async def put(
        self, annotator: str, oracle: Filed, jobs: Iterable[tuple[Call, Prompt]], budget: Budget | None
    ) -> Sent:
        """Puts questions into files, as many as the budget bears, and hands these in; `collect` waits for them."""
        read = (batch for batch in self.store.batches() if batch.stage == "read")
        sent, times = Sent(), Counter(key for batch in read for key in batch.keys)
        fresh: dict[str, tuple[Call, Prompt]] = {}
        for call, prompt in jobs:
            if times[call.key] < MOST_TIMES:
                fresh[call.key] = call, prompt
            else:
                sent.tired.append(call)
        for parcel in files.parcels(lines.of(oracle, fresh.values())):
            notes = {"token": secrets.token_hex(16)}
            name, reserved = self.store.send_out(annotator, [call for (call, _), _ in parcel], budget, notes)
            sent.refused += len(reserved.refused)
            sent.short = sent.short or reserved.short
            if name:
                granted = {call.key for call in reserved.granted}
                self._write(
                    Batch(name, annotator, "reserved", tuple(granted)), [p for p in parcel if p[0][0].key in granted]
                )
        if self.submit:
            async with _Desks({annotator: oracle}) as desks:
                await self._hand_in_all(desks, sent)
        return sent

    def _write(self, batch: Batch, parcel: Sequence[tuple[tuple[Call, Prompt], bytes]]) -> None:
        files.write(self._path(batch, files.QUESTIONS), (files.question(prompt) for (_, prompt), _ in parcel))
        files.write(self._path(batch, files.REQUESTS), (line for _, line in parcel))
        self.store.note_batch(batch, "written")
        self.tell(f"batch {batch.name}: {len(parcel):,} requests in {self._path(batch, files.REQUESTS)}")

    async def collect(self, oracles: Mapping[str, Filed], checks: Mapping[str, Check]) -> Sent:
        """Reads back what has come of these annotators. At a provider all is handed in before any of it is waited for,
        so that the jobs of several rungs are worked on at the same time."""
        sent = Sent()
        if self.submit:
            self.let_go()
        for batch in self._out(oracles):
            if not self.submit or batch.stage == "refused":
                self._by_hand(batch, oracles[batch.annotator], checks[batch.annotator], sent)
        if not self.submit:
            return sent
        async with _Desks(oracles) as desks:
            for batch in await self._hand_in_all(desks, sent):
                who = batch.annotator
                with desks.unless_down(who, sent) as desk:
                    if desk is not None:
                        job = await self._until_over(desk, batch)
                        await self._fetch(desk, batch, job, oracles[who], checks[who], sent)
        return sent

    def _out(self, annotators: Collection[str]) -> list[Batch]:
        """The batches of these annotators whose answers are still to come; what was never written is void."""
        mine = [batch for batch in self.store.batches(only_out=True) if batch.annotator in annotators]
        for batch in mine:
            if batch.stage == "reserved":
                self._never_was(batch)
        return [batch for batch in mine if batch.stage != "reserved"]

    async def _hand_in_all(self, desks: _Desks, sent: Sent) -> list[Batch]:
        """The batches with their jobs, but for those of rungs whose endpoint is down."""
        handed: list[Batch] = []
        for batch in [batch for batch in self._out(desks.oracles) if batch.stage != "refused"]:
            with desks.unless_down(batch.annotator, sent) as desk:
                if desk is not None:
                    handed.append(await self._hand_in(desk, batch))
        return handed

    def let_go(self) -> None:
        """What no provider took on is out no more, but for batches that were answered by hand."""
        for batch in self.store.batches(only_out=True):
            if batch.stage == "refused" and not self._came(batch):
                self._void(batch, "the batch was refused")

    def awaited(self, annotators: Sequence[str]) -> list[str]:
        """One line a batch of these annotators whose answers are still to come: what must be done for it."""
        out = self.store.batches(only_out=True)
        return [self._put(batch) for batch in out if batch.annotator in annotators]

    def _put(self, batch: Batch) -> str:
        if batch.stage in ("sending", "sent"):
            return f"batch {batch.name} was handed in: tutelage run --batch submit waits for it"
        return f"put the output of {batch.name}{files.REQUESTS} at {self._path(batch, files.OUTPUT)}"

    async def cancel(self, oracles: Mapping[str, Filed], checks: Mapping[str, Check]) -> Sent:
        """Takes every batch back: jobs are cancelled, what they answered before is kept, the other calls are free."""
        sent = Sent()
        for batch in self.store.batches(only_out=True):
            oracle = oracles.get(batch.annotator)
            if batch.stage == "written" and self._came(batch) and not self._known(batch):
                self._give_up(batch, False, sent)
            elif batch.stage in ("reserved", "written", "refused"):
                self._void(batch, "taken back")
                self.tell(f"batch {batch.name} is taken back; answers to it that come later are not read")
            elif oracle is None:
                self.tell(
                    f"batch {batch.name} is at the provider of rung {batch.annotator}, which is gone: put it back"
                )
            else:
                await self._call_back(batch, oracle, checks[batch.annotator], sent)
        return sent

    async def _call_back(self, batch: Batch, oracle: Filed, check: Check, sent: Sent) -> None:
        desk = Desk.of(oracle.settings)
        try:
            try:
                job = batch.job or await desk.find(str((batch.notes or {})["token"]))
            except Refused as error:
                if not error.unknown:
                    raise
                job = ""
            if not job:
                self._void(batch, "taken back")
                return
            await desk.cancel(job)
            batch = replace(batch, job=job)
            over = await self._until_over(desk, batch)
            try:
                await self._fetch(desk, batch, over, oracle, check, sent)
            except DataError:
                self._give_up(batch, over.status != "completed", sent)
        finally:
            await desk.close()

    def _give_up(self, batch: Batch, ended: bool, sent: Sent) -> None:
        """Closes a batch whose questions are lost: nobody can tell what its answers mean, but they were paid for."""
        back = files.gather(self._answers(batch), batch.keys).lines
        free = [key for key in batch.keys if (key not in back and ended) or (key in back and not back[key].body)]
        lost = [key for key in batch.keys if key not in set(free)]
        rows: list[Came] = [(key, Answer(""), "error", "not answered, and its batch given up") for key in free]
        self.store.end_batch(batch, "read", rows, lost, {"answers": 0, "failed": 0, "again": len(batch.keys)})
        sent.again += len(batch.keys)
        self.tell(
            f"batch {batch.name} is given up, for {batch.name}{files.QUESTIONS} cannot be read: {len(lost):,} answers "
            "count as all that was reserved for them; its questions can be asked again"
        )

    # By hand ------------------------------------------------------------------------------------------------------

    def _by_hand(self, batch: Batch, oracle: Filed, check: Check, sent: Sent) -> None:
        """Reads the answers that somebody put there; or says what is waited for."""
        came, put = self._came(batch), self._put(batch)
        if batch.stage not in ("written", "refused") or not came:
            sent.waiting.append(put)
            return
        found = files.gather(came, batch.keys)
        if found.cut:
            sent.waiting.append(f"{found.cut}: the file breaks off there: put the whole file in its place")
        elif not found.lines:
            where = " and ".join(path.name for path in came)
            sent.waiting.append(f"{where} holds no answer to batch {batch.name} of this run (wrong file?): {put}")
        elif (lacking := len(batch.keys) - len(found.lines)) and not self._path(batch, files.OUTPUT).exists():
            sent.waiting.append(f"{came[0].name} tells of {len(found.lines):,} of {len(batch.keys):,} requests: {put}")
        else:
            if lacking:
                self.tell(
                    f"batch {batch.name}: its files lack {lacking:,} of {len(batch.keys):,} requests, which count as "
                    "all that was reserved for them"
                )
            self._read_back(batch, found, oracle, check, sent, "")

    # At the provider ----------------------------------------------------------------------------------------------

    async def _hand_in(self, desk: Desk, batch: Batch) -> Batch:
        """The batch with its job, handed in now unless it was before."""
        if batch.stage == "sent":
            return batch
        token, job = str((batch.notes or {})["token"]), ""
        if batch.stage == "written":
            self.store.note_batch(batch, "sending")
        else:
            job = await desk.find(token)
        try:
            job = job or await desk.hand_in(self._path(batch, files.REQUESTS), token)
        except Refused as error:
            self.store.note_batch(batch, "refused")
            raise EndpointDown(f"{error}; answer it yourself (--batch), or run without --batch") from error
        self.store.note_batch(batch, "sent", job)
        self.tell(f"batch {batch.name} is handed in as {job}; Ctrl-C leaves it there, the same command waits again")
        return replace(batch, stage="sent", job=job)

    async def _until_over(self, desk: Desk, batch: Batch) -> Job:
        pause = 1.0
        while not (job := await desk.look(batch.job)).over:
            self.progress(batch.name, job.done, job.total or len(batch.keys))
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_S)
        return job

    async def _fetch(self, desk: Desk, batch: Batch, job: Job, oracle: Filed, check: Check, sent: Sent) -> None:
        """Brings the answers of a job that is over, whatever its end was."""
        for path, file in zip(self._answers(batch), (job.output, job.errors), strict=True):
            path.unlink(missing_ok=True)
            if file:
                files.write(path, [await desk.fetch(file)])
        found = files.gather(self._answers(batch), batch.keys)
        if job.status == "failed" and not found.lines:
            self._void(batch, "the batch was refused")
            sent.again += len(batch.keys)
            sent.paused = (
                f"batch {batch.name} ({job.id}) was refused{': ' * bool(job.why)}{job.why}; nothing was charged"
            )
            return
        self._read_back(batch, found, oracle, check, sent, "" if job.status == "completed" else job.status)

    # Reading back -------------------------------------------------------------------------------------------------

    def _read_back(self, batch: Batch, found: files.Found, oracle: Filed, check: Check, sent: Sent, ended: str) -> None:
        """Records every answer and closes the batch. `ended`: how the job ended early, so that what has no answer is
        known not to have been asked; "" where that is not known."""
        asked, calls = files.questions(self._path(batch, files.QUESTIONS), batch.keys), self.store.calls(batch.keys)
        rows: list[Came] = []
        lost: list[str] = []
        for key in batch.keys:
            line = found.lines.get(key)
            if line is not None:
                rows.append(lines.came(oracle, calls[key], asked[key], line, check))
            elif ended:
                rows.append((key, Answer(""), "error", ended))
            else:
                lost.append(key)
        whys = Counter(why for _, _, status, why in rows if status != "ok")
        whys.update({"no answer in the file": len(lost)} if lost else {})
        count = Counter(status for _, _, status, _ in rows)
        notes = {"answers": count["ok"], "failed": count["failed"], "again": count["error"] + len(lost)}
        self.store.end_batch(batch, "read", rows, lost, {**notes, "odd": {k: len(v) for k, v in found.odd.items()}})
        sent.answered += count["ok"]
        sent.failed += count["failed"]
        sent.again += notes["again"]
        refused = [line.status for line in found.lines.values() if line.status in REFUSED]
        if refused and not count["ok"]:
            sent.paused = f"batch {batch.name}: requests were refused with status {refused[0]}"
        self._say(batch, notes, whys, found)

    def _say(self, batch: Batch, notes: Mapping[str, int], whys: Counter[str], found: files.Found) -> None:
        parts = [f"{notes['answers']:,} answers read"]
        parts += [f"{notes['failed']:,} failed for good"] if notes["failed"] else []
        parts += [f"{notes['again']:,} to be asked again"] if notes["again"] else []
        why = "; ".join(f"{count:,} × {words}" for words, count in whys.most_common(5))
        self.tell(f"batch {batch.name}: {', '.join(parts)}" + (f" ({why})" if why else ""))
        for words in found.words():
            self.tell(words)

    def _never_was(self, batch: Batch) -> None:
        """A batch that was promised its calls and never written."""
        for end in (files.REQUESTS, files.QUESTIONS):
            self._path(batch, end).unlink(missing_ok=True)
        self._void(batch, "never written")

    def _void(self, batch: Batch, why: str) -> None:
        self.store.end_batch(batch, "void", [(key, Answer(""), "error", why) for key in batch.keys], [], {})

    def _path(self, batch: Batch, end: str) -> Path:
        return self.folder / f"{batch.name}{end}"

    def _came(self, batch: Batch) -> list[Path]:
        """The files of answers that are there."""
        return [path for path in self._answers(batch) if path.exists()]

    def _known(self, batch: Batch) -> bool:
        """Whether it can still be told what its answers mean."""
        try:
            files.questions(self._path(batch, files.QUESTIONS), batch.keys)
        except DataError:
            return False
        return True

    def _answers(self, batch: Batch) -> tuple[Path, Path]:
        return self._path(batch, files.OUTPUT), self._path(batch, files.ERRORS)


class _Desks:
    """The batch interfaces of some rungs, each opened when it is wanted; one that is down is not tried again."""

    def __init__(self, oracles: Mapping[str, Filed]) -> None:
        self.oracles = oracles
        self._open: dict[str, Desk] = {}
        self._down: set[str] = set()

    async def __aenter__(self) -> _Desks:
        return self

    async def __aexit__(self, *_: object) -> None:
        for desk in self._open.values():
            await desk.close()

    @contextlib.contextmanager
    def unless_down(self, annotator: str, sent: Sent) -> Iterator[Desk | None]:
        """The rung's desk, None where it is down; trouble with it is noted in `sent` and ends what is done there."""
        try:
            if annotator not in self._open and annotator not in self._down:
                self._open[annotator] = Desk.of(self.oracles[annotator].settings)
            yield None if annotator in self._down else self._open[annotator]
        except EndpointDown as error:
            self._down.add(annotator)
            sent.paused = sent.paused or str(error)
