"""Both. What a task's function takes: its arguments as who enqueues it gives them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from inspect import Signature, signature
from typing import Any


@lru_cache(maxsize=1_000)
def signature_of(function: Callable[..., Any], takes_context: bool) -> Signature:
    """Return the signature of a task's function, without the context that a worker adds."""
    found = signature(function)
    return found.replace(parameters=list(found.parameters.values())[1:]) if takes_context else found


def misfit(
    function: Callable[..., Any], takes_context: bool, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> str | None:
    """Return why arguments do not fit a task's function, with its signature; None where they do."""
    known = signature_of(function, takes_context)
    try:
        known.bind(*args, **kwargs)
    except TypeError as error:
        return f"{error}; it takes {_shown(known)}"
    return None


def _shown(known: Signature) -> str:
    parameters = [each.replace(annotation=_unquoted(each.annotation)) for each in known.parameters.values()]
    return str(known.replace(parameters=parameters, return_annotation=Signature.empty))


def _unquoted(annotation: Any) -> Any:
    return _Unquoted(annotation) if isinstance(annotation, str) else annotation


class _Unquoted(str):
    """An annotation of a module that postpones them (PEP 563), as it is written there."""

    __slots__ = ()
    __repr__ = str.__str__
