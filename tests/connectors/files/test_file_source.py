from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millstream.connectors.files import FileSource, StreamFormat
from millstream.connectors.files.splits import FileSplit, find_splits
from millstream.connectors.files.text_lines import TextLineCursor
from millstream.core.errors import ConnectorError, JobDefinitionError
from millstream.testing.connectors import SourceContract, SourceRun


def source_of(*paths: Path, charset: str = "UTF-8", split_bytes: int = 16) -> FileSource:
    builder = FileSource.for_record_stream_format(StreamFormat.text_line_format(charset), *paths)
    return builder.set_split_bytes(split_bytes).process_static_file_set().build()


class TestFileSource(SourceContract):
    @pytest.fixture
    def source(self, tmp_path):
        (tmp_path / "a.txt").write_text("".join(f"a{n}\n" for n in range(60)))
        (tmp_path / "b.txt").write_text("\n".join(f"böse {'x' * n}" for n in range(20)))
        (tmp_path / "empty.txt").touch()
        (tmp_path / "deep").mkdir()
        (tmp_path / "deep" / "c.txt").write_bytes(b"c1\r\nc2\r\n")
        return source_of(tmp_path, split_bytes=37)

    @pytest.fixture
    def expected(self):
        return [*(f"a{n}" for n in range(60)), *(f"böse {'x' * n}" for n in range(20)), "c1", "c2"]


LINES = st.lists(
    st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=9), max_size=25
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(
    lines=LINES,
    end=st.sampled_from(["\n", "\r\n"]),
    finished=st.booleans(),
    charset=st.sampled_from(
        ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"]
    ),
    split_bytes=st.integers(1, 60),
    block_bytes=st.integers(1, 30),
    limit=st.integers(1, 5),
)
def test_each_line_is_read_once_however_the_file_is_cut(
    tmp_path, lines, end, finished, charset, split_bytes, block_bytes, limit
) -> None:
    text = end.join([*lines, ""]) if finished else end.join(lines)
    expected = text.replace(end, "\n").split("\n")
    if expected[-1] == "":
        expected.pop()
    path = tmp_path / "lines.txt"
    path.write_bytes(text.encode(charset))
    unit = len("\n".encode(charset.removesuffix("-sig") if "8" in charset else charset[:6] + "-le"))
    canonical = StreamFormat.text_line_format(charset).charset_name
    read = []
    for split in find_splits([str(path)], -(-split_bytes // unit) * unit):
        cursor = TextLineCursor(split, canonical, block_bytes)
        while got := cursor.next_lines(limit):
            read += got
            # every position is as good as the cursor that was there
            position = FileSplit.decode(cursor.split().encode())
            cursor.close()
            cursor = TextLineCursor(position, canonical, block_bytes)
        cursor.close()
    assert read == expected


def test_one_subtask_reads_lines_in_their_order(tmp_path) -> None:
    (tmp_path / "f").write_text("".join(f"{n}\n" for n in range(1000)))
    run = SourceRun(source_of(tmp_path / "f", split_bytes=100), batch=64)
    assert run.read() == [str(n) for n in range(1000)]


def test_hidden_and_unfinished_files_are_passed_over(tmp_path) -> None:
    for name in ("seen", ".hidden", "_unfinished"):
        (tmp_path / name).write_text(name)
    (tmp_path / ".folder").mkdir()
    (tmp_path / ".folder" / "inside").write_text("no")
    assert SourceRun(source_of(tmp_path)).read() == ["seen"]


def test_a_hidden_file_that_is_named_is_read(tmp_path) -> None:
    (tmp_path / ".hidden").write_text("here")
    assert SourceRun(source_of(tmp_path / ".hidden")).read() == ["here"]


def test_a_file_that_is_named_twice_is_read_once(tmp_path) -> None:
    (tmp_path / "f").write_text("once")
    assert SourceRun(source_of(tmp_path / "f", tmp_path)).read() == ["once"]


@pytest.mark.parametrize(
    ("charset", "data", "expected"),
    [
        ("ISO-8859-1", b"caf\xe9\n\xfc", ["café", "ü"]),
        ("utf-8", b"a\r\nb\rc\r\n\r\nd\r", ["a", "b\rc", "", "d"]),
        ("utf-8", b"\n\n", ["", ""]),
        ("utf-8", "a\u2028b\x0bc\x85\n".encode(), ["a\u2028b\x0bc\x85"]),
        ("utf-8-sig", b"\xef\xbb\xbfa\nb\n", ["a", "b"]),
        ("utf-16", "a\nb".encode("utf-16"), ["a", "b"]),
        ("utf-16", "\u0a0a\n\u000a\u0a00".encode("utf-16-be"), ["\u0a0a", "", "\u0a00"]),
        ("shift_jis", "表\nソ".encode("shift_jis"), ["表", "ソ"]),
        ("cp037", "ab\ncd".encode("cp037"), ["ab", "cd"]),
    ],
)
def test_charsets_and_line_ends(tmp_path, charset, data, expected) -> None:
    (tmp_path / "f").write_bytes(data)
    for split_bytes in (1, 2, 3, 100):
        run = SourceRun(source_of(tmp_path / "f", charset=charset, split_bytes=split_bytes))
        assert run.read() == expected


@pytest.mark.parametrize("charset", ["klingon", "utf-7", "iso2022_jp", "base64"])
def test_a_charset_that_cannot_be_used_is_an_error_in_the_program(charset) -> None:
    with pytest.raises(JobDefinitionError):
        StreamFormat.text_line_format(charset)


def test_bytes_that_are_no_text_are_named_by_their_offset(tmp_path) -> None:
    (tmp_path / "f").write_bytes(b"good\nbad \xff\n")
    with pytest.raises(ConnectorError, match="not text in the charset utf-8") as caught:
        SourceRun(source_of(tmp_path / "f", split_bytes=100)).read()
    assert caught.value.where == f"{tmp_path}/f, byte 9"


def test_half_a_character_at_the_end_is_no_text(tmp_path) -> None:
    (tmp_path / "f").write_bytes("ab\nc".encode("utf-16-le") + b"\x00")
    with pytest.raises(ConnectorError, match="not text"):
        SourceRun(source_of(tmp_path / "f", charset="utf-16-le", split_bytes=100)).read()


def rewritten(path: Path) -> None:
    status = path.stat()
    path.write_text("x" * status.st_size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: os.truncate(path, 50), "it has shrunk from 200 to 50 bytes"),
        (lambda path: path.write_text("x\n" * 200), "it has grown from 200 to 400 bytes"),
        (rewritten, "written again, with as many bytes"),
        (lambda path: path.unlink(), "cannot open a file to read: No such file"),
    ],
)
def test_a_file_that_changed_since_the_checkpoint_is_an_error(tmp_path, change, message) -> None:
    path = tmp_path / "f"
    path.write_text("x\n" * 100)
    run = SourceRun(source_of(path, split_bytes=1000), batch=10)
    run.read(3)
    checkpoint = run.checkpoint()
    run.close()
    change(path)
    restored = SourceRun(run.source, 2, checkpoint)
    with pytest.raises(ConnectorError, match=message) as caught:
        restored.read()
    restored.close()
    assert str(path) in str(caught.value)
    assert not caught.value.retryable


def test_a_file_that_changes_while_it_is_read_is_an_error(tmp_path) -> None:
    path = tmp_path / "f"
    path.write_text("x" * 10 + "\n" + "y" * 2_000_000)
    run = SourceRun(source_of(path, split_bytes=10_000_000), batch=1)
    run.read(1)
    os.truncate(path, 1_500_000)
    with pytest.raises(ConnectorError, match="it has shrunk"):
        run.read()
    run.close()


def test_files_that_come_after_the_start_are_not_read(tmp_path) -> None:
    (tmp_path / "a").write_text("a\n")
    run = SourceRun(source_of(tmp_path))
    run.read(1)
    (tmp_path / "b").write_text("b\n")
    restored = SourceRun(run.source, 2, run.checkpoint())
    assert Counter(run.values + restored.read()) == Counter(["a"])


def test_a_missing_path_is_a_clear_error(tmp_path) -> None:
    with pytest.raises(ConnectorError, match="cannot find the files to read: No such file") as caught:
        SourceRun(source_of(tmp_path / "nowhere")).read()
    assert caught.value.where == str(tmp_path / "nowhere")


def test_an_empty_folder_ends_at_once(tmp_path) -> None:
    assert SourceRun(source_of(tmp_path), 2).read() == []


@pytest.mark.parametrize(
    "build",
    [
        lambda: FileSource.for_record_stream_format(StreamFormat.text_line_format()),
        lambda: FileSource.for_record_stream_format(StreamFormat.text_line_format(), "hdfs://host/path"),
        lambda: FileSource.for_record_stream_format(StreamFormat.text_line_format(), "in").set_split_bytes(0),
    ],
)
def test_a_wrong_argument_is_an_error_in_the_program(build) -> None:
    with pytest.raises(JobDefinitionError):
        build()


def test_a_name_that_is_no_text_survives_the_checkpoint(tmp_path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9")).write_text("a\nb\n")
    run = SourceRun(source_of(tmp_path, split_bytes=100), batch=1)
    run.read(1)
    assert SourceRun(run.source, 1, run.checkpoint()).read() == ["b"]
