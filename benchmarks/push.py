"""What it costs a task to tell a browser that it is done, against `async_to_sync(group_send)`."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.harness import Measure, compare


def measure() -> Iterator[Measure]:
    from asgiref.sync import async_to_sync
    from channels.layers import get_channel_layer

    from tasks_celery.channels import publisher
    from tasks_celery.channels.events import Envelope
    from tasks_celery.channels.groups import group_name

    group = group_name("1")
    envelope = Envelope(event="report.ready", data={"id": "x" * 32, "status": "SUCCESSFUL"})
    send = async_to_sync(get_channel_layer().group_send)
    message = {"type": "report.ready", "data": {"id": "x" * 32, "status": "SUCCESSFUL"}}

    def ours() -> None:
        publisher.publish(group, envelope)

    yield from compare(
        {"async_to_sync(group_send)": lambda: send(group, message), "push.core": ours},
        against="async_to_sync(group_send)",
        rounds=7,
        repeat=50,
    )
    publisher.flush(10)
