"""The worker in the JobManager's own thread."""

from __future__ import annotations

from millstream.core.clock import ManualClock, SystemClock
from millstream.core.workdir import create_work_dir
from millstream.runtime.job_manager.cluster import EmbeddedCluster
from millstream.runtime.messages import Shutdown

CLOCK = SystemClock()


def test_nobody_waits_while_the_worker_has_a_message_to_read(tmp_path) -> None:
    cluster = EmbeddedCluster(lambda: create_work_dir(str(tmp_path)), secret=bytes(32), clock=ManualClock())
    cluster.start_workers([0])
    cluster.events()
    cluster.send(0, Shutdown())
    began_ms = CLOCK.monotonic_ms()
    cluster.wait(20_000)
    assert CLOCK.monotonic_ms() - began_ms < 10_000
    assert cluster.step()
    cluster.close(force=False)
