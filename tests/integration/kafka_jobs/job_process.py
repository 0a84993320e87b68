"""A job under `millstream run`, as a process tree that can be killed and resumed, with what it wrote compared to what it should."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tests.integration.job_process import JobProcess
from tests.integration.kafka.harness import committed_values
from tests.integration.kafka_jobs.events import (
    OUT_OF_ORDER_MS,
    PARTITIONS,
    WINDOW_MS,
    EventFeed,
    expected_results,
    records_in_partitions,
)
from tests.integration.kafka_jobs.transactions import unfinished_transactions

PROGRAM: Final = Path(__file__).with_name("window_job.py")
EVENTS: Final = 200_000
PER_SECOND: Final = 12_000


class WindowJob(JobProcess):
    """The window job with its topics and its feed, for one test; whatever runs is killed at the end of the block.

    Args:
        folder: an empty one, for checkpoints and logs.
        spec: more of what `window_job.py` takes.
    """

    def __init__(
        self,
        servers: str,
        topics: tuple[str, str],
        folder: Path,
        *,
        events: int = EVENTS,
        guarantee: str = "EXACTLY_ONCE",
        **spec: Any,
    ) -> None:
        self.servers = servers
        self.input, self.output = topics
        self.prefix = f"tx-{self.output}"
        self.feed = EventFeed(servers, self.input, events, PER_SECOND)
        given = {
            "servers": servers,
            "input": self.input,
            "output": self.output,
            "ends": records_in_partitions(events),
            "prefix": self.prefix,
            "guarantee": guarantee,
            "window_ms": WINDOW_MS,
            "out_of_order_ms": OUT_OF_ORDER_MS,
            "orders": str(folder / "savepoints"),
            **spec,
        }
        super().__init__(PROGRAM, folder, given)

    # -- the end --------------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Let all events through and see the job finish by itself."""
        self.feed.release()
        status = self.ended()
        assert status == 0, self.tail()

    def written(self) -> list[str]:
        """What a `read_committed` consumer gets, sorted; waits for the last stable offset to reach the end."""
        return committed_values(self.servers, self.output, PARTITIONS)

    def expected(self) -> list[str]:
        """What it must be."""
        return expected_results(self.feed.count)

    def check_exactly_once(self) -> None:
        """Every result exactly once for `read_committed`, and no transaction left that is not over."""
        written, expected = self.written(), self.expected()
        assert len(written) == len(set(written)), f"{_first_repeated(written)} was written more than once"
        assert written == expected, _difference(written, expected)
        self.check_nothing_is_open()

    def check_nothing_is_open(self) -> None:
        """Every transaction of the job is committed or aborted."""
        unfinished = unfinished_transactions(self.servers, self.prefix)
        assert not unfinished, f"not over: {unfinished}"

    def __enter__(self) -> Self:
        self.feed.__enter__()
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.feed.__exit__(kind, error, traceback)
        super().__exit__(kind, error, traceback)


def _first_repeated(values: Sequence[str]) -> str:
    return next(one for one, other in pairwise(values) if one == other)


def _difference(written: Sequence[str], expected: Sequence[str]) -> str:
    missing, wrong = sorted(set(expected) - set(written)), sorted(set(written) - set(expected))
    return f"{len(missing)} results are missing, e.g. {missing[:3]}; {len(wrong)} are wrong, e.g. {wrong[:3]}"
