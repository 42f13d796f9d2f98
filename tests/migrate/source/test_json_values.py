"""Which expressions are known to be JSON. Those that are not come first."""

from __future__ import annotations

import ast

import pytest

from tasks_celery.migrate.source import Names, Project

HEAD = "import uuid, datetime\nfrom datetime import date\nfrom decimal import Decimal\nfrom shop import consts\nfrom shop.consts import NAME\n"
CONSTS = "NAME = 'x'\nSIZES = (1, 2)\nDAY = date(1, 1, 1)\nDATA = b'x'\nITEMS = []\nTWICE = 1\nTWICE = date.today()\n"


def is_json(text: str, **files: str) -> bool:
    """Return whether what ``f(…)`` is given in a text is known to be JSON."""
    others = {f"shop/{name}.py": each for name, each in files.items()}
    project = Project.of({"shop/consts.py": CONSTS, "shop/views.py": HEAD + text, **others})
    names = Names.of("shop/views.py", HEAD + text, project)
    calls = [
        each for each in names.places() if isinstance(each.node, ast.Call) and getattr(each.node.func, "id", "") == "f"
    ]
    (place,) = calls
    assert isinstance(place.node, ast.Call)
    return names.is_json(place.node.args[0], place)


@pytest.mark.parametrize(
    "value",
    [
        "x", "b'x'", "1j", "...", "{1}", "{'a': {1}}", "[1, b'x']", "(x for x in [1])", "lambda: 1", "x[0]", "x.y", "x()", "x.lower()",
        "datetime.datetime.now()", "date.today()", "Decimal('1')", "uuid.uuid4()", "x + 1", "1 if x else y", "x or 1", "-x", "x < y",
        "round(x)", "abs(x)", "max(x)", "sum(x)", "list(x)", "dict(x=y)", "sorted(x)", "[y for y in x]", "[y for y in {1: 2}.items()]",
        "x.values_list('id')", "list(x.values_list('name', flat=True))", "x.request.GET",
        "request.user", "request.GET", "request.FILES['x']", "request.GET.get('x', y)", "consts.DAY", "consts.DATA", "consts.ITEMS",
        "consts.TWICE", "consts.NOTHING", "f'{x}'.encode()", "'x'.encode()", "set([1])", "range(3)", "map(str, x)", "x.items()",
        "self", "*x", "{**x}", "[*x]", "await_", "datetime.timedelta(1)", "x.created_at", "x.uuid", "x % 1", "'a' + x", "dict(x)",
    ],
)  # fmt: skip
def test_what_may_be_anything_is_not_known(value: str) -> None:
    assert not is_json(f"def g(self, x, y, request):\n    f({value})\n")


@pytest.mark.parametrize(
    "text",
    [
        "def g(a):\n    f(a)\n",
        "def g(a: date):\n    f(a)\n",
        "def g(a: 'date'):\n    f(a)\n",
        "def g(a: list):\n    f(a)\n",
        "def g(a: list[date]):\n    f(a)\n",
        "def g(a: int | date):\n    f(a)\n",
        "def g(a: Any):\n    f(a)\n",
        "def g(*a: date):\n    f(a)\n",
        "def g(a: int):\n    a = date.today()\n    f(a)\n",
        "def g(a=1):\n    f(a)\n",
        "def g():\n    a = 1\n    a = date.today()\n    f(a)\n",
        "def g():\n    a = 1\n    a += x\n    f(a)\n",
        "def g():\n    a, b = x\n    f(a)\n",
        "def g():\n    for a in x: f(a)\n",
        "def g():\n    with x as a: f(a)\n",
        "def g():\n    a = []\n    a.append(x)\n    f(a)\n",
        "def g():\n    a = {}\n    a['x'] = x\n    f(a)\n",
        "def g():\n    a = {}\n    a['x']['y'] = x\n    f(a)\n",
        "def g():\n    a = []\n    a += [x]\n    f(a)\n",
        "def g():\n    a = []\n    a[0].append(x)\n    f(a)\n",
        "def g():\n    a = []\n    a.extend(y for y in x)\n    f(a)\n",
        "def g():\n    a = {}\n    a.update(x=x)\n    f(a)\n",
        "def g():\n    a = b = []\n    b.append(x)\n    f(a)\n",
        "def g():\n    a = 1\n    def h():\n        nonlocal a\n        a = x\n    f(a)\n",
        "def str(x): ...\ndef g(x):\n    f(str(x))\n",
        "def g(len, x):\n    f(len(x))\n",
        "from x import int\ndef g(x):\n    f(int(x))\n",
        "class A:\n    a = 1\n    def g(self):\n        f(a)\n",
        "f(a)\n",
    ],
)
def test_a_name_that_may_hold_anything_is_not_known(text: str) -> None:
    assert not is_json(text)


@pytest.mark.parametrize(
    "value",
    [
        "1", "'x'", "True", "None", "1.5", "-1", "f'{x}'", "str(x)", "int(x)", "len(x)", "bool(x)", "float(x)", "not x", "x is None",
        "x in y", "x.isoformat()", "uuid.uuid4().hex", "x.uuid.hex", "'a'.lower()", "', '.join(x)", "'%s' % x", "'{}'.format(x)",
        "[1, 'x', [None]]", "(1, 2)", "{'a': 1, 'b': [x.pk]}", "[str(y) for y in x]", "{str(y): y.id for y in x}", "1 if x else 'y'",
        "'' or 1", "1 + 2", "'a' + 'b'", "x.pk", "x.id", "x.order_id", "x.order.pk", "x.order_pk", "NAME", "consts.NAME", "consts.SIZES",
        "request.GET.get('x')", "request.POST['x']", "self.request.GET.get('x', '')", "request.GET.getlist('x')", "round(1.5)",
        "sorted([1])", "list(range(3))", "list(x.values_list('pk', flat=True))", "list(x.filter(y=1).values_list('order_id', flat=True))",
        "[y for y in range(3)]", "[y for y in x.values_list('id', flat=True)]", "x.strftime('%Y')", "[*[1]]", "{**{'a': 1}}", "max(1, 2)",
        "dict(a=1)", "[1][0]", "{'a': 1}.get('a')", "x.timestamp()", "type(x).__name__", "1 < 2",
    ],
)  # fmt: skip
def test_what_can_only_be_json_is_known(value: str) -> None:
    assert is_json(f"def g(self, x, y, request):\n    f({value})\n")


@pytest.mark.parametrize(
    "text",
    [
        "def g(a: int):\n    f(a)\n",
        "def g(a: int | None = None):\n    f(a)\n",
        "def g(a: 'list[str]'):\n    f(a)\n",
        "def g(a: Optional[int]):\n    f(a)\n",
        "def g(a: typing.Dict[str, int]):\n    f(a)\n",
        "def g(a: Literal['x', 'y']):\n    f(a)\n",
        "def g(a: tuple[int, ...]):\n    f(a)\n",
        "def g(*, a: str):\n    f(a)\n",
        "def g():\n    a = 1\n    f(a)\n",
        "def g(x):\n    a = x.pk\n    f(a)\n",
        "def g(x):\n    a = 1\n    if x:\n        a = 'y'\n    f(a)\n",
        "def g(x):\n    a: int = x\n    f(a)\n",
        "def g(x):\n    a = []\n    for y in x:\n        a.append(y.pk)\n    f(a)\n",
        "def g(x):\n    a = {}\n    a['y'] = str(x)\n    f(a)\n",
        "def g(x):\n    a = 0\n    a += 1\n    f(a)\n",
        "def g(x):\n    a = 0\n    a = a + 1\n    f(a)\n",
        "def g(x):\n    for a in range(3):\n        f(a)\n",
        "def g(x):\n    if a := len(x):\n        f(a)\n",
        "def g(x):\n    a = [y.pk for y in x]\n    b = a\n    f({'c': b})\n",
        "def g(a: int):\n    def h():\n        f(a)\n",
        "def g(a: int):\n    [f(a) for _ in ()]\n",
    ],
)
def test_a_name_that_only_ever_holds_json_is_known(text: str) -> None:
    assert is_json(text)


def test_keys_are_not_known_where_a_model_of_the_project_has_others() -> None:
    text = "def g(x):\n    f(x.pk)\n"
    assert not is_json(text, models="class A(models.Model):\n    id = models.UUIDField(primary_key=True)\n")
    assert not is_json(text, models="class A(models.Model):\n    id = ShortUUIDField(primary_key=True)\n")
    assert not is_json(text, models="class A(UUIDModel): ...\n")
    assert not is_json(text, settings="DEFAULT_AUTO_FIELD = 'x.UUIDAutoField'\n")
    assert is_json(
        text, models="class A(models.Model):\n    id = models.CharField(primary_key=True)\n    u = models.UUIDField()\n"
    )
    assert is_json(text, settings="DEFAULT_AUTO_FIELD = 'django.db.models.BigAutoField'\n")


def test_a_field_that_is_only_named_like_a_key_is_not_known() -> None:
    text = "def g(x):\n    f(x.external_id)\n"
    assert is_json(text)
    assert not is_json(text, models="class A(models.Model):\n    external_id = models.UUIDField()\n")


def test_what_a_task_says_of_its_own_parameter_holds_where_it_is_called() -> None:
    head = "from celery import shared_task\n@shared_task(bind={})\ndef f({}a: int, b, *c: str, d: 'str | None' = None): ...\n"
    for bind, first in (("False", ""), ("True", "self, ")):
        made = head.format(bind, first)
        assert task_takes(made, "f.delay(x)") == [True]
        assert task_takes(made, "f.delay(1, x)") == [True, False]
        assert task_takes(made, "f.delay(x, d=x, b=x)") == [True, True, False]
        assert task_takes(made, "f.s(x)") == [True]


def task_takes(head: str, call: str) -> list[bool]:
    text = f"{head}def g(x):\n    {call}\n"
    names = Names.of("shop/tasks.py", text, Project.of({"shop/tasks.py": text}))
    (place,) = [each for each in names.places() if isinstance(each.node, ast.Call) and ast.unparse(each.node) == call]
    assert isinstance(place.node, ast.Call)
    return [names.is_json(each, place) for each in [*place.node.args, *(word.value for word in place.node.keywords)]]
