"""Web process. What a person may write into a schedule: django-celery-beat's own form, which knows Django tasks too.

What a beat would have to refuse later is refused here, on the field that it is about. Tasks that are not Django's are left
as django-celery-beat has them, but for arguments that no task could be called with.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from django import forms
from django.contrib.admin.widgets import AdminIntegerFieldWidget
from django_celery_beat.admin import PeriodicTaskForm, TaskChoiceField, TaskSelectWidget

from tasks_celery.beat.declare.given import refuse_unsendable
from tasks_celery.beat.known import django_task, task_choices
from tasks_celery.beat.models import ScheduleOptions
from tasks_celery.compat import DEFAULT_TASK_PRIORITY, TASK_MAX_PRIORITY, TASK_MIN_PRIORITY, AnyTask
from tasks_celery.exceptions import ScheduleError
from tasks_celery.message import HEADER
from tasks_celery.signatures import misfit, signature_of
from tasks_celery.task import name_of
from tasks_celery.twin import backend_of


class TaskSelect(TaskSelectWidget):  # type: ignore[misc]
    """Lists the Django tasks under their names, and Celery's own below them."""

    @property
    def choices(self) -> list[tuple[str, Any]]:
        return task_choices()

    @choices.setter
    def choices(self, given: object) -> None:
        """Leave them as they are: a field sets its own, which are none."""


class ScheduleForm(PeriodicTaskForm):  # type: ignore[misc]
    """The form of a schedule, with what a Django task takes validated."""

    regtask = TaskChoiceField(label="Task (registered)", required=False, widget=TaskSelect)

    class Meta(PeriodicTaskForm.Meta):  # type: ignore[misc]
        """As django-celery-beat's."""

    def clean_args(self) -> str:
        return _json_text(self.cleaned_data["args"], list, 'a list, such as ["one", 2]')

    def clean_kwargs(self) -> str:
        return _json_text(self.cleaned_data["kwargs"], dict, 'an object, such as {"name": "value"}')

    def clean_headers(self) -> str:
        return _json_text(self.cleaned_data["headers"], dict, 'an object of texts, such as {"name": "value"}')

    def clean(self) -> dict[str, Any]:
        """Raise ValidationError, or note errors, for what a beat could not send."""
        if "task" not in self.fields or "task" in self.errors:
            # What code declares is not in the form; and theirs needs a name to look at.
            return forms.ModelForm.clean(self) or self.cleaned_data
        data: dict[str, Any] = super().clean()
        if task := django_task(data["task"]):
            self._refuse_wrong_call(task, data)
            self._refuse_wrong_queue(task, data.get("queue"))
            self._refuse_wrong_headers(data.get("headers"))
        return data

    def _refuse_wrong_call(self, task: AnyTask, data: Mapping[str, Any]) -> None:
        call = {name: json.loads(data[name]) for name in ("args", "kwargs") if name in data}
        for name, value in call.items():
            try:
                refuse_unsendable(value)
            except ScheduleError as error:
                self.add_error(name, str(error))
        if len(call) == 2 and (why := misfit(task.func, task.takes_context, **call)):
            name = "kwargs" if _takes(task, call["args"]) else "args"
            self.add_error(name, f"The task {name_of(task)} cannot be called so: {why}.")

    def _refuse_wrong_queue(self, task: AnyTask, queue: str | None) -> None:
        backend = backend_of(task)
        if queue and backend.queues and queue not in backend.queues:
            self.add_error(
                "queue",
                f"The task {name_of(task)} cannot go into the queue {queue!r}: QUEUES of the alias {backend.alias!r} are "
                f"{', '.join(sorted(backend.queues))}. Take one of them, or add it there.",
            )

    def _refuse_wrong_headers(self, text: str | None) -> None:
        headers = json.loads(text or "{}")
        for name, value in headers.items():
            if not isinstance(value, str):
                self.add_error("headers", f"The header {name!r} is {value!r}; it has to be a text.")
        if HEADER in headers:
            self.add_error(
                "headers", f"The header {HEADER!r} is what a message tells its worker; give yours another name."
            )


def _takes(task: AnyTask, args: list[Any]) -> bool:
    try:
        signature_of(task.func, task.takes_context).bind_partial(*args)
    except TypeError:
        return False
    return True


def _json_text(text: str, kind: type, wanted: str) -> str:
    """Return a text of JSON as it was written, the empty value for none. Raise ValidationError for another kind."""
    text = text.strip() or json.dumps(kind())
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise forms.ValidationError(f"Unable to parse JSON: {error}. It has to be {wanted}.") from error
    if not isinstance(value, kind):
        raise forms.ValidationError(f"This is {text}; it has to be {wanted}, in JSON.")
    return text


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON's")


class OptionsForm(forms.ModelForm):  # type: ignore[type-arg]
    """What a schedule has beyond django-celery-beat's own row."""

    priority = forms.IntegerField(
        label="Priority of a Django task",
        required=False,
        min_value=TASK_MIN_PRIORITY,
        max_value=TASK_MAX_PRIORITY,
        widget=AdminIntegerFieldWidget,
        help_text=f"From {TASK_MIN_PRIORITY} to {TASK_MAX_PRIORITY}. Empty: the task's own. "
        "The number of the broker's above goes before it.",
    )

    class Meta:
        """All that a person may set."""

        model = ScheduleOptions
        fields = ("priority", "catch_up", "skip_while_active", "notify_user", "notify_group")


class OptionsFormSet(forms.BaseInlineFormSet):  # type: ignore[type-arg]
    """The options beside the row that they are of."""

    def clean(self) -> None:
        """Refuse a priority that the broker of the row's task does not know."""
        super().clean()
        task = django_task(self.instance.task)
        for form in self.forms:
            asked = form.cleaned_data.get("priority") if form.is_valid() else None
            is_unusual = asked not in (None, DEFAULT_TASK_PRIORITY) and not form.instance.declared
            if task and is_unusual and not _has_priorities(task):
                form.add_error("priority", f"The broker of {name_of(task)} knows no priorities: leave this empty.")


def _has_priorities(task: AnyTask) -> bool:
    return bool(getattr(backend_of(task), "supports_priority", False))
