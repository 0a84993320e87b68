"""Random programs give what a plain reading of them says, in every way of running them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from millstream import Configuration, StreamExecutionEnvironment
from tests.integration.engine.harness import Workshop, problem, wait_until
from tests.integration.engine.jobs.random_graph import build, described, program_of, random_graph
from tests.integration.engine.test_exactly_once_inside import TINY_BUFFERS, UNALIGNED
from tests.integration.engine.test_recovery import completed

EVENTS = 600
SEEDS = range(12)


@pytest.mark.parametrize(
    ("mode", "parallelism"),
    [
        ("STREAMING", 1),
        pytest.param("STREAMING", 3, marks=pytest.mark.slow),
        ("BATCH", 1),
        pytest.param("BATCH", 2, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("seed", SEEDS)
def test_in_any_mode_at_any_parallelism(seed: int, mode: str, parallelism: int, tmp_path: Path) -> None:
    program = program_of(seed, EVENTS)
    configuration = Configuration()
    configuration.set_string("execution.runtime-mode", mode)
    configuration.set_string("io.tmp.dirs", str(tmp_path))
    env = StreamExecutionEnvironment.get_execution_environment(configuration).set_parallelism(parallelism)
    with build(env, program, EVENTS, None).execute_and_collect() as results:
        found = Counter(results)
    assert found == Counter(program.lines), f"{problem(found, program.lines)}\n{described(program)}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "backend", "parallelism"),
    [
        (3, "hashmap", (3, 1, 2)),
        (5, "rocksdb", (2, 3, 1)),
        (6, "rocksdb", (3, 2, 3)),
        (40, "hashmap", (4, 1, 4)),
    ],
)
def test_ended_amid_its_records_and_begun_at_another_parallelism(
    workshop: Workshop, seed: int, backend: str, parallelism: tuple[int, ...]
) -> None:
    """From unaligned checkpoints, under constant backpressure: what is chained changes with the parallelism, too."""
    events, path = 3_000, ""
    for number, at in enumerate(parallelism):
        last = number == len(parallelism) - 1
        changes = {**TINY_BUFFERS, **UNALIGNED, "state_backend_type": backend}
        if path:
            changes["execution_savepoint_path"] = path
        env = random_graph(
            workshop.configuration(**changes), seed, str(workshop.out), events, 10**6 if last else 2_000
        )
        client = env.set_parallelism(at).execute_async()
        if last:
            client.wait(90)
            break
        wait_until(lambda: completed(client) >= 3, "three checkpoints")  # noqa: B023
        client.cancel().result(60)
        path = str(max(workshop.complete(), key=lambda folder: (folder / "_metadata").stat().st_mtime_ns))
    program = program_of(seed, events)
    found = workshop.committed()
    assert found == Counter(program.lines), f"{problem(found, program.lines)}\n{described(program)}"
