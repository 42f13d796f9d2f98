"""Both. What a schedule has beyond django-celery-beat's own row, and the ticks that were taken."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class ScheduleOptions(models.Model):
    """What tasks_celery knows of a row of django-celery-beat's; a row without one has the defaults.

    `declared` is whether `sync_schedules` wrote it, and may change it; `dropped` whether the code no longer declares it,
    and that is why it is disabled.
    """

    ONCE, SKIP = "once", "skip"
    CATCH_UP = [(ONCE, "send the last one, late"), (SKIP, "leave them out")]

    periodic_task = models.OneToOneField(
        "django_celery_beat.PeriodicTask", models.CASCADE, primary_key=True, related_name="tasks_celery_options"
    )
    declared = models.BooleanField(default=False, editable=False)
    dropped = models.BooleanField(default=False, editable=False)
    priority = models.SmallIntegerField(
        null=True, blank=True, help_text="Django's, from -100 to 100. Empty: the task's own."
    )
    catch_up = models.CharField(
        "missed ticks",
        max_length=4,
        choices=CATCH_UP,
        default=ONCE,
        help_text="What is done about ticks while no beat ran.",
    )
    skip_while_active = models.BooleanField(
        default=False, help_text="A tick that finds the last run still waiting or running sends nothing."
    )
    notify_user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        help_text="Who is told of the task's end, as if they had asked for it.",
    )
    notify_group = models.ForeignKey(
        "auth.Group", models.SET_NULL, null=True, blank=True, related_name="+", help_text="Whose members are told."
    )

    class Meta:
        verbose_name = "options of a schedule"
        verbose_name_plural = "options of schedules"

    def __str__(self) -> str:
        return f"Options of {self.periodic_task_id}"


class Tick(models.Model):
    """One tick of a schedule: the moment it is for, the task it became, and what was done about it.

    A beat takes a tick by making its row, together with the change of `last_run_at`. It has until `taken_until` to send it:
    then another may, under the same `result_id`, which a worker runs once. None once all is done.
    """

    TAKEN, SENT, SKIPPED, MISSED, REFUSED = "taken", "sent", "skipped", "missed", "refused"
    OUTCOMES = [(outcome, outcome) for outcome in (TAKEN, SENT, SKIPPED, MISSED, REFUSED)]

    periodic_task = models.ForeignKey("django_celery_beat.PeriodicTask", models.CASCADE, related_name="ticks")
    at = models.DateTimeField()
    result_id = models.CharField(max_length=64)
    outcome = models.CharField(max_length=8, choices=OUTCOMES, default=TAKEN)
    reason = models.TextField(blank=True)
    taken_until = models.DateTimeField(null=True)
    sent_at = models.DateTimeField(null=True)
    by_hand = models.BooleanField(default=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["periodic_task", "at"], name="tasks_celery_one_tick")]
        indexes = [
            models.Index(fields=["taken_until"], name="tasks_celery_ticks_taken"),
            models.Index(fields=["periodic_task", "outcome", "at"], name="tasks_celery_ticks_of"),
        ]

    def __str__(self) -> str:
        return f"{self.periodic_task_id} at {self.at}: {self.outcome}"
