"""Accumulators: values that the functions of a job add up, merged over all subtasks and returned with the job's result.

`RuntimeContext.add_accumulator(name, accumulator)` in `open`, `accumulator.add(value)` per record, and
`JobExecutionResult.get_accumulator_result(name)` at the end. They are part of checkpoints: after a restart the records that are
read again are not counted again.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Any, Generic, Self, TypeVar

V = TypeVar("V")
R = TypeVar("R")
N = TypeVar("N", int, float)

_INT_BOUND = (1 << 31) - 1
_LONG_BOUND = (1 << 63) - 1
_DOUBLE_BOUND = 1.7976931348623157e308


class Accumulator(ABC, Generic[V, R]):
    """Takes values of type `V`, and gives a result of type `R`. Derive from it for one of your own.

    A subclass keeps what it knows in attributes that hold plain data: these are checkpointed, and sent to the client. It
    must be possible to merge any two in any order, and an accumulator after `reset_local` must change nothing when merged.
    """

    @abstractmethod
    def add(self, value: V) -> None:
        """Take a value."""

    @abstractmethod
    def get_local_value(self) -> R:
        """The result of what was added and merged here."""

    @abstractmethod
    def reset_local(self) -> None:
        """Forget everything."""

    @abstractmethod
    def merge(self, other: Self) -> None:
        """Take what `other` knows, which is left as it is."""

    def clone(self) -> Self:
        """A copy that shares nothing."""
        return copy.deepcopy(self)

    def snapshot_state(self) -> Any:
        """What `restore_state` needs: plain data. By default the attributes."""
        return dict(vars(self))

    def restore_state(self, state: Any) -> None:
        """Become what `snapshot_state` saw."""
        vars(self).update(state)


class _Sum(Accumulator[N, N]):
    _zero: N

    def __init__(self, value: N | None = None) -> None:
        self._value: N = self._zero if value is None else value

    def add(self, value: N) -> None:
        self._value += value

    def get_local_value(self) -> N:
        return self._value

    def reset_local(self) -> None:
        self._value = self._zero

    def merge(self, other: Self) -> None:
        self._value += other._value


class IntCounter(_Sum[int]):
    """The sum of whole numbers.

    >>> counter = IntCounter()
    >>> counter.add(1)
    >>> counter.add(2)
    >>> counter.get_local_value()
    3
    """

    _zero = 0


class LongCounter(_Sum[int]):
    """The sum of whole numbers; as `IntCounter`, for programs that know it from Java."""

    _zero = 0


class DoubleCounter(_Sum[float]):
    """The sum of floating-point numbers.

    >>> counter = DoubleCounter(0.5)
    >>> counter.add(1)
    >>> counter.get_local_value()
    1.5
    """

    _zero = 0.0


class _Least(Accumulator[N, N]):
    _start: N

    def __init__(self, value: N | None = None) -> None:
        self._least: N = self._start if value is None else value

    def add(self, value: N) -> None:
        self._least = min(self._least, value)

    def get_local_value(self) -> N:
        return self._least

    def reset_local(self) -> None:
        self._least = self._start

    def merge(self, other: Self) -> None:
        self._least = min(self._least, other._least)


class _Most(Accumulator[N, N]):
    _start: N

    def __init__(self, value: N | None = None) -> None:
        self._most: N = self._start if value is None else value

    def add(self, value: N) -> None:
        self._most = max(self._most, value)

    def get_local_value(self) -> N:
        return self._most

    def reset_local(self) -> None:
        self._most = self._start

    def merge(self, other: Self) -> None:
        self._most = max(self._most, other._most)


class IntMinimum(_Least[int]):
    """The least number; before the first one the largest of 32 bits.

    >>> IntMinimum().get_local_value()
    2147483647
    """

    _start = _INT_BOUND


class IntMaximum(_Most[int]):
    """The greatest number; before the first one the smallest of 32 bits.

    >>> IntMaximum().get_local_value()
    -2147483648
    """

    _start = -_INT_BOUND - 1


class LongMinimum(_Least[int]):
    """The least number; before the first one the largest of 64 bits.

    >>> LongMinimum().get_local_value()
    9223372036854775807
    """

    _start = _LONG_BOUND


class LongMaximum(_Most[int]):
    """The greatest number; before the first one the smallest of 64 bits.

    >>> LongMaximum().get_local_value()
    -9223372036854775808
    """

    _start = -_LONG_BOUND - 1


class DoubleMinimum(_Least[float]):
    """The least number; before the first one the largest there is.

    >>> DoubleMinimum(2.5).get_local_value()
    2.5
    """

    _start = _DOUBLE_BOUND


class DoubleMaximum(_Most[float]):
    """The greatest number; before the first one the smallest there is.

    >>> DoubleMaximum(2.5).get_local_value()
    2.5
    """

    _start = -_DOUBLE_BOUND


class AverageAccumulator(Accumulator[float, float]):
    """The mean of numbers; 0.0 of none.

    >>> average = AverageAccumulator()
    >>> average.add(1)
    >>> average.add(2)
    >>> average.get_local_value()
    1.5
    """

    def __init__(self) -> None:
        self._count = 0
        self._sum = 0.0

    def add(self, value: float) -> None:
        self._count += 1
        self._sum += value

    def get_local_value(self) -> float:
        return self._sum / self._count if self._count else 0.0

    def reset_local(self) -> None:
        self._count, self._sum = 0, 0.0

    def merge(self, other: Self) -> None:
        self._count += other._count
        self._sum += other._sum


class Histogram(Accumulator[int, dict[int, int]]):
    """How often each number came, in the order of the numbers.

    >>> histogram = Histogram()
    >>> for number in (3, 1, 3):
    ...     histogram.add(number)
    >>> histogram.get_local_value()
    {1: 1, 3: 2}
    """

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}

    def add(self, value: int) -> None:
        self._counts[value] = self._counts.get(value, 0) + 1

    def get_local_value(self) -> dict[int, int]:
        return dict(sorted(self._counts.items()))

    def reset_local(self) -> None:
        self._counts = {}

    def merge(self, other: Self) -> None:
        for value, count in other._counts.items():
            self._counts[value] = self._counts.get(value, 0) + count


class ListAccumulator(Accumulator[V, list[V]]):
    """All values, in the order they came in each subtask. They are held in memory: for few.

    >>> values = ListAccumulator()
    >>> values.add("a")
    >>> values.get_local_value()
    ['a']
    """

    def __init__(self) -> None:
        self._values: list[V] = []

    def add(self, value: V) -> None:
        self._values.append(value)

    def get_local_value(self) -> list[V]:
        return list(self._values)

    def reset_local(self) -> None:
        self._values = []

    def merge(self, other: Self) -> None:
        self._values += other._values
