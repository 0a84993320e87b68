"""Sees to it that sinks' transactions are not aborted from outside before the job commits them.

Where the user left the checkpoint timeout and the longest restart pause at their defaults, both are shortened to what the
transactions allow; what the user has set stays, and a job whose settings contradict each other is refused.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Final

from ...connectors.base import HasTransactionTimeout
from ...core.configuration import Configuration, options
from ...core.errors import ConfigurationError
from ..graph.job_graph import JobGraph

_LOG: Final = logging.getLogger(__name__)
_SHARE_OF_PAUSE: Final = 4
"""The longest pause before a restart takes at most this part of a transaction's life, by default."""
_LEAST_TIMEOUT_MS: Final = 5_000
"""A checkpoint timeout below this would be a trap of its own."""


def check_transaction_timeouts(job: JobGraph, configuration: Configuration) -> None:
    """See that each transaction outlives what may lie between its begin and its commit. Nothing without checkpoints.

    Raises:
        ConfigurationError: one might not; says which settings to change.
    """
    if configuration.get(options.CHECKPOINTING_INTERVAL) is None:
        return
    needed_ms = longest_transaction_ms(configuration)
    for name, timeout_ms in _transactional_sinks(job):
        if timeout_ms < needed_ms:
            raise _too_short(name, timeout_ms, needed_ms, configuration)


def _transactional_sinks(job: JobGraph) -> Iterator[tuple[str, int]]:
    """Name and transaction timeout of each sink that has one."""
    for vertex in job.vertices:
        for operator in vertex.operators:
            sink: object = getattr(operator.operator, "sink", None)
            timeout_ms = sink.transaction_timeout_ms if isinstance(sink, HasTransactionTimeout) else None
            if timeout_ms is not None:
                yield operator.name, timeout_ms


def fit_to_transactions(job: JobGraph, configuration: Configuration) -> Configuration:
    """The configuration with defaults that suit the shortest transaction timeout of the job's sinks.

    Raises:
        ConfigurationError: see `check_transaction_timeouts`.
    """
    timeouts = [timeout_ms for _, timeout_ms in _transactional_sinks(job)]
    if configuration.get(options.CHECKPOINTING_INTERVAL) is None or not timeouts:
        return configuration
    shortest_ms = min(timeouts)
    fitted = Configuration(configuration)
    if longest_transaction_ms(fitted) > shortest_ms and not fitted.contains_key(
        options.EXPONENTIAL_MAX_BACKOFF
    ):
        pause_ms = min(options.EXPONENTIAL_MAX_BACKOFF.default, shortest_ms // _SHARE_OF_PAUSE)
        fitted.set(options.EXPONENTIAL_MAX_BACKOFF, pause_ms)
        fitted.set(
            options.EXPONENTIAL_INITIAL_BACKOFF,
            min(fitted.get(options.EXPONENTIAL_INITIAL_BACKOFF), pause_ms),
        )
    if longest_transaction_ms(fitted) > shortest_ms and not fitted.contains_key(
        options.CHECKPOINTING_TIMEOUT
    ):
        spare_ms = shortest_ms - longest_transaction_ms(fitted, timeout_ms=0)
        timeout_ms = spare_ms // (1 + fitted.get(options.TOLERABLE_FAILED_CHECKPOINTS))
        if timeout_ms >= _LEAST_TIMEOUT_MS:
            fitted.set(options.CHECKPOINTING_TIMEOUT, timeout_ms)
            _LOG.info("checkpoints may take %d ms, so that transactions outlive them", timeout_ms)
    check_transaction_timeouts(job, fitted)
    return fitted


def longest_transaction_ms(configuration: Configuration, *, timeout_ms: int | None = None) -> int:
    """From a transaction's begin to its commit, at the worst.

    It begins behind a barrier, waits for the next one, is pre-committed there, and is committed once a checkpoint that
    covers it is complete: this one, or after tolerated failures a later one. If the job dies then, what is pre-committed
    waits for the restart, which commits before anything else; one pause is counted, the longest.
    """
    get = configuration.get
    interval_ms: int = max(get(options.CHECKPOINTING_INTERVAL) or 0, get(options.CHECKPOINTING_MIN_PAUSE))
    timeout_ms = get(options.CHECKPOINTING_TIMEOUT) if timeout_ms is None else timeout_ms
    assert timeout_ms is not None
    failed_ms: int = get(options.TOLERABLE_FAILED_CHECKPOINTS) * max(interval_ms, timeout_ms)
    return interval_ms + failed_ms + timeout_ms + _longest_pause_ms(configuration)


def _longest_pause_ms(configuration: Configuration) -> int:
    pauses_ms: dict[str, int] = {
        "none": 0,
        "fixed-delay": configuration.get(options.FIXED_DELAY_DELAY),
        "exponential-delay": configuration.get(options.EXPONENTIAL_MAX_BACKOFF),
    }
    return pauses_ms[configuration.get(options.RESTART_STRATEGY) or "exponential-delay"]


def _too_short(
    sink: str, timeout_ms: int, needed_ms: int, configuration: Configuration
) -> ConfigurationError:
    get = configuration.get
    tolerated = get(options.TOLERABLE_FAILED_CHECKPOINTS)
    failed = f", of {tolerated} tolerated failed ones before it" if tolerated else ""
    return ConfigurationError(
        f"a transaction of sink '{sink}' is aborted by its broker {timeout_ms / 1000:g} s after it began, but the job may "
        f"take {needed_ms / 1000:g} s to commit it: records of a complete checkpoint could be lost",
        where=f"the sum of {options.CHECKPOINTING_INTERVAL.key}, {options.CHECKPOINTING_TIMEOUT.key} "
        f"({get(options.CHECKPOINTING_TIMEOUT) / 1000:g} s){failed} and the longest pause before a restart",
        fix=f"set {options.CHECKPOINTING_TIMEOUT.key} to what a checkpoint really takes, or raise the sink's transaction "
        f"timeout (Kafka: transaction.timeout.ms, up to the brokers' transaction.max.timeout.ms)",
    )
