"""Programs, and the command line as a user runs it."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest


@pytest.fixture
def job(tmp_path):
    def write(source, name="job.py"):
        path = tmp_path / name
        path.write_text(textwrap.dedent(source))
        return path

    return write


@pytest.fixture
def command(tmp_path):
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, (str(Path.cwd()), os.environ.get("PYTHONPATH")))),
    }
    return [sys.executable, "-m", "millstream"], {"cwd": tmp_path, "env": environment}


@pytest.fixture
def millstream(command):
    argv, options = command

    def call(*arguments, code=0):
        done = subprocess.run(
            [*argv, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False, **options
        )
        assert done.returncode == code, done
        return done

    return call
