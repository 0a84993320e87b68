"""The classes a user derives functions on joined streams from; names are Java Flink's, as PyFlink has no joins of DataStreams."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, Generic, TypeVar

from .functions import Function, OutputTag

IN1 = TypeVar("IN1")
IN2 = TypeVar("IN2")
OUT = TypeVar("OUT")


class JoinFunction(Function, ABC, Generic[IN1, IN2, OUT]):
    """One result per pair of records."""

    @abstractmethod
    def join(self, first: IN1, second: IN2) -> OUT:
        """The result for a record of the first stream and one of the second with the same key in the same window."""


class FlatJoinFunction(Function, ABC, Generic[IN1, IN2, OUT]):
    """Any number of results per pair of records."""

    @abstractmethod
    def join(self, first: IN1, second: IN2) -> Iterable[OUT] | None:
        """The results: a list, a generator, or None for nothing."""


class CoGroupFunction(Function, ABC, Generic[IN1, IN2, OUT]):
    """Any number of results per key and window, from the records of both streams."""

    @abstractmethod
    def co_group(self, first: Sequence[IN1], second: Sequence[IN2]) -> Iterable[OUT] | None:
        """The results; one of the two may be empty, but not both."""


class ProcessJoinFunction(Function, ABC, Generic[IN1, IN2, OUT]):
    """Any number of results and side outputs per pair of records in an interval join."""

    class Context(ABC):
        """Valid during the call alone."""

        @abstractmethod
        def get_left_timestamp(self) -> int:
            """Event time (ms) of the left record."""

        @abstractmethod
        def get_right_timestamp(self) -> int:
            """Event time (ms) of the right record."""

        @abstractmethod
        def get_timestamp(self) -> int:
            """Event time (ms) of the results: the later one of the two."""

        @abstractmethod
        def output(self, tag: OutputTag[Any], value: Any) -> None:
            """Send `value` to the side output `tag`, in its place among what is yielded."""

    @abstractmethod
    def process_element(
        self, left: IN1, right: IN2, ctx: ProcessJoinFunction.Context
    ) -> Iterable[OUT | tuple[OutputTag[Any], Any]] | None:
        """Results, yielded or returned; a pair `(tag, value)` goes to a side output."""
