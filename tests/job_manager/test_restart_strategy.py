from random import Random

from hypothesis import given
from hypothesis import strategies as st

from millstream.runtime.job_manager.restart_strategy import Backoff, ExponentialDelay, FixedDelay, NoRestart


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
