"""Which classes are Django models, and which names hold what they make."""

from __future__ import annotations

import ast
from typing import TypeGuard

from tasks_celery.migrate.source import Names, Place, Project

#: Models of others that one meets as arguments or as bases.
FOREIGN = {
    "django.db.models.Model",
    "django.contrib.auth.models.User",
    "django.contrib.auth.models.Group",
    "django.contrib.auth.models.AbstractUser",
    "django.contrib.auth.models.AbstractBaseUser",
    "django_extensions.db.models.TimeStampedModel",
    "model_utils.models.TimeStampedModel",
}
#: Methods of a manager or queryset that return one instance.
ONE = {"get", "create", "first", "last", "latest", "earliest", "aget", "acreate", "afirst", "alast"}
#: Methods that return a queryset.
MANY = {"all", "filter", "exclude", "order_by", "select_related", "prefetch_related", "annotate", "distinct", "none"}
SHORTCUTS = {"django.shortcuts.get_object_or_404", "django.shortcuts.aget_object_or_404"}


def is_model(node: ast.AST, place: Place, names: Names) -> TypeGuard[ast.ClassDef]:
    """Tell whether a class is proven to be a model, by what it is derived from."""
    return isinstance(node, ast.ClassDef) and any(
        is_model_at(names.origin(each, place) or "", names.project) for each in node.bases
    )


def is_model_at(origin: str, project: Project, seen: frozenset[str] = frozenset()) -> bool:
    """Tell whether a class that is defined at an origin is proven to be a model: Django's own, or derived from one."""
    if origin in FOREIGN:
        return True
    module, _, name = origin.rpartition(".")
    summary = project.modules.get(module)
    if origin in seen or summary is None or name not in summary.classes:
        return False
    bases, _ = summary.classes[name]
    return any(is_model_at(project.resolve(module, each) or "", project, seen | {origin}) for each in bases)


def made_by(node: ast.expr, place: Place, names: Names) -> str:
    """Return what an expression makes for certain: "instance" or "queryset" of a model; nothing where that is not proven."""
    if not isinstance(node, ast.Call):
        return ""
    if (names.origin(node.func, place) or "") in SHORTCUTS:
        return "instance"
    if not (isinstance(node.func, ast.Attribute) and _from_objects(node.func.value)):
        return ""
    kinds = {"instance": ONE, "queryset": MANY}
    return next((kind for kind, methods in kinds.items() if node.func.attr in methods), "")


def _from_objects(node: ast.expr) -> bool:
    """Tell whether an expression begins with ``Something.objects``, and goes on with querysets only."""
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MANY:
        node = node.func.value
    return (
        isinstance(node, ast.Attribute) and node.attr == "objects" and isinstance(node.value, ast.Name | ast.Attribute)
    )
