"""Web process. The schedules in the admin: django-celery-beat's own page, which knows Django tasks, their runs and who declared what.

It takes the place of django-celery-beat's, and of nothing else: a project's own stays. That one can be a subclass of
`PeriodicTaskAdmin` here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import flatten_fieldsets
from django.db import transaction
from django.db.models import Prefetch
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

# Before ours, whichever order INSTALLED_APPS has: so it is registered by now, and does not come after us.
from django_celery_beat.admin import PeriodicTaskAdmin as TheirAdmin
from django_celery_beat.models import PeriodicTask

from tasks_celery.beat.admin.actions import Actions
from tasks_celery.beat.admin.forms import OptionsForm, OptionsFormSet, ScheduleForm
from tasks_celery.beat.known import known_tasks
from tasks_celery.beat.models import ScheduleOptions, Tick
from tasks_celery.beat.rows import hold
from tasks_celery.beat.ticks import options_of

#: What may be changed of a row that code declares: `sync_schedules` leaves it as it is.
_LEFT_TO_PEOPLE = ("enabled",)


class OptionsInline(admin.StackedInline):  # type: ignore[type-arg]
    """The options of a schedule, on its page: who may do a thing to the schedule may do it to them."""

    model = ScheduleOptions
    form = OptionsForm
    formset = OptionsFormSet
    raw_id_fields = ("notify_user",)
    can_delete = False
    min_num = max_num = 1
    verbose_name = verbose_name_plural = "more options"

    @property
    def _schedules(self) -> Any:
        return self.admin_site.get_model_admin(self.parent_model)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(self._schedules.has_view_permission(request, obj))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(self._schedules.has_change_permission(request, obj)) and not _is_declared(obj)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if obj is None:
            return bool(self._schedules.has_add_permission(request))
        return self.has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class PeriodicTaskAdmin(Actions):
    """The page of the schedules; public, for a project to make its own of."""

    form = ScheduleForm
    inlines = (OptionsInline,)
    # Beside the name and whether it is enabled: further to the right, a list of theirs leaves no room.
    list_display = (*TheirAdmin.list_display[:2], "declared", "last_tick", *TheirAdmin.list_display[2:])
    change_form_template = "admin/tasks_celery_beat/change_form.html"

    def get_queryset(self, request: HttpRequest) -> Any:
        last = Prefetch("ticks", Tick.objects.order_by("-at")[:1], to_attr="last_ticks")
        return super().get_queryset(request).select_related("tasks_celery_options").prefetch_related(last)

    # The list.

    @admin.display(boolean=True, description="in code")
    def declared(self, row: Any) -> bool:
        """Whether code declares the row."""
        return options_of(row).declared

    @admin.display(description="last tick")
    def last_tick(self, row: Any) -> SafeString | str:
        """What became of the last tick, with a link to all that are kept."""
        if not row.last_ticks:
            return self.get_empty_value_display()  # type: ignore[no-any-return]
        return format_html('<a href="{}">{}</a>', self.runs_url(row), row.last_ticks[0].get_outcome_display())

    # The form.

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        fieldsets = super().get_fieldsets(request, obj)
        if not _is_declared(obj):
            return fieldsets
        # A choice that nobody has: the name of the task is beside it.
        return [(name, {**more, "fields": [f for f in more["fields"] if f != "regtask"]}) for name, more in fieldsets]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Sequence[str]:
        always = super().get_readonly_fields(request, obj)
        if not _is_declared(obj):
            return always  # type: ignore[no-any-return]
        every = flatten_fieldsets(super().get_fieldsets(request, obj))
        return [*always, *(name for name in every if name not in {*always, *_LEFT_TO_PEOPLE})]

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if change:
            # Just what was changed: a beat may have taken a tick, or disabled the row, since it was read.
            _save_changed(obj, form.changed_data)
        else:
            super().save_model(request, obj, form, change)
        if obj.task not in known_tasks():
            self.message_user(request, _unknown(obj.task), messages.WARNING)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        with transaction.atomic(using=obj._state.db):
            hold(type(obj)._base_manager.using(obj._state.db).filter(pk=obj.pk))
            super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        with transaction.atomic(using=queryset.db):
            hold(queryset)
            super().delete_queryset(request, queryset)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        row = kwargs.get("obj")
        if row is not None:
            context |= {"schedule_options": options_of(row), "runs_url": self.runs_url(row)}
        return super().render_change_form(request, context, *args, **kwargs)


def _is_declared(row: Any) -> bool:
    return row is not None and options_of(row).declared


def _save_changed(row: Any, changed: Iterable[str]) -> None:
    names = {"task" if name == "regtask" else name for name in changed}
    if names & {"enabled", "crontab", "solar"}:
        # Its ticks count from now on: while it was disabled, or had other times, none was missed.
        row.last_run_at = None
        names.add("last_run_at")
    own = {field.name for field in row._meta.concrete_fields}
    row.save(update_fields=(names & own) | {"date_changed"})


def _unknown(task: str) -> str:
    return (
        f"This process knows no task {task!r}. The schedule is saved all the same, for a worker of another project may "
        "know it; if none does, its runs will fail."
    )


def _take_place() -> None:
    """Take the place of django-celery-beat's own page, and of no other."""
    if admin.site.is_registered(PeriodicTask) and type(admin.site.get_model_admin(PeriodicTask)) is TheirAdmin:
        admin.site.unregister(PeriodicTask)
        admin.site.register(PeriodicTask, PeriodicTaskAdmin)


_take_place()
