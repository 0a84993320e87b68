"""Real processes: a cluster of workers forked from a fork server, and every way in which parts of it can die."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from millstream.core.clock import SystemClock
from millstream.core.workdir import create_work_dir
from millstream.runtime.job_manager.cluster import MessageArrived, WorkerGone
from millstream.runtime.job_manager.process_cluster import ProcessCluster
from millstream.runtime.messages import CancelTasks, TasksStopped, WorkerRegistered
from tests.integration.engine.harness import kill_all

ROOT = Path(__file__).resolve().parents[2]
SECRET = b"\xf0\x0d" * 16
PATIENCE_S = 30.0


@contextmanager
def cluster_in(tmp_path, kind=ProcessCluster, **options):
    cluster = kind(lambda: create_work_dir(str(tmp_path)), secret=SECRET, clock=SystemClock(), **options)
    try:
        yield cluster
    finally:
        cluster.close(force=True)


def gather(cluster, until):
    """The events of a cluster up to a condition on them."""
    events = []
    clock = SystemClock()
    deadline = clock.monotonic_ms() + PATIENCE_S * 1000
    while not until(events):
        assert clock.monotonic_ms() < deadline, events
        if not cluster.step():
            cluster.wait(1_000)
        events += cluster.events()
    return events


def registered(events):
    return {
        e.worker: e.message.pid
        for e in events
        if isinstance(e, MessageArrived) and isinstance(e.message, WorkerRegistered)
    }


def gone(events):
    return {e.worker: e.reason for e in events if isinstance(e, WorkerGone)}


def start(cluster, *workers):
    cluster.start_workers(workers)
    return registered(gather(cluster, lambda events: len(registered(events)) == len(workers)))


def is_gone(process):
    """A zombie is gone too: whoever adopted it reaps it when it likes."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until_gone(processes):
    clock = SystemClock()
    deadline = clock.monotonic_ms() + PATIENCE_S * 1000
    while alive := [process for process in processes if not is_gone(process)]:
        assert clock.monotonic_ms() < deadline, alive
        psutil.wait_procs(alive, timeout=0.02)


def test_workers_register_answer_and_leave_nothing_behind(tmp_path):
    with cluster_in(tmp_path) as cluster:
        pids = start(cluster, 0, 1)
        processes = [psutil.Process(pid) for pid in pids.values()]
        assert cluster.worker_pids() == pids
        assert os.getpid() not in pids.values()
        cluster.send(1, CancelTasks(7))
        assert gather(cluster, lambda events: events) == [MessageArrived(1, TasksStopped(7))]
        cluster.close(force=False)
        wait_until_gone(processes)
        assert list(tmp_path.iterdir()) == []


def test_a_killed_worker_is_reported_once_and_can_be_started_again(tmp_path):
    with cluster_in(tmp_path) as cluster:
        pids = start(cluster, 0, 1)
        os.kill(pids[1], signal.SIGKILL)
        assert gone(gather(cluster, gone)) == {1: "killed by signal 9"}
        again = start(cluster, 1)
        assert again[1] != pids[1]
        assert cluster.worker_pids() == {0: pids[0], 1: again[1]}


def test_a_worker_can_be_ended_by_force_while_it_is_stopped(tmp_path):
    with cluster_in(tmp_path) as cluster:
        pids = start(cluster, 0)
        os.kill(pids[0], signal.SIGSTOP)
        cluster.kill_worker(0)
        assert gone(gather(cluster, gone)) == {0: "killed by signal 9"}


def test_when_the_fork_server_is_killed_its_workers_die_and_a_new_one_takes_over(tmp_path):
    with cluster_in(tmp_path) as cluster:
        pids = start(cluster, 0, 1)
        processes = [psutil.Process(pid) for pid in pids.values()]
        os.kill(psutil.Process(pids[0]).ppid(), signal.SIGKILL)
        assert set(gone(gather(cluster, lambda events: len(gone(events)) == 2))) == {0, 1}
        wait_until_gone(processes)
        assert set(start(cluster, 0, 1)) == {0, 1}


def test_when_the_fork_server_loses_its_client_a_new_one_takes_over_in_the_same_folder(tmp_path):
    with cluster_in(tmp_path) as cluster:
        pids = start(cluster, 0)
        processes = [psutil.Process(pid) for pid in pids.values()]
        with socket.socket(fileno=os.dup(cluster._running.server.link.fileno())) as connection:
            connection.shutdown(socket.SHUT_WR)
        assert set(gone(gather(cluster, gone))) == {0}
        wait_until_gone(processes)
        assert set(start(cluster, 0)) == {0}


def test_a_module_that_cannot_be_preloaded_is_a_lost_worker_not_a_hang(tmp_path):
    with cluster_in(tmp_path, preload=("no_such_module_anywhere",)) as cluster:
        cluster.start_workers((0,))
        assert 0 in gone(gather(cluster, gone))


def test_strangers_at_the_control_socket_are_turned_away_and_disturb_nobody():
    # Not tmp_path, which may be too long for the path of a socket.
    with tempfile.TemporaryDirectory() as folder, cluster_in(folder) as cluster:
        start(cluster, 0)
        (control,) = Path(folder).glob("*/control.sock")
        strangers = [socket.socket(socket.AF_UNIX) for _ in range(3)]
        for stranger in strangers:
            stranger.connect(str(control))
        strangers[0].send(b"GET / HTTP/1.1\r\n\r\n")
        strangers[1].close()
        cluster.send(0, CancelTasks(1))
        events = gather(cluster, lambda events: events)
        assert events == [MessageArrived(0, TasksStopped(1))]
        assert strangers[0].recv(1 << 16).startswith(b"MSTR")
        assert strangers[0].recv(1) == b""
        for stranger in strangers:
            stranger.close()


def test_the_secret_is_in_no_argument_and_no_environment(tmp_path):
    with cluster_in(tmp_path) as cluster:
        worker = psutil.Process(start(cluster, 0)[0])
        for process in (worker, worker.parent()):
            told = Path(f"/proc/{process.pid}/cmdline").read_bytes()
            told += Path(f"/proc/{process.pid}/environ").read_bytes()
            assert SECRET not in told
            assert SECRET.hex().encode() not in told


CLIENT = """
import sys, time
from millstream import StreamExecutionEnvironment
env = StreamExecutionEnvironment.get_execution_environment()
env.set_parallelism(2)
{configure}
def work(x):
    open("begun", "w").close()
    {work}
    return x
env.from_collection(range(100000)).map(work).print()
env.execute("victim")
"""

SLEEPING = "time.sleep(0.001)"
STUCK = "time.sleep(10_000)"
HOLDING_THE_GIL = "sum(range(10**13))"


@contextmanager
def client_process(tmp_path, work, configure=""):
    script = tmp_path / "victim.py"
    script.write_text(CLIENT.format(work=work, configure=configure))
    tmp = tmp_path / "tmp"
    tmp.mkdir()
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        kill_all(reversed(family(process.pid)))
        process.wait()
        process.stderr.close()


def family(pid):
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def wait_until_busy(process):
    """The client, the fork server and two workers, one of which is in the user's function."""
    clock = SystemClock()
    deadline = clock.monotonic_ms() + PATIENCE_S * 1000
    while clock.monotonic_ms() < deadline:
        assert process.poll() is None, process.stderr.read()
        found = family(process.pid)
        if len(found) == 4 and Path(process.args[1]).with_name("begun").exists():
            return found
        psutil.wait_procs(found, timeout=0.02)
    raise AssertionError("the workers did not start")


@pytest.mark.parametrize("work", [SLEEPING, STUCK, HOLDING_THE_GIL])
def test_nothing_outlives_a_killed_client(tmp_path, work):
    with client_process(tmp_path, work) as process:
        processes = wait_until_busy(process)
        process.kill()
        process.wait()
        wait_until_gone(processes)
        assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize("work", [SLEEPING, STUCK])
def test_nothing_outlives_a_client_whose_child_keeps_its_descriptors_open(tmp_path, work):
    configure = "import os\nif os.fork() == 0:\n    time.sleep(60); os._exit(0)"
    with client_process(tmp_path, work, configure) as process:
        clock = SystemClock()
        deadline = clock.monotonic_ms() + PATIENCE_S * 1000
        while not (tmp_path / "begun").exists():
            assert clock.monotonic_ms() < deadline
            assert process.poll() is None, process.stderr.read()
            psutil.wait_procs([process], timeout=0.02)
        everyone = family(process.pid)
        hanger_on = [p for p in everyone if p.ppid() == process.pid and p.cmdline()[1:] == process.args[1:]]
        process.kill()
        process.wait()
        wait_until_gone([member for member in everyone if member not in hanger_on])
        kill_all(hanger_on)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, 143)])
def test_a_first_signal_cancels_the_job_cleanly(tmp_path, number, status):
    with client_process(tmp_path, SLEEPING) as process:
        processes = wait_until_busy(process)
        for member in processes:  # as a terminal does: to the whole group
            if number == signal.SIGINT:
                with suppress(psutil.NoSuchProcess):
                    member.send_signal(number)
        if number == signal.SIGTERM:
            process.send_signal(number)
        assert process.wait(PATIENCE_S) == status
        wait_until_gone(processes)
        assert list((tmp_path / "tmp").iterdir()) == []


def test_a_second_signal_ends_everything_at_once(tmp_path):
    with client_process(tmp_path, STUCK) as process:
        processes = wait_until_busy(process)
        process.send_signal(signal.SIGINT)
        clock = SystemClock()
        deadline = clock.monotonic_ms() + PATIENCE_S * 1000
        while process.poll() is None:
            assert clock.monotonic_ms() < deadline
            process.send_signal(signal.SIGINT)
            psutil.wait_procs([process], timeout=0.2)
        assert process.returncode == -signal.SIGINT
        wait_until_gone(processes)
        assert list((tmp_path / "tmp").iterdir()) == []
