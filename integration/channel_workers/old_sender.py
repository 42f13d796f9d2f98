"""Web process. The old sender, which knows the channel layer alone: ``python -m integration.channel_workers.old_sender``.

It reads lines of JSON, ``[channel, message]``, sends each, and answers ``sent``. A message may say in `bytes` what is to be bytes.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import django
from asgiref.sync import async_to_sync
from channels.exceptions import ChannelFull
from channels.layers import get_channel_layer


def send(channel: str, message: dict[str, Any]) -> None:
    if "bytes" in message:
        message["bytes"] = message["bytes"].encode()
    while True:
        try:
            return async_to_sync(get_channel_layer().send)(channel, message)
        except ChannelFull:
            time.sleep(0.05)


if __name__ == "__main__":
    django.setup()
    for line in sys.stdin:
        send(*json.loads(line))
        print("sent", flush=True)
