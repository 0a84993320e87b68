from __future__ import annotations

import os
from pathlib import Path

import pytest

from millstream import Configuration, StreamExecutionEnvironment, WatermarkStrategy
from millstream.connectors.files import BucketAssigner, Encoder, FileSink, OutputFileConfig, RollingPolicy
from millstream.connectors.files.committer import FileCommittable
from millstream.core.errors import ConnectorError, JobDefinitionError
from millstream.testing import ManualSource, MiniCluster
from millstream.testing.connectors import SinkContract, SinkRun


def sink_to(path: Path, **options) -> FileSink[str]:
    builder = FileSink.for_row_format(str(path), options.get("encoder", Encoder.simple_string_encoder()))
    builder.with_bucket_assigner(options.get("buckets", BucketAssigner.base_path_bucket_assigner()))
    builder.with_rolling_policy(options.get("rolling", RollingPolicy.default_rolling_policy()))
    return builder.with_output_file_config(options.get("names", OutputFileConfig())).build()


def visible_files(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))


def hidden_files(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob(".*") if file.is_file())


def visible_lines(path: Path) -> list[str]:
    return [line for file in visible_files(path) for line in file.read_text().splitlines()]


class TestFileSink(SinkContract):
    @pytest.fixture
    def sink(self, tmp_path):
        return sink_to(tmp_path / "out")

    def visible(self, sink):
        return visible_lines(Path(sink._settings.base_path))


class TestFileSinkWithBucketsAndSmallParts(SinkContract):
    @pytest.fixture
    def sink(self, tmp_path):
        rolling = RollingPolicy.default_rolling_policy(part_size=2)
        return sink_to(
            tmp_path / "out", buckets=lambda record, context: f"by-letter/{record[0]}", rolling=rolling
        )

    def visible(self, sink):
        return visible_lines(Path(sink._settings.base_path))


def test_names_tell_the_attempt_and_subtask_and_have_the_prefix_and_suffix(tmp_path) -> None:
    sink = sink_to(
        tmp_path, names=OutputFileConfig.builder().with_part_prefix("clicks").with_part_suffix(".csv").build()
    )
    run = SinkRun(sink, parallelism=2, attempt=7)
    run.write(1, ["a"])
    (pending,) = hidden_files(tmp_path)
    assert pending.name.startswith(".clicks-01234567-7-1-")
    run.finish(1)
    (file,) = visible_files(tmp_path)
    assert file.name.startswith("clicks-01234567-7-1-")
    assert file.name.endswith("-0.csv")


def test_unfinished_files_of_earlier_attempts_are_removed_once_this_attempt_commits(tmp_path) -> None:
    run = SinkRun(sink_to(tmp_path), parallelism=2)
    run.write(0, ["a"])
    completed = run.checkpoint(1)
    run.write(0, ["lost"])
    run.write(1, ["lost"])
    run.checkpoint(2)
    run.write(0, ["lost too"])
    restored = SinkRun(run.sink, 1, completed, attempt=1)
    assert len(hidden_files(tmp_path)) == 3
    restored.write(0, ["b"])
    restored.finish(3)
    assert visible_lines(tmp_path) == ["a", "b"]
    assert hidden_files(tmp_path) == []


def test_files_of_another_job_are_left_alone(tmp_path) -> None:
    other = SinkRun(sink_to(tmp_path), job_id="f" * 32)
    other.write(0, ["other"])
    pending = other.checkpoint(1)
    mine = SinkRun(sink_to(tmp_path), attempt=5)
    mine.write(0, ["mine"])
    mine.finish(1)
    assert visible_lines(tmp_path) == ["mine"]
    other.commit(pending)
    assert sorted(visible_lines(tmp_path)) == ["mine", "other"]


def test_a_new_job_from_a_checkpoint_leaves_later_files_of_the_old_one_which_may_still_run(tmp_path) -> None:
    old = SinkRun(sink_to(tmp_path), job_id="a" * 32)
    old.write(0, ["covered"])
    completed = old.checkpoint(1)
    old.write(0, ["later"])
    later = old.checkpoint(2)
    old.write(0, ["open"])
    unknown_to_the_new = [file for file in hidden_files(tmp_path) if "covered" not in file.read_text()]
    new = SinkRun(old.sink, 1, completed, attempt=1, job_id="b" * 32)
    assert visible_lines(tmp_path) == ["covered"]
    new.write(0, ["new"])
    new.finish(3)
    assert sorted(visible_lines(tmp_path)) == ["covered", "new"]
    assert hidden_files(tmp_path) == unknown_to_the_new
    old.commit(later)  # it was not dead: its output is as whole as that of the new one
    assert sorted(visible_lines(tmp_path)) == ["covered", "later", "new"]


def test_a_cancelled_job_removes_its_open_files_and_the_new_one_commits_those_of_its_savepoint(
    tmp_path,
) -> None:
    source = ManualSource()

    def program():
        env = StreamExecutionEnvironment.get_execution_environment(Configuration())
        env.enable_checkpointing(3_600_000)
        lines = env.from_source(source, WatermarkStrategy.no_watermarks(), "lines").uid("lines")
        lines.sink_to(sink_to(tmp_path / "out")).uid("files")
        return env

    with MiniCluster() as cluster:
        job = cluster.start(program())
        source.element("covered")
        job.settle()
        savepoint = job.trigger_savepoint(str(tmp_path / "savepoints"))
        source.element("open")
        job.settle()
        assert len(hidden_files(tmp_path / "out")) == 2
        job.cancel()
        assert [file.read_text() for file in hidden_files(tmp_path / "out")] == ["covered\n"]
        again = cluster.start(program(), restore_from=savepoint)
        again.settle()
        again.trigger_checkpoint()
        assert sorted(visible_lines(tmp_path / "out")) == [
            "covered",
            "open",
        ]  # each once: "open" is read again
        assert hidden_files(tmp_path / "out") == []


def test_another_sink_in_the_same_folder_keeps_its_pending_files(tmp_path) -> None:
    one, other = SinkRun(sink_to(tmp_path)), SinkRun(sink_to(tmp_path))
    one.write(0, ["one"])
    other.write(0, ["other"])
    completed, completed_by_other = one.checkpoint(1), other.checkpoint(1)
    # Both restart; `one` comes up, commits, and only then does `other`.
    restored = SinkRun(one.sink, 1, completed, attempt=1)
    restored_other = SinkRun(other.sink, 1, completed_by_other, attempt=1)
    restored.finish(2)
    restored_other.finish(2)
    assert sorted(visible_lines(tmp_path)) == ["one", "other"]


def test_a_file_that_nobody_knows_is_left_alone(tmp_path) -> None:
    names = [".hidden", ".part-1.inprogress.", f".x.inprogress.{'0' * 32}.zero", "visible.inprogress.1.2"]
    for name in names:
        (tmp_path / name).touch()
    run = SinkRun(sink_to(tmp_path), attempt=3)
    run.write(0, ["a"])
    run.finish(1)
    assert {file.name for file in tmp_path.iterdir() if not file.name.startswith("part-")} == set(names)


def test_a_pending_file_that_is_gone_is_lost_data_and_says_so(tmp_path) -> None:
    run = SinkRun(sink_to(tmp_path))
    run.write(0, ["a"])
    checkpoint = run.checkpoint(1)
    hidden_files(tmp_path)[0].unlink()
    with pytest.raises(ConnectorError, match="of 2 bytes that the checkpoint promises is neither") as caught:
        run.commit(checkpoint)
    assert not caught.value.retryable


def test_a_pending_file_that_was_cut_is_an_error(tmp_path) -> None:
    run = SinkRun(sink_to(tmp_path))
    run.write(0, ["abc"])
    checkpoint = run.checkpoint(1)
    os.truncate(hidden_files(tmp_path)[0], 2)
    with pytest.raises(ConnectorError, match="has 2 bytes, the checkpoint says 4") as caught:
        run.commit(checkpoint)
    assert not caught.value.retryable


def test_parts_end_by_size_after_the_batch_that_filled_them(tmp_path) -> None:
    run = SinkRun(sink_to(tmp_path, rolling=RollingPolicy.default_rolling_policy(part_size=4)))
    for batch in (["a"], ["b", "c"], ["d"]):
        run.write(0, batch)
    run.finish(1)
    assert sorted(file.read_text() for file in visible_files(tmp_path)) == ["a\nb\nc\n", "d\n"]


@pytest.mark.parametrize("policy", [{"rollover_interval": 100}, {"inactivity_interval": 60}])
def test_parts_end_by_age(tmp_path, policy) -> None:
    run = SinkRun(sink_to(tmp_path, rolling=RollingPolicy.default_rolling_policy(**policy)))
    run.write(0, ["a"])
    run.clock.advance(50)
    run.write(0, ["b"])
    run.clock.advance(60)
    run.write(0, ["c"])
    run.finish(1)
    assert sorted(file.read_text() for file in visible_files(tmp_path)) == ["a\nb\n", "c\n"]


def test_with_the_checkpoint_policy_parts_end_at_checkpoints_only(tmp_path) -> None:
    run = SinkRun(sink_to(tmp_path, rolling=RollingPolicy.on_checkpoint_rolling_policy()))
    run.write(0, ["a"])
    run.clock.advance(10_000_000)
    run.write(0, ["b" * 1_000_000])
    run.commit(run.checkpoint(1))
    run.write(0, ["c"])
    run.finish(2)
    assert len(visible_files(tmp_path)) == 2


def test_by_default_buckets_are_hours_of_the_wall_clock(tmp_path) -> None:
    run = SinkRun(FileSink.for_row_format(tmp_path, str).build())
    run.write(0, ["a"])
    run.clock.advance(3_600_000)
    run.write(0, ["b"])
    run.finish(1)
    first, second = (file.parent for file in visible_files(tmp_path))
    assert first.parent == second.parent == tmp_path
    assert first != second
    assert len(first.name) == len("2026-01-02--03")


def test_a_bucket_function_sees_record_and_timestamp(tmp_path) -> None:
    run = SinkRun(sink_to(tmp_path, buckets=lambda record, context: f"{record}-{context.timestamp}"))
    run.write(0, ["a", "b", "a"], [1, 2, 1])
    run.finish(1)
    assert {file.parent.name: file.read_text() for file in visible_files(tmp_path)} == {
        "a-1": "a\na\n",
        "b-2": "b\n",
    }


@pytest.mark.parametrize("bucket", ["../elsewhere", "/etc", "a/../../b", 5, "nul\0"])
def test_a_bucket_outside_the_base_path_is_refused(tmp_path, bucket) -> None:
    run = SinkRun(sink_to(tmp_path / "out", buckets=lambda record, context: bucket))
    with pytest.raises(ConnectorError, match="a bucket cannot be called"):
        run.write(0, ["a"])
    assert visible_files(tmp_path) == hidden_files(tmp_path) == []


def test_an_encoder_function_gives_lines_or_bytes(tmp_path) -> None:
    run = SinkRun(sink_to(tmp_path, encoder=lambda n: f"line {n}" if n % 2 else b"%d;" % n))
    run.write(0, [1, 2, 4, 3])
    run.finish(1)
    assert visible_files(tmp_path)[0].read_bytes() == b"line 1\n2;4;line 3\n"


def test_a_record_that_cannot_be_encoded_raises_the_users_error_with_its_index(tmp_path) -> None:
    run = SinkRun(sink_to(tmp_path, encoder=lambda n: str(1 // n)))
    with pytest.raises(ZeroDivisionError) as caught:
        run.write(0, [1, 2, 0, 3])
    assert caught.value.millstream_record_index == 2


def test_text_outside_the_charset_names_the_record(tmp_path) -> None:
    run = SinkRun(sink_to(tmp_path, encoder=Encoder.simple_string_encoder("ascii")))
    with pytest.raises(UnicodeEncodeError) as caught:
        run.write(0, ["a", "ä"])
    assert caught.value.millstream_record_index == 1


def test_a_bucket_function_that_fails_names_the_record(tmp_path) -> None:
    run = SinkRun(sink_to(tmp_path, buckets=lambda record, context: record[3]))
    with pytest.raises(IndexError) as caught:
        run.write(0, ["abcd", "a"])
    assert caught.value.millstream_record_index == 1


def test_a_base_path_that_is_a_file_is_a_clear_error(tmp_path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConnectorError, match="cannot make the folder of a file sink") as caught:
        SinkRun(sink_to(tmp_path / "file" / "out"))
    assert str(tmp_path / "file") in str(caught.value)


def test_a_folder_that_vanished_is_a_clear_error(tmp_path) -> None:
    run = SinkRun(sink_to(tmp_path / "out"))
    run.write(0, ["a"])
    checkpoint = run.checkpoint(1)
    hidden_files(tmp_path)[0].unlink()
    (tmp_path / "out").rmdir()
    with pytest.raises(ConnectorError):
        run.commit(checkpoint)


def test_a_relative_path_is_taken_from_where_the_program_is_built(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    sink = sink_to(Path("out"))
    monkeypatch.chdir("/")
    run = SinkRun(sink)
    run.write(0, ["a"])
    run.finish(1)
    assert visible_lines(tmp_path / "out") == ["a"]


@pytest.mark.parametrize(
    "build",
    [
        lambda: FileSink.for_row_format("s3://bucket/path", str),
        lambda: FileSink.for_row_format("out", 5),
        lambda: FileSink.for_row_format("out", str).with_bucket_assigner(5),
        lambda: Encoder.simple_string_encoder("klingon"),
        lambda: Encoder.simple_string_encoder("utf-16"),
        lambda: BucketAssigner.date_time_bucket_assigner("QQQ"),
        lambda: BucketAssigner.date_time_bucket_assigner("yyyy 'open"),
        lambda: BucketAssigner.date_time_bucket_assigner(timezone_id="Mars/Olympus"),
        lambda: RollingPolicy.default_rolling_policy(part_size=0),
        lambda: OutputFileConfig(".hidden"),
        lambda: OutputFileConfig("a/b"),
    ],
)
def test_a_wrong_argument_is_an_error_in_the_program(build) -> None:
    with pytest.raises(JobDefinitionError):
        build()


@pytest.mark.parametrize(
    ("pattern", "zone", "expected"),
    [
        ("yyyy-MM-dd--HH", "UTC", "2023-11-14--22"),
        ("yy/M/d", "GMT+08:00", "23/11/15"),
        ("'day='yyyyMMdd'/at '''HH:mm:ss.SSS''", "UTC", "day=20231114/at '22:13:20.250'"),
    ],
)
def test_date_buckets_follow_java_patterns(pattern, zone, expected) -> None:
    assigner = BucketAssigner.date_time_bucket_assigner(pattern, zone)
    assert assigner.bucket_at(1_700_000_000_250) == expected


def test_the_encoding_of_committables_is_stable() -> None:
    committable = FileCommittable("/out", "/out/caf\udce9", ".p.inprogress.j.1", "p", 5, "j", 1)
    assert FileCommittable.decode(committable.encode()) == committable
    assert committable.encode().hex() == (
        "9801c4042f6f7574c4092f6f75742f636166e9c4112e702e696e70726f67726573732e6a2e31c4017005a16a01"
    )
