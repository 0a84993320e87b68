"""State of a running job, from outside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from millstream import (
    KeyedProcessFunction,
    RuntimeContext,
    StreamExecutionEnvironment,
    Types,
    WatermarkStrategy,
)
from millstream.checkpoint.files import Entry
from millstream.checkpoint.streams import StorageReader
from millstream.connectors.datagen import DataGeneratorSource, RateLimiterStrategy
from millstream.core.errors import CheckpointError, CheckpointFailureReason
from millstream.core.types import KeyEncoder
from millstream.state.descriptors import ValueStateDescriptor
from millstream.state.handles import FileRef
from millstream.state.key_groups import key_group_of, subtask_of_key_group
from millstream.state_reader import QueryableStateClient, StateSnapshot, queries
from tests.state_reader.conftest import Totaling


def value_of(client: QueryableStateClient, key: str) -> Any:
    return [entry.value for entry in client.get("totals", "total", key)]


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Files that were read from the storage."""
    paths: list[str] = []
    download = StorageReader.download

    def counting(reader: StorageReader, ref: FileRef, local: Path) -> None:
        paths.append(ref.path)
        download(reader, ref, local)

    monkeypatch.setattr(StorageReader, "download", counting)
    return paths


def subtask_of(key: str) -> int:
    return subtask_of_key_group(key_group_of(KeyEncoder(Types.STRING()).encode(key), 128), 128, 2)


def test_each_answer_is_as_of_the_newest_checkpoint(totals: Totaling, tmp_path: Path) -> None:
    with totals() as job, QueryableStateClient(str(tmp_path / "checkpoints"), "totals") as client:
        with pytest.raises(CheckpointError) as none_yet:
            value_of(client, "a")
        assert none_yet.value.reason is CheckpointFailureReason.NOT_FOUND
        job.take(("a", "x", 1))
        assert value_of(client, "a") == [1]
        job.source.batch([("a", "x", 2)])
        job.job.settle()
        assert value_of(client, "a") == [1]
        job.take()
        assert value_of(client, "a") == [3]
        assert value_of(client, "b") == []


def test_only_the_files_of_the_subtask_that_owns_the_key_are_fetched_and_once(
    totals: Totaling, tmp_path: Path, fetched: list[str]
) -> None:
    with totals() as job, QueryableStateClient(str(tmp_path / "checkpoints"), "totals") as client:
        one, other = "a", next(key for key in "pqrstuv" if subtask_of(key) != subtask_of("a"))
        same = next(key for key in "bcdefgh" if subtask_of(key) == subtask_of("a"))
        job.take(*((key, "x", 1) for key in (one, same, other)))
        assert value_of(client, one) == [1]
        of_one = list(fetched)
        assert of_one
        assert value_of(client, same) == value_of(client, one) == [1]
        assert fetched == of_one
        assert value_of(client, other) == [1]
        assert len(fetched) == 2 * len(of_one)


def test_what_two_checkpoints_share_is_fetched_once(
    totals: Totaling, tmp_path: Path, fetched: list[str]
) -> None:
    with totals("rocksdb") as job, QueryableStateClient(str(tmp_path / "checkpoints"), "totals") as client:
        for amount in range(1, 6):
            job.take(("a", "x", 1))
            assert value_of(client, "a") == [amount]
        assert fetched
        assert len(fetched) == len(set(fetched))
        assert all(path.startswith("shared/") for path in fetched)


def test_a_checkpoint_that_is_deleted_while_it_is_read_gives_way_to_the_newer_one(
    totals: Totaling, tmp_path: Path
) -> None:
    with (
        totals(**{"execution.checkpointing.num-retained": "1"}) as job,
        QueryableStateClient(str(tmp_path / "checkpoints"), "totals") as client,
    ):
        job.take(("a", "x", 1))
        asked: list[int] = []

        def question(snapshot: StateSnapshot) -> Any:
            asked.append(snapshot.checkpoint_id)
            if len(asked) < 3:
                job.take(("a", "x", 1))  # and the one that is being read goes
                while Path(snapshot.path).exists():
                    job.job.settle()
            return snapshot.operator("totals").keyed("total").value("a")

        assert client.read(question) == 3
        assert asked == [1, 2, 3]


def test_a_damaged_newest_checkpoint_is_an_error_and_no_older_one_is_taken_for_it(
    totals: Totaling, tmp_path: Path
) -> None:
    with totals() as job, QueryableStateClient(str(tmp_path / "checkpoints"), "totals") as client:
        job.take(("a", "x", 1))
        newest = Path(job.take(("a", "x", 1)))
        for file in [*newest.glob("a*"), *(newest.parent / "shared").glob("*")]:
            file.unlink()
        with pytest.raises(CheckpointError, match="file is missing"):
            value_of(client, "a")


def test_a_name_stands_for_the_newest_run(totals: Totaling, tmp_path: Path) -> None:
    kept = {"execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION"}
    with totals(**kept) as job:
        older = Path(job.take(("a", "x", 1)))
    with totals() as job:
        job.take(("a", "x", 7))
        with QueryableStateClient(str(tmp_path / "checkpoints"), "totals") as client:
            assert value_of(client, "a") == [7]
        with QueryableStateClient(str(tmp_path / "checkpoints"), older.parent.name) as client:
            assert value_of(client, "a") == [1]


class Count(KeyedProcessFunction):
    def open(self, runtime_context: RuntimeContext) -> None:
        self.count = runtime_context.get_state(ValueStateDescriptor("count", int))

    def process_element(self, value: int, ctx: Any) -> None:
        self.count.update((self.count.value() or 0) + 1)


@pytest.mark.parametrize("backend", ["hashmap", "rocksdb"])
def test_answers_only_grow_while_a_real_job_takes_and_deletes_checkpoints(
    backend: str, tmp_path: Path
) -> None:
    env = StreamExecutionEnvironment.get_execution_environment()
    env.configure(
        {
            "state.backend.type": backend,
            "execution.checkpointing.dir": str(tmp_path),
            "execution.checkpointing.interval": "20 ms",
            "execution.checkpointing.num-retained": "1",
        }
    )
    numbers = DataGeneratorSource(int, 10**9, RateLimiterStrategy.per_second(2_000))
    stream = env.from_source(numbers, WatermarkStrategy.no_watermarks(), "numbers", Types.LONG())
    stream.key_by(lambda n: n % 2, Types.LONG()).process(Count(), Types.LONG()).uid("counts").print()
    job = env.execute_async("counting")
    seen: list[int] = []
    with QueryableStateClient(str(tmp_path), "counting") as client:
        while len(set(seen)) < 8:
            try:
                seen += [entry.value for entry in client.get("counts", "count", 1)]
            except CheckpointError as error:
                if seen or error.reason is not CheckpointFailureReason.NOT_FOUND:  # before the first one
                    raise
    job.cancel()
    assert seen == sorted(seen)


class Vanishing:
    """A run whose every checkpoint completes, and is deleted, just while it is looked for.

    `steps` says for each listing which checkpoint is complete by then, and whether the next one is being written.
    """

    def __init__(self, steps: list[tuple[int, bool]]) -> None:
        self.steps = steps
        self.listings = 0

    def url(self, path: str = "") -> str:
        return path

    def entries(self, path: str = "") -> list[Entry]:
        """Folders stay longer than `_metadata`: so long that none goes."""
        newest, writing = self.steps[min(self.listings, len(self.steps) - 1)]
        self.listings += 1
        if path == "run":
            return [Entry(f"chk-{number}", True, 0, 0) for number in range(4, newest + 1 + writing)]
        return [Entry("_metadata", False, 1, newest)] if path == f"run/chk-{newest}" else []


@given(st.lists(st.tuples(st.integers(0, 1), st.booleans()), min_size=1, max_size=20))
@example([(0, True), (0, True), (1, True), (0, False)])  # complete and gone between two looks: once missed
def test_the_newest_checkpoint_is_found_whenever_others_complete_and_go(
    drawn: list[tuple[int, bool]],
) -> None:
    steps, newest = [], 5
    for step, writing in drawn:
        newest += step
        steps.append((newest, writing))
    found = queries._newest_of_run(Vanishing(steps), "run")  # type: ignore[arg-type]  # as much of it as is used
    assert found is not None
    assert 5 <= found[0] <= newest


def test_a_run_without_a_complete_checkpoint_has_none(tmp_path: Path) -> None:
    (tmp_path / "run" / "chk-1").mkdir(parents=True)
    (tmp_path / "run" / "chk-2").mkdir()
    assert queries.newest_checkpoint(str(tmp_path), "run") is None
