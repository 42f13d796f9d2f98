from celery import Task, shared_task
from orders.notes import note, wait_at_the_gate

from tasks_celery import adopt, task


class Audited(Task):
    def on_success(self, retval, task_id, args, kwargs):
        note("audited", args[0])


@task(queue_name="celery")
def confirm(call):
    note("ran", call)
    return f"confirmed {call}"


@task(queue_name="celery")
def pack(call):
    wait_at_the_gate(call)
    note("ran", call)


@task(queue_name="celery", takes_context=True, max_retries=3)
def charge(context, call):
    note("tried", call)
    if context.attempt == 1:
        context.retry(countdown=2)
    note("ran", call)


@task(queue_name="parcels", name="orders.ship")
def ship(call):
    note("ran", call)


@shared_task(base=Audited, acks_late=True)
def archive(call):
    note("ran", call)


archiving = adopt(archive)


@task(queue_name="celery", aliases=("orders.tasks.mail",))
def send_mail(call):
    note("ran", call)


@task(queue_name="celery")
def weigh(call):
    note("weighed", call)
    return call


@task(queue_name="celery")
def label(call):
    note("ran", call)


@task(queue_name="celery")
def count(call, number):
    note(f"counted{number}", call)
    if number:
        wait_at_the_gate(call)
    return number


@task(queue_name="celery")
def total(numbers, call):
    assert sorted(numbers) == [0, 1]
    note("ran", call)
