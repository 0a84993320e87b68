"""The results of a job, in the program that runs it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from .core.types import Serializer

if TYPE_CHECKING:
    from .data_stream import DataStream
    from .runtime.job_manager.client import JobClient

T = TypeVar("T")


class CollectedResults(Generic[T]):
    """An iterator over the records of a running job, and a context manager: closing it early cancels the job.

    Raises (while iterating):
        JobExecutionError: the job failed.
    """

    def __init__(self, client: JobClient, batches: Iterator[bytes], serializer: Serializer[T]) -> None:
        self._client = client
        self._records = (record for batch in batches for record in serializer.loads_batch(batch))
        self._ended = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        try:
            return next(self._records)
        except (
            BaseException
        ):  # the end, a failed job, or Ctrl-C while waiting: in any case there is nothing more
            self._ended = True
            raise

    def next(self) -> T:
        """The next record; StopIteration at the end. As PyFlink has it: use `for`."""
        return self.__next__()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def get_job_client(self) -> JobClient:
        """The client of the job."""
        return self._client

    def take(self, limit: int) -> list[T]:
        """At most `limit` more records; then the job is cancelled."""
        with self:
            return list(islice(self, limit))

    def close(self) -> None:
        """Cancel the job unless it has ended, and wait until nothing of it runs. Idempotent."""
        if not self._ended:
            self._ended = True
            self._records.close()
            self._client.cancel_and_wait()


def collect(stream: DataStream[T], job_name: str | None) -> CollectedResults[T]:
    """Start the job of `stream`, which ends in a sink that brings its records here."""
    from .operators.collect import CollectSpec

    type_info = stream.get_type()
    spec = CollectSpec(type_info)
    stream._then("Sink: Collect", spec, type_info)
    job, client = stream.get_execution_environment()._submit(job_name)
    (operator_id,) = (
        operator.operator_id
        for vertex in job.vertices
        for operator in vertex.operators
        if operator.operator is spec
    )
    client.run_in_background()
    return CollectedResults(client, client.results(operator_id), type_info.serializer())
