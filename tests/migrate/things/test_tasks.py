from __future__ import annotations

import pytest

from tasks_celery.migrate.finding import Verdict
from tasks_celery.migrate.source import Names, Project
from tasks_celery.migrate.things import tasks
from tasks_celery.migrate.things.definitions import ANSWERED, moving_in
from tasks_celery.task import CeleryTask
from tests.migrate.moving import PATH, SETTINGS, SHARED, findings, moved, reason, texts_of

ONE = SHARED + "@shared_task\ndef add(a, b):\n    return 1\n"


@pytest.mark.parametrize(
    ("decorator", "why"),
    [
        ("(base=Own)", "base= gives it a class of its own"),
        ('(serializer="pickle")', "serializer= is another than JSON"),
        ("(pydantic=True)", "pydantic="),
        ("(typing=False)", "typing=False"),
        ("(track_started=True)", "track_started="),
        ("(throws=(KeyError,))", "throws="),
        ("(priority=3)", "priority= is a number of the broker's"),
        ("(routing_key='a')", "routing_key= has no counterpart"),
        ("(shared=False)", "shared= has no counterpart"),
        ("(lazy=False)", "lazy= has no counterpart"),
        ("(bind=BOUND)", "bind= has no counterpart"),
        ("(aliases=('a',))", "aliases= has no counterpart"),
        ("(atomic=True)", "atomic= has no counterpart"),
        ("(**OPTIONS)", "arguments that are not written out"),
        ("(*OPTIONS)", "arguments that are not written out"),
        ("(name=NAME)", "its name= is computed"),
        ("(name=f'{NAME}')", "its name= is computed"),
        ("(queue=MAILS)", "its queue= is not known to be the name of one"),
        ("(queue=Queue('mails'))", "its queue= is not known to be the name of one"),
        ("(expires=WHEN)", "expires= is not known to be a number of seconds"),
        ("(expires=0)", "@task does not take this value of expires="),
        ("(time_limit=-1)", "@task does not take this value of time_limit="),
        ("(time_limit='5')", "@task does not take this value of time_limit="),
        ("(max_retries=2.5)", "@task does not take this value of max_retries="),
        ("(rate_limit='often')", "@task does not take this value of rate_limit="),
        ("(compression='lead')", "@task does not take this value of compression="),
        ("(autoretry_for={OSError})", "autoretry_for= has to be a tuple"),
        ("(time_limit=5, soft_time_limit=60)", "its soft_time_limit is above its time_limit"),
        ("(autoretry_for=(OSError,), retry_kwargs=KWARGS)", "its retry_kwargs="),
        ("(retry_kwargs={'max_retries': 5})", "its retry_kwargs="),
        ("(autoretry_for=(OSError,), retry_kwargs={'max_retries': None})", "its retry_kwargs="),
        ("(autoretry_for=(OSError,), retry_kwargs={'queue': 'x'})", "its retry_kwargs="),
        ("(autoretry_for=(OSError,), retry_kwargs={**KWARGS})", "its retry_kwargs="),
        ("(autoretry_for=(OSError,), retry_kwargs={})", "its retry_kwargs="),
        ("(autoretry_for=(OSError,), retry_kwargs={'max_retries': 5}, max_retries=4)", "its retry_kwargs="),
        ("(autoretry_for=(OSError,), retry_backoff=True, retry_kwargs={'countdown': 5})", "its retry_kwargs="),
    ],
)
def test_an_option_without_a_counterpart_keeps_its_task(decorator: str, why: str) -> None:
    said = reason(f"{SHARED}@shared_task{decorator}\ndef add(a, b):\n    return 1\n")
    assert why.lower() in said.lower()
    assert said.endswith(": adopt() makes it a Django task as well, and leaves it as it is.")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("@shared_task\nasync def add():\n    return 1\n", "coroutine function"),
        ("@shared_task\ndef add():\n    yield 1\n", "generator function"),
        ("if True:\n    @shared_task\n    def add():\n        return 1\n", "under a condition"),
        ("@shared_task\ndef add():\n    return 1\n\n\nadd = 1\n", "bound more than once"),
        (
            "@traced\n@shared_task\ndef add():\n    return 1\n",
            "the decorator above it (traced) would get a Django task",
        ),
        ("@shared_task\n@traced\ndef add():\n    return 1\n", "the decorator below it (traced) is not known"),
        ("@shared_task\n@shared_task\ndef add():\n    return 1\n", "more than one decorator"),
        ("@shared_task\ndef add(a):\n    return a\n", "what it returns in line 6"),
        ("@shared_task\ndef add():\n    return other.delay()\n", "what it returns in line 6"),
        ("@shared_task\ndef add():\n    return {1, 2}\n", "what it returns in line 6"),
        ("@shared_task\ndef add():\n    return 1\n\n\nif __name__ == '__main__':\n    add()\n", "also run by itself"),
        ("class Cart:\n    @shared_task\n    def add(self):\n        return 1\n", ""),
        ("def build():\n    @shared_task\n    def add():\n        return 1\n", ""),
    ],
)
def test_a_function_that_django_would_not_take_or_not_take_alike_stays(text: str, why: str) -> None:
    assert why.lower() in reason(SHARED + text).lower()


@pytest.mark.parametrize(
    ("use", "why"),
    [
        ("add.run(1, 2)", "asked for .run"),
        ("add.request.id", "asked for .request"),
        ("add.retry()", "asked for .retry"),
        ("add.update_state()", "asked for .update_state"),
        ("add.AsyncResult('1')", "asked for .AsyncResult"),
        ("add.map([1])", "asked for .map"),
        ("add.chunks([1], 2)", "asked for .chunks"),
        ("add.subtask()", "asked for .subtask"),
        ("add.max_retries", "asked for .max_retries"),
        ("print(add)", "passed on as a value"),
        ("tasks = [add]", "passed on as a value"),
        ("task_success.connect(print, sender=add)", "passed on as a value"),
        ("with patch('shop.tasks.add.delay'):\n    pass", "a test patches its delay"),
        ("with patch.object(add, 'delay'):\n    pass", "a test patches its delay"),
    ],
)
def test_a_use_that_a_django_task_does_not_answer_keeps_it_wherever_it_stands(use: str, why: str) -> None:
    head = (
        "from unittest.mock import patch\n\nfrom celery.signals import task_success\nfrom shop.tasks import add\n\n\n"
    )
    lines = use.replace("\n", "\n    ")
    said = reason(ONE, {"shop/more.py": f"{head}def go():\n    {lines}\n"})
    assert why.lower() in said.lower()
    assert "(shop/more.py:8)" in said


def test_a_bound_task_that_is_called_directly_stays() -> None:
    text = f"{SHARED}@shared_task(bind=True)\ndef add(self):\n    return 1\n\n\ndef go():\n    add()\n"
    assert "called directly" in reason(text)


@pytest.mark.parametrize(
    "settings",
    [
        "import os\nCELERY_TASK_DEFAULT_QUEUE = os.environ['Q']\n",
        "CELERY_TASK_ROUTES = 'mysite.routing.route'\n",
        "CELERY_TASK_ROUTES = ['mysite.routing.route', {'shop.*': 'mail'}]\n",
        "CELERY_TASK_ROUTES = {'shop.tasks.add': {'queue': 'mail', 'priority': 3}}\n",
        "CELERY_TASK_ROUTES = {'shop.tasks.add': {'exchange': 'mail'}}\n",
        "import re\nCELERY_TASK_ROUTES = {re.compile('shop'): {'queue': 'mail'}}\n",
        "CELERY_TASK_ROUTES = {'shop.*': {'queue': QUEUE}}\n",
    ],
)
def test_a_task_whose_queue_is_computed_stays(settings: str) -> None:
    assert "queue_name= has to be written by hand" in reason(ONE, settings=settings)


def test_a_project_that_pickles_its_tasks_keeps_them() -> None:
    assert "task_serializer is not JSON" in reason(ONE, settings=f'{SETTINGS}CELERY_TASK_SERIALIZER = "pickle"\n')


def test_a_project_whose_serializer_is_computed_keeps_its_tasks_unless_told() -> None:
    from tasks_celery.migrate.source import Names, Project

    settings = f'{SETTINGS}CELERY_TASK_SERIALIZER = config("SERIALIZER")\n'
    assert "task_serializer is computed (--assume-json" in reason(ONE, settings=settings)
    project = Project.of(texts_of(ONE, None, settings))
    project.assume_json = True
    assert moving_in(Names.of(PATH, ONE, project)) == {"shop.tasks.add"}


def test_a_class_that_the_app_gives_to_all_tasks_keeps_them() -> None:
    app = (
        "from celery import Celery\n\napp = Celery('mysite')\n\n\nclass Own(app.Task):\n    pass\n\n\napp.Task = Own\n"
    )
    assert "a class of the project's own" in reason(ONE, {"mysite/celery.py": app})


def test_a_task_beside_the_app_stays() -> None:
    text = "from celery import Celery\n\napp = Celery('shop')\n\n\n@app.task\ndef add():\n    return 1\n"
    assert "beside the Celery app" in reason(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("from celery import Task\n\n\nclass Add(Task):\n    def run(self):\n        return 1\n", "class of tasks"),
        (f"{SHARED}def add():\n    return 1\n\n\ntask = shared_task(add)\n", "A call makes a task"),
        (
            f"{SHARED}retried = shared_task(acks_late=True)\n\n\n@retried\ndef add():\n    return 1\n",
            "A call makes its decorator (retried): write Celery's own",
        ),
        (
            f"{SHARED}def made(function):\n    decorator = shared_task(acks_late=True)\n    return decorator(function)\n",
            "or a decorator of tasks",
        ),
    ],
)
def test_what_is_made_a_task_otherwise_stays(text: str, why: str) -> None:
    assert any(why in each.reason for each in findings(text))
    assert all(each.verdict is Verdict.PERSON for each in findings(text))


RETRIED = f"{SHARED}retried = shared_task(acks_late=True)\n"


def test_a_decorator_that_a_call_makes_is_told_at_its_tasks_alone() -> None:
    [found] = findings(f"{RETRIED}\n\n@retried\ndef add():\n    return 1\n")
    assert found.name == "shop.tasks.add"


def test_a_partial_of_celerys_decorator_keeps_its_tasks() -> None:
    text = (
        "from functools import partial\n\nfrom celery import shared_task\n\nslow = partial(shared_task, queue='slow')\n"
    )
    assert "A call makes its decorator (slow)" in reason(f"{text}\n\n@slow()\ndef add():\n    return 1\n")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("def add():\n    return 1\n\n\ntask = retried(add)\n", "A call makes a task"),
        ("def made():\n    @retried\n    def add():\n        return 1\n", "no function at the top of its module"),
    ],
)
def test_a_decorator_that_a_call_makes_is_told_where_it_makes_a_task_of_another_thing(text: str, why: str) -> None:
    [found] = findings(f"{RETRIED}\n\n{text}")
    assert why in found.reason


def test_a_task_that_a_decorator_from_elsewhere_makes_by_a_call_is_told() -> None:
    text = "from shop.own import retried\n\n\ndef add():\n    return 1\n\n\ntask = retried(add)\n"
    [found] = findings(text, {"shop/own.py": RETRIED})
    assert "A call makes a task" in found.reason


@pytest.mark.parametrize(("imported", "removed"), [("*", False), ("shared_task", False), ("add", True)])
def test_the_import_of_the_decorator_stays_where_another_module_has_it_from_here(imported: str, removed: bool) -> None:
    [found] = findings(ONE, {"shop/more.py": f"from .tasks import {imported}\n"})
    assert (found.facts["unimport"] is not None) is removed


def test_of_many_reasons_three_are_told_and_the_others_counted() -> None:
    text = f"{SHARED}@shared_task(base=1, throws=(), track_started=True, pydantic=True)\ndef add():\n    return x\n"
    assert reason(text).count(";") == 3
    assert "; and 2 more: adopt()" in reason(text)


WRAPS = """from functools import wraps


def traced(function):
    'Trace it.'

    @wraps(function)
    def inner(*args, **kwargs):
        if args:
            return None
        return function(*args, **kwargs)

    return inner
"""
TRACED = "from celery import shared_task\nfrom shop.tracing import traced\n\n\n@shared_task\n@traced\ndef add():\n    return 1\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("    @wraps(function)\n", ""),
        ("@wraps(function)", "@wraps(other)"),
        ("@wraps(function)", "@wraps(function, assigned=())"),
        ("from functools import wraps", "from shop.own import wraps"),
        ("return None", "return args"),
        ("return None", "yield None"),
        ("(*args, **kwargs):", "(one, *args, **kwargs):"),
        ("(*args, **kwargs):", "(*args):"),
        ("return inner", "return Wrapped(inner)"),
        ("    return inner", "    inner = 1\n    return inner"),
        ("def traced(function):", "def traced(function, how=1):"),
        ("def traced", "@other\ndef traced"),
        ("def inner", "async def inner"),
    ],
)
def test_a_decorator_of_the_projects_own_that_does_more_than_wrap_keeps_its_task(before: str, after: str) -> None:
    assert before in WRAPS
    said = reason(TRACED, {"shop/tracing.py": WRAPS.replace(before, after, 1)})
    assert "the decorator below it (traced) is not known" in said.lower()


# --- what moves


def test_a_decorator_of_the_projects_own_that_wraps_lets_its_task_move() -> None:
    [found] = findings(TRACED, {"shop/tracing.py": WRAPS})
    assert found.verdict is Verdict.MOVES


@pytest.mark.parametrize(
    "use",
    [
        "add.delay(1, 2)",
        "add.apply_async((1, 2))",
        "add.s(1, 2)",
        "add.si()",
        "add.signature()",
        "add(1, 2)",
        "add.apply()",
        "app.send_task('shop.tasks.add')",
    ],
)
def test_what_both_answer_keeps_nothing(use: str) -> None:
    more = {"shop/more.py": f"from shop.tasks import add\n\n\ndef go():\n    {use}\n"}
    [found] = findings(ONE, more)
    assert (found.verdict, found.fixer, found.name) == (Verdict.MOVES, "task", "shop.tasks.add")


@pytest.mark.parametrize(
    "body",
    [
        "pass",
        "return",
        "return None",
        "return {'a': [1, 'b', None]}",
        "def inner():\n        yield 1\n    return 1",
        "def inner():\n        return object()\n    return 1",
    ],
)
def test_what_is_json_is_returned(body: str) -> None:
    [found] = findings(f"{SHARED}@shared_task\ndef add():\n    {body}\n")
    assert found.verdict is Verdict.MOVES


def test_the_very_name_of_a_route_goes_before_its_patterns_and_the_first_router_before_the_others() -> None:
    settings = "CELERY_TASK_ROUTES = ({'shop.*': 'a', 'shop.tasks.add': 'b'}, {'shop.tasks.add': 'c'})\n"
    [found] = findings(ONE, settings=settings)
    assert found.facts["add"] == {"queue_name": '"b"'}


def test_a_route_goes_by_the_name_on_the_wire() -> None:
    text = ONE.replace("@shared_task", "@shared_task(name='mails.add')")
    [found] = findings(text, settings="CELERY_TASK_ROUTES = {'mails.*': {'queue': 'mail'}, 'shop.*': 'shop'}\n")
    assert found.facts["add"] == {"queue_name": '"mail"'}


def test_a_file_tells_which_of_its_tasks_move() -> None:
    from tasks_celery.migrate.source import Names, Project

    text = f"{ONE}\n\n@shared_task(base=Own)\ndef two():\n    return 1\n"
    assert moving_in(Names.of(PATH, text, Project.of(texts_of(text)))) == {"shop.tasks.add"}


# --- what a Django task has not


CALLER = "from shop.tasks import add\n\n\ndef view():\n    "


@pytest.mark.parametrize("attr", ["delay_on_commit", "apply_async_on_commit"])
@pytest.mark.parametrize(
    "use", ["print(add.{})", "return add.{}", "send = add.{}", "(add.{})(1)", "print(add.{}, (1,))"]
)
def test_celerys_on_commit_passed_on_uncalled_keeps_a_task(attr: str, use: str) -> None:
    views = {"shop/views.py": CALLER + use.format(attr)}
    assert f".{attr}, uncalled" in reason(SHARED + "@shared_task\ndef add(a): ...\n", views)
    assert moved(SHARED + "@shared_task\ndef add(a): ...\n", views, path="shop/views.py") == views["shop/views.py"]


@pytest.mark.parametrize("use", ["print(add.name)", "add.name.upper()", "send_task(add.name)"])
def test_the_name_that_code_reads_of_a_task_keeps_it(use: str) -> None:
    assert ".name" in reason(SHARED + "@shared_task\ndef add(a): ...\n", {"shop/views.py": CALLER + use})


def test_a_name_in_a_text_keeps_no_task() -> None:
    views = {"shop/views.py": "print('shop.tasks.add')\n"}
    assert "@task" in moved(SHARED + "@shared_task\ndef add(a): ...\n", views)


@pytest.mark.parametrize(
    "use", ["add.delay_on_commit(1)", "add.apply_async_on_commit((1,))", "add.delay_on_commit  (\n1)"]
)
def test_a_task_whose_on_commit_is_called_moves_together_with_the_calls(use: str) -> None:
    [found] = findings(SHARED + "@shared_task\ndef add(a): ...\n", {"shop/views.py": CALLER + use})
    assert found.verdict is Verdict.MOVES
    assert found.facts["needs"] == ["on-commit"]


def test_a_task_that_does_not_move_in_this_run_is_left() -> None:
    project = Project.of(texts_of(SHARED + "@shared_task\ndef add(a): ...\n"))
    project.moving = set()
    [found] = tasks.find(Names.of(PATH, project.texts[PATH], project))
    assert found.verdict is Verdict.PERSON
    assert "rewritten" in found.reason


def test_a_django_task_answers_all_that_keeps_no_task() -> None:
    asked = ANSWERED - {"()"}
    assert not {each for each in asked if not hasattr(CeleryTask, each) and each not in CeleryTask.__dataclass_fields__}
    assert callable(CeleryTask.__call__)


def test_a_task_that_is_adopted_stays_for_a_django_task_cannot_be() -> None:
    views = {"shop/views.py": "from shop.tasks import add\nfrom tasks_celery import adopt\n\nnew = adopt(add)\n"}
    assert "given to adopt()" in reason(SHARED + "@shared_task\ndef add(a): ...\n", views)
