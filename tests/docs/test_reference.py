"""The parts of the guide that are made from the source."""

from __future__ import annotations

import millstream
from millstream.core.configuration.options import OPTIONS
from millstream.core.errors import MillstreamError
from scripts.reference import command_line, configuration_table, error_table, features_tables


def test_every_option_has_its_default_and_environment_variable() -> None:
    table = configuration_table()
    assert [key for key in OPTIONS if f"`{key}`\n" not in table] == []
    assert "`MILLSTREAM_STATE_BACKEND_TYPE`" in table
    assert "Default: `hashmap`" in table


def test_angle_brackets_are_text_and_no_html() -> None:
    assert "chk-&lt;n&gt;" in configuration_table()
    assert "chk-&lt;n&gt;" in command_line()


def test_commands_come_with_arguments_and_options() -> None:
    text = command_line()
    assert "## `millstream run`" in text
    assert "`-p`, `--parallelism`\n:   " in text
    assert "`JOB.py`\n:   " in text
    assert "## `millstream dev services up`" in text


def test_public_errors_stand_below_what_they_derive_from() -> None:
    lines = error_table().splitlines()
    names = {name for name in millstream.__all__ if name.endswith("Error")}
    assert [name for name in names if not any(f"`{name}`" in line for line in lines)] == []
    assert lines[2].startswith(f"| `{MillstreamError.__name__}` |")
    definition = next(i for i, line in enumerate(lines) if "`JobDefinitionError`" in line)
    assert "&emsp;&emsp;`ConfigurationError`" in lines[definition + 1]


def test_a_feature_shows_the_sentence_of_its_test() -> None:
    assert "| the execution plan is flink's json (`api/test_environment.py`) |" in features_tables()
