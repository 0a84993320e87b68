import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from millstream.core.clock import SystemClock
from millstream.runtime.job_manager.signals import SignalGuard
from millstream.runtime.transport import Waker

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def waker():
    waker = Waker()
    yield waker
    waker.close()


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_the_first_signal_cancels_and_the_second_raises(waker, number, raised):
    cancelled = []
    before = signal.getsignal(number)
    with SignalGuard(lambda: cancelled.append(1), waker.write_fileno()) as guard:
        guard.raise_if_signalled()
        os.kill(os.getpid(), number)
        assert cancelled == [1]
        waker.wait(None)  # the signal itself has woken it
        with pytest.raises(raised):
            guard.raise_if_signalled()
        with pytest.raises(raised):
            os.kill(os.getpid(), number)
    assert cancelled == [1]
    assert signal.getsignal(number) is before


def test_a_signal_that_was_ignored_stays_ignored(waker):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with SignalGuard(lambda: None, waker.write_fileno()) as guard:
            os.kill(os.getpid(), signal.SIGINT)
            guard.raise_if_signalled()
    finally:
        signal.signal(signal.SIGINT, before)


EMBEDDED = """
import sys, time
from millstream import StreamExecutionEnvironment
env = StreamExecutionEnvironment.get_execution_environment()
env.enable_checkpointing(50)
def work(x):
    open("begun", "w").close()
    time.sleep(float(sys.argv[1]))
    return x
env.from_collection(range(100_000)).map(work).print()
env.execute("victim")
"""


@pytest.mark.parametrize(
    ("seconds", "number", "times", "status"),
    [
        ("0.0005", signal.SIGINT, 1, -signal.SIGINT),
        ("0.0005", signal.SIGTERM, 1, 143),
        ("1000", signal.SIGINT, 2, -signal.SIGINT),
        ("1000", signal.SIGTERM, 2, 143),
    ],
)
def test_an_embedded_job_ends_by_signals_too(tmp_path, seconds, number, times, status):
    (tmp_path / "victim.py").write_text(EMBEDDED)
    (tmp_path / "tmp").mkdir()
    process = subprocess.Popen(
        [sys.executable, "victim.py", seconds],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path / "tmp")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    clock = SystemClock()
    deadline = clock.monotonic_ms() + 60_000
    while not (tmp_path / "begun").exists():
        assert process.poll() is None
        assert clock.monotonic_ms() < deadline
        psutil.wait_procs([process], timeout=0.02)
    process.send_signal(number)
    if times == 2:
        while process.poll() is None:
            assert clock.monotonic_ms() < deadline
            psutil.wait_procs([process], timeout=0.2)
            process.send_signal(number)
    # A third signal, after the handlers from before were put back, ends the process as ever.
    assert process.wait(60) in ({status} if times == 1 else {status, -number})
    assert list((tmp_path / "tmp").iterdir()) == []
