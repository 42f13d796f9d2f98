"""Web process. Who may listen: decided as a page connects, and looked at again for as long as it stays.

Whoever signs in leaves their user and their session in the request or the scope; what is asked of both here costs no
query there. `allowed` does ask, for all listeners of a process at once, in a thread.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeVar

from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.core.exceptions import ValidationError
from django.db import close_old_connections
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare, salted_hmac

from tasks_celery.channels import sessions
from tasks_celery.channels.groups import group_name
from tasks_celery.channels.tenants import tenant_of
from tasks_celery.channels.tokens import read_token

logger = logging.getLogger("tasks_celery.channels")

#: Close codes. Sent after accept: a browser cannot tell a refused handshake from a server that is down.
NOBODY_SIGNED_IN: Final = 4401
NO_LONGER_ALLOWED: Final = 4403
SERVER_SHUTS_DOWN: Final = 1012
TRY_AGAIN_LATER: Final = 1013

SALT = "tasks_celery.channels.access"
BEARER = "bearer"

Scope = Mapping[str, Any]
Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


class Refused(Exception):
    """Who asks may not listen; `code` is the close code that says why."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """One listener: the user, and what their permission rests on.

    `user` is the primary key as text. `session` is the key of the session, with what that says of the password
    (`session_hash`), None for who came without one. Who came with a token may stay until `until`, in seconds since 1970.
    `has_row` is whether the project's user model knows the user, and can be asked whether they are still active.
    """

    user: str
    tenant: str | None = None
    session: str | None = None
    session_hash: str = ""
    until: float | None = None
    has_row: bool = True

    @property
    def stream(self) -> str:
        """The stream of events, and group in the channel layer, that the listener hears."""
        return group_name(self.user, self.tenant)


def access_of_scope(scope: Scope) -> Access:
    """Return the access of the user in an ASGI scope, which whatever signs in has loaded; raise Refused."""
    # Channels' AuthMiddleware has read the session to find the user: neither is looked up here, on the event loop.
    return _access_of(scope.get("user"), scope.get("session"), tenant=tenant_or_refused(scope))


def access_of_request(request: HttpRequest) -> Access:
    """Return the access of who sends a request: by its ``Authorization: Bearer`` token, else its session; raise Refused.

    May ask the database for the user.
    """
    tenant = tenant_or_refused(request)
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() == BEARER:
        access = access_of_token(token.strip(), tenant)
        if not _each_holds([access])[0]:
            raise Refused(NO_LONGER_ALLOWED)
        return access
    return _access_of(getattr(request, "user", None), getattr(request, "session", None), tenant=tenant)


def tenant_or_refused(source: Scope | HttpRequest) -> str | None:
    """Return the tenant that the project tells for a request or a scope. Raise Refused where its function does not work."""
    try:
        return tenant_of(source)
    except Exception as error:  # the project's function
        logger.exception("Nobody is let in, as TASK_EVENTS['TENANT'] does not work")
        raise Refused(TRY_AGAIN_LATER) from error


def access_of_token(token: object, tenant: str | None = None) -> Access:
    """Return the access that a token of `make_token` gives in `tenant`, that of the request; raise Refused.

    A request in no tenant takes the token's. Asks nobody: whether the user is still active is for `allowed` to tell.
    """
    claims = read_token(token)
    if claims is None or (tenant is not None and tenant != claims.tenant):
        raise Refused(NOBODY_SIGNED_IN)
    return Access(user=claims.user, tenant=claims.tenant, until=claims.until)


def allowed(accesses: Sequence[Access]) -> list[bool]:
    """Return for each access whether it still holds: the user active, the session there, the password the same.

    Blocks: one query for all users, and one for their sessions where these are in the database. What cannot be asked,
    as the database or the cache is away, is logged, and changes nobody's permission.
    """
    # As around a request: a thread of a pool outlives the connection's server.
    close_old_connections()
    try:
        return _each_holds(accesses)
    finally:
        close_old_connections()


def session_tag(session_key: str) -> str:
    """Return a name for a session that tells it from others, and from which nobody gets its key."""
    return salted_hmac(f"{SALT}.session", session_key, algorithm="sha256").hexdigest()[:32]


def user_tag(stream: str) -> str:
    """Return a name for who hears `stream` that a page may know: it is the same in all tabs of one user."""
    return salted_hmac(f"{SALT}.user", stream, algorithm="sha256").hexdigest()[:16]


def _access_of(user: Any, session: Any, *, tenant: str | None) -> Access:
    if not getattr(user, "is_authenticated", False) or getattr(user, "pk", None) is None:
        raise Refused(NOBODY_SIGNED_IN)
    if not getattr(user, "is_active", True):
        raise Refused(NO_LONGER_ALLOWED)
    key, session_hash = _session_of(user, session)
    return Access(
        user=str(user.pk),
        tenant=tenant,
        session=key,
        session_hash=session_hash,
        # Such as a user made of a signed token by another library, in no table.
        has_row=isinstance(user, get_user_model()),
    )


def _session_of(user: Any, session: Any) -> tuple[str | None, str]:
    """Return the key of the session that the user is signed in with, and its hash; of another one, nothing.

    A session that nobody has read yet did not sign the user in either; to read it would ask the database.
    """
    if not getattr(session, "accessed", False) or session.get(SESSION_KEY) is None:
        return None, ""
    if _as_key(session[SESSION_KEY]) != str(user.pk):
        return None, ""
    return session.session_key or None, session.get(HASH_SESSION_KEY) or ""


def _each_holds(accesses: Sequence[Access]) -> list[bool]:
    users = _if_there("users", _standings, accesses)
    living = _if_there("sessions", sessions.living, [each.session for each in accesses if each.session])
    now = time.time()
    return [
        (access.until is None or now < access.until)
        and (users is None or not access.has_row or _stands(users.get(access.user), access))
        and (living is None or access.session is None or access.session in living)
        for access in accesses
    ]


class _Standing(NamedTuple):
    is_active: bool
    #: Of today's password, by today's SECRET_KEY and its fallbacks, as in Django's `get_user`; None where there are none.
    hashes: list[str] | None


def _standings(accesses: Sequence[Access]) -> dict[str, _Standing]:
    """Return how the users are today, by their keys; those that are gone are not there."""
    keys = {access.user for access in accesses if access.has_row and _as_key(access.user) is not None}
    # The manager by which Django's own backend finds who signs in.
    found = get_user_model()._default_manager.in_bulk(list(keys)) if keys else {}
    return {str(key): _Standing(bool(getattr(user, "is_active", True)), _hashes(user)) for key, user in found.items()}


def _hashes(user: Any) -> list[str] | None:
    if not hasattr(user, "get_session_auth_hash"):
        return None
    return [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]


def _stands(user: _Standing | None, access: Access) -> bool:
    if user is None or not user.is_active:
        return False
    if access.session is None or user.hashes is None:
        return True
    return any(constant_time_compare(access.session_hash, each) for each in user.hashes)


def _as_key(text: object) -> str | None:
    """Return a primary key as the user model writes it; None for what can be none."""
    try:
        return str(get_user_model()._meta.pk.to_python(text))
    except ValidationError:
        return None


#: What could not be asked the last time: it is told once, not with every check.
_away: set[str] = set()


def _if_there(what: str, ask: Callable[[Sequence[Asked]], Answer], of: Sequence[Asked]) -> Answer | None:
    try:
        answer = ask(of)
    except Exception:  # whatever a database, a cache and a project's user model and session engine raise
        if what not in _away:
            _away.add(what)
            logger.exception("The %s of who listens cannot be looked at. Everybody stays until they can.", what)
        return None
    if what in _away:
        _away.discard(what)
        logger.warning("The %s of who listens can be looked at again.", what)
    return answer
