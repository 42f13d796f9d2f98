"""The call sites of the project, by name. Each returns the id that a browser would ask for."""

from datetime import timedelta

from celery import chain, chord
from orders import tasks


def confirm(call):
    return tasks.confirm.enqueue(call).id


def later(call):
    return tasks.confirm.using(run_after=timedelta(seconds=2)).enqueue(call).id


def pack(call):
    return tasks.pack.enqueue(call).id


def charge(call):
    return tasks.charge.enqueue(call).id


def ship(call):
    return tasks.ship.enqueue(call).id


def archive(call):
    return tasks.archiving.enqueue(call).id


def mail(call):
    return tasks.send_mail.enqueue(call).id


def weigh_and_label(call):
    return chain(tasks.weigh.s(call), tasks.label.s()).apply_async().id


def count_all(call):
    return chord([tasks.count.s(call, 0), tasks.count.s(call, 1)])(tasks.total.s(call)).id
