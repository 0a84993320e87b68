"""Calling a user's function on keyed state and timers: what operators with one and with two inputs have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from ..core.batch import RecordBatch
from ..core.types import TypeInformation
from ..state.backend import KeyedStateBackend
from ..state.key_context import KeyContext
from .base import OperatorContext
from .functions import TimeDomain
from .key_validation import KeyValidator
from .results import ResultCollector
from .timer_service import KeyedTimerService


class CallContext(Protocol):
    """What a user's function is given beside the record."""

    record_timestamp: int | None


class TimerCallContext(CallContext, Protocol):
    """The same when a timer fires."""

    domain: str


class KeyedCalls:
    """The keys, results and timers of one running function.

    Args:
        on_timer: the function's `on_timer`, None if it has none.

    Attributes:
        name: of the operator, for messages.
        timer_context: given to `on_timer`; set by the operator before the first record.
    """

    timer_context: TimerCallContext

    def __init__(
        self,
        context: OperatorContext,
        backend: KeyedStateBackend,
        key_type: TypeInformation[Any],
        on_timer: Callable[[int, Any], Iterable[Any] | None] | None,
    ) -> None:
        self.name = context.info.operator_name
        self.keys = KeyContext()
        self.results = ResultCollector(context)
        self.timers = KeyedTimerService(
            backend, self.keys, key_type, context.processing_time, self._on_timer, self.results.flush
        )
        self._validate = KeyValidator(key_type)
        self._on_timer_of_user = on_timer

    def process(
        self,
        batch: RecordBatch,
        key_of: Callable[[Any], Any],
        call: Callable[[Any, Any], Iterable[Any] | None],
        context: CallContext,
    ) -> None:
        """Call the function for each record under its key, and pass its results on."""
        keys, validate, collect, timers = self.keys, self._validate, self.results.collect, self.timers
        for value, timestamp in zip(batch.values, timestamps_of(batch), strict=True):
            keys.current_key = key = key_of(value)
            validate(key)
            context.record_timestamp = timestamp
            collect(call(value, context), timestamp)
            if timers.has_passed:  # at once, so that the outcome does not depend on how records were batched
                timers.fire_passed()
        self.results.flush()

    def advance_watermark(self, timestamp: int) -> None:
        """Event time advanced: fire what is due, and pass its results on."""
        self.timers.advance_watermark(timestamp)
        self.results.flush()

    def end_key(self) -> None:
        """In BATCH mode: fire all timers of the key, and pass their results on."""
        self.timers.end_key()
        self.results.flush()

    def _on_timer(self, timestamp: int, domain: str) -> None:
        if self._on_timer_of_user is None:
            return
        context = self.timer_context
        context.domain = domain
        context.record_timestamp = timestamp
        happened = timestamp if domain == TimeDomain.EVENT_TIME else None
        self.results.collect(self._on_timer_of_user(timestamp, context), happened)


def timestamps_of(batch: RecordBatch) -> Sequence[int | None]:
    """A timestamp for each record, None for each when nobody said when."""
    return [None] * len(batch.values) if batch.timestamps is None else batch.timestamps
