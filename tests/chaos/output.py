"""What a run has written, as others see it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Protocol

from tests.chaos.schedule import Plan
from tests.integration.engine.harness import Workshop
from tests.services.availability import unique_name

PARTITIONS = 2


class Output(Protocol):
    """Where the job of a run writes to.

    Attributes:
        address: as the job takes it.
    """

    address: str

    def committed(self) -> Counter[str]:
        """How often each line is there, for everybody. Once the job has ended."""

    def litter(self) -> str:
        """What is there that never will be anybody's; empty: nothing."""


class Files:
    """A folder."""

    def __init__(self, workshop: Workshop) -> None:
        self.address = str(workshop.out)
        self._workshop = workshop

    def committed(self) -> Counter[str]:
        return self._workshop.committed()

    def litter(self) -> str:
        return f"hidden files: {hidden[:5]}" if (hidden := self._workshop.hidden()) else ""


class Topic:
    """A topic of its own, read as `read_committed`."""

    def __init__(self, servers: str) -> None:
        from millstream.dev.kafka import create_topic

        self._servers, self._name = servers, unique_name("chaos")
        create_topic(servers, self._name, partitions=PARTITIONS)
        self.address = f"kafka://{servers}/{self._name}"

    def committed(self) -> Counter[str]:
        from tests.integration.kafka.harness import committed_values

        return Counter(committed_values(self._servers, self._name, PARTITIONS))

    def litter(self) -> str:
        from tests.integration.kafka_jobs.transactions import unfinished_transactions

        unfinished = unfinished_transactions(self._servers, self._name)
        return f"transactions: {unfinished[:5]}" if unfinished else ""


def output_of(plan: Plan, workshop: Workshop, servers: Callable[[], str]) -> Output:
    """Of a run; `servers` are asked for where there is a topic to make."""
    return Topic(servers()) if plan.sink == "kafka" else Files(workshop)
