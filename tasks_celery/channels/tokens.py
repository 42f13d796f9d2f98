"""Web process. Tokens for pages without a session: an app on another origin, a page within another's.

A token says who hears, and until when; it is signed, and holds nothing secret. It belongs into the first message
on a WebSocket and into an Authorization header, never into a URL: those end up in the logs of servers and proxies.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from django.core import signing

from tasks_celery import context

SALT = "tasks_celery.channels.token"
#: Characters. A longer text is none of ours, and not worth the arithmetic.
LONGEST = 900


class Claims(NamedTuple):
    """What a token says: the user's primary key as text, their tenant, and until when, in seconds since 1970."""

    user: str
    tenant: str | None
    until: float


def make_token(user: Any, *, lifetime: float = 3600, tenant: str | None = None) -> str:
    """Return a token with which a page hears the events of `user` for `lifetime` seconds, in `tenant`.

    Without `tenant`, it is that of the request in which the token is made. Raise ValueError for a user who is
    not signed in, and for a lifetime that ends before it begins.
    """
    key = getattr(user, "pk", None)
    if key is None:
        raise ValueError(f"make_token got {user!r}; it makes tokens for users with a primary key only.")
    if not lifetime > 0:
        raise ValueError(f"make_token got the lifetime {lifetime!r}; it has to be a number of seconds above 0.")
    tenant = context.current().tenant if tenant is None else str(tenant)
    token = signing.dumps([str(key), tenant, time.time() + lifetime], salt=SALT)
    if len(token) > LONGEST:
        raise ValueError(f"The token of {user!r} would have {len(token)} characters; {LONGEST} is the most.")
    return token


def read_token(token: object) -> Claims | None:
    """Return what a token says; None for what is none of ours, was changed, or is over."""
    if not isinstance(token, str) or len(token) > LONGEST:
        return None
    try:
        claimed = signing.loads(token, salt=SALT)
    except signing.BadSignature:
        return None
    match claimed:
        case [str(user), str() | None as tenant, int() | float() as until] if time.time() < until:
            return Claims(user, tenant, until)
        case _:
            return None
