"""What cannot be had is skipped for a developer, with the command that helps, and a failure where nothing may be skipped."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = """
import pytest

def test_skips():
    pytest.{skip}("no such machine")

@pytest.mark.xfail(strict=True)
def test_fails_as_expected():
    raise ValueError

def test_uses_kafka(kafka):
    raise AssertionError("reached")
"""
SKIPPED_MODULE = "import pytest\npytest.importorskip('surely_not_installed')\n"


@pytest.mark.parametrize(
    ("environment", "closing_line", "status"),
    [
        ({}, "3 skipped, 1 xfailed", 0),
        ({"CI": "true"}, "1 failed, 1 xfailed, 2 errors", 1),
        ({"MILLSTREAM_TEST_ALL": "1"}, "1 failed, 1 xfailed, 2 errors", 1),
    ],
)
def test_a_skip_is_a_failure_where_nothing_may_be_skipped(
    tmp_path: Path, environment: dict[str, str], closing_line: str, status: int
) -> None:
    (tmp_path / "test_some.py").write_text(TESTS.format(skip="skip"))
    (tmp_path / "test_module.py").write_text(SKIPPED_MODULE)
    done = run_pytest(tmp_path, environment)
    assert closing_line in done.stdout.splitlines()[-1], done.stdout + done.stderr
    assert done.returncode == status
    assert "this run starts no services (to provide it: make test-all)" in done.stdout
    assert "no such machine" in done.stdout


def test_a_service_fixture_makes_an_integration_test(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(TESTS.format(skip="skip"))
    done = run_pytest(tmp_path, {}, "-m", "integration")
    assert "1 skipped, 2 deselected" in done.stdout


def run_pytest(
    folder: Path, environment: dict[str, str], *arguments: str
) -> subprocess.CompletedProcess[str]:
    unset = ("CI", "MILLSTREAM_TEST_ALL", "MILLSTREAM_TEST_KAFKA", "PYTEST_ADDOPTS")
    inherited = {name: value for name, value in os.environ.items() if name not in unset}
    command = [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT)]
    plugin = ["-p", "tests.conftest", "-p", "no:cacheprovider", "--no-start-services"]
    return subprocess.run(
        [*command, *plugin, "--continue-on-collection-errors", *arguments, str(folder)],
        cwd=ROOT,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
