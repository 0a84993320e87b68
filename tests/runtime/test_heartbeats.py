"""Who is given up for dead, decided by a pure monitor and by real processes that are stopped."""

from __future__ import annotations

import os
import signal

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.core.clock import ManualClock
from millstream.core.configuration import Configuration
from millstream.core.errors import ConfigurationError
from millstream.runtime.heartbeats import HeartbeatMonitor, HeartbeatSettings
from millstream.runtime.job_manager.process_cluster import ProcessCluster
from tests.runtime.test_fork_server import cluster_in, gather, gone, start, wait_until_gone

FAST = HeartbeatSettings(interval_ms=50, timeout_ms=3_000)


# ---- the decision


def test_whoever_says_nothing_for_the_timeout_is_given_up_and_nobody_else():
    monitor = HeartbeatMonitor[int](1_000, now_ms=0)
    for peer in range(3):
        monitor.heard(peer, 0)
    found = []
    for now in range(100, 1_100, 100):
        monitor.heard(0, now)
        found.append(monitor.silent(now))
        if now == 500:
            monitor.heard(1, now)
    assert found == [{}] * 9 + [{2: 1_000}]
    monitor.forget(2)
    assert monitor.silent(1_400) == {}
    assert monitor.silent(1_500) == {1: 1_000}


def test_whoever_did_not_listen_gives_nobody_up():
    monitor = HeartbeatMonitor[str](1_000, now_ms=0)
    monitor.heard("a", 0)
    assert (
        monitor.silent(60_000) == {}
    )  # this process was stopped for a minute: what "a" said is still unread
    assert monitor.silent(60_400) == {}
    assert monitor.silent(60_900) == {}
    assert monitor.silent(61_000) == {"a": 1_000}


@given(st.lists(st.tuples(st.integers(1, 500), st.booleans()), max_size=60))
def test_a_peer_is_silent_when_its_last_word_is_as_old_as_the_timeout(steps):
    monitor, now, heard = HeartbeatMonitor[str](1_000, now_ms=0), 0, 0
    monitor.heard("a", 0)
    for step_ms, speaks in steps:
        now += step_ms
        if speaks:
            monitor.heard("a", now)
            heard = now
        assert bool(monitor.silent(now)) == (now - heard >= 1_000)


def test_a_clock_that_is_set_changes_nothing():
    class Jumping(ManualClock):
        """A day is added to the wall clock by an administrator, then taken away again."""

        def now_ms(self) -> int:
            return super().now_ms() + (86_400_000 if 300 < self.monotonic_ms() < 700 else -86_400_000)

    clock = Jumping()
    monitor = HeartbeatMonitor[str](1_000, clock.monotonic_ms())
    monitor.heard("a", clock.monotonic_ms())
    silent = []
    for _ in range(10):
        clock.advance(100)
        silent.append(monitor.silent(clock.monotonic_ms()))
    assert silent == [{}] * 9 + [{"a": 1_000}]


def test_a_timeout_that_nobody_can_keep_is_refused():
    configuration = Configuration()
    assert HeartbeatSettings.of(configuration) == HeartbeatSettings()
    configuration.set_string("heartbeat.interval", "2 s").set_string("heartbeat.timeout", "2 s")
    with pytest.raises(ConfigurationError, match="always later than the timeout"):
        HeartbeatSettings.of(configuration)


# ---- real processes


def test_a_worker_that_is_stopped_for_the_timeout_is_given_up_and_killed(tmp_path):
    with cluster_in(tmp_path, heartbeat=FAST) as cluster:
        pids = start(cluster, 0, 1)
        os.kill(pids[0], signal.SIGSTOP)
        told = gone(gather(cluster, gone))
        assert list(told) == [0]
        assert told[0].startswith("it sent no heartbeat for ")
        assert told[0].endswith("(killed by signal 9)")
        assert set(start(cluster, 0)) == {0}


def test_a_zombie_that_wakes_up_ends_by_itself(tmp_path):
    class CannotKill(ProcessCluster):
        """As if the worker were on a machine that cannot be reached."""

        def kill_worker(self, worker):
            pass

    class Reached:
        def __init__(self, cluster):
            self.cluster = cluster

        def __call__(self, _events):
            return any(process.given_up for process in self.cluster._processes.values())

    with cluster_in(tmp_path, kind=CannotKill, heartbeat=FAST) as cluster:
        pids = start(cluster, 0)
        os.kill(pids[0], signal.SIGSTOP)
        assert gone(gather(cluster, Reached(cluster))) == {}
        os.kill(pids[0], signal.SIGCONT)
        told = gone(gather(cluster, gone))
        assert told[0].endswith("(ended with exit status 1)")


def test_a_fork_server_that_hangs_is_killed_with_its_workers(tmp_path):
    with cluster_in(tmp_path, heartbeat=FAST) as cluster:
        pids = start(cluster, 0, 1)
        processes = [psutil.Process(pid) for pid in pids.values()]
        server = processes[0].ppid()
        os.kill(server, signal.SIGSTOP)
        os.kill(pids[0], signal.SIGSTOP)
        assert set(gone(gather(cluster, lambda events: len(gone(events)) == 2))) == {0, 1}
        wait_until_gone(processes)
        assert set(start(cluster, 0, 1)) == {0, 1}
