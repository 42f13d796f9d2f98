"""Both. Who is told: from what ``notify(to=…)`` says to the primary keys of users, as text.

Text, because a key travels through headers and group names: 7, "7" and the user with that key are one listener.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from inspect import isclass, iscoroutinefunction
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard
from uuid import UUID

from django.contrib.auth import get_user_model

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser

    from tasks_celery.compat import TaskResult

    Listener: TypeAlias = AbstractBaseUser | AnonymousUser | str | int | UUID
    #: None is who asked.
    Audience: TypeAlias = Listener | Iterable[Listener | None] | None
else:
    Listener = Audience = Any


def listeners(to: Audience, *, asker: str | None) -> list[str]:
    """Return the primary keys of those who are told, each once; `asker` is told where `to` is None.

    Somebody anonymous, and None within a list, is nobody. Raise TypeError for what is no user, and
    Django's ValidationError for a key of the wrong kind.
    """
    if to is None:
        return [asker] if asker else []
    keys = (_key_of(listener) for listener in (to if _is_list(to) else [to]))
    return list(dict.fromkeys(key for key in keys if key))


def refuse_wrong_audience(to: Audience | Callable[[TaskResult[Any, Any]], Audience]) -> None:
    """Raise TypeError or ValueError, at import, for a `to` that can never name anybody."""
    if isclass(to) or iscoroutinefunction(to):
        raise _wrong(to)
    if to is None or callable(to):
        return
    everybody = to if isinstance(to, list | tuple | set | frozenset) else [to]
    for listener in everybody:
        if not _is_listener(listener):
            raise _wrong(listener)
    if not everybody or any(listener == "" for listener in everybody):
        raise ValueError(f"notify(to={to!r}) names nobody. Leave `to` out to tell who asked.")


def _key_of(listener: object) -> str | None:
    """Return the key as the user model writes it: a UUID has several spellings, its group only one name."""
    if listener is None:
        return None
    if not _is_listener(listener):
        raise _wrong(listener)
    key = listener if _is_key(listener) else getattr(listener, "pk", None)
    return None if key is None else str(get_user_model()._meta.pk.to_python(key))


def _is_list(to: object) -> TypeGuard[Iterable[object]]:
    return isinstance(to, Iterable) and not isinstance(to, str | bytes | Mapping) and not hasattr(to, "pk")


def _is_listener(listener: object) -> bool:
    return _is_key(listener) or (hasattr(listener, "pk") and not isclass(listener))


def _is_key(listener: object) -> bool:
    return isinstance(listener, str | int | UUID) and not isinstance(listener, bool)


def _wrong(to: object) -> TypeError:
    return TypeError(
        f"notify(to={to!r}): `to` is a user, a user's primary key, a list of these, or a plain function (not async) "
        f"that takes the task's result and returns one of them."
    )
