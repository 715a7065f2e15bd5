"""Several addresses of one model: who is asked, parked or put aside; real servers that die and come back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import pytest
from oracle_room import SINGLE, asked, context
from servers.chat import ChatServer

from agent.errors import CallFailed, EndpointDown, Transient
from agent.oracles import openai
from agent.oracles._endpoints import STRIKES, Endpoints
from agent.types import Answer, Prompt


def several(servers: Sequence[ChatServer]) -> openai.OpenAI:
    urls = tuple(server.url for server in servers)
    return openai.build(openai.Settings("tiny", urls, in_flight=16, deadline=2.0), context(SINGLE))


async def stubborn(oracle: openai.OpenAI, made: Prompt, tries: int = 30) -> Answer:
    """Ask until there is an answer, as a run would."""
    for _ in range(tries):
        try:
            return await oracle.answer(made)
        except Transient as trouble:
            await asyncio.sleep(min(trouble.after or 0.02, 0.5))
    raise AssertionError(f"no answer in {tries} tries")


async def everything(oracle: openai.OpenAI, prompts: Sequence[Prompt], places: int = 16) -> list[Answer]:
    gate = asyncio.Semaphore(places)

    async def one(made: Prompt) -> Answer:
        async with gate:
            return await stubborn(oracle, made)

    return await asyncio.gather(*map(one, prompts))


def test_questions_go_where_the_least_is_to_do():
    with ChatServer(right="good") as one, ChatServer(right="good") as two:
        oracle = several([one, two])
        prompts = [asked(SINGLE, oracle, str(i)) for i in range(60)]

        async def run() -> None:
            await everything(oracle, prompts)
            await oracle.close()

        asyncio.run(run())
        assert len(one.requests) + len(two.requests) == 60 and min(len(one.requests), len(two.requests)) >= 20


def test_one_dies_in_mid_run_is_parked_and_is_back_after_it_recovers(caplog):
    with caplog.at_level(logging.INFO), ChatServer(right="good") as one, ChatServer(right="good") as two:
        oracle = several([one, two])
        prompts = [asked(SINGLE, oracle, str(i)) for i in range(120)]

        async def run() -> list[Answer]:
            answers = await everything(oracle, prompts[:40])
            two.mode = "500"
            answers += await everything(oracle, prompts[40:80])
            dead = len(two.requests)
            assert oracle.wire.places.all[1].tripped and dead < 40 + 16
            two.mode = "ok"
            await asyncio.sleep(1.1)
            answers += await everything(oracle, prompts[80:])
            assert not oracle.wire.places.all[1].tripped and len(two.requests) > dead
            await oracle.close()
            return answers

        answers = asyncio.run(run())
    assert len(answers) == 120 and all(answer.logprobs for answer in answers)
    said = [r.getMessage() for r in caplog.records if r.name == "tutelage"]
    for words in ("is left alone after", "answers again"):
        assert sum(words in line for line in said) == 1
    assert "SENTINEL" not in caplog.text


def test_one_that_refuses_the_key_is_put_aside_with_one_line(caplog):
    with caplog.at_level(logging.INFO), ChatServer("401") as one, ChatServer(right="good") as two:
        oracle = several([one, two])
        prompts = [asked(SINGLE, oracle, str(i)) for i in range(30)]

        async def run() -> None:
            await everything(oracle, prompts)
            two.mode = "quota429"
            for _ in range(2):
                with pytest.raises(EndpointDown, match=r"refuses the key.*credit"):
                    await oracle.answer(prompts[0])
            await oracle.close()

        asyncio.run(run())
        assert len(one.requests) <= 2 and len(two.requests) == 31
    assert sum("put aside: " in r.getMessage() and "key" in r.getMessage() for r in caplog.records) == 1


def test_retry_after_parks_only_the_address_that_said_so():
    with ChatServer("429", after="30") as one, ChatServer(right="good") as two:
        oracle = several([one, two])
        prompts = [asked(SINGLE, oracle, str(i)) for i in range(20)]

        async def run() -> None:
            with pytest.raises(Transient) as caught:
                await oracle.answer(prompts[0])
            assert caught.value.after == 0, "the other address need not be waited for"
            for made in prompts:
                await oracle.answer(made)
            assert len(one.requests) == 1
            two.mode, two.after = "503", "9"
            with pytest.raises(Transient):
                await oracle.answer(prompts[0])
            with pytest.raises(Transient, match="left alone") as caught:
                await oracle.answer(prompts[0])
            assert 8 < caught.value.after <= 9 and not caught.value.billed
            await oracle.close()

        asyncio.run(run())


def test_nobody_at_any_address_is_said_and_one_that_is_missing_is_done_without():
    with ChatServer(right="good") as gone:
        pass
    with ChatServer(right="good") as there:
        oracle = several([gone, there])
        prompts = [asked(SINGLE, oracle, str(i)) for i in range(20)]

        async def run() -> list[Answer]:
            try:
                return await everything(oracle, prompts)
            finally:
                await oracle.close()

        assert len(asyncio.run(run())) == 20
    oracle = several([gone, there])

    async def none() -> None:
        with pytest.raises(EndpointDown, match="no endpoint answers"):
            await stubborn(oracle, prompts[0])
        await oracle.close()

    asyncio.run(none())


def test_a_single_address_that_fails_is_parked_and_tried_by_one_question():
    with ChatServer(right="good") as server:
        oracle = several([server])
        prompts = [asked(SINGLE, oracle, str(i)) for i in range(20)]

        async def run() -> None:
            await oracle.answer(prompts[0])
            server.mode = "500"
            for made in prompts[:STRIKES]:
                with pytest.raises(Transient):
                    await oracle.answer(made)
            seen = len(server.requests)
            with pytest.raises(Transient, match="left alone for") as caught:
                await oracle.answer(prompts[0])
            assert len(server.requests) == seen and not caught.value.sent
            await asyncio.sleep(1.05)
            ends = await asyncio.gather(*map(oracle.answer, prompts), return_exceptions=True)
            assert all(isinstance(end, Transient) for end in ends) and len(server.requests) == seen + 1
            server.mode = "ok"
            await asyncio.sleep(2.05)
            ends = await asyncio.gather(*map(oracle.answer, prompts), return_exceptions=True)
            assert all(isinstance(end, Answer) for end in ends)
            await oracle.close()

        asyncio.run(run())


def test_failures_of_one_wave_park_once():
    async def run() -> None:
        places = Endpoints(["http://127.0.0.1:1/v1"])
        taken = [await places.take() for _ in range(20)]
        for place in taken:
            places.failed(place, 0, Transient("broke"))
        (place,) = places.all
        assert (place.era, place.pause, place.flying) == (1, 2.0, 0)
        places.worked(await _after(places, place))
        assert (place.tripped, place.pause) == (False, 1.0)

    asyncio.run(run())


async def _after(places: Endpoints, place):
    place.until = 0.0
    return await places.take()


def test_a_question_refused_for_itself_says_nothing_of_the_server():
    with ChatServer(right="good") as server:
        oracle = several([server])
        made = asked(SINGLE, oracle)

        async def run() -> None:
            await oracle.answer(made)
            server.mode = "bad400"
            for _ in range(2 * STRIKES):
                with pytest.raises(CallFailed):
                    await oracle.answer(made)
            assert not oracle.wire.places.all[0].tripped
            await oracle.close()

        asyncio.run(run())


def test_a_question_that_failed_at_one_address_goes_to_another_at_once():
    with ChatServer(right="good") as one, ChatServer(right="good") as two:
        oracle = several([one, two])
        prompts = [asked(SINGLE, oracle, str(i)) for i in range(8)]

        async def run() -> None:
            for made in prompts:
                await oracle.answer(made)
            one.mode = "500"
            for made in prompts:  # as the addresses take turns, each is parked and tried in between
                oracle.wire.places.all[0].until = 0.0
                try:
                    await oracle.answer(made)
                except Transient as trouble:
                    assert trouble.after == 0, "a healthy address is waited for by nobody"
                    oracle.wire.places.all[0].until = 0.0  # the dead one could be tried again just now
                    await oracle.answer(made)
            assert oracle.wire.places.all[0].tripped
            two.mode, oracle.wire.places.all[0].until = "500", 0.0
            with pytest.raises(Transient) as first:
                await oracle.answer(prompts[0])
            oracle.wire.places.all[0].until = 0.0
            with pytest.raises(Transient) as second:
                await oracle.answer(prompts[0])
            assert second.value.after != 0 or first.value.after != 0, "where all fail, nobody hurries"
            await oracle.close()

        asyncio.run(run())
