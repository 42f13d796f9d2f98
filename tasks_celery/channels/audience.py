"""Both. Who is told: from what ``notify(to=…)`` says to the primary keys of users, as text.

Text, because a key travels through headers and group names: 7, "7" and the user with that key are one listener.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from inspect import isclass, iscoroutinefunction
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard
from uuid import UUID

from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist
from django.db.models import Model, QuerySet

from tasks_celery import context

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser, Group

    from tasks_celery.compat import TaskResult

    Listener: TypeAlias = AbstractBaseUser | AnonymousUser | Group | str | int | UUID
    #: None is who asked.
    Audience: TypeAlias = Listener | Iterable[Listener | None] | None
    Tenant: TypeAlias = str | Callable[[TaskResult[Any, Any]], str | None] | None
else:
    Listener = Audience = Tenant = Any


def listeners(to: Audience, *, asker: str | None, group: str | None = None) -> list[str]:
    """Return the primary keys of those who are told, each once; `asker`, and the members of `group`, where `to` is None.

    Somebody anonymous, and None within a list, is nobody; a Django group is its active members. Raise TypeError for
    what is no user, Django's ValidationError for a key of the wrong kind, and LookupError for a group that is not there.
    """
    if to is None:
        told = [
            *([asker] if asker else []),
            *(_members_of(group, f"the group {group!r} of a schedule") if group else []),
        ]
        return list(dict.fromkeys(told))
    keys = (key for listener in _each(to) for key in _keys_of(listener))
    return list(dict.fromkeys(keys))


def members_of(name: str) -> Callable[[object], list[str]]:
    """Return who is told with ``notify(to=members_of("editors"))``: the active members that the group then has.

    A group that is not there by then is an error, which is logged with the task's id; nobody is told.
    """

    return lambda result: _members_of(name, f"notify(to=members_of({name!r}))")


def _members_of(name: str, where: str) -> list[str]:
    from django.contrib.auth.models import Group

    group = Group.objects.filter(name=name).first()
    if group is None:
        raise LookupError(f"{where}: there is no group of this name.")
    return list(_members(group))


def tenant_for(tenant: Tenant, result: TaskResult[Any, Any]) -> str | None:
    """Return in which tenant those who are told hear of `result`; by default, in that of who asked."""
    if tenant is None:
        return context.current().tenant
    found = tenant(result) if callable(tenant) else tenant
    return None if found is None else str(found)


def refuse_wrong_audience(to: Audience | Callable[[TaskResult[Any, Any]], Audience]) -> None:
    """Raise TypeError or ValueError, at import, for a `to` that can never name anybody."""
    if isclass(to) or iscoroutinefunction(to):
        raise _wrong(to)
    if to is None or callable(to) or _is_queryset(to):
        return
    everybody = to if isinstance(to, list | tuple | set | frozenset) else [to]
    for listener in everybody:
        if not _is_listener(listener):
            raise _wrong(listener)
    if not everybody or any(listener == "" for listener in everybody):
        raise ValueError(f"notify(to={to!r}) names nobody. Leave `to` out to tell who asked.")


def refuse_wrong_tenant(tenant: Tenant) -> None:
    """Raise TypeError, at import, for a `tenant` that can be none."""
    if tenant is None or (isinstance(tenant, str) and tenant):
        return
    if not callable(tenant) or isclass(tenant) or iscoroutinefunction(tenant):
        raise TypeError(
            f"notify(tenant={tenant!r}): `tenant` is a text, or a plain function (not async) that takes the task's "
            f"result and returns one or None."
        )


def _each(to: object) -> Iterable[object]:
    if _is_queryset(to):
        # Asked anew each time: a queryset remembers what it found, and this one stays for as long as the process.
        return to.values_list("pk", flat=True).iterator()
    return to if _is_list(to) else [to]


def _keys_of(listener: object) -> Iterator[str]:
    """Yield the keys as the user model writes them: a UUID has several spellings, its group only one name."""
    if listener is None:
        return
    if not _is_listener(listener):
        raise _wrong(listener)
    if _is_group(listener):
        yield from _members(listener)
        return
    key = listener if _is_key(listener) else getattr(listener, "pk", None)
    if key is not None and (text := str(get_user_model()._meta.pk.to_python(key))):
        yield text


def _members(group: Group) -> Iterator[str]:
    members = get_user_model()._default_manager.filter(groups=group)
    if _has_field("is_active"):
        members = members.filter(is_active=True)
    yield from (str(key) for key in members.values_list("pk", flat=True))


def _has_field(name: str) -> bool:
    try:
        get_user_model()._meta.get_field(name)
    except FieldDoesNotExist:
        return False
    return True


def _is_list(to: object) -> TypeGuard[Iterable[object]]:
    return isinstance(to, Iterable) and not isinstance(to, str | bytes | Mapping) and not hasattr(to, "pk")


def _is_queryset(to: object) -> TypeGuard[QuerySet[Any]]:
    return isinstance(to, QuerySet) and issubclass(to.model, get_user_model())


def _is_listener(listener: object) -> bool:
    if isinstance(listener, Model):
        # Anything else in a table has a primary key too, and it is somebody else's.
        return isinstance(listener, get_user_model()) or _is_group(listener)
    return _is_key(listener) or (hasattr(listener, "pk") and not isclass(listener))


def _is_group(listener: object) -> TypeGuard[Group]:
    # By name: who has not installed Django's auth app cannot import the model.
    return isinstance(listener, Model) and any(
        base._meta.label == "auth.Group" for base in type(listener).__mro__ if hasattr(base, "_meta")
    )


def _is_key(listener: object) -> bool:
    return isinstance(listener, str | int | UUID) and not isinstance(listener, bool)


def _wrong(to: object) -> TypeError:
    return TypeError(
        f"notify(to={_told(to)}): `to` is a user, a user's primary key, a Django group, a list of these, a queryset of users, "
        f"or a plain function (not async) that takes the task's result and returns one of them."
    )


def _told(to: object) -> str:
    # Not by their repr, which asks the database.
    if isinstance(to, Model):
        return f"<{type(to).__name__} {to.pk}>"
    return f"<{to.model.__name__} objects>" if isinstance(to, QuerySet) else repr(to)
