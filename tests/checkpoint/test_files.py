from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor

import fsspec
import pytest

from millstream.checkpoint.catalog import list_checkpoints
from millstream.checkpoint.files import LocalFiles
from millstream.checkpoint.remote_files import RemoteFiles
from millstream.checkpoint.storage import CheckpointStorage, random_token
from millstream.core.errors import CheckpointError, CheckpointFailureReason


@pytest.fixture(params=["local", "fsspec"])
def files(request, tmp_path):
    if request.param == "local":
        return LocalFiles(tmp_path, random_token)
    return RemoteFiles(fsspec.filesystem("file"), str(tmp_path), f"some://{tmp_path}")


def content(*chunks: bytes):
    return lambda: chunks


def read(files, path: str) -> bytes:
    with files.open(path) as file:
        return file.read()


def test_a_file_appears_whole_or_not_at_all(files, tmp_path):
    files.write("a/b/file", content(b"old"))

    def failing():
        yield b"half of the new"
        raise OSError(errno.EIO, "planned")

    for path in ("a/b/file", "a/b/other"):
        with pytest.raises(OSError, match="planned"):
            files.write(path, failing)
    assert read(files, "a/b/file") == b"old"
    assert [entry.name for entry in files.entries("a/b")] == ["file"]


def test_an_existing_file_is_replaced_only_if_asked(files):
    files.write("file", content(b"1"))
    files.write("file", content(b"2"))
    with pytest.raises(FileExistsError):
        files.write("file", content(b"3"), replace=False)
    files.write("new", content(b"4"), replace=False)
    assert (read(files, "file"), read(files, "new")) == (b"2", b"4")


def test_folders_are_listed_with_sizes_and_removed_with_all_in_them(files):
    files.write("a/file", content(b"12", b"345"))
    files.write("a/b/deep", content(b"1"))
    folder, file = files.entries("a")
    assert (folder.name, folder.is_folder, folder.size) == ("b", True, 0)
    assert (file.name, file.is_folder, file.size) == ("file", False, 5)
    assert file.modified_ms > 1_600_000_000_000
    assert files.size("a/file") == 5
    files.remove_folder("a")
    assert files.entries("a") == files.entries() == []


def test_removing_what_is_not_there_is_no_error(files):
    files.remove("missing")
    files.remove_folder("missing/too")
    with pytest.raises(FileNotFoundError):
        files.size("missing")


@pytest.mark.parametrize("times", [1, 10, 11])
def test_a_folder_goes_although_files_are_added_while_it_is_removed(tmp_path, monkeypatch, times):
    remaining = [times]
    remove = os.rmdir

    def rmdir(path, **options):
        if remaining[0]:
            remaining[0] -= 1
            raise OSError(errno.ENOTEMPTY, "somebody was faster")
        remove(path, **options)

    files = LocalFiles(tmp_path, random_token)
    files.write("a/file", content(b"1"))
    monkeypatch.setattr(os, "rmdir", rmdir)
    if times < 11:
        files.remove_folder("a")
        assert files.entries() == []
    else:
        with pytest.raises(OSError, match="somebody was faster"):
            files.remove_folder("a")


def test_without_hard_links_an_existing_file_is_still_kept(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    files = LocalFiles(tmp_path, random_token)
    files.write("file", content(b"1"), replace=False)
    with pytest.raises(FileExistsError):
        files.write("file", content(b"2"), replace=False)
    assert read(files, "file") == b"1"
    assert [entry.name for entry in files.entries()] == ["file"]


def test_many_threads_write_at_once(tmp_path):
    streams = CheckpointStorage(str(tmp_path / "new" / "dir"), "0" * 32).streams(1, 1)
    with ThreadPoolExecutor(8) as pool:
        refs = list(pool.map(lambda n: streams.write_exclusive("same-name", [b"%d" % n]), range(40)))
    reader = CheckpointStorage(str(tmp_path / "new" / "dir"), "0" * 32).reader()
    assert [reader.read(ref) for ref in refs] == [b"%d" % n for n in range(40)]


def test_a_file_instead_of_a_directory_is_an_error_of_the_list(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(CheckpointError, match="cannot be listed") as caught:
        list_checkpoints(str(tmp_path / "file"))
    assert caught.value.reason is CheckpointFailureReason.STORAGE
