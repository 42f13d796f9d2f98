"""What tasks leave in Redis: which version of the project ran a call, and how often."""

import os
import time

import redis
from django.conf import settings


def client():
    return redis.Redis.from_url(settings.NOTES_URL, decode_responses=True)


def note(kind, call):
    with client() as notes:
        notes.rpush(f"{kind}:{call}", os.environ["OFFICE_VERSION"])


def wait_at_the_gate(call):
    """Return as soon as the gate of a call is open; each call has one, named before its colon."""
    note("waited", call)
    deadline = time.monotonic() + 120
    with client() as notes:
        while not notes.exists(f"gate:{call.partition(':')[0]}"):
            if time.monotonic() > deadline:
                raise TimeoutError(f"nobody opened the gate of {call}")
            time.sleep(0.05)
