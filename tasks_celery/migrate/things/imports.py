"""What a name of ours is to be called in a file."""

from __future__ import annotations

from tasks_celery.migrate.source import Names


def local_name(names: Names, name: str = "tasks_celery.task") -> str:
    """Return what something of ours is to be called in a file: as it is there already, else by a name that is free."""
    summary = names.project.by_path.get(names.path)
    bound = summary.bindings if summary is not None else {}
    for known, bindings in bound.items():
        if bindings[0].kind == "import" and names.project.resolve(names.module, known) == name:
            return known
    own = name.rpartition(".")[2]
    free = [
        each
        for each in (own, *(f"{prefix}_{own}" for prefix in ("django", "tasks_celery", "our")))
        if each not in bound
    ]
    # A star may bring any name.
    return free[1] if summary is not None and summary.stars and free[0] == own else free[0]
