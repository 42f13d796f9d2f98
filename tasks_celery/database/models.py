"""Both. The tables: a row for each task, one for each lease of a worker, and those of the events that users are told.

Rows are for reading, filtering and foreign keys. They are written by `store.DatabaseStore` alone, which goes by
`version`; a row that is saved by hand meanwhile may be overwritten, or overwrite what a worker has said.
"""

from __future__ import annotations

from typing import get_args

from django.db import models
from django.db.models import Q

from tasks_celery.database.fields import JSONTextField
from tasks_celery.stores.base import Status

# What an id of Django's or Celery's own making never reaches, and every database can index.
LONGEST = 255


class TaskRecord(models.Model):
    """One task: what was asked, what became of it, and how long that is kept.

    Point a foreign key here with an `on_delete`: it decides what happens when a row's time is over (`keep_until`).
    With PROTECT or RESTRICT the row stays, though its result can no longer be read by id.
    """

    STATUSES = [(status, status.capitalize()) for status in get_args(Status)]

    id = models.CharField(primary_key=True, max_length=LONGEST)

    # What was asked. `name` is the Celery task's, `path` the function's, `backend` the alias in TASKS.
    name = models.CharField(max_length=LONGEST)
    path = models.TextField()
    backend = models.CharField(max_length=LONGEST, blank=True)
    queue_name = models.CharField(max_length=LONGEST)
    priority = models.IntegerField(default=0)
    args = JSONTextField(default=list)
    kwargs = JSONTextField(default=dict)
    run_after = models.DateTimeField(null=True, blank=True)
    expires = models.DateTimeField(null=True, blank=True)
    enqueued_at = models.DateTimeField(null=True, blank=True)
    # The primary key of the user who asked, as text; the rest of what travels with the task beside it.
    user_id = models.CharField(max_length=LONGEST, null=True, blank=True)
    context = JSONTextField(default=dict)
    sending = JSONTextField(default=dict)

    # What became of it.
    status = models.CharField(max_length=10, choices=STATUSES, default="READY")
    started_at = models.DateTimeField(null=True, blank=True)
    last_attempted_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    worker_ids = JSONTextField(default=list)
    errors = JSONTextField(default=list)
    return_value = JSONTextField(default=None)

    # What the store and the sweeper go by.
    retries = models.IntegerField(default=0)
    due = models.DateTimeField(null=True, blank=True)
    resent = models.IntegerField(default=0)
    lease = models.CharField(max_length=LONGEST, blank=True)
    # What the first release does not know has a default in the database, for its workers write rows too. `unique_digest` is
    # of the key `unique`, for as long as that keeps others out.
    held = models.BooleanField(default=False, db_default=False)
    cancelled = models.BooleanField(default=False, db_default=False)
    unique = JSONTextField(default="", null=True, blank=True)
    unique_until = models.CharField(max_length=10, default="finish", db_default="finish")
    unique_expires = models.DateTimeField(null=True, blank=True)
    unique_digest = models.CharField(max_length=64, null=True, blank=True)
    token = models.CharField(max_length=LONGEST, blank=True)
    version = models.IntegerField(default=0)
    keep_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "task"
        # Not `unique=True`, which on PostgreSQL makes a second index, for LIKE.
        constraints = [models.UniqueConstraint(fields=["unique_digest"], name="tasks_celery_unique")]
        indexes = [
            models.Index(fields=["status", "enqueued_at"], name="tasks_celery_status"),
            models.Index(fields=["name", "enqueued_at"], name="tasks_celery_name"),
            models.Index(fields=["user_id", "enqueued_at"], name="tasks_celery_user"),
            # For the sweeper. Few tasks wait or run at a time, and many have ended.
            models.Index(fields=["queue_name", "due"], name="tasks_celery_waiting", condition=Q(status="READY")),
            models.Index(
                fields=["expires"], name="tasks_celery_expires", condition=Q(status="READY", expires__isnull=False)
            ),
            models.Index(fields=["due"], name="tasks_celery_held", condition=Q(status="READY", held=True)),
            models.Index(fields=["lease"], name="tasks_celery_running", condition=Q(status="RUNNING")),
            models.Index(fields=["keep_until"], name="tasks_celery_keep"),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.id} {self.status}"


class TaskLease(models.Model):
    """What a worker renews while it lives, or a sweeper while it sweeps: free again once `until` has passed.

    `until` counts seconds since 1970, for it has to outlast the hour that a naive local time skips in spring.
    """

    name = models.CharField(primary_key=True, max_length=LONGEST)
    holder = models.CharField(max_length=LONGEST)
    until = models.FloatField()

    class Meta:
        verbose_name = "task lease"

    def __str__(self) -> str:
        return f"{self.name} held by {self.holder}"


class TaskEventStream(models.Model):
    """The events of one user, counted: `seq` is the number of the last one, within an `epoch`.

    Whoever adds an event changes this row first, in the same transaction, so that events are committed in the order of
    their numbers. `used` is when somebody last did, or asked; with it a stream ages.
    """

    name = models.CharField(primary_key=True, max_length=LONGEST)
    epoch = models.CharField(max_length=64)
    seq = models.BigIntegerField(default=0)
    # No index: PostgreSQL changes a row in its place only where no index has to follow.
    used = models.DateTimeField()

    class Meta:
        verbose_name = "stream of task events"
        verbose_name_plural = "streams of task events"

    def __str__(self) -> str:
        return f"{self.name} at {self.epoch}:{self.seq}"


class TaskEvent(models.Model):
    """One event of a stream: what a page is told, as JSON without the position, and the task whose end it tells as `key`.

    The stream is named, not pointed at: a row that is referred to is locked by each row that refers.
    """

    # Said here, or it would be what the project's DEFAULT_AUTO_FIELD says, and the migration another's.
    id = models.BigAutoField(primary_key=True)
    stream = models.CharField(max_length=LONGEST)
    seq = models.BigIntegerField()
    key = models.CharField(max_length=LONGEST, blank=True)
    body = models.TextField()
    created = models.DateTimeField()

    class Meta:
        verbose_name = "task event"
        constraints = [models.UniqueConstraint(fields=["stream", "seq"], name="tasks_celery_event")]
        indexes = [models.Index(fields=["created"], name="tasks_celery_event_age")]

    def __str__(self) -> str:
        return f"{self.stream} {self.seq} {self.key}"
