"""When an asynchronous call is made again. Names and arguments are PyFlink's; the builders are Java Flink's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final, Generic, Self, TypeAlias, TypeVar

from ..core.arguments import check_call, check_int, check_number

OUT = TypeVar("OUT")

ResultPredicate: TypeAlias = Callable[[list[Any]], bool]
ExceptionPredicate: TypeAlias = Callable[[BaseException], bool]


class AsyncRetryPredicate(ABC, Generic[OUT]):
    """Which outcomes are not to be accepted yet."""

    @abstractmethod
    def result_predicate(self) -> Callable[[list[OUT]], bool] | None:
        """Whether to ask again after these results; None: never."""

    @abstractmethod
    def exception_predicate(self) -> ExceptionPredicate | None:
        """Whether to ask again after this exception; None: never."""


class AsyncRetryStrategy(ABC, Generic[OUT]):
    """How often, and after how long. Shared by all records of a subtask, so it keeps nothing about one of them."""

    @abstractmethod
    def can_retry(self, current_attempts: int) -> bool:
        """Whether a record may be asked for again that has been asked for so many times (1 after the first call)."""

    @abstractmethod
    def get_backoff_time_millis(self, current_attempts: int) -> int:
        """How long to wait before that, in milliseconds."""

    @abstractmethod
    def get_retry_predicate(self) -> AsyncRetryPredicate[OUT]:
        """Which outcomes it is about."""

    @staticmethod
    def no_restart() -> AsyncRetryStrategy[Any]:
        """The first outcome counts."""
        return NO_RETRY_STRATEGY

    @staticmethod
    def fixed_delay(
        max_attempts: int,
        backoff_time_millis: int,
        result_predicate: ResultPredicate | None = None,
        exception_predicate: ExceptionPredicate | None = None,
    ) -> AsyncRetryStrategy[Any]:
        """See `FixedDelayRetryStrategy`.

        Raises:
            JobDefinitionError: a number is not positive.
        """
        return FixedDelayRetryStrategy(
            max_attempts, backoff_time_millis, result_predicate, exception_predicate
        )

    @staticmethod
    def exponential_backoff(
        max_attempts: int,
        initial_delay: int,
        max_retry_delay: int,
        multiplier: float,
        result_predicate: ResultPredicate | None = None,
        exception_predicate: ExceptionPredicate | None = None,
    ) -> AsyncRetryStrategy[Any]:
        """See `ExponentialBackoffDelayRetryStrategy`.

        Raises:
            JobDefinitionError: a number is not positive.
        """
        return ExponentialBackoffDelayRetryStrategy(
            max_attempts, initial_delay, max_retry_delay, multiplier, result_predicate, exception_predicate
        )


class RetryPredicate(AsyncRetryPredicate[Any]):
    """Two predicates, each optional."""

    def __init__(
        self,
        result_predicate: ResultPredicate | None = None,
        exception_predicate: ExceptionPredicate | None = None,
    ) -> None:
        self._result_predicate = result_predicate
        self._exception_predicate = exception_predicate

    def result_predicate(self) -> ResultPredicate | None:
        return self._result_predicate

    def exception_predicate(self) -> ExceptionPredicate | None:
        return self._exception_predicate


class NoRetryStrategy(AsyncRetryStrategy[Any]):
    """The first outcome counts."""

    def can_retry(self, current_attempts: int) -> bool:
        return False

    def get_backoff_time_millis(self, current_attempts: int) -> int:
        return 0

    def get_retry_predicate(self) -> AsyncRetryPredicate[Any]:
        return RetryPredicate()


class _LimitedStrategy(AsyncRetryStrategy[Any]):
    def __init__(
        self,
        max_attempts: int,
        result_predicate: ResultPredicate | None,
        exception_predicate: ExceptionPredicate | None,
    ) -> None:
        _check_count("max_attempts", max_attempts)
        self._max_attempts = max_attempts
        self._predicate = RetryPredicate(result_predicate, exception_predicate)

    def can_retry(self, current_attempts: int) -> bool:
        return current_attempts <= self._max_attempts

    def get_retry_predicate(self) -> AsyncRetryPredicate[Any]:
        return self._predicate


class FixedDelayRetryStrategy(_LimitedStrategy):
    """Asks again up to `max_attempts` times, always after `backoff_time_millis`.

    Raises:
        JobDefinitionError: a number is not positive.

    >>> FixedDelayRetryStrategy(3, 100, None, None).get_backoff_time_millis(2)
    100
    """

    def __init__(
        self,
        max_attempts: int,
        backoff_time_millis: int,
        result_predicate: ResultPredicate | None = None,
        exception_predicate: ExceptionPredicate | None = None,
    ) -> None:
        super().__init__(max_attempts, result_predicate, exception_predicate)
        _check_count("backoff_time_millis", backoff_time_millis)
        self._backoff_time_millis = backoff_time_millis

    def get_backoff_time_millis(self, current_attempts: int) -> int:
        return self._backoff_time_millis


class ExponentialBackoffDelayRetryStrategy(_LimitedStrategy):
    """Asks again up to `max_attempts` times: first after `initial_delay` ms, then each time after `multiplier` times as long
    as before, but never longer than `max_retry_delay` ms.

    Raises:
        JobDefinitionError: a number is not positive.

    >>> strategy = ExponentialBackoffDelayRetryStrategy(5, 100, 350, 2.0, None, None)
    >>> [strategy.get_backoff_time_millis(attempts) for attempts in (1, 2, 3, 4)]
    [100, 200, 350, 350]
    """

    def __init__(
        self,
        max_attempts: int,
        initial_delay: int,
        max_retry_delay: int,
        multiplier: float,
        result_predicate: ResultPredicate | None = None,
        exception_predicate: ExceptionPredicate | None = None,
    ) -> None:
        super().__init__(max_attempts, result_predicate, exception_predicate)
        _check_count("initial_delay", initial_delay)
        _check_count("max_retry_delay", max_retry_delay)
        check_number("multiplier of a retry strategy", multiplier, fix="give for example 2.0")
        self._initial_delay = initial_delay
        self._max_retry_delay = max_retry_delay
        self._multiplier = multiplier

    def get_backoff_time_millis(self, current_attempts: int) -> int:
        delay = float(self._initial_delay)
        for _ in range(current_attempts - 1):
            delay = min(delay * self._multiplier, self._max_retry_delay)
        return int(min(delay, self._max_retry_delay))


NO_RETRY_STRATEGY: Final = NoRetryStrategy()


class _Builder:
    def __init__(self) -> None:
        self._result_predicate: ResultPredicate | None = None
        self._exception_predicate: ExceptionPredicate | None = None

    def if_result(self, result_retry_predicate: ResultPredicate) -> Self:
        """Ask again after these results."""
        _check_predicate("if_result()", result_retry_predicate, "the list of results")
        self._result_predicate = result_retry_predicate
        return self

    def if_exception(self, exception_retry_predicate: ExceptionPredicate) -> Self:
        """Ask again after these exceptions."""
        _check_predicate("if_exception()", exception_retry_predicate, "the exception")
        self._exception_predicate = exception_retry_predicate
        return self


class FixedDelayRetryStrategyBuilder(_Builder):
    """Builds a `FixedDelayRetryStrategy`; with neither predicate it never asks again."""

    def __init__(self, max_attempts: int, backoff_time_millis: int) -> None:
        super().__init__()
        self._numbers = (max_attempts, backoff_time_millis)

    def build(self) -> FixedDelayRetryStrategy:
        """The strategy. Raises JobDefinitionError for a number that is not positive."""
        return FixedDelayRetryStrategy(*self._numbers, self._result_predicate, self._exception_predicate)


class ExponentialBackoffDelayRetryStrategyBuilder(_Builder):
    """Builds an `ExponentialBackoffDelayRetryStrategy`; with neither predicate it never asks again."""

    def __init__(
        self, max_attempts: int, initial_delay: int, max_retry_delay: int, multiplier: float
    ) -> None:
        super().__init__()
        self._numbers = (max_attempts, initial_delay, max_retry_delay, multiplier)

    def build(self) -> ExponentialBackoffDelayRetryStrategy:
        """The strategy. Raises JobDefinitionError for a number that is not positive."""
        return ExponentialBackoffDelayRetryStrategy(
            *self._numbers, self._result_predicate, self._exception_predicate
        )


class AsyncRetryStrategies:
    """The strategies that come with Millstream.

    >>> strategy = (
    ...     AsyncRetryStrategies.FixedDelayRetryStrategyBuilder(3, 100)
    ...     .if_exception(AsyncRetryPredicates.has_exception_predicate)
    ...     .build()
    ... )
    >>> strategy.can_retry(3), strategy.can_retry(4)
    (True, False)
    """

    NO_RETRY_STRATEGY = NO_RETRY_STRATEGY
    FixedDelayRetryStrategyBuilder = FixedDelayRetryStrategyBuilder
    ExponentialBackoffDelayRetryStrategyBuilder = ExponentialBackoffDelayRetryStrategyBuilder


def empty_result_predicate(result: list[Any] | None) -> bool:
    """There was no result."""
    return not result


def has_exception_predicate(error: BaseException | None) -> bool:
    """There was an exception, whichever."""
    return error is not None


def exception_type_predicate(error: BaseException, expected_error_type: type[BaseException]) -> bool:
    """The exception is of this class: bind the class with `functools.partial(..., expected_error_type=...)`."""
    return isinstance(error, expected_error_type)


class AsyncRetryPredicates:
    """The predicates that come with Millstream; any callable does.

    >>> AsyncRetryPredicates.empty_result_predicate([])
    True
    """

    empty_result_predicate = staticmethod(empty_result_predicate)
    has_exception_predicate = staticmethod(has_exception_predicate)
    exception_type_predicate = staticmethod(exception_type_predicate)


_EXAMPLE: Final = "give for example 3 attempts and a delay of 100 (milliseconds)"


def _check_count(name: str, value: Any) -> None:
    check_int(f"{name} of a retry strategy", value, least=1, fix=_EXAMPLE)


def _check_predicate(name: str, predicate: Any, argument: str) -> None:
    check_call(
        f"argument of {name}",
        predicate,
        1,
        fix=f"pass a function of {argument} that says whether to ask again",
    )
