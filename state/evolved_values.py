"""Reads the values of a restored table as the job declares them now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ..core.types import TypeInformation, TypeSchema, conversion, reading_type, schema_of


class EvolvedValues:
    """Decodes what was written with an earlier schema that fits (`difference` has found nothing).

    Args:
        written: the schema of then; None: as declared, but for fields of records, which are mapped by name anyway.
        declared: the type of now.
    """

    def __init__(self, written: TypeSchema | None, declared: TypeInformation[Any]) -> None:
        read = declared if written is None else reading_type(written.root)
        self._serializer: Final = read.serializer()
        self._convert: Final[Callable[[Any], Any] | None] = (
            None if written is None else conversion(written, schema_of(declared))
        )

    def loads(self, data: bytes | memoryview) -> Any:
        """One value. Raises RecordSerializationError: these are not bytes of a value, or its class is gone."""
        value = self._serializer.loads(data)
        return value if self._convert is None else self._convert(value)

    def loads_batch(self, data: bytes | memoryview) -> list[Any]:
        """Many values. Raises as `loads`."""
        values = self._serializer.loads_batch(data)
        return values if self._convert is None else list(map(self._convert, values))
