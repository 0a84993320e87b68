"""Type information: what a declared type promises about values, checked where values are encoded.

A type checks a whole batch column by column at C speed (`mismatch`); the encoding itself is the exact one of `exact.py`, which
describes itself, so what one type wrote is read back equal under any other plain type. Only pickled values and rows have a
wire form of their own (`to_wire`).
"""

from __future__ import annotations

import pickle
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from ..errors import RecordSerializationError
from . import exact
from .excerpt import excerpt

T = TypeVar("T")


class Serializer(Protocol[T]):
    """Values to bytes and back. Stateless and thread-safe; what a release wrote, every later one reads."""

    def dumps(self, value: T) -> bytes:
        """The bytes of one value.

        Raises:
            RecordSerializationError: it is not of the type, or has no exact encoding.
        """

    def loads(self, data: bytes | memoryview) -> T:
        """The value of `dumps`. Raises RecordSerializationError for anything else."""

    def dumps_batch(self, values: list[T]) -> bytes:
        """The bytes of many values: much cheaper than one by one. Raises as `dumps`."""

    def loads_batch(self, data: bytes | memoryview) -> list[T]:
        """The values of `dumps_batch`. Raises as `loads`."""


class TypeInformation(ABC, Generic[T]):
    """What a type is called, which values belong to it, and how they are encoded. Equal when equally built."""

    @property
    @abstractmethod
    def name(self) -> str:
        """E.g. `TUPLE(STRING, LONG)`. Stored in checkpoints: stable across releases."""

    @property
    @abstractmethod
    def immutable(self) -> bool:
        """Whether values cannot be changed in place, so that they may be shared with a running snapshot."""

    @abstractmethod
    def mismatch(self, values: Sequence[Any]) -> str | None:
        """Why these values do not all belong to the type ("holds a str"), or None when they do."""

    def coerce(self, value: Any) -> T:
        """The value as the type wants it: rows take field values in other clothes; every other type takes it as it is."""
        return value  # type: ignore[no-any-return]  # `mismatch` judges it

    @property
    def native_form(self) -> bytes | None:
        """The form of `exact.py` that keeps every value of the type, if that is certain beforehand."""
        return None

    @property
    def is_plain(self) -> bool:
        """Whether values are encoded as they are; otherwise `coerce`, `to_wire` and `from_wire` stand in between."""
        return True

    def to_wire(self, value: Any) -> Any:
        """Plain data in place of a value."""
        return value

    def from_wire(self, data: Any) -> Any:
        """The inverse of `to_wire`."""
        return data

    def serializer(self) -> Serializer[T]:
        """Encodes values of this type, and refuses others."""
        return CheckedSerializer(self, self.native_form) if self.is_plain else WireSerializer(self)

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class CheckedSerializer(Generic[T]):
    """Checks, then encodes values as they are."""

    type_info: TypeInformation[T]
    native_form: bytes | None

    def dumps(self, value: T) -> bytes:
        if self.type_info.mismatch((value,)) is not None:
            raise mismatch_error(self.type_info, (value,))
        return exact.dumps(value)

    def loads(self, data: bytes | memoryview) -> T:
        return exact.loads(data)  # type: ignore[no-any-return]  # was checked when it was written

    def dumps_batch(self, values: list[T]) -> bytes:
        if self.type_info.mismatch(values) is not None:
            raise mismatch_error(self.type_info, values)
        form = self.native_form
        return exact.dumps_batch(values) if form is None else exact.dumps_batch_as(form, values)

    def loads_batch(self, data: bytes | memoryview) -> list[T]:
        return exact.loads_batch(data)


@dataclass(frozen=True, slots=True)
class WireSerializer(Generic[T]):
    """Checks, then encodes what stands for the values on the wire."""

    type_info: TypeInformation[T]

    def dumps(self, value: T) -> bytes:
        return exact.dumps(self._to_wire([value])[0])

    def loads(self, data: bytes | memoryview) -> T:
        return self.type_info.from_wire(exact.loads(data))  # type: ignore[no-any-return]  # as above

    def dumps_batch(self, values: list[T]) -> bytes:
        return exact.dumps_batch(self._to_wire(values))

    def loads_batch(self, data: bytes | memoryview) -> list[T]:
        return list(map(self.type_info.from_wire, exact.loads_batch(data)))

    def _to_wire(self, values: list[T]) -> list[Any]:
        info = self.type_info
        wanted: list[Any] = values
        if info.mismatch(wanted) is not None:
            wanted = list(map(info.coerce, values))
            if info.mismatch(wanted) is not None:
                raise mismatch_error(info, wanted)
        return list(map(info.to_wire, wanted))


@dataclass(frozen=True, slots=True)
class ExactSerializer:
    """Encodes whatever plain data comes, with no type declared."""

    def dumps(self, value: Any) -> bytes:
        return exact.dumps(value)

    def loads(self, data: bytes | memoryview) -> Any:
        return exact.loads(data)

    def dumps_batch(self, values: list[Any]) -> bytes:
        return exact.dumps_batch(values)

    def loads_batch(self, data: bytes | memoryview) -> list[Any]:
        return exact.loads_batch(data)


@dataclass(frozen=True, repr=False)
class GenericTypeInfo(TypeInformation[Any]):
    """Records whose type nobody declared: any plain data, kept exactly."""

    @property
    def name(self) -> str:
        return "GENERIC"

    @property
    def immutable(self) -> bool:
        return False

    def mismatch(self, values: Sequence[Any]) -> str | None:
        return None

    def serializer(self) -> Serializer[Any]:
        return ExactSerializer()


@dataclass(frozen=True, repr=False)
class PickledBytesTypeInfo(TypeInformation[Any]):
    """Whatever cloudpickle can carry. Reading a value can run any code: only for data from trusted places."""

    @property
    def name(self) -> str:
        return "PICKLED_BYTE_ARRAY"

    @property
    def immutable(self) -> bool:
        return False

    def mismatch(self, values: Sequence[Any]) -> str | None:
        return None

    @property
    def is_plain(self) -> bool:
        return False

    def to_wire(self, value: Any) -> bytes:
        import cloudpickle

        try:
            return cloudpickle.dumps(value)  # type: ignore[no-any-return]  # untyped, returns bytes
        except (
            TypeError,
            AttributeError,
            ValueError,
            RecursionError,
            pickle.PicklingError,
        ) as error:
            raise RecordSerializationError(
                f"{excerpt(value)} cannot be pickled ({error})",
                fix="records are data: leave connections, locks, files and generators out of them",
            ) from error

    def from_wire(self, data: Any) -> Any:
        return pickle.loads(data)


def mismatch_error(info: TypeInformation[Any], values: Sequence[Any]) -> RecordSerializationError:
    """The error for a batch that does not fit; shows the first value at fault."""
    value, reason = next(
        ((value, reason) for value in values if (reason := info.mismatch((value,))) is not None),
        (values, info.mismatch(values)),
    )
    return RecordSerializationError(
        f"{excerpt(value)} is not of the declared type {info.name}: {reason}",
        fix="declare the type that the function really returns (output_type= or its type hint), or convert the value in the function",
    )


GENERIC: TypeInformation[Any] = GenericTypeInfo()
"""The type of records that declare none."""
