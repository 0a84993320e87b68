from random import Random

from hypothesis import given
from hypothesis import strategies as st

from millstream.core.configuration import Configuration
from millstream.runtime.job_manager.job_setup import restart_strategy
from millstream.runtime.job_manager.restart_strategy import (
    Backoff,
    ExponentialDelay,
    FailureRate,
    FixedDelay,
    NoRestart,
)


def test_without_restarts_the_first_failure_is_final():
    assert NoRestart().on_failure(0) is None


def test_fixed_delay_gives_up_after_its_attempts_however_far_apart():
    strategy = FixedDelay(attempts=3, delay_ms=10)
    assert [strategy.on_failure(now) for now in (0, 10**6, 10**9, 10**12)] == [10, 10, 10, None]


def test_exponential_delay_gives_up_after_its_attempts_without_a_quiet_time():
    strategy = ExponentialDelay(Backoff(10, 100, 2.0, 1_000, 0.0, attempts=2), Random(1))
    assert [strategy.on_failure(now) for now in (0, 100, 200)] == [10, 20, None]


def test_the_quiet_time_counts_from_the_restart_not_from_the_failure():
    strategy = ExponentialDelay(Backoff(1_000, 8_000, 2.0, 500, 0.0), Random(1))
    assert strategy.on_failure(0) == 1_000
    assert strategy.on_failure(1_400) == 2_000  # it ran for 400 ms only
    assert strategy.on_failure(1_400 + 2_000 + 500) == 1_000


@given(
    st.lists(st.integers(0, 100_000), max_size=30),
    st.floats(1.0, 4.0),
    st.floats(0.0, 1.0),
    st.integers(0, 2**32),
)
def test_exponential_delays_stay_within_their_bounds(gaps, multiplier, jitter, seed):
    strategy = ExponentialDelay(Backoff(100, 5_000, multiplier, 60_000, jitter), Random(seed))
    now = 0
    for gap in gaps:
        now += gap
        delay = strategy.on_failure(now)
        assert delay is not None
        assert 0 <= delay <= 5_000


def test_failure_rate_gives_up_when_one_failure_more_falls_within_an_interval():
    strategy = FailureRate(max_failures=2, interval_ms=1_000, delay_ms=10)
    assert [strategy.on_failure(now) for now in (0, 900, 1_001, 1_900)] == [10, 10, 10, None]


def test_failure_rate_forgets_failures_older_than_the_interval():
    strategy = FailureRate(max_failures=1, interval_ms=1_000, delay_ms=10)
    assert [strategy.on_failure(now) for now in range(0, 20_000, 1_001)] == [10] * 20


@given(st.lists(st.integers(0, 500), max_size=40), st.integers(1, 4))
def test_failure_rate_counts_the_failures_of_every_interval(gaps, max_failures):
    strategy = FailureRate(max_failures, interval_ms=1_000, delay_ms=0)
    now, survived = 0, []
    for gap in gaps:
        now += gap
        recent = sum(now - at <= 1_000 for at in survived)
        allowed = strategy.on_failure(now) is not None
        assert allowed == (recent < max_failures)
        if not allowed:
            break
        survived.append(now)


def test_failure_rate_is_configured_with_the_keys_of_flink():
    configuration = Configuration()
    configuration.set_string("restart-strategy.type", "failure-rate")
    configuration.set_string("restart-strategy.failure-rate.max-failures-per-interval", "2")
    configuration.set_string("restart-strategy.failure-rate.failure-rate-interval", "10 s")
    configuration.set_string("restart-strategy.failure-rate.delay", "5 s")
    strategy = restart_strategy(configuration, Random(1))
    assert [strategy.on_failure(now) for now in (0, 1, 10_000)] == [5_000, 5_000, None]
