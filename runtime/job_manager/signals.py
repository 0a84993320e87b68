"""Ctrl-C and SIGTERM while a job runs in the main thread: the first cancels, the second ends everything at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Final, Self

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class SignalGuard:
    """While entered in the main thread, the first signal calls `cancel`, which must return at once; a second one raises.

    In other threads, and for a signal that is ignored (a job started with `nohup` or in the background of a script),
    nothing changes. The handlers from before are put back at the end.

    Args:
        wakeup_fd: gets a byte with every signal, so that a poll in the main thread ends.
        terminate: called for SIGTERM instead of `cancel`.
    """

    def __init__(
        self, cancel: Callable[[], object], wakeup_fd: int, terminate: Callable[[], object] | None = None
    ) -> None:
        self._cancel = cancel
        self._terminate = cancel if terminate is None else terminate
        self._wakeup_fd = wakeup_fd
        self._received: int | None = None
        self._before: dict[int, Any] = {}
        self._fd_before = -1

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._on_signal)
            self._fd_before = signal.set_wakeup_fd(self._wakeup_fd, warn_on_full_buffer=False)
        return self

    def __exit__(self, *exc_info: object) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.set_wakeup_fd(self._fd_before)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def raise_if_signalled(self) -> None:
        """End the program as the signal wants it: KeyboardInterrupt for SIGINT, exit status 143 for SIGTERM."""
        if self._received is not None:
            raise _exception_of(self._received)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._received is not None:
            raise _exception_of(number)
        self._received = number
        if number == signal.SIGTERM:
            self._terminate()
        else:
            self._cancel()


def _exception_of(number: int) -> BaseException:
    return KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)
