"""What the readers of a source and its enumerator tell each other, and side outputs of a source."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from millstream import OutputTag, StreamExecutionEnvironment, Types, WatermarkStrategy
from millstream.connectors.base import (
    Boundedness,
    EndOfSource,
    NothingAvailable,
    SourceBatch,
    SourceReaderContext,
    SplitEnumeratorContext,
)

REFUSED = OutputTag("refused", Types.STRING())


@dataclass(frozen=True)
class Split:
    split_id: str


class Talkative:
    """Each reader greets the enumerator, which tells all readers once all have; a reader ends when it has heard of all of them, and
    fails once before."""

    boundedness = Boundedness.BOUNDED

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def create_enumerator(self, context: SplitEnumeratorContext[Split], restored: bytes | None) -> Enumerator:
        return Enumerator(context)

    def create_reader(self, context: SourceReaderContext) -> Reader:
        return Reader(context, Path(self.folder))

    def encode_split(self, split: Split) -> bytes:
        return split.split_id.encode()

    def decode_split(self, data: bytes) -> Split:
        return Split(data.decode())


class Enumerator:
    def __init__(self, context: SplitEnumeratorContext[Split]) -> None:
        self.context = context
        self.greetings: list[tuple[int, bytes]] = []

    def start(self) -> None: ...

    def add_reader(self, subtask: int) -> None:
        self.context.assign_splits({subtask: [Split(str(subtask))]})

    def handle_split_request(self, subtask: int) -> None: ...

    def add_splits_back(self, splits: Sequence[Split]) -> None: ...

    def handle_source_event(self, subtask: int, event: bytes) -> None:
        self.greetings.append((subtask, event))
        if len(self.greetings) == 2 * self.context.parallelism:
            for reader in range(self.context.parallelism):
                for _, greeting in sorted(self.greetings):
                    self.context.send_event_to_reader(reader, greeting)

    def snapshot_state(self, checkpoint_id: int) -> bytes:
        return b""

    def close(self) -> None: ...


class Reader:
    def __init__(self, context: SourceReaderContext, folder: Path) -> None:
        self.context = context
        self.failed_once = folder / "failed"
        self.heard: list[bytes] = []
        self.split: Split | None = None
        self.emitted = False

    def start(self) -> None:
        assert not self.context.checkpointing

    def add_splits(self, splits: Sequence[Split]) -> None:
        [self.split] = splits
        for number in range(2):  # told in this order
            self.context.send_source_event(f"{self.context.subtask}-{number}".encode())

    def handle_source_event(self, event: bytes) -> None:
        assert self.split is not None
        self.heard.append(event)

    def notify_no_more_splits(self) -> None: ...

    def poll_next(self, max_records: int) -> Any:
        if len(self.heard) < 2 * self.context.parallelism:
            return NothingAvailable(60_000)  # an event ends the waiting
        if self.context.subtask == 1 and not self.failed_once.exists():
            self.failed_once.touch()
            raise ValueError("planned")
        if self.emitted:
            return EndOfSource()
        self.emitted = True
        values = [event.decode() for event in self.heard]
        return SourceBatch(str(self.context.subtask), values[1:], side={"refused": values[:1]})

    def snapshot_state(self, checkpoint_id: int) -> list[Split]:
        return []

    def notify_checkpoint_complete(self, checkpoint_id: int) -> None: ...

    def close(self) -> None: ...


def test_all_hear_each_other_in_order_and_again_after_a_restart(tmp_path: Path) -> None:
    env = StreamExecutionEnvironment.get_execution_environment()
    env.configure({"restart-strategy.type": "fixed-delay", "restart-strategy.fixed-delay.delay": "1 ms"})
    env.set_parallelism(3)
    stream = env.from_source(
        Talkative(str(tmp_path)), WatermarkStrategy.no_watermarks(), "talkative", Types.STRING()
    )
    main, side = stream.map(lambda text: (os.getpid(), text)), stream.get_side_output(REFUSED)
    both = main.union(side.rebalance().map(lambda text: (0, text)))
    with both.execute_and_collect() as results:
        found = list(results)
    by_worker: dict[int, list[str]] = {}
    for worker, text in found:
        by_worker.setdefault(worker, []).append(text)
    assert set(by_worker.pop(0)) == {"0-0"}
    heard = ["0-1", "1-0", "1-1", "2-0", "2-1"]
    for texts in by_worker.values():  # without checkpoints, what was sent before the failure stands
        assert texts in (heard, heard * 2)
    assert len(by_worker) == 3
    assert (tmp_path / "failed").exists()
