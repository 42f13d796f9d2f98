"""A rewritten file in the place of the old one."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from tasks_celery.migrate.writing import NotWrittenError, encode, refuse_nonsense, replace_file


def names_in(folder: Path) -> list[str]:
    return [each.name for each in folder.iterdir()]


def test_what_does_not_compile_is_refused() -> None:
    with pytest.raises(NotWrittenError, match="does not compile"):
        refuse_nonsense("def f(:\n", "x.py")
    with pytest.raises(NotWrittenError, match="does not compile"):
        refuse_nonsense("return 1\n", "x.py")


def test_a_warning_is_no_reason_to_refuse() -> None:
    refuse_nonsense("a = '\\d'\n", "x.py")


def test_a_file_that_was_changed_meanwhile_is_left(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_bytes(b"theirs")
    with pytest.raises(NotWrittenError, match="changed meanwhile"):
        replace_file(path, b"before", b"after")
    assert path.read_bytes() == b"theirs"
    assert names_in(tmp_path) == ["x.py"]


def test_a_file_that_is_gone_is_not_made_anew(tmp_path: Path) -> None:
    with pytest.raises(NotWrittenError, match="cannot be written: No such file"):
        replace_file(tmp_path / "x.py", b"before", b"after")
    assert names_in(tmp_path) == []


def test_a_file_is_replaced_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_bytes(b"before")
    path.chmod(0o751)
    replace_file(path, b"before", b"after")
    assert path.read_bytes() == b"after"
    assert path.stat().st_mode & 0o777 == 0o751
    assert names_in(tmp_path) == ["x.py"]


def test_who_has_the_old_file_open_reads_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_bytes(b"before")
    with path.open("rb") as reading:
        replace_file(path, b"before", b"after")
        assert reading.read() == b"before"


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/x.py").write_bytes(b"before")
    (tmp_path / "link.py").symlink_to("real/x.py")
    replace_file(tmp_path / "link.py", b"before", b"after")
    assert (tmp_path / "link.py").is_symlink()
    assert (tmp_path / "real/x.py").read_bytes() == b"after"


@pytest.mark.parametrize(
    "data", [b"# -*- coding: latin-1 -*-\na = '\xe4'\n", codecs.BOM_UTF8 + "a = 'ä'\n".encode(), "a = 'ä'\r\n".encode()]
)
def test_encodings_marks_and_newlines_are_kept(data: bytes) -> None:
    from tasks_celery.migrate.source.parsing import decode

    assert encode(decode(data), data) == data


def test_what_the_encoding_does_not_have_is_refused() -> None:
    with pytest.raises(NotWrittenError, match="iso-8859-1"):
        encode("a = '€'\n", b"# coding: latin-1\n")
