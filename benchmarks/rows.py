"""What is measured: each row compares the runtime with something else in the same run, and has the bar it should reach."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Measurement:
    """One side of a comparison.

    Attributes:
        engine: `loop` for the hand-written loop, `job` for the runtime.
        source: `collection` (events in memory, given to `from_collection`) or `generator` (a parallel source that computes
            them, part of the measured work).
    """

    engine: str
    workload: str
    records: int
    settings: dict[str, str] = field(default_factory=dict)
    source: str = "collection"

    def request(self) -> dict[str, Any]:
        return {
            "engine": self.engine,
            "workload": self.workload,
            "records": self.records,
            "settings": self.settings,
            "source": self.source,
        }


@dataclass(frozen=True, slots=True)
class Row:
    """A ratio of throughputs, `subject` over `baseline`, and the least it should be."""

    name: str
    subject: Measurement
    baseline: Measurement
    bar: float


def _against_loop(name: str, workload: str, bar: float, settings: dict[str, str] | None = None) -> Row:
    subject = Measurement("job", workload, 2 * MILLION, settings or {})
    return Row(name, subject, Measurement("loop", workload, 2 * MILLION), bar)


def _two_workers(name: str, workload: str, records: int, bar: float) -> Row:
    one = Measurement("job", workload, records, {}, "generator")
    two = Measurement("job", workload, records, {"parallelism.default": "2"}, "generator")
    return Row(name, two, one, bar)


def _checkpoint_cost(name: str, settings: dict[str, str]) -> Row:
    off = Measurement("job", "w3", 6 * MILLION, settings, "generator")
    on = {**settings, "execution.checkpointing.interval": "1 s", "execution.checkpointing.dir": "{folder}"}
    return Row(name, Measurement("job", "w3", 6 * MILLION, on, "generator"), off, 0.95)


ROCKSDB = {"state.backend.type": "rocksdb"}

ROWS = (
    _against_loop("W1 map, filter, map / calling loop", "w1", 0.8),
    _against_loop("W2 word count / calling loop", "w2", 0.6),
    _against_loop("W3 tumbling windows / calling loop", "w3", 0.65),
    _against_loop("W3 on RocksDB / calling loop", "w3", 0.45, ROCKSDB),
    _against_loop("W4 sliding windows / calling loop", "w4", 0.5),
    _two_workers("W3 at 2 workers / 1", "w3", 6 * MILLION, 1.1),
    _two_workers("W3 behind a 5 us function, 2 workers / 1", "w3_heavy", 3 * MILLION, 1.6),
    _checkpoint_cost("checkpoint every 1 s, W3 on heap / none", {}),
    _checkpoint_cost("checkpoint every 1 s, W3 on RocksDB / none", ROCKSDB),
)
EXCHANGE = Measurement("job", "exchange", 4 * MILLION, {}, "generator")
EXCHANGE_BAR_PER_S = 1.5 * MILLION
START_BAR_S = 0.5
