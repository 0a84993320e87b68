"""Writes the records that pass by to files, from which later jobs of the same environment read them (`connectors.cache`).

The files of one computation are in a folder of their own, named by job and attempt, and get their final names when the job has
ended well: a cache is complete when all parts of one computation are there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ..core.batch import RecordBatch
from ..core.record_files import FRAME_RECORDS, RecordCodec, RecordFile
from ..core.types import TypeInformation
from .base import Operator, OperatorContext


@dataclass(frozen=True, slots=True)
class CacheSpec:
    """`DataStream.cache`, in the job that computes the stream."""

    folder: str
    record_type: TypeInformation[Any]
    kind: ClassVar[str] = "Cache"

    def user_functions(self) -> Sequence[Any]:
        return ()

    def create(self) -> Operator:
        return _CacheOperator(self)


class _CacheOperator(Operator):
    def __init__(self, spec: CacheSpec) -> None:
        self._spec = spec
        self._codec = RecordCodec(spec.record_type)
        self._file: RecordFile | None = None
        self._values: list[Any] = []
        self._timestamps: list[int | None] = []

    def open(self, context: OperatorContext) -> None:
        super().open(context)
        info = context.info
        folder = Path(self._spec.folder) / f"{info.job_id}-{info.attempt}"
        folder.mkdir(parents=True, exist_ok=True)
        self._part = folder / f"part-{info.subtask}-of-{info.parallelism}"
        self._file = RecordFile(folder / f".{self._part.name}")

    def process_batch(self, batch: RecordBatch) -> None:
        self._values += batch.values
        self._timestamps += [None] * len(batch) if batch.timestamps is None else batch.timestamps
        if len(self._values) >= FRAME_RECORDS:
            self._write()
        self.output.emit(batch)

    def _write(self) -> None:
        values, timestamps = self._values, self._timestamps
        if values:
            assert self._file is not None
            self._values, self._timestamps = [], []
            self._file.append(self._codec.encode(values, timestamps))

    def finish(self) -> None:
        self._write()

    def commit_without_checkpoint(self) -> None:
        assert self._file is not None
        self._file.close()
        self._file.path.rename(self._part)
        self._file = None

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:  # not committed: nobody will read it
            file.close()
            file.path.unlink(missing_ok=True)
        super().close()
