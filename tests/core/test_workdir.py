import fcntl
import os
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from millstream.core.errors import ConfigurationError
from millstream.core.workdir import create_work_dir, sweep_stale

OWNER = """
import sys
from millstream.core.workdir import create_work_dir
work_dir = create_work_dir(sys.argv[1])
(work_dir.path / "socket").touch()
print(work_dir.path, flush=True)
sys.stdin.read()
"""


def test_the_folder_is_private_and_goes_away_with_its_content(tmp_path):
    work_dir = create_work_dir(str(tmp_path))
    assert stat.S_IMODE(work_dir.path.stat().st_mode) == 0o700
    (work_dir.path / "sub").mkdir()
    (work_dir.path / "sub" / "file").touch()
    work_dir.remove()
    work_dir.remove()
    assert not work_dir.path.exists()


def test_the_folder_of_a_killed_process_is_swept_and_that_of_a_living_one_is_not(tmp_path):
    mine = create_work_dir(str(tmp_path))
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    path = Path(owner.stdout.readline().strip())
    assert sweep_stale(str(tmp_path)) == []
    assert path.exists()
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    assert sweep_stale(str(tmp_path)) == [path]
    assert not path.exists()
    assert mine.path.exists()
    mine.remove()
    owner.stdin.close()
    owner.stdout.close()


def test_a_new_folder_sweeps_the_stale_ones_beside_it(tmp_path):
    stale = create_work_dir(str(tmp_path))
    stale.forget()
    fresh = create_work_dir(str(tmp_path))
    assert not stale.path.exists()
    fresh.remove()


def test_a_folder_that_others_sweep_before_it_has_its_lock_is_made_anew(tmp_path, monkeypatch):
    make, made = tempfile.mkdtemp, []

    def made_and_swept(**arguments):
        made.append(make(**arguments))
        if len(made) == 1:
            sweep_stale(str(tmp_path))
        return made[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", made_and_swept)
    work_dir = create_work_dir(str(tmp_path))
    assert [str(work_dir.path)] == made[1:]
    assert sweep_stale(str(tmp_path)) == []
    work_dir.remove()


def test_a_folder_that_others_sweep_before_it_is_locked_is_made_anew(tmp_path, monkeypatch):
    lock_file, swept = fcntl.flock, []

    def swept_and_locked(*arguments):
        if not swept:
            swept.append(True)
            swept[:] = sweep_stale(str(tmp_path))
        lock_file(*arguments)

    monkeypatch.setattr(fcntl, "flock", swept_and_locked)
    work_dir = create_work_dir(str(tmp_path))
    assert len(swept) == 1
    assert work_dir.path.exists()
    assert work_dir.path not in swept
    assert sweep_stale(str(tmp_path)) == []
    work_dir.remove()


def test_a_file_in_the_way_is_an_error_that_names_the_option(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"io\.tmp\.dirs") as info:
        create_work_dir(str(tmp_path / "file"))
    assert info.value.where == str(tmp_path / "file")
