"""Jobs whose keyed state lives in a database: workers and the database die in the middle, and no window is lost or doubled."""

from __future__ import annotations

import os
import signal
from collections import Counter
from typing import Any

import pytest

from millstream import JobClient
from millstream.core.errors import ConfigurationError
from millstream.dev.server import LocalServer, Server
from tests.integration.engine.harness import Workshop, wait_until
from tests.integration.engine.jobs.windows import expected_lines
from tests.services.availability import unavailable

EVENTS = 50_000
SLOW = 5_000  # events per second, until the test has done what it wants to do to the job


@pytest.fixture(params=["postgresql", "redis"])
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def server(backend: str, request: pytest.FixtureRequest) -> Server:
    return request.getfixturevalue({"postgresql": "postgresql", "redis": "redis_server"}[backend])


@pytest.fixture
def start(workshop: Workshop, backend: str, server: Server) -> Any:
    """Starts the windows job with its state in the database."""

    def start(**changes: str) -> JobClient:
        settings = {
            "state_backend_type": backend,
            f"state_backend_{backend}_url": server.url,
            # A database that restarts is away for some seconds.
            "restart__strategy_fixed__delay_delay": "100 ms",
            "restart__strategy_fixed__delay_attempts": "100",
        }
        return workshop.start(2, EVENTS, SLOW, **{**settings, **changes})

    return start


def completed(client: JobClient) -> int:
    checkpoints = client.statistics().checkpoints
    return 0 if checkpoints is None else checkpoints.completed


def test_a_killed_worker_costs_no_window_and_doubles_none(workshop: Workshop, start: Any) -> None:
    client = start()
    wait_until(lambda: completed(client) >= 2, "two checkpoints")
    restarts = client.statistics().restarts
    os.kill(client.worker_pids()[1], signal.SIGKILL)
    wait_until(lambda: client.statistics().restarts > restarts, "the restart")
    workshop.finish(client)
    workshop.check_output(EVENTS)
    workshop.check_nothing_is_left()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["in order", "kill -9"])
def test_a_restarted_database_costs_no_window_and_doubles_none(
    workshop: Workshop, start: Any, server: Server, how: str
) -> None:
    if not isinstance(server, LocalServer):
        unavailable("a given server cannot be restarted", fix="unset the variable with the server's URL")
    client = start()
    wait_until(lambda: completed(client) >= 2, "two checkpoints")
    if how == "kill -9":
        server.kill()
        server.start()
    else:
        server.restart()
    workshop.finish(client)
    workshop.check_output(EVENTS)
    workshop.check_nothing_is_left()


def test_a_backend_without_its_database_is_refused_before_anything_runs(workshop: Workshop) -> None:
    with pytest.raises(ConfigurationError, match=r"state\.backend\.postgresql\.url"):
        workshop.start(1, 10, state_backend_type="postgresql")


def test_a_checkpoint_of_the_heap_goes_on_in_the_database_and_its_savepoint_back_on_rocksdb(
    workshop: Workshop, start: Any
) -> None:
    client = start(state_backend_type="hashmap")
    wait_until(lambda: completed(client) >= 2, "two checkpoints")
    client.cancel().result(30)
    client = start(execution_savepoint_path=str(workshop.complete()[-1]))
    wait_until(lambda: completed(client) >= 2, "two checkpoints")
    path = client.stop_with_savepoint(False, str(workshop.tmp.parent / "savepoints")).result(60)
    client = start(execution_savepoint_path=path, state_backend_type="rocksdb")
    workshop.finish(client)
    assert workshop.committed() == Counter(
        expected_lines(EVENTS)
    )  # what the cancelled run did not commit stays hidden
