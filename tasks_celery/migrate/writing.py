"""Puts a rewritten file in the place of the old one: all of it or nothing, with its encoding, newlines and mode."""

from __future__ import annotations

import io
import stat
import tempfile
import tokenize
import warnings
from pathlib import Path


class NotWrittenError(Exception):
    """A file was left as it is; the message says why."""


def encode(text: str, data: bytes) -> bytes:
    """Return a text as the bytes of a file that had been `data`: in its encoding, with its byte order mark."""
    encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
    try:
        return text.encode(encoding)
    except UnicodeEncodeError as error:
        raise NotWrittenError(f"what it would become cannot be written in {encoding}.") from error


def refuse_nonsense(text: str, path: str) -> None:
    """Raise NotWrittenError for a text that does not compile."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an invalid escape was there before
            compile(text, path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        raise NotWrittenError(
            "what it would become does not compile: please report this, with the fixer that --only shows to be the one."
        ) from error


def replace_file(path: Path, before: bytes, after: bytes) -> None:
    """Replace a file by its new bytes in one step; raise NotWrittenError where it is no longer as it was `before`.

    A symbolic link stays one: the file that it leads to is replaced.
    """
    path = path.resolve()
    try:
        new = _beside(path, after, stat.S_IMODE(path.stat().st_mode))
        try:
            # As late as can be: what an editor has saved meanwhile is not to be lost.
            _refuse_changed(path, before)
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)
    except OSError as error:
        raise NotWrittenError(f"it cannot be written: {error.strerror}.") from error


def _beside(path: Path, data: bytes, mode: int) -> Path:
    """Return a new file in the same folder."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as new:
        new.write(data)
    Path(new.name).chmod(mode)
    return Path(new.name)


def _refuse_changed(path: Path, before: bytes) -> None:
    if path.read_bytes() != before:
        raise NotWrittenError("it was changed meanwhile: run this again.")
