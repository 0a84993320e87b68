"""Evictors: what takes elements out of a window before or after its function."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic

from ..core.arguments import check_number
from ..core.errors import JobDefinitionError
from ..core.time import TimeLike, to_millis
from .count_triggers import check_count, delta_of
from .window_types import T, W


@dataclass(frozen=True, slots=True)
class TimestampedValue(Generic[T]):
    """A record in a window, with its event time (ms), None if it has none.

    >>> TimestampedValue("a", 5).get_timestamp()
    5
    """

    value: T
    timestamp: int | None = None

    def get_value(self) -> T:
        """The record."""
        return self.value

    def get_timestamp(self) -> int:
        """Its event time (ms).

        Raises:
            ValueError: it has none; see `has_timestamp`.
        """
        if self.timestamp is None:
            message = f"the record {self.value!r} has no timestamp"
            raise ValueError(message)
        return self.timestamp

    def has_timestamp(self) -> bool:
        """Whether it has an event time."""
        return self.timestamp is not None


class Evictor(ABC, Generic[T, W]):
    """Takes elements out of a firing window, for good: they are in no later firing either.

    A window with an evictor keeps all its records, also where they are reduced or aggregated: that is done at each firing.
    """

    class EvictorContext(ABC):
        """Valid during the call alone."""

        @abstractmethod
        def get_current_processing_time(self) -> int:
            """The machine's clock, ms since the epoch."""

        @abstractmethod
        def get_current_watermark(self) -> int:
            """The watermark (ms) the operator has reached."""

    @abstractmethod
    def evict_before(
        self, elements: list[TimestampedValue[T]], size: int, window: W, evictor_context: EvictorContext
    ) -> None:
        """Take what is to go out of the list, before the function sees it. `size` is its length; elements are in the order in
        which they came, but where windows were merged."""

    @abstractmethod
    def evict_after(
        self, elements: list[TimestampedValue[T]], size: int, window: W, evictor_context: EvictorContext
    ) -> None:
        """The same after the function; the list is what `evict_before` left of it."""


class _OneTimeEvictor(Evictor[Any, Any]):
    """Evicts either before or after the function."""

    def __init__(self, do_evict_after: bool) -> None:
        self._after = do_evict_after

    def evict_before(
        self, elements: list[Any], size: int, window: Any, evictor_context: Evictor.EvictorContext
    ) -> None:
        if not self._after:
            elements[:] = self._kept(elements)

    def evict_after(
        self, elements: list[Any], size: int, window: Any, evictor_context: Evictor.EvictorContext
    ) -> None:
        if self._after:
            elements[:] = self._kept(elements)

    @abstractmethod
    def _kept(self, elements: list[TimestampedValue[Any]]) -> list[TimestampedValue[Any]]:
        """The elements that stay."""


class CountEvictor(_OneTimeEvictor):
    """Keeps the last so many elements.

    >>> CountEvictor.of(3)
    CountEvictor(3)
    """

    def __init__(self, count: int, do_evict_after: bool = False) -> None:
        super().__init__(do_evict_after)
        check_count("size of an evictor", count)
        self._count = count

    @staticmethod
    def of(max_count: int, do_evict_after: bool = False) -> CountEvictor:
        """Keeps at most `max_count` elements.

        Raises:
            JobDefinitionError: it is no positive number.
        """
        return CountEvictor(max_count, do_evict_after)

    def _kept(self, elements: list[TimestampedValue[Any]]) -> list[TimestampedValue[Any]]:
        return elements[-self._count :]

    def __repr__(self) -> str:
        return f"CountEvictor({self._count})"


class TimeEvictor(_OneTimeEvictor):
    """Keeps the elements less than a length of time older than the newest; all of them where they have no timestamps.

    >>> TimeEvictor.of(5_000)
    TimeEvictor(5000 ms)
    """

    def __init__(self, window_size: int, do_evict_after: bool = False) -> None:
        super().__init__(do_evict_after)
        if type(window_size) is not int or window_size <= 0:
            raise JobDefinitionError(
                f"the time an evictor keeps must be positive, not {window_size} ms",
                fix="give for example Duration.of_seconds(10)",
            )
        self._window_size = window_size

    @staticmethod
    def of(window_size: TimeLike, do_evict_after: bool = False) -> TimeEvictor:
        """Keeps elements of the last `window_size`, counted from the newest element.

        Raises:
            JobDefinitionError: it is not positive.
        """
        return TimeEvictor(to_millis(window_size), do_evict_after)

    def _kept(self, elements: list[TimestampedValue[Any]]) -> list[TimestampedValue[Any]]:
        if not elements or not elements[0].has_timestamp():
            return elements
        oldest = max(element.get_timestamp() for element in elements) - self._window_size
        return [element for element in elements if element.get_timestamp() > oldest]

    def __repr__(self) -> str:
        return f"TimeEvictor({self._window_size} ms)"


class DeltaEvictor(_OneTimeEvictor):
    """Keeps the elements that are close to the last one.

    >>> DeltaEvictor.of(10, lambda element, last: last - element)
    DeltaEvictor(10)
    """

    def __init__(
        self, threshold: float, delta_function: Callable[[Any, Any], float], do_evict_after: bool = False
    ) -> None:
        super().__init__(do_evict_after)
        check_number("threshold of a DeltaEvictor", threshold, positive=False, fix="give for example 10.0")
        self._threshold = threshold
        self._delta = delta_of(delta_function)

    @staticmethod
    def of(
        threshold: float, delta_function: Callable[[Any, Any], float], do_evict_after: bool = False
    ) -> DeltaEvictor:
        """Evicts elements with `delta_function(element, last) >= threshold`.

        Args:
            delta_function: a callable, or an object with `get_delta(old_data_point, new_data_point)`.

        Raises:
            JobDefinitionError: `delta_function` cannot be called.
        """
        return DeltaEvictor(threshold, delta_function, do_evict_after)

    def _kept(self, elements: list[TimestampedValue[Any]]) -> list[TimestampedValue[Any]]:
        if not elements:
            return elements
        last = elements[-1].value
        return [element for element in elements if self._delta(element.value, last) < self._threshold]

    def __repr__(self) -> str:
        return f"DeltaEvictor({self._threshold})"
