"""A report as a page of HTML."""

from __future__ import annotations

from html.parser import HTMLParser

from tasks_celery.migrate.report.page import as_page
from tests.migrate.report.making import MIXED, finding, report

VOID = {"meta", "input", "col"}


class Reader(HTMLParser):
    """Counts tags, and sees that each that opens is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.rows = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs
        self.rows += ("data-verdict", "unsafe") in attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    return reader


def test_what_comes_from_the_project_is_escaped() -> None:
    evil = '<script>alert("1")</script>'
    page = as_page(report(finding(name=evil, path=f"{evil}.py", reason=f"${{title}} {evil}", kind=evil), title=evil))
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;" in page
    assert "${title}" in page


def test_all_tags_are_closed() -> None:
    assert read(as_page(MIXED)).open == []
    assert read(as_page(report())).open == []


def test_nothing_is_loaded_from_elsewhere() -> None:
    page = as_page(MIXED)
    assert "default-src 'none'" in page
    assert not {"src", "href", "action"} & {name for name, _ in read(page).attributes}
    assert "//" not in page.replace("<!doctype html>", "")


def test_every_finding_is_a_row() -> None:
    page = as_page(MIXED)
    assert page.count("<tr data-verdict=") == 6
    assert read(page).rows == 1
    assert "<code>shop/views.py:5</code>" in page


def test_it_says_what_the_text_says() -> None:
    page = as_page(MIXED)
    assert "3 tasks: 2 move by themselves, 1 needs a person." in page
    assert "QUEUES&quot;: [&quot;celery&quot;, &quot;default&quot;, &quot;mail&quot;]" in page
    assert "A set is no JSON." in page
