"""Web process. A person at the admin: signs in, opens a form, fills it in and sends it, as a browser does."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

from django.test import Client


class Form(HTMLParser):
    """The fields of the form with this id as a browser would send them, by their names."""

    def __init__(self, page: str, form_id: str) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self._id, self._inside, self._select, self._text = form_id, False, "", ""
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        if tag == "form":
            self._inside = given.get("id") == self._id
        elif self._inside:
            self._field(tag, given, {name for name, _ in attributes})

    def _field(self, tag: str, given: dict[str, str], flags: set[str]) -> None:
        name = given.get("name", "")
        if tag == "input" and name and given.get("type") not in {"submit", "button"}:
            is_box = given.get("type") in {"checkbox", "radio"}
            if not is_box or "checked" in flags:
                self.fields[name] = given.get("value", "on" if is_box else "")
        elif tag == "textarea":
            self.fields[name], self._text = "", name
        elif tag == "select":
            self.fields[name], self._select = "", name
        elif tag == "option" and self._select and "selected" in flags:
            self.fields[self._select] = given.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag != "form"
        self._select = "" if tag == "select" else self._select
        self._text = "" if tag == "textarea" else self._text

    def handle_data(self, data: str) -> None:
        if self._text:
            self.fields[self._text] += data.strip()


def sign_in(username: str, password: str) -> Client:
    """Return the browser of somebody who has signed in at the admin's own page."""
    client = Client(enforce_csrf_checks=True)
    _send(client, "/admin/login/?next=/admin/", "login-form", username=username, password=password)
    return client


def add_schedule(client: Client, **filled: Any) -> None:
    """Fill in the form of a new schedule, and save it."""
    _send(client, "/admin/django_celery_beat/periodictask/add/", "periodictask_form", **filled)


def _send(client: Client, url: str, form_id: str, **filled: Any) -> None:
    form = Form(client.get(url).content.decode(), form_id).fields
    assert set(filled) <= set(form), f"{url} has no field {set(filled) - set(form)}, but {sorted(form)}"
    answer = client.post(url, form | filled)
    # Else it is the form again, with what is wrong.
    assert answer.status_code == 302, re.findall(r'<ul class="errorlist.*?</ul>', answer.content.decode(), re.DOTALL)
