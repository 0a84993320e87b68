"""The sink behind `execute_and_collect`: results travel to the client, each once.

With checkpoints, results are held until the checkpoint that covers them is complete and then sent under its id, so that a
repeated delivery is recognised by the client. Without checkpoints they are sent at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import msgspec

from ..core.batch import RecordBatch
from ..core.types import TypeInformation
from .base import Operator, OperatorContext, OperatorSnapshotParts

_PENDING: Final = "collected"
_FULL: Final = 1_000


class _Held(msgspec.Struct, frozen=True, array_like=True):
    checkpoint_id: int
    origin: str
    data: bytes


@dataclass(frozen=True, slots=True)
class CollectSpec:
    """Sends the records of the stream to the client."""

    value_type: TypeInformation[Any]
    kind: ClassVar[str] = "Collect"

    def user_functions(self) -> Sequence[Any]:
        return ()

    def create(self) -> Operator:
        return _CollectOperator(self.value_type)


class _CollectOperator(Operator):
    def __init__(self, value_type: TypeInformation[Any]) -> None:
        self._serializer = value_type.serializer()
        self._values: list[Any] = []
        self._held: list[_Held] = []

    def open(self, context: OperatorContext) -> None:
        super().open(context)
        self._send = context.send_to_client
        self._origin = f"{context.info.attempt}/{context.info.subtask}"
        self._checkpointing = context.info.checkpointing
        for item in context.restored_lists.get(_PENDING, ()):  # durable, but perhaps never sent
            held = msgspec.msgpack.decode(item, type=_Held)
            self._send(held.checkpoint_id, held.origin, held.data)

    def process_batch(self, batch: RecordBatch) -> None:
        self._values.extend(batch.values)
        if not self._checkpointing and len(self._values) >= _FULL:
            self.flush()

    def flush(self) -> None:
        if self._values and not self._checkpointing:
            values, self._values = self._values, []
            self._send(None, self._origin, self._serializer.dumps_batch(values))

    def finish(self) -> None:
        self.flush()

    def process_watermark(self, timestamp: int) -> None:
        """Nothing comes after a sink."""

    def process_status(self, idle: bool) -> None:
        """Nothing comes after a sink."""

    def snapshot(self, checkpoint_id: int) -> OperatorSnapshotParts:
        if self._values:
            self._held.append(_Held(checkpoint_id, self._origin, self._serializer.dumps_batch(self._values)))
            self._values = []
        return OperatorSnapshotParts(lists={_PENDING: [msgspec.msgpack.encode(held) for held in self._held]})

    def notify_checkpoint_complete(self, checkpoint_id: int) -> None:
        for held in self._held:
            if held.checkpoint_id <= checkpoint_id:
                self._send(held.checkpoint_id, held.origin, held.data)
        self._held = [held for held in self._held if held.checkpoint_id > checkpoint_id]

    def commit_without_checkpoint(self) -> None:
        """Everything has been sent already."""
