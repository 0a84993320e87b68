"""`millstream state`, as a user calls it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from millstream.core.errors import CheckpointError, MillstreamError, StateError
from millstream.state_commands import app
from tests.golden.golden_files import check_golden
from tests.state_reader.conftest import Totaling

Call = Callable[..., str]


@pytest.fixture
def state() -> Call:
    def call(*arguments: object, code: int = 0) -> str:
        done = CliRunner().invoke(app, [*map(str, arguments)])
        if isinstance(done.exception, MillstreamError):
            raise done.exception
        assert done.exit_code == code, done.output
        return done.stdout

    return call


def test_ls_shows_operators_states_types_entries_and_sizes(totals: Totaling, state: Call) -> None:
    with totals("hashmap") as job:
        path = job.take(("a", "x", 1), ("b", "y", 2), ("a", "z", 3))
        check_golden("state/ls.txt", re.sub(r"\b[0-9a-f]{32}\b", "<id>", state("ls", path)))


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_show_prints_entries(totals: Totaling, state: Call, form: str) -> None:
    with totals() as job:
        path = job.take(("a", "x", 1), ("b, c", "y", 2), ("a", "z", 3))
        printed = state("show", path, "totals", "items", "--format", form).splitlines()
    heading = [] if form == "json" else printed[:1]
    check_golden(f"state/show.{form}.txt", "\n".join(heading + sorted(printed[len(heading) :])) + "\n")


def test_show_of_one_key_and_of_some(totals: Totaling, state: Call) -> None:
    with totals() as job:
        path = job.take(*((f"k{i}", "x", i) for i in range(1, 6)))
        assert (
            state("show", path, "totals", "total", "--key", "k3", "--format", "json")
            == '{"key":"k3","value":3}\n'
        )
        assert state("show", path, "totals", "total", "--key", "none") == "KEY  VALUE\n"
        assert len(state("show", path, "totals", "total", "--limit", 2, "--format", "json").splitlines()) == 2
        assert len(state("show", path, "totals", "total", "--limit", 0, "--format", "json").splitlines()) == 5


def test_a_limit_that_hides_entries_says_so(totals: Totaling) -> None:
    with totals() as job:
        path = job.take(("a", "x", 1), ("b", "x", 1))
        hidden = CliRunner().invoke(app, ["show", path, "totals", "total", "--limit", "1"])
        shown = CliRunner().invoke(app, ["show", path, "totals", "total", "--limit", "2"])
    assert "there are more than 1 entries: --limit 0 shows all" in hidden.stderr
    assert shown.stderr == ""


def test_diff_tells_what_was_added_removed_and_changed(totals: Totaling, state: Call) -> None:
    with totals(**{"execution.checkpointing.num-retained": "2"}) as job:
        before = job.take(("a", "x", 1), ("b", "y", 2), ("b", "z", 3))
        after = job.take(("a", "x", 5), ("b", "y", 0), ("c", "w", 7))
        printed = state("diff", before, after, code=3)
        check_golden("state/diff.txt", "\n".join(sorted(printed.splitlines())) + "\n")
        assert state("diff", after, after) == ""
        assert "1 added" in state("diff", before, after, "--examples", 0, code=3)


def test_get_prints_the_value_as_of_the_last_checkpoint(
    totals: Totaling, state: Call, tmp_path: Path
) -> None:
    ask = ("get", "totals", "totals")
    where = ("--dir", tmp_path / "checkpoints")
    with totals() as job:
        job.take(("a", "x", 1))
        assert state(*ask, "total", "a", *where) == "1\n"
        path = job.take(("a", "x", 2))
        assert state(*ask, "total", "a", *where) == "3\n"
        assert [json.loads(line) for line in state(*ask, "items", "a", *where).splitlines()] == [
            {"key": "a", "map_key": "x", "value": 2}
        ]
        assert state("get", Path(path).parent.name, "totals", "total", "a", *where) == "3\n"
        assert state(*ask, "total", "nobody", *where, code=3) == ""
        nothing = CliRunner().invoke(app, [str(part) for part in (*ask, "total", "nobody", *where)])
        assert nothing.stderr == "'total' of operator 'totals' holds nothing under the key nobody\n"


def test_what_is_not_there_is_one_clear_error(totals: Totaling, state: Call, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no complete checkpoint"):
        state("ls", tmp_path)
    with totals() as job:
        path = job.take(("a", "x", 1))
        with pytest.raises(StateError, match="no state 'totl'"):
            state("show", path, "totals", "totl")
        with pytest.raises(StateError, match="no operator 'sums'"):
            state("show", path, "sums", "total")
        with pytest.raises(CheckpointError, match="a job of the name or id 'other'"):
            state("get", "other", "totals", "total", "a", "--dir", tmp_path / "checkpoints")


def test_get_without_a_directory_takes_the_one_that_a_job_started_here_writes_to(
    totals: Totaling, state: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="totals") as caught:
        state("get", "totals", "totals", "total", "a")
    assert caught.value.where == str(tmp_path / ".millstream/checkpoints")
    monkeypatch.setenv("MILLSTREAM_EXECUTION_CHECKPOINTING_DIR", str(tmp_path / "checkpoints"))
    with totals() as job:
        job.take(("a", "x", 1))
        assert state("get", "totals", "totals", "total", "a") == "1\n"


def test_the_group_is_a_part_of_the_command_line() -> None:
    from millstream.cli import add_groups
    from millstream.cli import app as whole

    add_groups()
    commands: Any = typer.main.get_command(whole)  # click's group, or the copy that typer brings
    assert "state" in commands.commands
