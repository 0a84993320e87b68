"""A subtask in BATCH mode: its input is read completely, and sorted if it is keyed, before its first record is processed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from ...core.batch import MAX_TIMESTAMP, RecordBatch, Watermark, WatermarkStatus
from ...core.clock import Clock
from ..exchange.record_writer import RecordWriter
from ..graph.execution_graph import Subtask
from .chain import Chain
from .collected_input import CollectedInput, Piece
from .input_task import InputTask, TaskInput
from .task import TaskEvents, split_batch

_WHOLE_BATCHES: Final = 1 << 30


class BlockingTask(InputTask):
    """First collects, then processes; there are no checkpoints.

    Watermarks and statuses of the input mean nothing, as its operators see the MAX watermark only: at the end, and keyed ones also
    after each key (`Operator.end_key`).
    """

    def __init__(
        self,
        subtask: Subtask,
        chain: Chain,
        writers: Sequence[RecordWriter],
        events: TaskEvents,
        clock: Clock,
        batch_size: int,
        inputs: Sequence[TaskInput],
        collected: CollectedInput,
        count: Callable[[str, int], None],
    ) -> None:
        super().__init__(subtask, chain, writers, events, clock, batch_size, inputs, exactly_once=True)
        self._collected = collected
        self._count = count
        self._pieces: Iterator[Piece | None] | None = None  # from the end of the input on
        self._rest: Piece | None = None

    def _take_input(self) -> bool:
        if self._pieces is None:
            return super()._take_input()
        if self.ended:
            return False
        if not all(operator.has_room for operator in self._buffering):
            self._note_blocked()
            return False
        self._process_some(self._pieces)
        return True

    def _limit(self) -> int:
        return _WHOLE_BATCHES if self._pieces is None else super()._limit()

    def _process_input(self, input_id: int, batch: RecordBatch) -> None:
        self.records_in += len(batch.values)
        self._collected.add(input_id - 1, batch)

    def _pass_on(self, elements: Sequence[Watermark | WatermarkStatus]) -> None:
        """Nothing is late, and nobody is idle, in an input that comes at once."""

    def _on_end(self, index: int) -> None:
        self._open_inputs.discard(index)
        if not self._open_inputs:
            self.end_input()

    def end_input(self) -> None:
        """The input has ended: now it is processed."""
        if self._collected.spilled_bytes:
            self._count("numBytesSpilled", self._collected.spilled_bytes)
        self._pieces = self._collected.pieces(self._batch_size)

    def _process_some(self, pieces: Iterator[Piece | None]) -> None:
        """As many records as there is room for, at most a batch: whole keys, or a part of one."""
        before_ms, before_out = self._clock.monotonic_ms(), self._records_out()
        limit = self._limit()
        taken = 0
        while taken < limit:
            piece = self._rest or next(pieces, _NO_MORE)
            self._rest = None
            if piece is None:
                break  # the sort needs more time
            if piece is _NO_MORE:
                self._finish_input()
                return
            taken += self._process_piece(piece, limit - taken)
        for operator in self.chain.operators:
            operator.end_of_batch()
        if any(pace.is_narrow for pace in self.paces):
            for writer in self.writers:
                writer.flush()
        self._adapt(taken, self._clock.monotonic_ms() - before_ms, self._records_out() - before_out)

    def _process_piece(self, piece: Piece, limit: int) -> int:
        """At most `limit` records of it; how many."""
        batch = piece.batch
        if len(batch.values) > limit:
            batch, rest = split_batch(batch, limit)
            self._rest = piece._replace(batch=rest)
            piece = piece._replace(batch=batch, ends_key=False)
        self._entry(piece.input_index + 1)(batch)
        if piece.ends_key:
            self.chain.operators[0].end_key()
        return len(batch.values)

    def _finish_input(self) -> None:
        if self._two_inputs is not None:
            self._two_inputs.end_input(1)
            self._two_inputs.end_input(2)
        self.watermark = MAX_TIMESTAMP
        self.chain.entry.process_watermark(MAX_TIMESTAMP)
        super().end_input()

    def close(self) -> None:
        try:
            self._collected.close()
        finally:
            super().close()


_NO_MORE: Final = Piece(0, RecordBatch([]), ends_key=False)
