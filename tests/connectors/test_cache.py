import shutil

import pytest

from millstream.connectors.cache import CacheSource, complete_parts
from millstream.core.errors import ConnectorError
from millstream.core.record_files import RecordCodec, RecordFile
from millstream.core.types import GENERIC
from millstream.testing.connectors import SourceContract, SourceRun


def write(path, frames):
    path.parent.mkdir(parents=True, exist_ok=True)
    codec = RecordCodec(GENERIC)
    with RecordFile(path) as file:
        for values, timestamps in frames:
            file.append(codec.encode(values, timestamps))


class TestCacheSource(SourceContract):
    @pytest.fixture
    def source(self, tmp_path):
        for part in range(3):
            numbers = range(part * 100, part * 100 + 25 * part)
            frames = [([n], [n] if n % 2 else None) for n in numbers[:5]] + [(list(numbers[5:]), None)]
            write(tmp_path / f"part-{part}-of-3", frames)
        return CacheSource(tuple(str(tmp_path / f"part-{part}-of-3") for part in range(3)), GENERIC)

    @pytest.fixture
    def expected(self):
        return [*range(100, 125), *range(200, 250)]


def test_timestamps_and_their_absence_stay_with_their_records(tmp_path):
    write(tmp_path / "part", [(["a", "b", "c"], [1, None, 3]), (["d"], None)])
    run = SourceRun(CacheSource((str(tmp_path / "part"),), GENERIC), batch=2)
    run.read()
    assert list(zip(run.values, run.timestamps, strict=True)) == [
        ("a", 1),
        ("b", None),
        ("c", 3),
        ("d", None),
    ]


def test_only_a_computation_whose_parts_are_all_there_is_complete(tmp_path):
    assert complete_parts(tmp_path / "missing") is None
    write(tmp_path / "job-0" / "part-0-of-2", [])
    write(tmp_path / "job-0" / ".part-1-of-2", [])
    write(tmp_path / "job-1" / "part-1-of-2", [])
    assert complete_parts(tmp_path) is None
    write(tmp_path / "job-1" / "part-0-of-2", [])
    assert complete_parts(tmp_path) == [tmp_path / "job-1" / f"part-{part}-of-2" for part in range(2)]


def test_files_that_are_gone_are_an_error_that_says_what_happened(tmp_path):
    write(tmp_path / "parts" / "part", [([1], None)])
    run = SourceRun(CacheSource((str(tmp_path / "parts" / "part"),), GENERIC))
    shutil.rmtree(tmp_path / "parts")
    with pytest.raises(ConnectorError, match="invalidated"):
        run.read()
