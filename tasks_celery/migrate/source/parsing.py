"""The one way in which a text becomes a syntax tree."""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings

NEWLINES = re.compile(r"\r\n|\r|\n")


class UnreadableError(SyntaxError):
    """A file cannot be read as Python: `line` and `why` say where and what."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(f"line {line}: {why}")
        self.line, self.why = line, why


def decode(data: bytes) -> str:
    """Return the text of a file, by its own declaration (PEP 263) or its byte order mark, else as UTF-8."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        return data.decode(encoding)
    except (SyntaxError, LookupError, UnicodeDecodeError) as error:
        line = data[: error.start].count(b"\n") + 1 if isinstance(error, UnicodeDecodeError) else 1
        raise UnreadableError(line, "it cannot be decoded") from error


def parse(text: str) -> ast.Module:
    """Return the syntax tree of a text; raises `UnreadableError` for what this Python cannot parse."""
    try:
        with warnings.catch_warnings():
            # What a text is warned about ("invalid escape sequence") is not for who reads the report.
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except SyntaxError as error:
        raise UnreadableError(error.lineno or 1, "it is no Python that this interpreter can parse") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise UnreadableError(1, "it is no Python that this interpreter can parse") from error


class Lines:
    """The lines of a text as the parser counts them, to go from its offsets in UTF-8 to characters."""

    def __init__(self, text: str) -> None:
        # Not splitlines(): a form feed and its like end no line for the parser.
        self.lines = NEWLINES.split(text)

    def column(self, line: int, offset: int) -> int:
        """Return the column in characters of an offset in bytes."""
        text = self.lines[line - 1]
        return offset if text.isascii() else len(text.encode()[:offset].decode(errors="ignore"))

    def source(self, node: ast.expr | ast.stmt) -> str:
        """Return what is written for a node."""
        first, last = node.lineno, node.end_lineno or node.lineno
        start = self.column(first, node.col_offset)
        end = self.column(last, node.end_col_offset or 0)
        if first == last:
            return self.lines[first - 1][start:end]
        return "\n".join([self.lines[first - 1][start:], *self.lines[first : last - 1], self.lines[last - 1][:end]])
