from celery import Task, shared_task
from office.celery import app
from orders.notes import note, wait_at_the_gate

from tasks_celery import adopt


class Audited(Task):
    def on_success(self, retval, task_id, args, kwargs):
        note("audited", args[0])


@shared_task
def confirm(call):
    note("ran", call)
    return f"confirmed {call}"


@shared_task
def pack(call):
    wait_at_the_gate(call)
    note("ran", call)


@shared_task(bind=True, max_retries=3)
def charge(self, call):
    note("tried", call)
    if self.request.retries == 0:
        raise self.retry(countdown=2)
    note("ran", call)


@app.task(name="orders.ship", queue="parcels")
def ship(call):
    note("ran", call)


@shared_task(base=Audited, acks_late=True)
def archive(call):
    note("ran", call)


@shared_task
def mail(call):
    note("ran", call)


@shared_task
def weigh(call):
    note("weighed", call)
    return call


@shared_task
def label(call):
    note("ran", call)


@shared_task
def count(call, number):
    note(f"counted{number}", call)
    if number:
        wait_at_the_gate(call)
    return number


@shared_task
def total(numbers, call):
    assert sorted(numbers) == [0, 1]
    note("ran", call)


for each in (confirm, pack, charge, ship, archive, mail, weigh, label, count, total):
    adopt(each)
