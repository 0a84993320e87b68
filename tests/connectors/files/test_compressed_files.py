from __future__ import annotations

import bz2
import gzip
import lzma

import pytest

from millstream.connectors.files import FileSource, StreamFormat
from millstream.core.errors import ConnectorError
from millstream.testing.connectors import SourceContract, SourceRun

LINES = [f"line {n} {'x' * (n % 40)}" for n in range(120)]
TEXT = "".join(f"{line}\n" for line in LINES).encode()
WRITERS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


def source_of(*paths, charset="UTF-8"):
    builder = FileSource.for_record_stream_format(StreamFormat.text_line_format(charset), *paths)
    return builder.set_split_bytes(64).build()


@pytest.fixture(params=sorted(WRITERS))
def ending(request):
    return request.param


class TestCompressedFiles(SourceContract):
    @pytest.fixture
    def source(self, tmp_path, ending):
        (tmp_path / f"in.{ending}").write_bytes(WRITERS[ending](TEXT))
        (tmp_path / "plain.txt").write_bytes(TEXT)
        return source_of(tmp_path)

    @pytest.fixture
    def expected(self):
        return LINES * 2


def test_a_compressed_file_is_one_split_and_its_lines_stay_in_order(tmp_path, ending) -> None:
    (tmp_path / f"in.{ending}").write_bytes(WRITERS[ending](TEXT))
    run = SourceRun(source_of(tmp_path), 3)
    run.read()
    assert sorted(run.by_subtask, key=len)[:2] == [[], []]
    assert run.values == LINES


@pytest.mark.parametrize("text", ["a\nb", "a\nb\n", "a\r\nb", "\n", "ä"])
def test_the_last_line_may_have_no_end(tmp_path, text, ending) -> None:
    for charset in ("utf-8", "utf-16"):
        (tmp_path / f"in.{ending}").write_bytes(WRITERS[ending](text.encode(charset)))
        run = SourceRun(source_of(tmp_path, charset=charset), batch=1)
        run.read(len(text.split("\n")))
        restored = SourceRun(run.source, 1, run.checkpoint())
        assert run.values + restored.read() == text.splitlines()


def test_several_compressed_members_in_one_file_are_one_text(tmp_path) -> None:
    (tmp_path / "in.gz").write_bytes(gzip.compress(b"a\nb") + gzip.compress(b"c\n"))
    assert SourceRun(source_of(tmp_path)).read() == ["a", "bc"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: b"no archive",
        lambda data: data[:20] + b"xx" + data[22:],
    ],
)
def test_a_damaged_file_stops_the_job_and_is_named(tmp_path, ending, damage) -> None:
    path = tmp_path / f"in.{ending}"
    path.write_bytes(damage(WRITERS[ending](TEXT * 50)))
    with pytest.raises(ConnectorError, match="compressed file cannot be read") as caught:
        SourceRun(source_of(tmp_path)).read()
    assert caught.value.where == str(path)
    assert not caught.value.retryable


def test_a_compressed_file_that_changed_since_the_checkpoint_is_an_error(tmp_path, ending) -> None:
    path = tmp_path / f"in.{ending}"
    path.write_bytes(WRITERS[ending](TEXT))
    run = SourceRun(source_of(path), batch=10)
    run.read(3)
    checkpoint = run.checkpoint()
    run.close()
    path.write_bytes(WRITERS[ending](TEXT + b"more\n" * 50))
    restored = SourceRun(run.source, 1, checkpoint)
    with pytest.raises(ConnectorError, match="a file changed"):
        restored.read()


def test_an_empty_file_has_no_lines(tmp_path, ending) -> None:
    (tmp_path / f"in.{ending}").write_bytes(WRITERS[ending](b""))
    (tmp_path / f"nothing.{ending}").touch()
    assert SourceRun(source_of(tmp_path), 2).read() == []
