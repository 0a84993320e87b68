"""The events of the exactly-once proof: seeded by nothing but their number, sent at a steady rate, and counted in plain Python."""

from __future__ import annotations

import threading
from collections import defaultdict
from types import TracebackType
from typing import Final, Self

from confluent_kafka import Producer

from millstream.core.clock import SystemClock
from tests.integration.kafka.harness import wait_until

PARTITIONS: Final = 2
WINDOW_MS: Final = 1_000
OUT_OF_ORDER_MS: Final = 1_000
_KEYS: Final = 100
_FIRST_MS: Final = SystemClock().now_ms() // WINDOW_MS * WINDOW_MS
"""Of today: a broker that died forgets the sequence numbers of producers whose last record is dated more than
`producer.id.expiration.ms` (a day) ago, and then takes a repeated batch of the feed for a new one."""
_TICK_S: Final = 0.02


def event(number: int) -> tuple[str, int, int]:
    """Key, value and event time (ms): a millisecond for each event, out of order by up to 400 of them."""
    return f"k{number * 31 % _KEYS}", number % 97, _FIRST_MS + number - number * 7919 % 400


def partition_of(number: int) -> int:
    """Where it is sent: every key is in every partition, so a window's result needs both."""
    return number // 3 % PARTITIONS


def records_in_partitions(count: int) -> list[int]:
    """How many of the first `count` events each partition holds."""
    held = [0] * PARTITIONS
    for number in range(count):
        held[partition_of(number)] += 1
    return held


def expected_results(count: int) -> list[str]:
    """What the job must write for the first `count` events, sorted."""
    windows: dict[tuple[str, int], list[int]] = defaultdict(lambda: [0, 0])
    for number in range(count):
        key, value, time_ms = event(number)
        window = windows[key, time_ms // WINDOW_MS * WINDOW_MS]
        window[0] += value
        window[1] += 1
    return sorted(f"{key},{start},{total},{held}" for (key, start), (total, held) in windows.items())


class EventFeed:
    """Sends the events in order at a steady rate, but holds the last tenth back until `release`. A context manager.

    So a job that is bounded by the last event runs for as long as the test wants. The nearer the feed comes to what it
    holds back, the slower it gets: it never falls silent, also where a machine takes minutes for the test.
    """

    def __init__(self, bootstrap_servers: str, topic: str, count: int, per_second: int) -> None:
        self.count = count
        self.sent = 0
        self.ticks = 0
        self._topic = topic
        self._per_tick = int(per_second * _TICK_S)
        self._end = count * 9 // 10
        self._released = False
        self._stop = threading.Event()
        # Idempotent, so that a broker that restarts gets every event once; with room for all while it is away.
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap_servers,
                "enable.idempotence": True,
                "linger.ms": 5,
                "log_level": 0,
                "queue.buffering.max.messages": 1_000_000,
            }
        )
        self._thread = threading.Thread(target=self._run, name="event feed")

    def release(self) -> None:
        """Send the rest, quickly."""
        self._per_tick *= 5
        self._end, self._released = self.count, True

    def wait_ticks(self, count: int) -> None:
        """Until it has sent something so many times; some 20 ms each."""
        wanted = self.ticks + count
        wait_until(lambda: self.ticks >= wanted, f"{count} ticks of the feed")

    def _run(self) -> None:
        while self.sent < self.count and not self._stop.wait(_TICK_S):
            left = self._end - self.sent
            share = self._per_tick if self._released else min(self._per_tick, max(1, left // 500))
            self._send(self.sent + min(share, left))
        assert self._stop.is_set() or self._producer.flush(60) == 0

    def _send(self, end: int) -> None:
        for number in range(self.sent, end):
            key, value, time_ms = event(number)
            self._producer.produce(
                self._topic, f"{key},{value}", key, partition_of(number), timestamp=time_ms
            )
        self._producer.poll(0)
        self.sent = end
        self.ticks += 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
