"""Both. Under which name a user's sockets listen in the channel layer.

A raw key in a name would be seen by everybody who shares the Redis; and as Redis publishes to all its database
numbers, two projects with the default prefix and a user 7 each would hear each other. The HMAC ends both, and makes any
key, of whatever type and length, a valid name. Workers and web processes need the same SECRET_KEY.
"""

from __future__ import annotations

import json

from django.conf import settings
from django.utils.crypto import salted_hmac

PREFIX = "tc."
SALT = "tasks_celery.channels"


def group_name(user: str, tenant: str | None = None) -> str:
    """Return the group of the user with this primary key, as text, in a tenant; it names their stream of events too."""
    # JSON keeps the parts apart: whatever a key holds, no other pair gives the same text.
    parts = [settings.AUTH_USER_MODEL.lower(), user] + ([tenant] if tenant is not None else [])
    return PREFIX + salted_hmac(SALT, json.dumps(parts), algorithm="sha256").hexdigest()[:32]
