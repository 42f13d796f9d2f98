"""Both. What a project may point at a task: a row for each way to be told that it goes."""

from __future__ import annotations

from django.db import models

from tasks_celery.database.models import TaskRecord


class Download(models.Model):
    task = models.ForeignKey(TaskRecord, on_delete=models.SET_NULL, null=True)


class Note(models.Model):
    task = models.ForeignKey(TaskRecord, on_delete=models.CASCADE)


class Proof(models.Model):
    """Protects a task from two steps away."""

    note = models.ForeignKey(Note, on_delete=models.PROTECT)


class Invoice(models.Model):
    task = models.ForeignKey(TaskRecord, on_delete=models.PROTECT, related_name="+")


class Receipt(models.Model):
    task = models.OneToOneField(TaskRecord, on_delete=models.RESTRICT)
