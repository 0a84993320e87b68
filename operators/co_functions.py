"""The classes a user derives functions on two connected streams from. Names and arguments are PyFlink's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, Generic, TypeAlias, TypeVar

from .functions import Function, KeyedProcessFunction, OutputTag, ProcessFunction

IN1 = TypeVar("IN1")
IN2 = TypeVar("IN2")
OUT = TypeVar("OUT")
K = TypeVar("K")


class CoMapFunction(Function, ABC, Generic[IN1, IN2, OUT]):
    """One result per record, by one method for each input. A result of None is none, as in PyFlink."""

    @abstractmethod
    def map1(self, value: IN1) -> OUT:
        """The result for a record of the first input."""

    @abstractmethod
    def map2(self, value: IN2) -> OUT:
        """The result for a record of the second input."""


class CoFlatMapFunction(Function, ABC, Generic[IN1, IN2, OUT]):
    """Any number of results per record, by one method for each input."""

    @abstractmethod
    def flat_map1(self, value: IN1) -> Iterable[OUT] | None:
        """The results for a record of the first input: a list, a generator, or None for nothing."""

    @abstractmethod
    def flat_map2(self, value: IN2) -> Iterable[OUT] | None:
        """The results for a record of the second input."""


class CoProcessFunction(Function, ABC, Generic[IN1, IN2, OUT]):
    """Any number of results and side outputs per record of either input.

    Nothing is promised about the order in which records of the two inputs come.
    """

    Context: TypeAlias = ProcessFunction.Context

    @abstractmethod
    def process_element1(
        self, value: IN1, ctx: CoProcessFunction.Context
    ) -> Iterable[OUT | tuple[OutputTag[Any], Any]] | None:
        """Results for a record of the first input; a pair `(tag, value)` goes to a side output."""

    @abstractmethod
    def process_element2(
        self, value: IN2, ctx: CoProcessFunction.Context
    ) -> Iterable[OUT | tuple[OutputTag[Any], Any]] | None:
        """The same for a record of the second input."""


class KeyedCoProcessFunction(Function, ABC, Generic[K, IN1, IN2, OUT]):
    """As `CoProcessFunction`, with timers and keyed state, which both inputs share under one key."""

    Context: TypeAlias = KeyedProcessFunction.Context
    OnTimerContext: TypeAlias = KeyedProcessFunction.OnTimerContext

    @abstractmethod
    def process_element1(
        self, value: IN1, ctx: KeyedCoProcessFunction.Context
    ) -> Iterable[OUT | tuple[OutputTag[Any], Any]] | None:
        """Results for a record of the first input; a pair `(tag, value)` goes to a side output."""

    @abstractmethod
    def process_element2(
        self, value: IN2, ctx: KeyedCoProcessFunction.Context
    ) -> Iterable[OUT | tuple[OutputTag[Any], Any]] | None:
        """The same for a record of the second input."""

    def on_timer(
        self, timestamp: int, ctx: KeyedCoProcessFunction.OnTimerContext
    ) -> Iterable[OUT | tuple[OutputTag[Any], Any]] | None:
        """A timer of the current key is due. Results as for records; none by default."""
        del timestamp, ctx
        return None
