"""Web process. The sender whose import was changed: each line of JSON, ``[channel, message]``, is sent, and its id answered."""

from __future__ import annotations

import json
import sys

import django
from asgiref.sync import async_to_sync

if __name__ == "__main__":
    django.setup()
    from tasks_celery.channels.workers import send

    for line in sys.stdin:
        print(async_to_sync(send)(*json.loads(line)).id, flush=True)
