"""How records become the bytes of a row file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from ...core.arguments import check_call, check_text
from ...core.errors import JobDefinitionError

T_contra = TypeVar("T_contra", contravariant=True)
T = TypeVar("T")


class BatchEncoder(Protocol[T_contra]):
    """Many records to bytes in one call."""

    def encode_batch(self, values: Sequence[T_contra]) -> bytes:
        """The rows of the records, one after the other. Raises whatever the user's function raises."""


class Encoder:
    """Ready-made encoders, named as in PyFlink."""

    @staticmethod
    def simple_string_encoder(charset_name: str = "UTF-8") -> SimpleStringEncoder:
        """`str(record)` and a line feed.

        Raises:
            JobDefinitionError: there is no such charset, or it begins every text with a byte order mark.
        """
        return SimpleStringEncoder(charset_name)


class SimpleStringEncoder:
    r"""A line of text for each record.

    >>> SimpleStringEncoder().encode_batch(["a", 1])
    b'a\n1\n'
    """

    def __init__(self, charset_name: str = "UTF-8") -> None:
        check_text("name of a charset", charset_name, fix="give for example 'UTF-8'")
        try:
            marked = bool("".encode(charset_name))
        except LookupError as error:
            raise JobDefinitionError(
                f"there is no charset {charset_name!r}",
                where="Encoder",
                fix="give the name of a codec of Python, e.g. 'UTF-8'",
            ) from error
        if marked:
            raise JobDefinitionError(
                f"the charset {charset_name!r} puts a byte order mark before every text, also in the middle of a file",
                where="Encoder",
                fix="name the byte order and leave out the mark, e.g. 'UTF-16LE', 'UTF-8'",
            )
        self._charset = charset_name

    def encode_batch(self, values: Sequence[object]) -> bytes:
        """One line each."""
        return ("\n".join(map(str, values)) + "\n").encode(self._charset) if values else b""


class FunctionEncoder(Generic[T]):
    r"""Rows by a user's function: text becomes a line in UTF-8, bytes are written as they are.

    >>> FunctionEncoder(lambda n: f"#{n}").encode_batch([1, 2])
    b'#1\n#2\n'
    """

    def __init__(self, function: Callable[[T], str | bytes]) -> None:
        self._function = function

    def encode_batch(self, values: Sequence[T]) -> bytes:
        """The rows, in order."""
        return b"".join([_row(row) for row in map(self._function, values)])


def as_encoder(encoder: BatchEncoder[T] | Callable[[T], str | bytes]) -> BatchEncoder[T]:
    """An encoder as it is, a function wrapped.

    Raises:
        JobDefinitionError: it is neither.
    """
    if hasattr(encoder, "encode_batch"):
        return encoder
    if callable(encoder):
        check_call("encoder", encoder, 1, fix="pass a function from a record to str (a line) or bytes")
        return FunctionEncoder(encoder)
    raise JobDefinitionError(
        f"{encoder!r} cannot encode records",
        where="FileSink.for_row_format",
        fix="give Encoder.simple_string_encoder(), or a function from a record to str (a line) or bytes",
    )


def find_culprit(encoder: BatchEncoder[Any], values: Sequence[Any]) -> int | None:
    """The index of the first record that cannot be encoded alone, or None if each can."""
    for index, value in enumerate(values):
        try:
            encoder.encode_batch([value])
        except Exception:  # a user's encoder may raise anything; what it raised at first is being reported
            return index
    return None


def _row(row: object) -> bytes:
    if isinstance(row, str):
        return f"{row}\n".encode()
    if isinstance(row, bytes):
        return row
    msg = f"an encoder function has to return str or bytes, not {type(row).__name__}"
    raise TypeError(msg)
