"""Child process of the soak. Makes the users, and asks for work for them, as the lines of standard input say.

``people N`` makes users who are signed in, and tells the key and the session of each. ``work COUNT RATE`` asks for so many tasks, so
many a second at most, each for one of them, and tells which: ``[[id, user], …]``. Every answer is one line of JSON.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable

import django

#: Of each task, at most: the four processes of the worker are then not all busy.
LONGEST = 0.005
#: One user's tasks come so many at once now and then, so that several processes end them at the same time.
BURST = 6


class Producer:
    def __init__(self) -> None:
        self.people: list[str] = []

    def make_people(self, count: str) -> list[tuple[str, str]]:
        from django.contrib.auth import get_user_model
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        users = [get_user_model().objects.create_user(f"{time.time_ns()}.{number}") for number in range(int(count))]
        self.people = [str(user.pk) for user in users]
        return [(str(user.pk), _session(user)) for user in users]

    def work(self, count: str, rate: str) -> list[tuple[str, str]]:
        """Ask at an even pace; return the tasks, each with its user."""
        from integration.events.soaked.tasks import work

        asked: list[tuple[str, str]] = []
        begun = time.monotonic()
        while len(asked) < int(count):
            time.sleep(max(0.0, begun + len(asked) / float(rate) - time.monotonic()))
            user = random.choice(self.people)
            ends = [random.uniform(0, LONGEST) for _ in range(random.choice([1, 1, 1, BURST]))]
            asked += [(work.enqueue(user, seconds).id, user) for seconds in ends]
        return asked

    def main(self) -> None:
        """Do what is asked for until standard input ends."""
        calls: dict[str, Callable[..., object]] = {"people": self.make_people, "work": self.work}
        for line in sys.stdin:
            name, *arguments = line.split()
            print(json.dumps(calls[name](*arguments)), flush=True)


def _session(user: object) -> str:
    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.utils.module_loading import import_string

    session = import_string(f"{settings.SESSION_ENGINE}.SessionStore")()
    session[SESSION_KEY] = str(user.pk)  # type: ignore[attr-defined]
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()  # type: ignore[attr-defined]
    session.create()
    return str(session.session_key)


if __name__ == "__main__":
    django.setup()
    Producer().main()
