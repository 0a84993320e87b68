"""Real job managers, workers and services: leaders that die, are stopped, or lose their services; the output comes once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from millstream.dev.server import LocalServer, Server
from tests.integration.engine.harness import JOBS, Workshop, gone, kill_all, wait_until
from tests.integration.high_availability.cluster import SLOW, HaCluster
from tests.services.availability import unavailable, unique_name

pytestmark = pytest.mark.slow

Open = Callable[..., HaCluster]


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Open]:
    """`files(lease="1 s")`: a cluster that elects its leader on a file system."""
    yield from _clusters(
        tmp_path,
        lambda lease: {"high-availability.type": "filesystem", "high-availability.lease-timeout": lease},
    )


@pytest.fixture
def keeper(tmp_path: Path, zookeeper: Server) -> Iterator[Open]:
    """The same with ZooKeeper."""
    yield from _clusters(
        tmp_path,
        lambda lease: {
            "high-availability.type": "zookeeper",
            "high-availability.zookeeper.quorum": zookeeper.url,
            "high-availability.zookeeper.path.root": unique_name("/ha"),
            "high-availability.zookeeper.client.session-timeout": lease,
        },
    )


def _clusters(tmp_path: Path, keys: Callable[[str], dict[str, str]]) -> Iterator[Open]:
    opened: list[HaCluster] = []

    def open_cluster(lease: str = "4 s", **more: str) -> HaCluster:
        workshop = Workshop(tmp_path)
        storage = {"high-availability.storageDir": str(tmp_path / "ha")}
        opened.append(HaCluster(workshop, {**keys(lease), **storage, **more}))
        return opened[-1]

    yield open_cluster
    for cluster in opened:
        cluster.close()


@pytest.fixture(params=["files", "keeper"])
def either(request: pytest.FixtureRequest) -> Open:
    return request.getfixturevalue(request.param)


def test_a_standby_goes_on_with_the_same_workers_when_the_leader_is_killed(either: Open) -> None:
    cluster = either()
    leader, standby = cluster.start_two()
    workers = cluster.workers()
    assert len(workers) == 3  # with the process that watches for leaders
    before = cluster.record()
    cluster.await_checkpoints(leader)
    leader.kill()
    cluster.await_text(standby, "leading cluster 'orders' under epoch 2")
    cluster.await_checkpoints(standby)
    assert cluster.workers() == workers
    assert cluster.record().fork_server == before.fork_server
    assert standby.end() == 0, standby.text()
    cluster.check_the_end()


def test_a_leader_stopped_for_longer_than_its_lease_ends_itself_and_its_job_goes_on_elsewhere(
    either: Open,
) -> None:
    cluster = either()
    leader, standby = cluster.start_two()
    workers = cluster.workers()
    os.kill(leader.pid, signal.SIGSTOP)
    cluster.await_text(standby, "leading cluster 'orders' under epoch 2")
    cluster.await_checkpoints(standby)
    assert cluster.workers() == workers
    os.kill(leader.pid, signal.SIGCONT)
    assert leader.end() == 1
    assert "led under epoch 1 and does not any more" in leader.text()
    assert "Traceback" not in leader.text()
    cluster.await_checkpoints(standby)  # it has taken nothing along
    assert cluster.workers() == workers
    assert standby.end() == 0, standby.text()
    cluster.check_the_end()


def test_a_restart_of_zookeeper_does_not_end_the_job(keeper: Open, zookeeper: Server) -> None:
    if not isinstance(zookeeper, LocalServer):
        unavailable("this test stops the server", fix="unset MILLSTREAM_TEST_ZOOKEEPER")
    cluster = keeper(lease="30 s")
    leader = cluster.start()
    cluster.await_checkpoints(leader)
    workers = cluster.workers()
    zookeeper.kill()
    zookeeper.start()
    cluster.await_checkpoints(leader, 2)
    assert cluster.workers() == workers
    assert leader.end() == 0, leader.text()
    assert cluster.record().epoch == 1
    cluster.check_the_end()


def test_a_leader_cut_off_from_zookeeper_for_longer_than_its_lease_ends_itself(
    keeper: Open, zookeeper: Server
) -> None:
    if not isinstance(zookeeper, LocalServer):
        unavailable("this test stops the server", fix="unset MILLSTREAM_TEST_ZOOKEEPER")
    cluster = keeper()
    leader = cluster.start()
    cluster.await_checkpoints(leader)
    cluster.workers()
    zookeeper.kill()
    try:
        assert leader.end() == 1
        assert "no sign of life" in leader.text() or "its lease ran out" in leader.text()
    finally:
        zookeeper.start()
    after = cluster.start()
    assert after.end() == 0, after.text()
    cluster.check_the_end()


def test_a_leader_whose_record_was_taken_completes_and_commits_nothing_whatever_its_clock_says(
    files: Open,
) -> None:
    cluster = files(lease="1 h")  # for which this leader believes to lead
    leader = cluster.start()
    cluster.await_checkpoints(leader)
    cluster.workers()
    taken = cluster.take_record()
    assert leader.end() == 1
    assert "another job manager has taken the cluster's record" in leader.text()
    assert cluster.record() == taken
    assert taken.job is not None
    unconfirmed = {int(path.name.removeprefix("chk-")) for path in cluster.workshop.complete()}
    assert unconfirmed > set(taken.job.checkpoints)  # it had written the metadata of another one
    after = cluster.start()
    assert after.end() == 0, after.text()
    cluster.check_the_end()


def test_when_everybody_has_died_the_next_start_goes_on(files: Open) -> None:
    cluster = files()
    led_by, other = cluster.start_two()
    cluster.await_checkpoints(led_by)
    job = cluster.record().job
    assert job is not None
    processes = [*cluster.workers(), *led_by.descendants()]
    other.kill()
    led_by.kill()
    kill_all(processes)
    third = cluster.start(parallelism=1)  # the job's own settings count
    cluster.await_text(third, "leading cluster 'orders'")
    cluster.await_checkpoints(third)
    again = cluster.record().job
    assert again is not None
    assert (again.job_id, again.attempt > job.attempt) == (job.job_id, True)
    assert min(again.checkpoints) >= min(job.checkpoints)  # the folder was not begun anew
    assert max(again.checkpoints) > max(job.checkpoints)
    assert len(cluster.workers()) == 3
    assert third.end() == 0, third.text()
    cluster.check_the_end()


def test_a_standby_needs_no_program_and_ends_as_the_job_ends(files: Open, tmp_path: Path) -> None:
    cluster = files()
    log = tmp_path / "standby.log"
    standby = cluster.start_standby(log)
    wait_until(lambda: "it has no job; waiting" in log.read_text(), "a standby")
    leader, other = cluster.start_two()
    leader.kill()
    wait_until(lambda: cluster.record().epoch == 2, "a takeover")
    assert other.end() == 0, other.text()
    assert standby.wait(60) == 0, log.read_text()
    cluster.check_the_end()


def test_a_leader_told_to_terminate_leaves_the_job_to_a_standby_at_once(files: Open) -> None:
    cluster = files(lease="1 h")
    leader, standby = cluster.start_two()
    workers = cluster.workers()
    os.kill(leader.pid, signal.SIGTERM)
    assert leader.end() == 128 + signal.SIGTERM
    cluster.await_text(standby, "leading cluster 'orders' under epoch 2")
    cluster.await_checkpoints(standby)
    assert cluster.workers() == workers
    assert standby.end() == 0, standby.text()
    cluster.check_the_end()


def test_a_cancelled_job_is_over_for_everybody(files: Open) -> None:
    cluster = files(lease="1 h")
    leader, standby = cluster.start_two(rate=SLOW)
    os.kill(leader.pid, signal.SIGINT)
    assert leader.end() == 130
    assert standby.end() == 1, standby.text()
    assert "was cancelled under another leader" in standby.text()
    assert cluster.record().job is None


def test_workers_that_find_no_new_leader_end(files: Open) -> None:
    cluster = files(**{"taskmanager.registration.timeout": "500 ms"})
    leader = cluster.start(rate=SLOW)
    cluster.await_checkpoints(leader)
    workers = cluster.workers()
    leader.kill()
    wait_until(lambda: gone(workers), "the end of the workers")
    assert cluster.record().job is not None


def test_another_job_is_refused_in_a_cluster_that_has_one(files: Open) -> None:
    cluster = files(lease="1 h")
    leader = cluster.start(rate=SLOW)
    cluster.await_checkpoints(leader)
    cluster.workers()
    other = cluster.start(job=JOBS / "loops.py")
    assert other.end() != 0
    assert "has the job 'windows', which has not ended" in other.text()
    os.kill(leader.pid, signal.SIGINT)
    assert leader.end() == 130
