"""What a user derives to make watermarks of their own. Names and meaning are Flink's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from ..core.batch import Watermark

T = TypeVar("T")


class WatermarkOutput(ABC):
    """Where a watermark generator says what it found out."""

    @abstractmethod
    def emit_watermark(self, watermark: Watermark) -> None:
        """No record at or before `watermark.timestamp` follows in this split, but late ones. Marks the split active.

        One that is not above the last one is ignored."""

    @abstractmethod
    def mark_idle(self) -> None:
        """Until further notice this split does not hold back the watermark of the others."""

    @abstractmethod
    def mark_active(self) -> None:
        """The split holds back the watermark again. `emit_watermark` says so too."""


class WatermarkGenerator(ABC, Generic[T]):
    """Makes the watermarks of one split, or of the input of one subtask in the middle of a stream.

    An instance belongs to one split and is called in the order of its records. It is no part of a checkpoint: on replay a
    new one sees the records again.

    >>> class EndOfHour(WatermarkGenerator):
    ...     def on_event(self, event, event_timestamp, output):
    ...         if event == "end of hour":
    ...             output.emit_watermark(Watermark(event_timestamp))
    """

    @abstractmethod
    def on_event(self, event: T, event_timestamp: int, output: WatermarkOutput) -> None:
        """Called for every record, after its timestamp was assigned (ms; `MIN_TIMESTAMP` if it has none). A watermark emitted
        here follows right behind the record."""

    def on_periodic_emit(
        self, output: WatermarkOutput
    ) -> None:  # a punctuated generator has nothing to do here
        """Called every `pipeline.auto-watermark-interval` (200 ms by default; never at 0)."""
