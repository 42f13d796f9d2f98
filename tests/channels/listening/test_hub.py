from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from channels.layers import channel_layers

from tasks_celery.channels.access import Access
from tasks_celery.channels.events import group_message
from tasks_celery.channels.groups import group_name
from tasks_celery.channels.listening import hub as hub_module
from tasks_celery.channels.listening import logreader, reception, rounds
from tasks_celery.channels.listening.hub import LayerError, hub
from tasks_celery.channels.listening.subscription import Item, Subscription
from tasks_celery.channels.log import Cursor, EventLogError, Position, Slice, find_log
from tasks_celery.channels.log.memory import MemoryLog
from tests.channels.listening.helpers import ADA, Faulty, push, tell, texts_by_id, until, write

GROUP = group_name(ADA)


class Listening:
    """A page of a user's, that takes what it is sent."""

    def __init__(self, user: str = ADA, *, since: Position | None = None, **access: Any) -> None:
        self.items: list[Item] = []
        self.codes: list[int] = []
        self.subscription = Subscription(
            Access(user=user, has_row=False, **access), since=since, acks=False, send=self._send, close=self._close
        )

    async def _send(self, item: Item) -> None:
        self.items.append(item)

    async def _close(self, code: int) -> None:
        self.codes.append(code)

    @property
    def told(self) -> list[str]:
        return texts_by_id([item.text for item in self.items])

    async def open(self) -> Listening:
        await self.subscription.open()
        await until(lambda: "task.ready" in self.told)
        self.items.clear()
        return self

    async def shut(self) -> None:
        await self.subscription.shut()


@pytest.fixture
def layer() -> Faulty:
    return Faulty()


@pytest.fixture
async def listen(layer: Faulty, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[..., Any]]:
    """Make pages; at the end they go, and nothing runs any more."""
    monkeypatch.setitem(channel_layers.backends, "default", layer)
    before = asyncio.all_tasks()
    made: list[Listening] = []

    async def listen(user: str = ADA, **more: Any) -> Listening:
        made.append(Listening(user, **more))
        return await made[-1].open()

    yield listen
    layer.errors.clear()
    if layer.waits:
        layer.waits.set()
    for page in made:
        await page.shut()
    assert asyncio.all_tasks() - before <= {asyncio.current_task()}
    assert not layer.groups


Listen = Callable[..., Any]


class Log(MemoryLog):
    """Counts its questions; does not answer while it is away."""

    def __init__(self) -> None:
        super().__init__(keep=1_000, keep_for=3600)
        self.questions: list[tuple[str, int]] = []
        self.is_away = False
        self.is_broken = False
        self.tidied = 0

    def read(self, cursors: Any) -> list[Slice]:
        self._ask("read", len(cursors))
        return super().read(cursors)

    def tops(self, streams: Any) -> list[Position | None]:
        self._ask("tops", len(streams))
        return super().tops(streams)

    def tidy(self) -> None:
        self.tidied += 1
        self._ask("tidy", 0)

    def _ask(self, kind: str, count: int) -> None:
        if self.is_away:
            raise EventLogError("It is away.")
        if self.is_broken:
            raise ZeroDivisionError("a mistake of ours")
        self.questions.append((kind, count))


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    log = Log()
    monkeypatch.setattr(logreader, "find_log", lambda owner: log)
    monkeypatch.setattr("tests.channels.listening.helpers.find_log", lambda: log)
    return log


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at nothing by itself."""
    monkeypatch.setattr(rounds, "FIRST_DUE", (500, 500))


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at everything within hundredths of a second."""
    monkeypatch.setattr(rounds, "FIRST_DUE", (0.01, 0.02))
    monkeypatch.setattr(rounds, "TICK", 0.005)
    monkeypatch.setattr(rounds, "DOUBT_EVERY", 0.01)
    monkeypatch.setattr(reception, "FIRST_PAUSE", 0.005)


# --- groups -----------------------------------------------------------------------------------------------------------


async def test_a_group_is_joined_with_the_first_listener_and_left_with_the_last(layer: Faulty, listen: Listen) -> None:
    first, second, grace = await listen(), await listen(), await listen("8")
    assert layer.adds == [GROUP, group_name("8")]
    await first.shut()
    assert layer.discards == []
    await second.shut()
    assert layer.discards == [GROUP]
    await tell("x", user="8")
    await until(lambda: grace.told == ["x"])


async def test_of_a_leaving_and_a_joining_that_cross_the_joining_counts(layer: Faulty, listen: Listen) -> None:
    await listen("8")  # so that the hub lives
    first = await listen()
    layer.waits = asyncio.Event()
    leaving = asyncio.create_task(first.shut())
    await until(lambda: layer.discards)
    joining = asyncio.create_task(listen())
    await asyncio.sleep(0.005)
    assert not joining.done()
    layer.waits.set()
    await leaving
    second = await joining
    await tell("still heard")
    await until(lambda: second.told == ["still heard"])


async def test_of_a_joining_and_a_leaving_that_cross_the_leaving_counts(layer: Faulty, listen: Listen) -> None:
    await listen("8")
    layer.waits = asyncio.Event()
    joining = asyncio.create_task(listen())
    await until(lambda: layer.adds[-1] == GROUP)
    joining.cancel()
    await asyncio.wait([joining])
    gone = Listening()
    going = asyncio.create_task(gone.subscription.open())
    await asyncio.sleep(0)
    going.cancel()
    await asyncio.wait([going])
    layer.waits.set()
    await gone.shut()


async def test_a_hub_that_ends_as_somebody_comes_begins_again(layer: Faulty, listen: Listen) -> None:
    last = await listen()
    layer.waits = asyncio.Event()
    leaving = asyncio.create_task(last.shut())
    await until(lambda: layer.discards)
    coming = asyncio.create_task(listen("8"))
    await asyncio.sleep(0.005)
    layer.waits.set()
    await leaving
    grace = await coming
    await tell("x", user="8")
    await until(lambda: grace.told == ["x"])


async def test_who_cannot_join_is_told_so_and_the_next_one_may(
    layer: Faulty, listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    await listen("8")
    for _ in range(2):
        layer.errors = [ConnectionError("away")]
        page = Listening()
        with pytest.raises(LayerError, match="away"):
            await page.subscription.open()
        await page.shut()
    # Said once, not for each of a thousand pages.
    assert [record.levelname for record in caplog.records if "come again later" in record.message] == ["ERROR"]
    ada = await listen()
    await tell("x")
    await until(lambda: ada.told == ["x"])


async def test_no_more_groups_are_joined_at_once_than_there_are_connections(layer: Faulty, listen: Listen) -> None:
    layer.waits = asyncio.Event()
    coming = [asyncio.create_task(listen(str(user))) for user in range(100, 150)]
    await until(lambda: len(layer.adds) == reception.AT_ONCE)
    await asyncio.sleep(0.005)
    assert len(layer.adds) == reception.AT_ONCE
    layer.waits.set()
    await asyncio.gather(*coming)


async def test_in_each_loop_is_one_hub() -> None:
    assert hub() is hub()
    assert await asyncio.to_thread(lambda: asyncio.run(_hub())) is not hub()


async def _hub() -> object:
    return hub()


# --- what goes wrong in the layer -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("hasty", "unhurried")
async def test_a_layer_that_fails_is_joined_again_and_what_it_lost_is_read(
    layer: Faulty, listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    ada, grace = await listen(), await listen("8")
    layer.errors = [ConnectionError("away")] * 3
    await layer.group_send(GROUP, {"type": "the last one before it fails"})
    layer.groups.clear()  # its Redis is another one now
    write("lost")
    await until(lambda: set(layer.groups) == {GROUP, group_name("8")})
    await until(lambda: ada.told == ["lost"])
    await tell("next", user="8")
    await until(lambda: grace.told == ["next"])
    assert (ada.codes, grace.codes) == ([], [])
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1


@pytest.mark.usefixtures("hasty")
async def test_what_is_lost_without_a_trace_is_found_by_the_next_look(
    layer: Faulty, listen: Listen, settings: Any
) -> None:
    settings.TASK_EVENTS = {"CHECK_EVERY": 0.02}
    ada = await listen()
    layer.loses = True
    await tell("lost")
    await until(lambda: ada.told == ["lost"])


@pytest.mark.usefixtures("hasty")
async def test_a_membership_that_the_layer_forgot_is_renewed(layer: Faulty, listen: Listen, settings: Any) -> None:
    settings.TASK_EVENTS = {"CHECK_EVERY": 0.02}
    await listen()
    layer.groups.clear()
    await until(lambda: GROUP in layer.groups)


async def test_doubled_messages_arrive_once(layer: Faulty, listen: Listen) -> None:
    ada = await listen()
    layer.doubles = True
    for number in range(20):
        await tell(number)
    await until(lambda: len(ada.told) == 20)
    await asyncio.sleep(0.01)
    assert ada.told == [str(number) for number in range(20)]


@pytest.mark.usefixtures("unhurried")
async def test_past_half_of_what_a_layer_holds_the_log_is_looked_at(layer: Faulty, log: Log, listen: Listen) -> None:
    layer.capacity = 40
    ada, grace = await listen(), await listen("8")
    write("dropped", user="8")  # the layer was full
    for number in range(20):
        await tell(number)
    await until(lambda: len(ada.told) == 20)
    await until(lambda: grace.told == ["dropped"])


async def test_a_flood_leaves_the_loop_to_others(layer: Faulty, listen: Listen) -> None:
    ada = await listen()
    (queue,) = layer.channels.values()
    for number in range(500):
        queue.put_nowait((time.time() + 60, group_message(GROUP, [write(number)])))
    turns = 0
    while len(ada.told) < 500:
        turns += 1
        await asyncio.sleep(0)
    assert turns > 5


# --- the log ----------------------------------------------------------------------------------------------------------


async def test_those_who_come_together_are_one_question(layer: Faulty, log: Log, listen: Listen) -> None:
    await listen("8")
    log.questions.clear()
    since = {user: log.read([Cursor(group_name(str(user)))])[0].top for user in range(100, 160)}
    log.questions.clear()
    await asyncio.gather(*(listen(str(user), since=since[user]) for user in range(100, 160)))
    assert sum(count for _, count in log.questions) == 60
    assert len(log.questions) <= 6
    await asyncio.gather(*(listen("8") for _ in range(60)))
    assert sum(count for _, count in log.questions) <= 63, "and those who ask the same ask once"


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("fault", ["is_away", "is_broken"])
async def test_a_log_that_does_not_answer_closes_nobody_and_is_made_up_for(
    fault: str, layer: Faulty, log: Log, listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    ada = await listen()
    setattr(log, fault, True)
    layer.loses = True
    await tell("lost")
    layer.loses = False
    hub()._doubt_all()
    await until(lambda: "does not answer" in caplog.text)
    setattr(log, fault, False)
    hub()._doubt_all()
    await until(lambda: ada.told == ["lost"])
    await until(lambda: "answers again" in caplog.text)
    assert ada.codes == []


@pytest.mark.usefixtures("unhurried")
async def test_a_log_that_went_back_is_a_reset(layer: Faulty, log: Log, listen: Listen) -> None:
    ada = await listen()
    await tell("1", "2", "3")
    await until(lambda: len(ada.told) == 3)
    stream = log._streams[GROUP]
    stream.seq -= 2
    for _ in range(2):
        stream.events.pop()
    await tell("another 2")  # with a number that Ada has seen
    await until(lambda: ada.told == ["1", "2", "3", "task.reset", "task.ready"])
    await tell("another 3")
    await until(lambda: ada.told[-1] == "another 3")


@pytest.mark.usefixtures("unhurried")
async def test_numbers_seen_before_make_no_more_than_a_look_a_second(layer: Faulty, log: Log, listen: Listen) -> None:
    ada = await listen()
    seen = write("1")
    await push(seen)
    await until(lambda: ada.told == ["1"])
    log.questions.clear()
    for _ in range(50):
        await push(seen)
        await asyncio.sleep(0)
    await until(lambda: log.questions)
    await asyncio.sleep(0.02)
    assert log.questions == [("tops", 1)]


@pytest.mark.usefixtures("hasty")
async def test_the_log_is_tidied_now_and_then(
    layer: Faulty, log: Log, listen: Listen, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.TASK_EVENTS = {"CHECK_EVERY": 0.01}
    await listen()
    await asyncio.sleep(0.04)
    assert log.tidied == 0
    monkeypatch.setattr(rounds, "TIDY_EVERY", 0)
    await until(lambda: log.tidied)
    log.is_away = True
    await until(lambda: log.tidied > 2)


# --- who may listen ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("hasty")
async def test_who_may_listen_no_more_is_closed_at_the_next_check(
    listen: Listen, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.TASK_EVENTS = {"CHECK_EVERY": 0.02}
    asked: list[int] = []

    def allowed(accesses: Any) -> list[bool]:
        asked.append(len(accesses))
        return [access.user == ADA or len(asked) < 4 for access in accesses]

    monkeypatch.setattr(logreader, "allowed", allowed)
    ada, grace = await listen(), await listen("8")
    await until(lambda: grace.codes == [4403])
    assert ada.codes == []
    await tell("secret", user="8")
    await tell("x")
    await until(lambda: ada.told == ["x"])
    assert grace.told == []


@pytest.mark.usefixtures("hasty")
async def test_a_check_that_fails_closes_nobody_and_is_made_again(
    listen: Listen, monkeypatch: pytest.MonkeyPatch, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.TASK_EVENTS = {"CHECK_EVERY": 0.02}
    asked: list[int] = []

    def allowed(accesses: Any) -> list[bool]:
        asked.append(len(accesses))
        raise LookupError("the project's")

    monkeypatch.setattr(logreader, "allowed", allowed)
    ada = await listen()
    await until(lambda: len(asked) >= 3)
    assert ada.codes == []
    assert "the project's" in caplog.text


@pytest.mark.usefixtures("hasty")
async def test_while_the_users_database_hangs_the_log_is_looked_at(
    layer: Faulty, listen: Listen, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.TASK_EVENTS = {"CHECK_EVERY": 0.02}
    asked: list[int] = []
    answers = threading.Event()

    def allowed(accesses: Any) -> list[bool]:
        asked.append(len(accesses))
        answers.wait(5)
        return [True] * len(accesses)

    monkeypatch.setattr(logreader, "allowed", allowed)
    ada, _ = await listen(), await listen("8")
    try:
        await until(lambda: asked)
        layer.loses = True
        for number in ("1", "2", "3"):
            await tell(number)
            await until(lambda number=number: ada.told[-1:] == [number])  # type: ignore[misc]
        assert len(asked) == 1
    finally:
        answers.set()
    await until(lambda: len(asked) > 1)


async def test_a_token_is_looked_at_as_it_ends(listen: Listen, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    settings.TASK_EVENTS = {"CHECK_EVERY": 600}
    monkeypatch.setattr(rounds, "FIRST_DUE", (500, 500))
    monkeypatch.setattr(rounds, "TICK", 0.01)
    ada = await listen(until=time.time() + 0.05)
    await until(lambda: ada.codes == [4403])


# --- without a layer --------------------------------------------------------------------------------------------------


async def test_without_a_layer_the_log_is_looked_at(log: Log, listen: Listen, settings: Any) -> None:
    settings.TASK_EVENTS = {"LAYER": None, "LOG": "memory://", "POLL_EVERY": 0.01}
    ada, grace = await listen(), await listen("8")
    write("1")
    write("2")
    await until(lambda: ada.told == ["1", "2"])
    assert grace.told == []
    log.is_away = True
    write("3")
    await asyncio.sleep(0.03)
    log.is_away = False
    await until(lambda: ada.told == ["1", "2", "3"])


async def test_a_hint_is_read_at_once(log: Log, listen: Listen, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.TASK_EVENTS = {"LAYER": None, "LOG": "memory://", "POLL_EVERY": 600}
    hints: list[Callable[[str | None], None]] = []

    class Listener:
        def stop(self) -> None:
            hints.clear()

    def find_listener(hint: Callable[[str | None], None]) -> Listener:
        hints.append(hint)
        return Listener()

    monkeypatch.setattr("tasks_celery.channels.listening.polling.find_listener", find_listener)
    ada = await listen()
    write("1")
    hints[0]("another")
    hints[0](GROUP)
    await until(lambda: ada.told == ["1"])
    write("2")
    hints[0](None)  # it was away
    await until(lambda: ada.told == ["1", "2"])
    await ada.shut()
    assert hints == []


async def test_with_no_log_what_comes_is_passed_on(listen: Listen, settings: Any) -> None:
    settings.TASK_EVENTS = {"LOG": "none://"}
    assert find_log().tops([GROUP]) == [None]
    ada = await listen()
    await tell("1", "2")
    await until(lambda: ada.told == ["1", "2"])


def test_a_closed_loop_is_not_kept() -> None:
    asyncio.run(_hub())
    asyncio.run(_hub())
    assert len([loop for loop in hub_module._hubs if loop.is_closed()]) <= 1
