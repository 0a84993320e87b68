"""Event-time windows whose partial aggregates are under way when barriers overtake them."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.integration.engine.harness import Workshop, wait_until
from tests.integration.engine.jobs.windows import expected_lines
from tests.integration.engine.test_exactly_once_inside import TINY_BUFFERS, UNALIGNED, with_records_under_way
from tests.integration.engine.test_recovery import completed, kill_worker

EVENTS = 8_000


@pytest.mark.parametrize("backend", ["hashmap", pytest.param("rocksdb", marks=pytest.mark.slow)])
@pytest.mark.parametrize("after", [3, pytest.param(1, marks=pytest.mark.slow)])
def test_each_window_comes_out_once_through_a_kill_and_at_another_parallelism(
    workshop: Workshop, backend: str, after: int
) -> None:
    keep_all = {"execution_checkpointing_num__retained": "1000"}
    changes = {**TINY_BUFFERS, **UNALIGNED, "state_backend_type": backend}
    client = workshop.start(2, EVENTS, **changes, **keep_all)
    wait_until(lambda: completed(client) >= 2, "two checkpoints")
    kill_worker(client, 1)
    done = completed(client)
    wait_until(lambda: completed(client) > done and with_records_under_way(workshop), "records under way")
    client.cancel().result(30)
    newest = str(workshop.complete()[-1])
    client = workshop.start(after, EVENTS, execution_savepoint_path=newest, **changes)
    client.wait(60)
    assert workshop.committed() == Counter(
        expected_lines(EVENTS)
    )  # what the first run did not commit stays hidden
