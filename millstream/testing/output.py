"""A sink whose records a test reads."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import msgspec

from ..connectors.base import SinkWriterContext
from . import living

T = TypeVar("T")

_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What one writer wrote between two checkpoints of an output."""

    output: int
    number: int


class Output(Generic[T]):
    """The records of a stream, made by `MiniCluster.collect`.

    Without checkpoints records are there at once and, after a failure, perhaps again; with checkpoints each is there once, when
    the checkpoint that covers it has completed. What a checkpoint holds stays with its output: a job that starts from it and
    writes to another one commits the records of the checkpoint here.

    Attributes:
        records: all so far, those of one subtask in order.
    """

    def __init__(self) -> None:
        self.records: list[T] = []
        self._at_once = True
        self._prepared: dict[int, list[T]] = {}
        self._numbers = itertools.count()
        self._number = living.register(self)

    # ---- by the job; see `connectors.base.Sink`

    def create_writer(self, context: SinkWriterContext[_Prepared]) -> _Writer[T]:
        return _Writer(self)

    def create_committer(self) -> _Committer:
        return _Committer()

    def encode_committable(self, committable: _Prepared) -> bytes:
        return msgspec.msgpack.encode([_VERSION, committable.output, committable.number])

    def decode_committable(self, data: bytes) -> _Prepared:
        _, output, number = msgspec.msgpack.decode(data)
        return _Prepared(output, number)

    def __reduce__(self) -> tuple[object, ...]:
        return living.find, (self._number,)

    def _prepare(self, records: list[T]) -> _Prepared:
        prepared = _Prepared(self._number, next(self._numbers))
        self._prepared[prepared.number] = records
        return prepared

    def _show(self, prepared: _Prepared) -> None:
        self.records += self._prepared.pop(prepared.number, ())


class _Writer(Generic[T]):
    def __init__(self, output: Output[T]) -> None:
        self._output = output
        self._records: list[T] = output.records if output._at_once else []

    def write_batch(self, values: Sequence[T], timestamps: Sequence[int] | None) -> None:
        self._records += values

    def flush(self, end_of_input: bool) -> None:
        """Nothing to wait for."""

    def prepare_commit(self, checkpoint_id: int) -> list[_Prepared]:
        if self._output._at_once or not self._records:
            return []
        records, self._records = self._records, []
        return [self._output._prepare(records)]

    def close(self) -> None:
        """What was not prepared is gone."""


class _Committer:
    def commit(self, committables: Sequence[_Prepared]) -> None:
        for prepared in committables:
            output: Output[Any] | None = living.known(prepared.output)
            if output is not None:  # of a test that is over otherwise
                output._show(prepared)

    def close(self) -> None:
        """Nothing is held open."""
