from __future__ import annotations

import ast

import pytest

from tasks_celery.migrate.source import Names, Project
from tasks_celery.migrate.things.values import inside, is_aware, is_dict, is_list, is_number, number

IMPORTS = "import random\nfrom datetime import UTC, datetime\nfrom django.utils import timezone\n"


def asked(question: object, value: str, before: str = "", given: str = "") -> bool:
    """Answer a question about a value that a function returns at its end."""
    text = f"{IMPORTS}def f({given}):\n    {before or 'pass'}\n    return log.info({value})\n"
    names = Names("shop/views.py", text, "shop.views", Project.of({"shop/__init__.py": "", "shop/views.py": text}))
    place = next(each for each in names.places() if isinstance(each.node, ast.Return))
    assert isinstance(place.node, ast.Return)
    assert isinstance(place.node.value, ast.Call)
    return bool(question(names, place.node.value.args[0], place))  # type: ignore[operator]


@pytest.mark.parametrize(
    "value", ["None", "x", "True", "'1'", "wait()", "5 if x else None", "None or x", "self.wait", "[1]"]
)
def test_what_may_be_none_is_no_number(value: str) -> None:
    assert not asked(is_number, value, given="x, self")


@pytest.mark.parametrize(
    "before", ["x = None", "for x in y: pass", "x = 1; x = None", "x, y = 1, 2", "global x; x = 1", "import x", "x = y"]
)
def test_a_name_that_may_be_none_is_no_number(before: str) -> None:
    assert not asked(is_number, "x", before, given="y")


@pytest.mark.parametrize("given", ["x", "x: int = None", "x: 'int'", "*x", "x: int | None", "*, x: int = None"])
def test_a_parameter_that_may_be_none_is_no_number(given: str) -> None:
    assert not asked(is_number, "x", given=given)


def test_a_function_that_shadows_a_builtin_makes_no_number() -> None:
    assert not asked(is_number, "int(1)", "int = str")


@pytest.mark.parametrize(
    "value", ["1", "-1", "2 * x", "int(x)", "x or 1", "1 if x else 2", "random.randint(1, 2)", "x.total_seconds()"]
)
def test_numbers_are(value: str) -> None:
    assert asked(is_number, value, given="x")


@pytest.mark.parametrize("given", ["x: int", "x: float = 5", "*, x: int"])
def test_a_parameter_that_says_so_is_a_number(given: str) -> None:
    assert asked(is_number, "x", given=given)


@pytest.mark.parametrize(
    ("written", "value"), [("60 * 5", 300), ("-1", -1), ("2 + 3 - 1", 4), ("x", None), ("True", None), ("1 / 2", None)]
)
def test_what_is_written_out_is_counted(written: str, value: float | None) -> None:
    assert number(ast.parse(written, mode="eval").body) == value


@pytest.mark.parametrize(
    "value",
    [
        "x",
        "datetime.now()",
        "datetime.utcnow()",
        "datetime.now(None)",
        "datetime(2026, 1, 1)",
        "timezone.now().date()",
        "x - timezone.now()",
        "timezone.now().replace(tzinfo=None)",
        "timezone.now().replace(**x)",
        "timezone.make_naive(x)",
    ],
)
def test_what_may_be_naive_is_not_aware(value: str) -> None:
    assert not asked(is_aware, value, given="x")


@pytest.mark.parametrize(
    "value",
    [
        "timezone.now()",
        "timezone.now() + x",
        "x + timezone.now()",
        "datetime.now(UTC)",
        "timezone.now().replace(hour=1)",
    ],
)
def test_aware_times_are(value: str) -> None:
    assert asked(is_aware, value, given="x")


@pytest.mark.parametrize(
    ("value", "before"),
    [
        ("x", "pass"),
        ("y", "y = x"),
        ("y", "y = None"),
        ("y", "y = [x]"),
        ("y", "y = [1]; fill(y)"),
        ("y", "y = [1]; y.append(x)"),
        ("{1}", "pass"),
        ("'ab'", "pass"),
    ],
)
def test_what_may_be_no_list_of_json_is_none(value: str, before: str) -> None:
    assert not asked(is_list, value, before, given="x")


def test_lists_of_json_are() -> None:
    assert asked(is_list, "[1, 'a']")
    assert asked(is_list, "y", "y = (1, 2); len(y)")


@pytest.mark.parametrize(
    ("value", "before"),
    [
        ("x", "pass"),
        ("y", "y = {'a': x}"),
        ("y", "y = {1: 2}"),
        ("y", "y = {}; y['a'] = x"),
        ("y", "y = {**x}"),
        ("dict(x)", "pass"),
    ],
)
def test_what_may_be_no_dict_of_json_is_none(value: str, before: str) -> None:
    assert not asked(is_dict, value, before, given="x")


def test_dicts_of_json_are() -> None:
    assert asked(is_dict, "{'a': 1}")
    assert asked(is_dict, "y", "y = dict(a=1)")


@pytest.mark.parametrize(
    "text", ["a\nif b:\n    c\nd", "def f():\n    a\n    for b in c:\n        d", "a\ndef f(): z\nb\nlambda: z\nc\nd"]
)
def test_a_scope_is_gone_through_from_top_to_bottom_without_those_in_it(text: str) -> None:
    [*body] = ast.parse(text).body
    scope = body[0] if len(body) == 1 else ast.parse(text)
    assert "".join(each.id for each in inside(scope) if isinstance(each, ast.Name)) == "abcd"
