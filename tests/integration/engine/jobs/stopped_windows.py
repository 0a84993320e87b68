"""The windows job, stopped with a savepoint after two checkpoints. Arguments: those of windows.py, and the folder for savepoints.

Writes where the savepoint is, or why there is none and the job goes on.
"""

from __future__ import annotations

import sys
import threading

from millstream import CheckpointError, JobClient
from tests.integration.engine.jobs.windows import windows


def wait_for_checkpoints(client: JobClient) -> None:
    pause = threading.Event()
    while (checkpoints := client.statistics().checkpoints) is None or checkpoints.completed < 2:
        pause.wait(0.005)


if __name__ == "__main__":
    out, events, rate, folder = sys.argv[1:]
    client = windows(None, out, int(events), int(rate)).execute_async("windows")
    wait_for_checkpoints(client)
    try:
        sys.stdout.write(client.stop_with_savepoint(False, folder).result(60))
    except CheckpointError as error:
        sys.stdout.write(str(error))
    client.wait(60)
