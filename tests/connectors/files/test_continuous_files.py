from __future__ import annotations

from collections import Counter

import pytest

from millstream.connectors.base import Boundedness, NothingAvailable
from millstream.connectors.files import FileEnumeratorProvider, FileSource, StreamFormat
from millstream.core.errors import JobDefinitionError
from millstream.testing.connectors import SourceRun


def source_of(path, split_bytes=16):
    builder = FileSource.for_record_stream_format(StreamFormat.text_line_format(), path)
    return builder.set_split_bytes(split_bytes).monitor_continuously(1_000).build()


def read_all(run):
    """Until every reader has nothing more."""
    quiet = 0
    while quiet < 3 * len(run.readers):
        answer = run.poll(run.polls % len(run.readers))
        run.polls += 1
        quiet = quiet + 1 if isinstance(answer, NothingAvailable) else 0
    return run.values


def test_files_that_come_later_are_read_once_each(tmp_path) -> None:
    (tmp_path / "a").write_text("a1\na2\n")
    run = SourceRun(source_of(tmp_path), 2)
    assert run.source.boundedness is Boundedness.CONTINUOUS_UNBOUNDED
    assert read_all(run) == ["a1", "a2"]
    (tmp_path / "b").write_text("b1\n")
    run.context.run_periodic()
    run.context.run_periodic()
    assert Counter(read_all(run)) == Counter(["a1", "a2", "b1"])
    assert not any(run.ended)
    run.close()


@pytest.mark.parametrize("parallelism", [1, 2, 3])
def test_a_restored_source_goes_on_where_it_was_and_remembers_what_it_found(tmp_path, parallelism) -> None:
    for name in "abc":
        (tmp_path / name).write_text("".join(f"{name}{n}\n" for n in range(30)))
    run = SourceRun(source_of(tmp_path), 2, batch=3)
    run.read(9)
    durable, checkpoint = list(run.values), run.checkpoint()
    run.read(4)
    run.close()
    (tmp_path / "d").write_text("d0\n")
    restored = SourceRun(run.source, parallelism, checkpoint)
    durable += read_all(restored)
    restored.close()
    expected = Counter([f"{name}{n}" for name in "abc" for n in range(30)] + ["d0"])
    assert Counter(durable) == expected


def test_the_work_is_shared_by_all_readers(tmp_path) -> None:
    for n in range(8):
        (tmp_path / str(n)).write_text(f"{n}\n" * 20)
    run = SourceRun(source_of(tmp_path, 1000), 4, batch=5)
    read_all(run)
    assert all(run.by_subtask)
    run.close()


def test_files_need_not_be_cut(tmp_path) -> None:
    (tmp_path / "a").write_text("".join(f"{n}\n" for n in range(100)))
    builder = FileSource.for_record_stream_format(StreamFormat.text_line_format(), tmp_path)
    whole = FileEnumeratorProvider.default_non_splittable_file_enumerator()
    run = SourceRun(builder.set_split_bytes(16).set_file_enumerator(whole).build(), 3)
    run.read()
    assert [len(values) for values in run.by_subtask] == [100, 0, 0]


def test_an_interval_must_be_positive(tmp_path) -> None:
    builder = FileSource.for_record_stream_format(StreamFormat.text_line_format(), tmp_path)
    with pytest.raises(JobDefinitionError):
        builder.monitor_continuously(0)


def test_what_is_not_supported_is_refused_with_the_way_out(tmp_path) -> None:
    with pytest.raises(JobDefinitionError, match="bulk"):
        FileSource.for_bulk_file_format("parquet", str(tmp_path))
    with pytest.raises(JobDefinitionError, match="no stream format"):
        FileSource.for_record_stream_format("text", str(tmp_path))
