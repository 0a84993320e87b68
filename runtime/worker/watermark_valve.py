"""The watermark of a task with several inputs: the minimum over the active, aligned ones. Pure.

Source: Flink's documented behaviour of watermark statuses; see the semantics in the user guide.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...core.batch import MIN_TIMESTAMP, Watermark, WatermarkStatus


@dataclass(slots=True)
class _Channel:
    watermark: int = MIN_TIMESTAMP
    idle: bool = False
    aligned: bool = True


class WatermarkValve:
    """Says which watermarks and statuses a task passes on. Watermarks never go back.

    An input that becomes active again after idleness does not hold the minimum back until it has caught up with it.
    When all inputs become idle, the largest watermark seen is passed on before the idle status.
    """

    def __init__(self, channels: int) -> None:
        self._channels = [_Channel() for _ in range(channels)]
        self._watermark = MIN_TIMESTAMP
        self._idle = False

    def on_watermark(self, channel: int, timestamp: int) -> list[Watermark | WatermarkStatus]:
        """An input's watermark advanced."""
        state = self._channels[channel]
        if state.idle or timestamp <= state.watermark:
            return []
        state.watermark = timestamp
        if not state.aligned and timestamp >= self._watermark:
            state.aligned = True
        return self._advance()

    def on_status(self, channel: int, idle: bool) -> list[Watermark | WatermarkStatus]:
        """An input became idle, or active again."""
        state = self._channels[channel]
        if state.idle == idle:
            return []
        state.idle = idle
        if idle:
            state.aligned = False
            if all(other.idle for other in self._channels):
                result = self._raise_to(max(other.watermark for other in self._channels))
                self._idle = True
                return [*result, WatermarkStatus(idle=True)]
            return self._advance()
        state.aligned = state.watermark >= self._watermark
        woken: list[Watermark | WatermarkStatus] = [WatermarkStatus(idle=False)] if self._idle else []
        self._idle = False
        # It may be the only aligned one, ahead of what was passed on while those behind it decided.
        return [*woken, *self._advance()]

    def _advance(self) -> list[Watermark | WatermarkStatus]:
        aligned = [state.watermark for state in self._channels if state.aligned and not state.idle]
        return self._raise_to(min(aligned)) if aligned else []

    def _raise_to(self, timestamp: int) -> list[Watermark | WatermarkStatus]:
        if timestamp <= self._watermark:
            return []
        self._watermark = timestamp
        return [Watermark(timestamp)]
