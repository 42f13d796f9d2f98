"""What a name refers to within a file, and where a node's own name stands."""

from __future__ import annotations

import ast

import pytest

from tasks_celery.migrate.finding import Anchor
from tasks_celery.migrate.source import Names, Place, Project, UnreadableError


def names(text: str) -> Names:
    return Names.of("a.py", text, Project.of({"a.py": text}))


def nodes(made: Names, kind: type[ast.AST]) -> list[ast.AST]:
    return [each.node for each in made.places() if isinstance(each.node, kind)]


@pytest.mark.parametrize("text", ["def (", "x = '\0'", "(" * 500, "match = = 1"])
def test_a_text_that_is_no_python_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(UnreadableError, match="line 1: it is no Python"):
        names(text)
    assert Project.of({"a.py": text}).modules["a"].error


def test_what_a_text_would_be_warned_about_is_not_told() -> None:
    assert names("x = '\\d'\nx is 1\n").tree.body


def test_every_node_stands_once_in_its_place_and_from_top_to_bottom() -> None:
    text = "@d\ndef f(a: int = 1, *, b=2) -> str:\n    return [x for y in z if y for x in y]\n{k: v for k, v in w}\nlambda q: q\nclass A(B): c = 1\n"
    made = names(text)
    places = list(made.places())
    every = [each for each in ast.walk(made.tree) if not isinstance(each, ast.expr_context | ast.comprehension)]
    assert {id(each.node) for each in places} == {id(each) for each in every}
    assert len(places) == len(every)
    lines = [each.node.lineno for each in places if isinstance(each.node, ast.stmt)]
    assert lines == sorted(lines)
    assert all(each.parents[-1] is made.tree for each in places[1:])
    assert list(made.places()) == places


def test_a_place_knows_the_function_around_it() -> None:
    made = names("def f():\n    async def g():\n        x\ny\n")
    functions = {node.id: place.function for place in made.places() if isinstance(node := place.node, ast.Name)}
    assert getattr(functions["x"], "name", "") == "g"
    assert functions["y"] is None


def test_decorators_defaults_annotations_and_first_iterables_stand_outside() -> None:
    text = "from m import a\n@a.one\ndef f(a=a.two, b: a.three = 1) -> a.four:\n    a.no\n[a.no for a in a.five if a.no]\nlambda a=a.six: a.no\nclass C(a.seven):\n    a = a.no\n"
    made = names(text)
    found = {
        each.attr: made.origin(each, Place(each, ()))
        for each in nodes(made, ast.Attribute)
        if isinstance(each, ast.Attribute)
    }
    assert found.pop("no") is None
    assert found == {word: f"m.a.{word}" for word in ("one", "two", "three", "four", "five", "six", "seven")}


def test_a_class_is_no_scope_for_the_functions_in_it() -> None:
    made = names("class A:\n    from m import a\n    x = a.here\n    def f(self):\n        a.there\n")
    found = {
        each.attr: made.origin(each, Place(each, ()))
        for each in nodes(made, ast.Attribute)
        if isinstance(each, ast.Attribute)
    }
    assert found == {"here": "m.a.here", "there": None}


def test_what_a_function_declares_nonlocal_is_bound_around_it() -> None:
    text = "def f():\n    from m import a\n    def g():\n        nonlocal a\n        a = 1\n    a.no\ndef h():\n    from m import a\n    def g():\n        nonlocal a\n        a.yes\n"
    made = names(text)
    found = {
        each.attr: made.origin(each, Place(each, ()))
        for each in nodes(made, ast.Attribute)
        if isinstance(each, ast.Attribute)
    }
    assert found == {"no": None, "yes": "m.a.yes"}


def test_a_walrus_binds_around_its_comprehension() -> None:
    made = names("def f():\n    from m import a\n    [a := 1 for _ in b]\n    a.no\n")
    (attribute,) = nodes(made, ast.Attribute)
    assert isinstance(attribute, ast.expr)
    assert made.origin(attribute, Place(attribute, ())) is None


@pytest.mark.parametrize(
    ("text", "kind", "anchor"),
    [
        ("shop.tasks.add.delay(1)", ast.Call, Anchor(1, 15)),
        ("add(1)", ast.Call, Anchor(1, 0)),
        ("'ä'; ö.add(1)", ast.Call, Anchor(1, 7)),
        ("(a\n  .b\n  . add)(1)", ast.Call, Anchor(3, 4)),
        ("def  f(): ...", ast.FunctionDef, Anchor(1, 5)),
        ("async  def  def_(): ...", ast.AsyncFunctionDef, Anchor(1, 12)),
        ("@d\nclass\tA: ...", ast.ClassDef, Anchor(2, 6)),
        ("def \\\n  f(): ...", ast.FunctionDef, Anchor(2, 2)),
        ("x = 1\x0c\ny = 2; z()", ast.Call, Anchor(2, 7)),
        ("x = '''\u2028'''\rz()", ast.Call, Anchor(2, 0)),
        ("[1][0]", ast.Subscript, Anchor(1, 0)),
    ],
)
def test_an_anchor_is_where_the_last_name_stands_in_characters(text: str, kind: type[ast.AST], anchor: Anchor) -> None:
    made = names(text)
    assert made.anchor(nodes(made, kind)[0]) == anchor
