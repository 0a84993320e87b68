"""Jobs with large or expiring keyed state, for the figures about checkpoints and recovery."""

from __future__ import annotations

import string
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, Final

from millstream import (
    DataStream,
    KeyedProcessFunction,
    RuntimeContext,
    StateTtlConfig,
    Time,
    ValueStateDescriptor,
)
from millstream.connectors.base import SinkWriterContext

from .data import SEED

VALUE_BYTES = 1_000

# Long enough that a piece of it hardly ever repeats within a block of a file: what is stored must not compress to nothing.
_RANDOM_TEXT: Final = "".join(Random(SEED).choices(string.printable, k=1_000_000))


def payload(index: int) -> str:
    """A value of `VALUE_BYTES` characters that differs with `index` and looks random."""
    start = index * 7_919 % (len(_RANDOM_TEXT) - VALUE_BYTES)
    return f"{index:020d}{_RANDOM_TEXT[start : start + VALUE_BYTES - 20]}"


class RememberPayload(KeyedProcessFunction):
    """One value of `VALUE_BYTES` bytes for each key; every record replaces the one of its key.

    Args:
        ttl_s: seconds after which a value that was not written expires; never if None.
    """

    def __init__(self, ttl_s: int | None = None) -> None:
        self._ttl_s = ttl_s

    def open(self, runtime_context: RuntimeContext) -> None:
        descriptor = ValueStateDescriptor("payload", str)
        if self._ttl_s is not None:
            descriptor.enable_time_to_live(StateTtlConfig.new_builder(Time.seconds(self._ttl_s)).build())
        self._payload = runtime_context.get_state(descriptor)
        runtime_context.get_metrics_group().gauge("allocated_blocks", sys.getallocatedblocks)

    def process_element(self, value: int, ctx: KeyedProcessFunction.Context) -> Iterator[int]:
        self._payload.update(payload(value))
        yield value


def remember(stream: DataStream[Any], keys: int, ttl_s: int | None = None) -> DataStream[Any]:
    """The last payload of each of `keys` keys."""
    return stream.key_by(lambda index: index % keys, key_type=int).process(RememberPayload(ttl_s))


class FirstRecordSink:
    """Every writer notes in a file of its own when its first record came, in nanoseconds since the epoch."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def create_writer(self, context: SinkWriterContext[Any]) -> FirstRecordWriter:
        return FirstRecordWriter(Path(self._folder))


class FirstRecordWriter:
    """The writer of `FirstRecordSink`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._noted = False

    def write_batch(self, values: list[Any], timestamps: list[int] | None) -> None:
        if not self._noted:
            self._noted = True
            now_ns = time.time_ns()
            (self._folder / f"first-{now_ns}").write_text(str(now_ns))

    def flush(self, end_of_input: bool) -> None:
        pass

    def close(self) -> None:
        pass
