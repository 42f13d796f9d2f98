"""A Celery task that is adopted: a Django Task too, with a record of each run, and otherwise what it was."""

from __future__ import annotations

import functools
import json
import pickle
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

import celery
import pytest
from celery import Celery, chain, group, shared_task
from celery.app.task import Context
from celery.app.trace import build_tracer
from celery.exceptions import Ignore, Reject
from celery.utils.imports import symbol_by_name
from celery.worker.request import Request as BaseRequest
from django.test import override_settings
from django.utils import timezone

from tasks_celery import AlreadyEnqueued, CeleryTask, EnqueueError, TaskNameClash, adopt, task
from tasks_celery.adopt import UNTOLD, AdoptedTask
from tasks_celery.beat.declare import refuse_wrong_call
from tasks_celery.channels.notify import notify, rule_for
from tasks_celery.compat import API_MODULE, InvalidTask, TaskResultStatus, task_backends
from tasks_celery.exceptions import ScheduleError, StoreError
from tasks_celery.task import name_of
from tasks_celery.twin import Twin
from tests.shop import tasks
from tests.shop.brokers import messages
from tests.shop.running import configured, eagerly, empty_the_broker, listening, the_app, the_store, waiting

pytestmark = pytest.mark.usefixtures("registry")

QUEUES = {"default": {"BACKEND": "tasks_celery.CeleryBackend", "QUEUES": ["default", "reports", "celery"]}}
MOMENT = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _celerys_queue_is_listed() -> Iterator[None]:
    empty_the_broker()
    with override_settings(TASKS=QUEUES):
        yield
    empty_the_broker()


def add(a: int, b: int = 0) -> int:
    return a + b


def bound(self: Any, a: int) -> list[Any]:
    return [a, self.request.id, self.request.retries, self.name]


def give(what: str) -> Any:
    return {"date": MOMENT, "set": {1}, "object": object(), "odd": Odd(), "json": {"a": [1]}}[what]


def fail(what: str) -> None:
    raise {"error": KeyError("no"), "ignore": Ignore(), "reject": Reject("no", requeue=False)}[what]


class Odd:
    def __str__(self) -> str:
        raise RuntimeError("no text")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no comparison")

    __hash__ = object.__hash__


def priority_of(message: Any) -> Any:
    return message.properties.get("priority", message.delivery_info.get("priority"))


def record_of(sent: Any) -> Any:
    return the_store().get(sent.id)


def an_app(**options: Any) -> Celery:
    return Celery("another", set_as_current=False, broker="memory://", backend="cache+memory://", **options)


# --- refusals


@pytest.mark.parametrize("given", [add, 3, None, "tests.test_adopt.add", Odd])
def test_what_is_no_celery_task_is_refused(given: Any) -> None:
    with pytest.raises(TypeError, match=r"no Celery task.*@shared_task or @app\.task"):
        adopt(given)


def test_a_django_task_needs_no_adoption_nor_does_its_twin() -> None:
    with pytest.raises(TypeError, match=r"tests\.shop\.tasks\.add is a Django task already"):
        adopt(tasks.add)
    with pytest.raises(TypeError, match=r"Django task tests\.shop\.tasks\.add: use that"):
        adopt(tasks.add.celery)


def test_a_task_that_no_app_has_is_refused_and_a_class_too() -> None:
    class Loose(celery.Task):
        name = "shop.loose"

    with pytest.raises(TypeError, match=r"Loose is in no app.*register_task"):
        adopt(Loose())
    with pytest.raises(TypeError, match=r"Loose is a class.*gives back"):
        adopt(Loose)


def test_a_task_inside_a_function_is_refused() -> None:
    def inside() -> None: ...

    with pytest.raises(InvalidTask, match="module level"):
        adopt(shared_task(inside))


@pytest.mark.filterwarnings("ignore::Warning")
def test_a_django_task_of_its_name_is_a_clash() -> None:
    task(name="shop.same")(add)
    with pytest.raises(TaskNameClash, match=r"'shop\.same' cannot be adopted.*tests\.test_adopt\.add"):
        adopt(shared_task(name="shop.same")(bound))


@pytest.mark.filterwarnings("ignore::Warning")
def test_a_django_task_cannot_take_its_name() -> None:
    adopt(shared_task(name="tests.test_adopt.add")(add))
    with pytest.raises(TaskNameClash, match=r"tests\.test_adopt\.add"):
        task(add)


def test_it_is_adopted_for_one_alias() -> None:
    with override_settings(TASKS=QUEUES | {"second": QUEUES["default"]}):
        shared = shared_task(name="shop.add")(add)
        adopt(shared)
        with pytest.raises(TaskNameClash, match=r"TASKS\['second'\].*TASKS\['default'\]"):
            adopt(shared, backend="second")


def test_a_queue_that_is_not_in_queues_is_refused_when_it_is_enqueued_and_says_which() -> None:
    with override_settings(TASKS={"default": QUEUES["default"] | {"QUEUES": ["default"]}}):
        adopted = adopt(shared_task(name="shop.add")(add))
        with pytest.raises(InvalidTask, match=r"shop\.add to the queue 'celery'.*Add 'celery' there"):
            adopted.enqueue(1)
        assert adopted.using(queue_name="default").enqueue(1).task.queue_name == "default"
        assert record_of(adopted.delay(1)).queue_name == "celery"  # as ever
        with pytest.raises(InvalidTask, match="nowhere"):
            adopted.using(queue_name="nowhere")


def test_an_app_that_has_no_such_task_is_told_of() -> None:
    app = an_app()
    adopted = adopt(app.task(name="shop.elsewhere", shared=False)(add))
    with pytest.raises(InvalidTask, match=r"has no task 'shop\.elsewhere'.*OPTIONS\['APP'\]"):
        adopted.enqueue(1)


@pytest.mark.parametrize("value", [MOMENT, {1}, object()])
def test_what_json_cannot_hold_cannot_be_enqueued(value: Any) -> None:
    adopted = adopt(shared_task(name="shop.add")(add))
    with pytest.raises((TypeError, ValueError)):
        adopted.enqueue(value)


# --- what can be adopted


def from_shared(**options: Any) -> Any:
    return shared_task(**options)(bound if options.get("bind") else add)


def from_app(**options: Any) -> Any:
    return the_app().task(**options)(bound if options.get("bind") else add)


@pytest.mark.parametrize("make", [from_shared, from_app])
@pytest.mark.parametrize("bind", [False, True])
def test_it_is_a_django_task_of_the_celery_tasks_name(make: Any, bind: bool) -> None:
    adopted = adopt(make(name="shop.adopted", bind=bind))
    assert isinstance(adopted, CeleryTask)
    function = bound if bind else add
    assert (name_of(adopted), adopted.module_path) == ("shop.adopted", f"tests.test_adopt.{function.__name__}")
    assert isinstance(adopted.celery, Twin)
    assert adopted.celery is the_app().tasks["shop.adopted"]


def test_adopting_twice_gives_the_same() -> None:
    shared = shared_task(name="shop.add")(add)
    assert adopt(shared) is adopt(shared) is adopt(shared._get_current_object())


def test_adopting_does_not_finish_an_app_that_is_being_made() -> None:
    app = an_app()
    late = app.task(name="shop.late")(add)
    late_too, shared = app.task(bind=True)(bound), shared_task(name="shop.shared", bind=True)(bound)
    made = [adopt(late), adopt(late_too), adopt(shared)]
    assert not app.finalized
    assert [name_of(each) for each in made] == ["shop.late", "tests.test_adopt.bound", "shop.shared"]
    assert all(isinstance(app.tasks[name_of(each)], Twin) for each in made)
    assert app.finalized
    assert isinstance(late._get_current_object(), Twin)


def test_every_app_has_it_adopted_whenever_it_is_made() -> None:
    before = an_app()
    before.finalize()
    shared = shared_task(name="shop.shared")(add)
    adopt(shared)
    for app in (before, an_app()):
        assert isinstance(app.tasks["shop.shared"], Twin)
        assert app.tasks["shop.shared"].app is app


def test_a_task_by_its_class_is_adopted_once_it_is_registered() -> None:
    class Total(celery.Task):
        name = "shop.total"

        def run(self, a: int, b: int = 0) -> list[Any]:
            return [a + b, self.name]

    Total.__qualname__ = "Total"
    adopted = adopt(the_app().register_task(Total()))
    assert adopted.module_path == "tests.test_adopt.Total"
    with eagerly():
        assert adopted.enqueue(1, b=2).return_value == [3, "shop.total"]


def test_its_function_and_class_look_as_they_did() -> None:
    shared = shared_task(name="shop.bound", bind=True)(bound)
    kind = type(shared._get_current_object())
    before = (kind.__name__, kind.__module__, shared.run, shared.__wrapped__, shared.__reduce__())
    adopt(shared)
    after = type(shared._get_current_object())
    assert (after.__name__, after.__module__, shared.run, shared.__wrapped__, shared.__reduce__()) == before
    assert issubclass(after, kind)


def test_it_can_be_pickled_and_so_can_the_proxy() -> None:
    shared = shared_task(name="shop.add")(add)
    adopted = adopt(shared)
    copy = pickle.loads(pickle.dumps(adopted.using(priority=7, expires=30)))
    assert (copy, copy.priority, copy.asked.expires) == (adopted.using(priority=7), 7, 30)
    assert isinstance(pickle.loads(pickle.dumps(shared)), Twin)
    kept = pickle.dumps(adopted)
    from tasks_celery.twin import _tasks

    _tasks.pop("shop.add")
    with pytest.raises(ValueError, match=r"no adopted task 'shop\.add'"):
        pickle.loads(kept)


# --- what it does as ever


def test_called_directly_it_is_the_function() -> None:
    shared = shared_task(name="shop.bound", bind=True)(bound)
    adopted = adopt(shared)
    known = set(the_store()._records)
    assert shared(1) == adopted(1) == adopted.call(1) == adopted.func(1) == [1, None, 0, "shop.bound"]
    assert set(the_store()._records) == known


def test_it_can_call_itself_directly() -> None:
    def count(self: Any, n: int) -> list[Any]:
        return [n, *(self(n - 1) if n else [])]

    count.__qualname__ = "count"
    with eagerly():
        assert adopt(shared_task(name="shop.count", bind=True)(count)).enqueue(2).return_value == [2, 1, 0]


def test_delay_gets_a_record_and_sends_what_it_sent() -> None:
    shared = shared_task(name="shop.add")(add)
    shared.delay(1, b=2)
    (before,) = messages("celery")
    empty_the_broker()
    adopted = adopt(shared)
    sent = shared.delay(1, b=2)
    (after,) = messages("celery")
    same = {"id": sent.id, "root_id": sent.id, "tasks_celery": after.headers["tasks_celery"]}
    assert after.headers == before.headers | same
    assert after.body == before.body
    assert priority_of(after) == priority_of(before)
    result = adopted.get_result(sent.id)
    assert (result.status, result.args, result.kwargs) == (TaskResultStatus.READY, [1], {"b": 2})
    assert (result.task.queue_name, result.task.func) == ("celery", adopted.func)


@pytest.mark.filterwarnings("ignore::Warning")  # Celery 5.7 warns of what 6 will do
def test_enqueue_sends_the_same() -> None:
    shared = shared_task(name="shop.add", time_limit=50, priority=3, ignore_result=True)(add)
    adopted = adopt(shared)
    shared.delay(1, b=2)
    result = adopted.enqueue(1, b=2)
    old, new = messages("celery")
    for name in ("task", "timelimit", "expires", "ignore_result", "argsrepr", "kwargsrepr"):
        assert new.headers[name] == old.headers[name], name
    assert new.body == old.body
    assert priority_of(new) == priority_of(old) == 3
    assert result.task.queue_name == "celery"
    assert adopted.get_result(result.id) == result


def by_function(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **more: Any) -> Any:
    return {"queue": "reports" if args and args[0] else "default"} if name.startswith("shop.") else None


def places(queue: str) -> list[Any]:
    keys = ("exchange", "routing_key")
    return [[each.delivery_info[key] for key in keys] for each in messages(queue)]


@pytest.mark.parametrize("routes", [{"shop.*": "reports"}, {"shop.add": {"queue": "reports"}}, (by_function,)])
def test_enqueue_follows_the_projects_routes(routes: Any) -> None:
    adopted = adopt(shared_task(name="shop.add")(add))
    with configured(the_app(), task_routes=routes):
        assert adopted.enqueue(1).task.queue_name == "reports"
        adopted.delay(1)
        assert adopted.using(queue_name="default").enqueue(1).task.queue_name == "default"
    assert (waiting("reports"), waiting("default")) == (2, 1)
    old, new = places("reports")
    assert new == old


@pytest.mark.filterwarnings("ignore::Warning")  # Celery 5.7 warns of what 6 will do
@pytest.mark.parametrize(
    "options",
    [{"queue": "reports"}, {"queue": "reports", "routing_key": "x.y"}, {"exchange": "celery", "routing_key": "celery"}],
)
def test_enqueue_goes_where_the_tasks_own_options_say(options: dict[str, Any]) -> None:
    shared = shared_task(name="shop.add", **options)(add)
    adopted = adopt(shared)
    shared.delay(1)
    adopted.enqueue(1)
    old, new = places(options.get("queue", "celery"))
    assert new == old


def test_a_priority_that_is_asked_for_counts() -> None:
    adopted = adopt(shared_task(name="shop.add")(add))
    adopted.enqueue(1)
    adopted.using(priority=100).enqueue(1)
    adopted.using(priority=-100).delay(1)
    with configured(the_app(), task_routes={"shop.*": {"queue": "celery", "priority": 4}}):
        adopted.enqueue(1)
    assert sorted(str(priority_of(each)) for each in messages("celery")) == ["0", "0", "4", "9"]
    adopted.using(queue_name="reports").enqueue(1)
    adopted.apply_async((1,), queue="reports")
    new, old = messages("reports")
    assert priority_of(new) == priority_of(old) == 0  # as Celery has it where nobody says anything


def test_a_router_that_fails_is_an_enqueue_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*args: Any, **kwargs: Any) -> None:
        raise LookupError("no way")

    adopted = adopt(shared_task(name="shop.add")(add))
    with configured(the_app(), task_routes=(lost,)), pytest.raises(EnqueueError, match="no way"):
        adopted.enqueue(1)


def test_a_schedules_tick_goes_where_celery_has_it_go_whatever_queues_says() -> None:
    from tasks_celery import publish

    with override_settings(TASKS={"default": QUEUES["default"] | {"QUEUES": ["default"]}}):
        adopted = adopt(shared_task(name="shop.add")(add))
        backend: Any = task_backends["default"]
        publish.enqueue_as(backend, adopted, [1], {}, result_id="tick 1 of adopted", sending={})
    assert waiting("celery") == 1


def test_what_a_task_is_asked_for_is_asked_of_its_message() -> None:
    adopted = adopt(shared_task(name="shop.add")(add))
    adopted.using(expires=100, time_limit=7).enqueue(1)
    later = adopted.using(run_after=timezone.now() + timezone.timedelta(hours=1)).enqueue(1)
    (message,) = messages("celery")
    assert message.headers["expires"] is not None
    assert message.headers["timelimit"] == [7, None]
    assert record_of(later).held
    first = adopted.using(unique=True).enqueue(9)
    assert adopted.using(unique=True).enqueue(9).id == first.id


@pytest.mark.parametrize("bind", [False, True])
def test_its_arguments_are_checked_without_the_task_itself(bind: bool) -> None:
    adopted = adopt(from_shared(name="shop.adopted", bind=bind))
    refuse_wrong_call(adopted, [1], {})
    with pytest.raises(ScheduleError, match="missing a required argument: 'a'"):
        refuse_wrong_call(adopted, [], {})


def test_delay_takes_what_json_does_not_and_the_record_has_it_as_text() -> None:
    shared = shared_task(name="shop.add")(add)
    adopted = adopt(shared)
    result = adopted.get_result(shared.delay(MOMENT, b={"__type__": "x", "__value__": 1}).id)
    assert result.args == ["2026-05-04 03:02:01+00:00"]
    kept = record_of(result).sending
    assert kept["args"] == [{"__type__": "datetime", "__value__": "2026-05-04T03:02:01+00:00"}]


@pytest.mark.parametrize("value", [Odd(), functools.partial(add, 1), TaskResultStatus])
def test_pickled_arguments_go_as_ever_and_are_never_sent_as_their_texts(value: Any) -> None:
    from tasks_celery.publish import send_kept

    shared = shared_task(name="shop.add", serializer="pickle")(add)
    adopted = adopt(shared)
    sent = shared.delay(value)
    assert waiting("celery") == 1
    assert UNTOLD in record_of(sent).sending
    assert isinstance(adopted.get_result(sent.id).args[0], str)
    assert send_kept(task_backends["default"], [record_of(sent)]) == []
    assert waiting("celery") == 1


def test_delay_works_without_the_store(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def away(*args: Any, **kwargs: Any) -> None:
        raise StoreError("away")

    shared = shared_task(name="shop.add")(add)
    adopted = adopt(shared)
    monkeypatch.setattr(the_store(), "create", away)
    assert shared.delay(1).id
    assert waiting("celery") == 1
    assert "is sent without its record" in caplog.text
    with pytest.raises(StoreError):
        adopted.enqueue(1)


# --- what the project's own classes do


class Base(celery.Task):
    said: list[str] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.said.append("call")
        return super().__call__(*args, **kwargs)

    def before_start(self, *args: Any, **kwargs: Any) -> None:
        self.said.append("before_start")

    def on_success(self, *args: Any, **kwargs: Any) -> None:
        self.said.append("on_success")

    def on_failure(self, *args: Any, **kwargs: Any) -> None:
        self.said.append("on_failure")

    def after_return(self, *args: Any, **kwargs: Any) -> None:
        self.said.append("after_return")


class Injecting(celery.Task):
    def apply_async(self, args: Any = None, kwargs: Any = None, *more: Any, **options: Any) -> Any:
        kwargs = {"b": 40, **(kwargs or {})}
        options["headers"] = {"injected": "yes"}
        return super().apply_async(args, kwargs, *more, **options)


def test_the_hooks_of_its_class_are_called_as_ever() -> None:
    adopted = adopt(shared_task(name="shop.add", base=Base)(add))
    failing = adopt(shared_task(name="shop.fail", base=Base)(fail))
    Base.said.clear()
    with eagerly(), listening() as heard:
        assert adopted.enqueue(1).return_value == 1
        assert Base.said == ["before_start", "call", "on_success", "after_return"]
        Base.said.clear()
        assert failing.enqueue("error").status == TaskResultStatus.FAILED
    assert Base.said == ["before_start", "call", "on_failure", "after_return"]
    assert [one.signal for one in heard] == ["task_enqueued", "task_started", "task_finished"] * 2


def test_an_apply_async_of_its_class_says_what_is_sent_and_the_record_has_that() -> None:
    shared = shared_task(name="shop.add", base=Injecting)(add)
    adopted = adopt(shared)
    for sent in (shared.delay(1), adopted.enqueue(1), adopted.using(queue_name="reports", time_limit=9).enqueue(1)):
        assert record_of(sent).kwargs == {"b": 40}
    assert [each.kwargs for each in adopted.enqueue_many([([1], {}), ([2], {"b": 1})])] == [{"b": 40}, {"b": 1}]
    (other,) = messages("reports")
    assert (other.headers["injected"], other.headers["timelimit"]) == ("yes", [9, None])
    assert waiting("celery") == 4


def test_an_apply_async_of_its_class_waits_for_the_commit_too(transactional_db: None) -> None:
    from django.db import transaction

    options = {"ENQUEUE_ON_COMMIT": True}
    with override_settings(TASKS={"default": QUEUES["default"] | {"OPTIONS": options}}):
        adopted = adopt(shared_task(name="shop.add", base=Injecting)(add))
        with transaction.atomic():
            result = adopted.enqueue(1)
            assert (waiting("celery"), result.enqueued_at) == (0, None)
        assert waiting("celery") == 1
        assert adopted.get_result(result.id).kwargs == {"b": 40}


def test_what_an_apply_async_of_its_class_cannot_be_asked_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    adopted = adopt(shared_task(name="shop.add", base=Injecting)(add))
    with pytest.raises(InvalidTask, match=r"using\(unique=…\) cannot go along"):
        adopted.using(unique=True).enqueue(1)

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError("nobody home")

    monkeypatch.setattr(the_app().amqp, "send_task_message", refuse)
    with pytest.raises(EnqueueError, match="nobody home"):
        adopted.enqueue(1)


def test_eager_mode_reaches_its_own_apply_async() -> None:
    adopted = adopt(shared_task(name="shop.add", base=Injecting)(add))
    with eagerly():
        assert adopted.enqueue(1).return_value == 41
        assert adopted.delay(2).get() == 42


def test_pydantic_models_are_made_as_ever() -> None:
    pytest.importorskip("pydantic")
    shared = shared_task(name="shop.model", pydantic=True)(take_model)
    adopted = adopt(shared)
    with eagerly():
        assert adopted.enqueue({"a": 3}).return_value == {"a": 4}
        assert shared.delay({"a": 3}).get() == {"a": 4}


if "pydantic" in sys.modules or __import__("importlib.util").util.find_spec("pydantic"):
    from pydantic import BaseModel

    class Model(BaseModel):
        a: int

    def take_model(model: Model) -> Model:
        return Model(a=model.a + 1)

    take_model.__annotations__ = {"model": Model, "return": Model}


# --- how it ends


@pytest.mark.parametrize(
    ("what", "kept"),
    [
        ("date", "2026-05-04 03:02:01+00:00"),
        ("set", "{1}"),
        ("odd", "<tests.test_adopt.Odd>"),
        ("json", {"a": [1]}),
    ],
)
def test_what_json_cannot_hold_is_returned_as_ever_and_recorded_as_text(what: str, kept: Any) -> None:
    shared = shared_task(name="shop.give")(give)
    adopted = adopt(shared)
    with eagerly():
        sent = shared.delay(what)
    if what in ("date", "json"):
        assert sent.get() == give(what)
    result = adopted.get_result(sent.id)
    assert (result.status, result.return_value) == (TaskResultStatus.SUCCESSFUL, kept)


@pytest.mark.parametrize("what", ["error", "ignore", "reject"])
def test_an_ending_without_a_value_is_recorded_once(what: str) -> None:
    adopted = adopt(shared_task(name="shop.fail", throws=(KeyError,))(fail))
    with eagerly(), listening() as heard:
        result = adopted.enqueue(what)
    assert result.status == TaskResultStatus.FAILED
    assert [one.signal for one in heard] == ["task_enqueued", "task_started", "task_finished"]


def stumble(self: Any, times: int) -> int:
    if self.request.retries < times:
        raise KeyError("again")
    return int(self.request.retries)


def ask_again(self: Any, times: int) -> int:
    if self.request.retries < times:
        raise self.retry(countdown=0, exc=KeyError("again"))
    return int(self.request.retries)


@pytest.mark.parametrize("function", [stumble, ask_again])
def test_retries_are_attempts_of_one_record(function: Any) -> None:
    options = {"autoretry_for": (KeyError,), "default_retry_delay": 0} if function is stumble else {}
    adopted = adopt(shared_task(name="shop.again", bind=True, max_retries=2, **options)(function))
    with eagerly():
        good, bad = adopted.enqueue(2), adopted.enqueue(3)
        assert adopted.celery.apply((1,)).get() == 1
    assert (good.return_value, good.attempts) == (2, 3)
    assert [each.exception_class_path for each in good.errors] == ["builtins.KeyError"] * 2
    assert (bad.status, bad.attempts) == (TaskResultStatus.FAILED, 3)


def replaced(self: Any, name: str) -> Any:
    return self.replace(self.app.tasks[name].s(4, 5))


@pytest.mark.parametrize("name", ["shop.add", "tests.shop.tasks.add"])
def test_a_task_that_is_replaced_leaves_its_id_to_the_other(name: str) -> None:
    adopt(shared_task(name="shop.add")(add))
    adopted = adopt(shared_task(name="shop.replaced", bind=True)(replaced))
    with eagerly():
        result = adopted.enqueue(name)
    assert (result.status, result.return_value, result.attempts) == (TaskResultStatus.SUCCESSFUL, 9, 2)


def test_what_replaces_it_outside_of_eager_mode_has_its_id_and_no_other_message_is_sent() -> None:
    shared_task(name="shop.left")(add)
    adopted = adopt(shared_task(name="shop.replaced", bind=True)(replaced))
    later = timezone.now() + timezone.timedelta(days=365)
    before = the_store().waiting(before=later).get("celery", 0)
    result = adopted.enqueue("shop.left")
    empty_the_broker()
    twin = adopted.celery
    request = {"id": result.id, "is_eager": False, "delivery_info": {"routing_key": "celery"}, "hostname": "here"}
    build_tracer(twin.name, twin, app=the_app())(result.id, ["shop.left"], {}, request)
    assert [each.headers["id"] for each in messages("celery")] == [result.id]
    assert (record_of(result).status, the_store().waiting(before=later).get("celery", 0)) == ("READY", before)
    assert adopted.get_result(result.id).status == TaskResultStatus.READY
    with configured(the_app(), result_extended=True):
        the_app().backend.store_result(result.id, 9, "SUCCESS", request=Context(task="shop.left", id=result.id))
        told = adopted.get_result(result.id)
    assert (told.status, told.return_value) == (TaskResultStatus.SUCCESSFUL, 9)
    assert told.finished_at is not None


def test_canvas_mixes_both_kinds() -> None:
    shared = shared_task(name="shop.left")(add)
    adopted = adopt(shared_task(name="shop.add")(add))
    with eagerly():
        sent = chain(tasks.add.s(1), adopted.s(10), shared.s(100), tasks.add.s(1000)).apply_async()
        assert sent.get() == 1111
        assert task_backends["default"].get_result(sent.id).return_value == 1111
        assert group(adopted.s(1), tasks.add.s(2), shared.si(3)).apply_async().get() == [1, 2, 3]
        assert adopted.celery.starmap([(1, 2), (3, 4)]).apply_async().get() == [3, 7]


# --- elsewhere


@pytest.mark.parametrize("backend", ["immediate.ImmediateBackend", "dummy.DummyBackend"])
def test_under_another_backend_the_celery_task_is_called_directly(backend: str) -> None:
    with override_settings(TASKS={"default": {"BACKEND": f"{API_MODULE}.backends.{backend}", "QUEUES": []}}):
        adopted = adopt(shared_task(name="shop.bound", bind=True)(bound))
        assert adopted(1) == [1, None, 0, "shop.bound"]
        copy = pickle.loads(pickle.dumps(adopted.using(queue_name="other")))
        assert (copy.func, copy.queue_name) == (adopted.func, "other")
        result = adopted.enqueue(1)
        if "immediate" in backend:
            assert result.return_value == [1, None, 0, "shop.bound"]
        with pytest.raises(AttributeError, match=r"has no 'delay'.*Backend"):
            adopted.delay(1)


def test_a_worker_leaves_what_was_adopted_for_another_backend_alone() -> None:
    from tasks_celery.discovery import _adopt

    other = {"BACKEND": f"{API_MODULE}.backends.immediate.ImmediateBackend", "QUEUES": []}
    with override_settings(TASKS=QUEUES | {"now": other}):
        plain = adopt(shared_task(name="tests.test_adopt.add")(add), backend="now")
        _adopt(plain)
        assert not isinstance(the_app().tasks["tests.test_adopt.add"], Twin)


def test_discovery_imports_the_module_that_adopts() -> None:
    from tasks_celery.discovery import _IMPORTS_TASK

    assert _IMPORTS_TASK.search(b"from tasks_celery import adopt\n")


def test_a_worker_listens_to_no_queue_without_a_name() -> None:
    from tasks_celery.parent import _named_queues

    adopt(shared_task(name="shop.add")(add))
    assert _named_queues("default") == {"default", "reports"}


def test_it_still_counts_among_the_plain_tasks_that_go_first() -> None:
    from tasks_celery.checks.priority import _is_plain

    adopted = adopt(shared_task(name="shop.add")(add))
    assert _is_plain("shop.add", adopted.celery)
    assert not _is_plain("tests.shop.tasks.add", tasks.add.celery)


class OwnRequest(BaseRequest):
    pass


def test_a_request_class_of_the_projects_goes_on_and_reports_what_ours_does() -> None:
    usual = adopt(shared_task(name="shop.add")(add))
    own = adopt(shared_task(name="shop.own", Request=f"{__name__}:OwnRequest")(add))
    assert usual.celery.Request == tasks.add.celery.Request == "tasks_celery.parent:Request"
    assert issubclass(own.celery.Request, OwnRequest)
    assert issubclass(own.celery.Request, symbol_by_name("tasks_celery.parent:Request"))


def test_a_failure_in_eager_mode_is_a_result_though_celery_raises_it() -> None:
    adopted = adopt(shared_task(name="shop.fail", base=Injecting)(fail_with))
    with eagerly(task_eager_propagates=True):
        assert adopted.enqueue("error").status == TaskResultStatus.FAILED
        with pytest.raises(KeyError):
            adopted.delay("error")


def fail_with(what: str, b: int) -> None:
    raise KeyError(what, b)


def test_a_browser_can_be_told_of_its_end() -> None:
    adopted = notify("report.ready")(adopt(shared_task(name="shop.add")(add)))
    assert isinstance(adopted, AdoptedTask)
    with eagerly():
        result = adopted.enqueue(1)
    rule = rule_for(task_backends["default"].get_result(result.id).task.func)
    assert rule is not None
    assert rule.event == "report.ready"


def test_a_module_that_is_loaded_again_adopts_the_same() -> None:
    first = adopt(shared_task(name="shop.add")(add))
    module = ModuleType("shop_again")
    exec(compile("def add(a, b=0): return a - b", "again", "exec"), module.__dict__)
    again = module.add
    again.__module__ = add.__module__
    with pytest.warns() if celery.VERSION >= (5, 7) else pytest.MonkeyPatch.context():  # Celery keeps the first
        second = adopt(shared_task(name="shop.add")(again))
    assert second is first


def test_a_message_tells_json_what_it_is() -> None:
    adopted = adopt(shared_task(name="shop.add")(add))
    json.dumps(adopted.s(1))
    json.dumps(dict(adopted.si(1)))


def test_a_unique_one_says_so() -> None:
    from tasks_celery import Unique

    adopted = adopt(shared_task(name="shop.once")(add)).using(unique=Unique(on_conflict="raise"))
    adopted.enqueue(1)
    with pytest.raises(AlreadyEnqueued):
        adopted.enqueue(1)
