from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from channels.layers import InMemoryChannelLayer

from tasks_celery.channels.workers import enqueue_event, get_channel_layer, send
from tasks_celery.channels.workers.sending import keep, new_id
from tasks_celery.compat import TaskResultStatus, task_backends
from tests.channels.workers.consumers import done
from tests.shop.running import eagerly

#: Consumers of Channels look after the connections to the database before and after each event.
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _project(settings: Any) -> Iterator[None]:
    settings.ASGI_APPLICATION = "tests.channels.workers.consumers.application"
    done.clear()
    with eagerly():
        yield
    done.clear()


REFUSED: list[tuple[Any, Any, type[Exception]]] = [
    ("specific.x!y", {"type": "generate"}, TypeError),
    ("a b", {"type": "generate"}, TypeError),
    ("thumbnails", "generate", TypeError),
    ("thumbnails", {"id": 7}, ValueError),
    ("thumbnails", {"type": "_generate"}, ValueError),
    ("thumbnails", {"type": "generate", "data": b"x"}, TypeError),
]


@pytest.mark.parametrize(("channel", "message", "kind"), REFUSED)
def test_what_no_consumer_could_handle_is_refused_before_anything_is_sent(
    channel: Any, message: Any, kind: type[Exception], signals_seen: list[Any]
) -> None:
    for call in (enqueue_event, async_to_sync(send)):
        with pytest.raises(kind):
            call(channel, message)
    assert signals_seen == []


@pytest.mark.parametrize("call", [enqueue_event, async_to_sync(send)])
def test_an_event_is_a_task_whose_result_can_be_read(call: Any) -> None:
    result = call("thumbnails", {"type": "generate", "id": 7})
    found = task_backends["default"].get_result(result.id)
    assert found.status == TaskResultStatus.SUCCESSFUL
    assert found.args == ["thumbnails", {"type": "generate", "id": 7}]
    assert done[0][1] == {"type": "generate", "id": 7}


def test_it_goes_to_the_queue_of_its_channel(settings: Any) -> None:
    settings.TASK_EVENTS = {"CHANNELS": {"thumb*": {"QUEUE_NAME": "reports"}}}
    assert enqueue_event("thumbnails", {"type": "generate"}).task.queue_name == "reports"
    assert enqueue_event("letters", {"type": "generate"}).task.queue_name == "default"


def test_what_came_from_a_layer_is_kept_whatever_it_is() -> None:
    for message, reason in [
        ({"id": 7}, "has no 'type'"),
        ({"type": "_x"}, "underscore"),
        ({"type": "generate", "data": b"\xff"}, "event['data'] is of the type bytes"),
        (["generate"], "An event is a dict"),
    ]:
        result = keep("thumbnails", message, result_id=new_id())
        assert result.status == TaskResultStatus.FAILED
        assert reason in result.errors[0].traceback
    assert done == []


def test_what_no_task_can_carry_is_shown_in_its_result() -> None:
    result = keep("thumbnails", {"type": "generate", "data": b"\xff" * 5_000}, result_id=new_id())
    assert result.args[1].startswith(r"{'type': 'generate', 'data': b'\xff")
    assert len(result.args[1]) == 1_000


def test_what_is_kept_has_the_id_that_it_was_given() -> None:
    result_id = new_id()
    assert keep("thumbnails", {"type": "generate"}, result_id=result_id).id == result_id
    assert len(done) == 1


class Noting(InMemoryChannelLayer):
    def __init__(self) -> None:
        super().__init__()
        self.sent: list[Any] = []

    async def send(self, channel: str, message: Any) -> None:
        self.sent.append((channel, message))


@pytest.fixture
def layers(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": f"{__name__}.Noting"}, "other": {"BACKEND": f"{__name__}.Noting"}}


@pytest.mark.usefixtures("layers")
async def test_the_layer_that_stands_in_makes_tasks_of_what_goes_to_workers_alone() -> None:
    layer: Any = get_channel_layer()
    await layer.send("thumbnails", {"type": "generate"})
    assert layer.sent == []
    assert len(done) == 1
    await layer.send("specific.abc!def", {"type": "told"})
    assert layer.sent == [("specific.abc!def", {"type": "told"})]
    with pytest.raises(TypeError, match="name of a channel"):
        await layer.send(7, {"type": "generate"})


@pytest.mark.usefixtures("layers")
async def test_all_else_of_it_is_the_layers_own() -> None:
    layer: Any = get_channel_layer("other")
    await layer.group_add("room", "letters")
    await layer.group_send("room", {"type": "told"})
    assert layer.sent == [("letters", {"type": "told"})]
    with pytest.raises(AttributeError):
        layer.nothing  # noqa: B018


@pytest.mark.usefixtures("layers")
def test_a_layer_that_is_not_configured_is_none_as_with_channels() -> None:
    assert get_channel_layer("nowhere") is None
