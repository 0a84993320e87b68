"""The collector of reference cycles is relaxed while tasks run, and is the user's again afterwards."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from millstream import Configuration, StreamExecutionEnvironment
from millstream.connectors.files import Encoder, FileSink
from millstream.runtime.worker.collector import relax_collector, restore_collector


@pytest.fixture(autouse=True)
def thresholds() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    yield
    gc.set_threshold(*before)


def test_it_is_relaxed_and_restored() -> None:
    before = relax_collector()
    assert gc.get_threshold() == (10_000, 10, 10)
    restore_collector(before)
    assert gc.get_threshold() == (700, 10, 10)


@pytest.mark.parametrize("of_the_user", [(50_000, 20, 20), (0, 10, 10)], ids=["rarer", "switched off"])
def test_what_the_user_has_set_stays(of_the_user: tuple[int, int, int]) -> None:
    gc.set_threshold(*of_the_user)
    before = relax_collector()
    assert gc.get_threshold() == of_the_user
    restore_collector(before)
    assert gc.get_threshold() == of_the_user


def test_what_the_users_function_sets_meanwhile_stays() -> None:
    before = relax_collector()
    gc.set_threshold(123, 4, 5)
    restore_collector(before)
    assert gc.get_threshold() == (123, 4, 5)


@pytest.mark.parametrize("mode", ["embedded", "process"])
def test_a_job_runs_with_it_and_leaves_it_as_it_was(tmp_path: Path, mode: str) -> None:
    env = StreamExecutionEnvironment.get_execution_environment(Configuration({"taskmanager.mode": mode}))
    seen = env.from_collection([1]).map(lambda _: str(gc.get_threshold()[0]))
    seen.sink_to(FileSink.for_row_format(str(tmp_path), Encoder.simple_string_encoder()).build())
    env.execute("thresholds")
    lines = [path.read_text().split() for path in tmp_path.rglob("*") if path.is_file()]
    assert lines == [["10000"]]
    assert gc.get_threshold() == (700, 10, 10)
