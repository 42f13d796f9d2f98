"""Child process of the benchmarks. Where a task's end is pushed from, with the layer in BENCH_LAYER: our way, and the usual one."""

from __future__ import annotations

import asyncio

from benchmarks.harness import each, serve

IDS = "x" * 32


def main() -> None:
    """Serve the calls by their names; both groups have one member, as one page of the user would be."""
    import django

    django.setup()
    from asgiref.sync import async_to_sync
    from channels.layers import channel_layers, get_channel_layer

    from tasks_celery.channels.events import Envelope
    from tasks_celery.channels.groups import group_name
    from tasks_celery.channels.push import publisher

    async def join() -> None:
        layer = channel_layers.make_backend("default")
        channel = await layer.new_channel()
        for group in ("user_1", group_name("1")):
            await layer.group_add(group, channel)

    data = {"id": IDS, "name": "reports.build", "status": "SUCCESSFUL", "payload": {"report": 7}}
    envelope = Envelope(event="report.ready", data=data)
    message = {"type": "report.ready", "data": data}
    streams = [group_name("1")]
    asyncio.run(join())
    send = async_to_sync(get_channel_layer().group_send)
    serve(
        {
            "publish": each(lambda: publisher.publish(streams, envelope)),
            "group_send": each(lambda: send("user_1", message)),
            "flush": lambda _: publisher.flush(60),
        }
    )


if __name__ == "__main__":
    main()
