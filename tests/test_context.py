"""What travels with a task: who asked, in which request and language."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest
from django.dispatch import Signal
from django.utils import translation

from tasks_celery.context import Context, announce, asking, current, restored
from tasks_celery.results import to_result
from tests.shop.tasks import add
from tests.stores.making import a_record

ADA = Context(user="7", group="editors", tenant="a", request_id="r1", language="de")


def test_facts_that_are_not_known_are_not_carried() -> None:
    assert Context().as_dict() == {}
    assert Context(user="7").as_dict() == {"user": "7"}


@pytest.mark.parametrize("facts", [None, {}, {"shoe size": 42}, {"user": None, "language": None}])
def test_what_says_nothing_is_an_empty_context(facts: dict[str, object] | None) -> None:
    assert Context.from_dict(facts) == Context()


def test_a_context_comes_back_from_its_facts() -> None:
    assert Context.from_dict(ADA.as_dict()) == ADA
    assert Context.from_dict({"user": 7}) == Context(user="7")


def test_outside_a_request_nobody_asks() -> None:
    assert current().user is None
    assert current().request_id is None


def test_who_asks_is_looked_up_only_when_somebody_wants_to_know() -> None:
    with asking(lambda: pytest.fail("nobody wanted to know")):
        pass


def test_asking_ends_with_its_block_even_after_an_exception() -> None:
    with pytest.raises(ZeroDivisionError), asking(lambda: ADA):
        _ = 1 / (current() != ADA)
    assert current().user is None


def test_another_thread_does_not_hear_who_asks() -> None:
    heard: list[Context] = []
    with asking(lambda: ADA):
        thread = threading.Thread(target=lambda: heard.append(current()))
        thread.start()
        thread.join()
    assert [context.user for context in heard] == [None]


def test_asyncio_tasks_do_not_mix_who_asks() -> None:
    async def one(user: str, ready: asyncio.Barrier) -> str | None:
        with asking(lambda: Context(user=user)):
            await ready.wait()
            return current().user

    async def all_of_them() -> list[str | None]:
        ready = asyncio.Barrier(3)
        return await asyncio.gather(*(one(user, ready) for user in "abc"))

    assert asyncio.run(all_of_them()) == ["a", "b", "c"]


def test_a_restored_context_brings_its_language_and_takes_it_away_again() -> None:
    with translation.override("fr"):
        with restored(ADA):
            assert current() == ADA
            assert translation.get_language() == "de"
        assert translation.get_language() == "fr"
        with restored(Context(user="8")):
            assert translation.get_language() == "fr"


def test_a_language_django_has_no_words_for_hurts_nobody() -> None:
    with restored(Context(language="xx-nonsense")):
        assert translation.gettext("yes,no,maybe")


def test_a_receiver_that_raises_is_logged_with_the_id_and_the_others_hear(caplog: pytest.LogCaptureFixture) -> None:
    signal, heard = Signal(), []
    result = to_result(a_record(), add)

    def broken(**kwargs: object) -> None:
        raise ValueError("deaf")

    def sound(sender: type, task_result: object, **kwargs: object) -> None:
        heard.append((sender, task_result))

    signal.connect(broken)
    signal.connect(sound)
    with caplog.at_level(logging.ERROR, "tasks_celery"):
        announce(signal, str, result)
    assert heard == [(str, result)]
    (logged,) = [entry for entry in caplog.records if entry.name == "tasks_celery"]
    assert result.id in logged.getMessage()
    assert "broken" in logged.getMessage()
    assert logged.exc_info
    assert "deaf" in str(logged.exc_info[1])
