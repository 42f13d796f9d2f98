from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tasks_celery.channels.access import Access
from tasks_celery.channels.events import Heard, event_text
from tasks_celery.channels.listening import subscription as module
from tasks_celery.channels.listening.subscription import MOST_CHARACTERS, MOST_WAITING, WINDOW, Item, Subscription
from tasks_celery.channels.log import Cursor, EventLogError, Position, Slice
from tasks_celery.channels.log.memory import MemoryLog
from tests.channels.helpers import entry
from tests.channels.listening.helpers import texts_by_id, until

ADA = Access(user="7")


class FakeHub:
    """Reads a log in memory; as it is told, only when it may, or with errors."""

    def __init__(self) -> None:
        self.log = MemoryLog(keep=100_000, keep_for=3600)
        self.added: list[Subscription] = []
        self.reads: list[Position | None] = []
        self.errors: list[Exception] = []
        self.may_read = asyncio.Event()
        self.may_read.set()

    async def add(self, subscription: Subscription) -> None:
        self.added.append(subscription)

    async def remove(self, subscription: Subscription) -> None:
        self.added = [each for each in self.added if each is not subscription]

    async def read(self, stream: str, since: Position | None) -> Slice:
        self.reads.append(since)
        (answer,) = self.log.read([Cursor(stream, since)])
        await self.may_read.wait()
        await asyncio.sleep(0)
        if self.errors:
            raise self.errors.pop()
        return answer

    def top(self) -> Position:
        top = self.log.read([Cursor(ADA.stream)])[0].top
        assert top
        return top

    def write(self, *numbers: object, padding: str = "") -> list[Heard]:
        heard = []
        for number in numbers:
            body = entry(number, ADA.stream).body[:-1] + (f',"padding":"{padding}"}}' if padding else "}")
            (position,) = self.log.append([entry(number, ADA.stream)._replace(body=body)])
            assert isinstance(position, Position)
            heard.append(Heard(position, event_text(body, position)))
        return heard


class Page:
    """What takes the items; slowly, if it is told to."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.codes: list[int] = []
        self.takes = asyncio.Event()
        self.takes.set()
        self.is_broken = False

    async def send(self, item: Item) -> None:
        if not self.takes.is_set():
            await self.takes.wait()
        if self.is_broken:
            raise OSError("gone")
        self.items.append(item)

    async def close(self, code: int) -> None:
        self.codes.append(code)

    @property
    def told(self) -> list[str]:
        return texts_by_id([item.text for item in self.items])

    @property
    def events(self) -> list[str]:
        return [each for each in self.told if not each.startswith("task.")]


@pytest.fixture
async def hub(monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    hub = FakeHub()
    monkeypatch.setattr(module, "hub", lambda: hub)
    return hub


@pytest.fixture
def page(hub: FakeHub) -> Page:
    return Page()


@pytest.fixture
async def listen(page: Page) -> AsyncIterator[Callable[..., Any]]:
    made = []

    async def listen(since: Position | None = None, *, acks: bool = False) -> Subscription:
        subscription = Subscription(ADA, since=since, acks=acks, send=page.send, close=page.close)
        made.append(subscription)
        await subscription.open()
        return subscription

    yield listen
    for subscription in made:
        await subscription.shut()
    assert asyncio.all_tasks() == {asyncio.current_task()} | {
        task for task in asyncio.all_tasks() if "pytest" in repr(task)
    }


Listen = Callable[..., Any]


def numbers(*ends: int) -> list[str]:
    return [str(number) for number in range(*ends)]


async def test_it_joins_before_it_reads_and_holds_nothing_back_once_ready(
    hub: FakeHub, page: Page, listen: Listen
) -> None:
    hub.may_read.clear()
    listener = await listen(hub.top())
    assert hub.added == [listener]
    await until(lambda: hub.reads)
    assert page.told == []
    listener.hear(hub.write("meanwhile"))  # after the log was asked, before it answers
    hub.may_read.set()
    await until(lambda: page.told == ["task.ready", "meanwhile"])


async def test_what_is_heard_in_a_replay_comes_after_it(hub: FakeHub, page: Page, listen: Listen) -> None:
    since = hub.top()
    hub.write(*range(450))
    page.takes.clear()
    listener = await listen(since)
    listener.hear(hub.write(*range(450, 460)))
    page.takes.set()
    for number in range(460, 500):
        listener.hear(hub.write(number))
        await asyncio.sleep(0)
    await until(lambda: len(page.events) == 500)
    assert page.events == numbers(500)
    assert page.told.count("task.ready") == 1


async def test_an_idle_listener_runs_nothing_and_one_that_keeps_up_reads_nothing(
    hub: FakeHub, page: Page, listen: Listen
) -> None:
    listener = await listen()
    await until(lambda: page.told == ["task.ready"])
    reads, tasks = len(hub.reads), len(asyncio.all_tasks())
    for number in range(50):
        listener.hear(hub.write(number))
        await asyncio.sleep(0)
    assert page.events == numbers(50)
    assert (len(hub.reads), len(asyncio.all_tasks())) == (reads, tasks)


async def test_what_waits_for_a_slow_page_is_bounded_and_nothing_is_missed(
    hub: FakeHub, page: Page, listen: Listen
) -> None:
    listener = await listen()
    await until(lambda: page.told == ["task.ready"])
    page.takes.clear()
    for number in range(1_000):
        listener.hear(hub.write(number))
    assert len(listener._waiting) <= MOST_WAITING
    page.takes.set()
    await until(lambda: len(page.events) == 1_000)
    assert page.events == numbers(1_000)


async def test_large_events_that_wait_are_bounded_by_their_size(hub: FakeHub, page: Page, listen: Listen) -> None:
    listener = await listen()
    await until(lambda: page.told == ["task.ready"])
    page.takes.clear()
    most = 0
    for number in range(150):
        listener.hear(hub.write(number, padding="x" * 7_900))
    page.takes.set()
    while len(page.events) < 150:
        await asyncio.sleep(0)
        most = max(most, sum(len(item.text) for item in listener._waiting))
        assert most == 0 or most <= MOST_CHARACTERS + 8_200
    assert page.events == numbers(150)


async def test_where_the_log_does_not_answer_it_is_asked_again_and_the_page_stays(
    hub: FakeHub, page: Page, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.001)
    since = hub.top()
    hub.write("missed")
    hub.errors = [EventLogError("It is away.") for _ in range(5)]
    await listen(since)
    await until(lambda: page.told == ["missed", "task.ready"])
    assert len(hub.reads) == 6
    assert page.codes == []


async def test_a_page_that_acknowledges_gets_a_window_and_more_as_it_does(
    hub: FakeHub, page: Page, listen: Listen
) -> None:
    listener = await listen(acks=True)
    await until(lambda: page.told == ["task.ready"])
    start = hub.top()
    for number in range(500):
        listener.hear(hub.write(number))
    await asyncio.sleep(0.01)
    assert page.events == numbers(WINDOW)
    listener.seen(Position("another", start.seq + 100))
    listener.seen(Position(start.epoch, start.seq + WINDOW + 1))  # it was not sent that yet
    await asyncio.sleep(0.01)
    assert page.events == numbers(WINDOW)
    listener.seen(Position(start.epoch, start.seq + 100))
    await until(lambda: len(page.events) == WINDOW + 100)
    listener.seen(Position(start.epoch, start.seq + 300))
    listener.seen(Position(start.epoch, start.seq + 50))
    await until(lambda: page.events == numbers(500))


async def test_after_a_reset_the_window_begins_anew(hub: FakeHub, page: Page, listen: Listen) -> None:
    listener = await listen(Position("gone", 9_999), acks=True)
    await until(lambda: page.told == ["task.reset", "task.ready"])
    for number in range(WINDOW + 50):
        listener.hear(hub.write(number))
    await until(lambda: page.events == numbers(WINDOW))
    await asyncio.sleep(0.01)
    assert page.events == numbers(WINDOW)
    listener.seen(page.items[-1].position)
    await until(lambda: page.events == numbers(WINDOW + 50))


async def test_a_page_that_goes_on_from_elsewhere_is_not_sent_what_waited(
    hub: FakeHub, page: Page, listen: Listen
) -> None:
    start = hub.top()
    listener = await listen()
    await until(lambda: page.told == ["task.ready"])
    page.takes.clear()
    for number in range(50):
        listener.hear(hub.write(number))
        await asyncio.sleep(0)
    listener.resume(Position(start.epoch, start.seq + 48))
    page.takes.set()
    await until(lambda: page.told.count("task.ready") == 2)
    # The first one was on its way.
    assert page.told == ["task.ready", "0", "48", "49", "task.ready"]


async def test_an_answer_that_was_asked_before_a_resume_is_not_taken(hub: FakeHub, page: Page, listen: Listen) -> None:
    start = hub.top()
    hub.write(*range(5))
    hub.may_read.clear()
    listener = await listen(start)
    await until(lambda: hub.reads)
    listener.resume(Position(start.epoch, start.seq + 3))
    hub.may_read.set()
    await until(lambda: page.told == ["3", "4", "task.ready"])


async def test_a_number_seen_before_asks_for_a_look(hub: FakeHub, page: Page, listen: Listen) -> None:
    listener = await listen()
    await until(lambda: page.told == ["task.ready"])
    events = hub.write(1, 2)
    assert listener.hear(events) is False
    assert listener.hear(events) is True
    await until(lambda: page.events == ["1", "2"])


async def test_a_page_that_has_gone_ends_it_quietly(hub: FakeHub, page: Page, listen: Listen) -> None:
    listener = await listen()
    await until(lambda: page.told == ["task.ready"])
    page.is_broken = True
    listener.hear(hub.write(1))
    await asyncio.sleep(0.005)
    page.is_broken = False
    listener.hear(hub.write(2))
    listener.resume(hub.top())
    await asyncio.sleep(0.01)
    assert page.events == []


async def test_who_may_listen_no_more_is_sent_nothing_more_and_told_so(
    hub: FakeHub, page: Page, listen: Listen
) -> None:
    listener = await listen()
    await until(lambda: page.told == ["task.ready"])
    page.takes.clear()
    listener.hear(hub.write(1, 2, 3))
    listener.end(4403)
    listener.end(4403)
    listener.hear(hub.write(4))
    page.takes.set()
    await until(lambda: page.codes)
    await asyncio.sleep(0.01)
    assert (page.events, page.codes) == ([], [4403])


@pytest.mark.parametrize("moment", ["as the page takes", "as the log answers", "as it retries"])
async def test_when_it_is_shut_nothing_of_it_runs(hub: FakeHub, page: Page, listen: Listen, moment: str) -> None:
    if moment == "as the page takes":
        page.takes.clear()
    elif moment == "as the log answers":
        hub.may_read.clear()
    else:
        hub.errors = [EventLogError("It is away.")]
    listener = await listen()
    await asyncio.sleep(0.005)
    assert listener._pump is not None
    await listener.shut()
    await listener.shut()
    assert hub.added == []
    assert listener._pump is None
