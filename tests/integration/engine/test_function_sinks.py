"""Sink functions in whole jobs: at least once, and exactly once through crashes, with one and with two workers."""

from __future__ import annotations

import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from millstream import (
    JobDefinitionError,
    SinkFunction,
    StreamExecutionEnvironment,
    TwoPhaseCommitSinkFunction,
    WatermarkStrategy,
)
from millstream.connectors.datagen import DataGeneratorSource, RateLimiterStrategy
from tests.integration.engine.harness import Workshop

RECORDS = 2_000


class Staged(TwoPhaseCommitSinkFunction[int, str]):
    """A transaction is a hidden file; it is committed by renaming it. Fails once in each of its phases."""

    def __init__(self, folder: Path) -> None:
        super().__init__(str)
        self.folder = str(folder)

    def begin_transaction(self) -> str:
        return f"{self.folder}/.{uuid.uuid4().hex}"

    def invoke(self, transaction: str, value: int, context: Any) -> None:
        if value == RECORDS // 2:
            self.fail_once("invoke")
        with Path(transaction).open("a") as file:
            file.write(f"{value}\n")

    def pre_commit(self, transaction: str) -> None:
        Path(transaction).touch()

    def commit(self, transaction: str) -> None:
        self.fail_once("before")
        if Path(transaction).exists():
            Path(transaction).rename(transaction.replace("/.", "/"))
        self.fail_once("after")

    def abort(self, transaction: str) -> None:
        Path(transaction).unlink(missing_ok=True)

    def fail_once(self, where: str) -> None:
        try:
            Path(self.folder, f".failed-{where}").touch(exist_ok=False)
        except FileExistsError:
            return
        raise RuntimeError(where)


def visible(folder: Path) -> Counter[int]:
    return Counter(
        int(line)
        for path in folder.iterdir()
        if path.name[0] != "."
        for line in path.read_text().splitlines()
    )


@pytest.mark.parametrize("parallelism", [1, 2])
def test_a_two_phase_commit_function_shows_every_record_once_through_crashes(parallelism, tmp_path) -> None:
    workshop = Workshop(tmp_path)
    workshop.out.mkdir()
    env = StreamExecutionEnvironment(workshop.configuration())
    env.set_parallelism(parallelism)
    rate = RateLimiterStrategy.per_second(RECORDS)
    source = DataGeneratorSource(lambda index: index, RECORDS, rate)
    env.from_source(source, WatermarkStrategy.no_watermarks(), "numbers").add_sink(Staged(workshop.out))
    env.execute()
    assert visible(workshop.out) == Counter(range(RECORDS))
    names = {path.name for path in workshop.out.iterdir() if path.name[0] == "."}
    assert {".failed-invoke", ".failed-before", ".failed-after"} <= names


class Appending(SinkFunction[int]):
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self, runtime_context: Any) -> None:
        self.file = (self.folder / str(runtime_context.get_index_of_this_subtask())).open("a")

    def invoke(self, value: int, context: Any) -> None:
        self.file.write(f"{value}\n")

    def close(self) -> None:
        self.file.close()


@pytest.mark.parametrize("parallelism", [1, 2])
def test_a_sink_function_is_given_every_record(parallelism, tmp_path) -> None:
    env = StreamExecutionEnvironment.get_execution_environment()
    env.set_parallelism(parallelism)
    env.from_sequence(1, 100).add_sink(Appending(tmp_path)).name("file")
    env.execute()
    assert visible(tmp_path) == Counter(range(1, 101))
    assert {path.name for path in tmp_path.iterdir()} == {str(index) for index in range(parallelism)}


def test_a_plain_callable_is_a_sink_too(tmp_path) -> None:
    env = StreamExecutionEnvironment.get_execution_environment()
    env.from_collection([1, 2, 3]).add_sink(lambda value: (tmp_path / str(value)).touch())
    env.execute()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2", "3"]


class Forgetful(Staged):
    def __init__(self) -> None:
        pass


@pytest.mark.parametrize("wrong", [5, Appending, lambda: None, Forgetful()])
def test_what_is_no_sink_function_is_refused_where_it_is_given(wrong) -> None:
    stream = StreamExecutionEnvironment.get_execution_environment().from_collection([1])
    with pytest.raises(JobDefinitionError):
        stream.add_sink(wrong)


def test_a_sink_belongs_to_sink_to(tmp_path) -> None:
    from millstream.connectors.files import FileSink

    stream = StreamExecutionEnvironment.get_execution_environment().from_collection([1])
    with pytest.raises(JobDefinitionError, match="add_sink") as refused:
        stream.add_sink(FileSink.for_row_format(tmp_path, str).build())
    assert "sink_to" in (refused.value.fix or "")
