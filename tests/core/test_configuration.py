"""Configuration: four places to set a key, one order of precedence, and errors that name the place."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.core.configuration import (
    Configuration,
    describe_options,
    environment_name,
    load_configuration,
    options,
    parse_duration_ms,
    parse_overrides,
    write_duration,
)
from millstream.core.errors import ConfigurationError
from millstream.core.time import Duration, Time

KEY = "parallelism.default"


def program(value: Any, key: str = KEY) -> Configuration:
    config = Configuration()
    config.set(key, value)
    return config


def yaml_file(folder: Path, text: str) -> Path:
    path = folder / "millstream.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_program_comes_before_the_command_line_the_environment_and_the_file(tmp_path: Path) -> None:
    path = yaml_file(tmp_path, f"{KEY}: 4")
    env = {environment_name(KEY): "3"}
    overrides = {KEY: "2"}
    assert load_configuration(program(1), overrides, env, path).get(options.PARALLELISM_DEFAULT) == 1
    assert load_configuration(Configuration(), overrides, env, path).get(options.PARALLELISM_DEFAULT) == 2
    assert load_configuration(None, {}, env, path).get(options.PARALLELISM_DEFAULT) == 3
    assert load_configuration(None, {}, {}, path).get(options.PARALLELISM_DEFAULT) == 4


def test_what_nothing_sets_has_its_default() -> None:
    config = load_configuration(None, {}, {})
    assert config.to_dict() == {}
    assert config.get(options.PARALLELISM_DEFAULT) == 1
    assert config.get(options.CHECKPOINTING_INTERVAL) is None
    assert config.get(options.CHECKPOINTING_TIMEOUT) == 600_000
    assert config.get(options.RESTART_STRATEGY) is None
    assert config.get(options.OPERATOR_CHAINING) is True
    assert config.get(options.STATE_BACKEND) == "hashmap"
    assert config.get(options.TMP_DIRS) == ()


def test_places_that_set_different_keys_are_merged(tmp_path: Path) -> None:
    path = yaml_file(tmp_path, "state.backend.type: rocksdb")
    config = load_configuration(
        program("job", "pipeline.name"),
        {"execution.checkpointing.interval": "1 s"},
        {"MILLSTREAM_RESTART_STRATEGY_TYPE": "fixed-delay", "PATH": "/bin"},
        path,
    )
    assert config.to_dict() == {
        "state.backend.type": "rocksdb",
        "restart-strategy.type": "fixed-delay",
        "execution.checkpointing.interval": "1 s",
        "pipeline.name": "job",
    }
    assert Configuration.from_dict(config.to_dict()) == config


def test_the_file_may_nest_keys_or_write_dots_or_both(tmp_path: Path) -> None:
    path = yaml_file(
        tmp_path,
        """
        execution:
          checkpointing:
            interval: 10 s
            num-retained: 5
          buffer-timeout.interval: 5
        pipeline.operator-chaining.enabled: false
        io:
          tmp:
            dirs: [/a, /b]
        """,
    )
    config = load_configuration(None, {}, {}, path)
    assert config.get(options.CHECKPOINTING_INTERVAL) == 10_000
    assert config.get(options.NUM_RETAINED_CHECKPOINTS) == 5
    assert config.get(options.BUFFER_TIMEOUT) == 5
    assert config.get(options.OPERATOR_CHAINING) is False
    assert config.get(options.TMP_DIRS) == ("/a", "/b")


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_an_empty_file_sets_nothing(tmp_path: Path, text: str) -> None:
    assert load_configuration(None, {}, {}, yaml_file(tmp_path, text)).to_dict() == {}


def test_the_file_is_found_in_the_folder_of_the_environment_or_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, conf = tmp_path / "work", tmp_path / "conf"
    work.mkdir()
    conf.mkdir()
    monkeypatch.chdir(work)
    assert load_configuration(None, {}, {}).get(options.PARALLELISM_DEFAULT) == 1
    yaml_file(work, f"{KEY}: 2")
    assert load_configuration(None, {}, {}).get(options.PARALLELISM_DEFAULT) == 2
    with pytest.raises(ConfigurationError, match="cannot be read") as caught:
        load_configuration(None, {}, {"MILLSTREAM_CONF_DIR": str(conf)})
    assert str(conf) in (caught.value.where or "")
    yaml_file(conf, f"{KEY}: 3")
    assert (
        load_configuration(None, {}, {"MILLSTREAM_CONF_DIR": str(conf)}).get(options.PARALLELISM_DEFAULT) == 3
    )


def test_an_unknown_key_names_its_place_and_the_nearest_known_one(tmp_path: Path) -> None:
    path = yaml_file(
        tmp_path, "state.backend.type: rocksdb\n\nexecution:\n  checkpointing:\n    intervall: 10 s\n"
    )
    with pytest.raises(ConfigurationError) as caught:
        load_configuration(None, {}, {}, path)
    assert "'execution.checkpointing.intervall'" in caught.value.what
    assert "'execution.checkpointing.interval'" in caught.value.what
    assert caught.value.where == f"{path}:5"
    with pytest.raises(ConfigurationError, match=r"'paralelism\.default'.*'parallelism\.default'") as caught:
        load_configuration(None, {"paralelism.default": "2"}, {})
    assert caught.value.where == "-D paralelism.default=2"
    with pytest.raises(ConfigurationError, match="MILLSTREAM_PARALLELISM_DEFAULT") as caught:
        load_configuration(None, {}, {"MILLSTREAM_PARALELISM_DEFAULT": "2"})
    assert caught.value.where == "environment variable MILLSTREAM_PARALELISM_DEFAULT"
    config = Configuration()
    config.set_string("parallelism.defaults", "2")
    with pytest.raises(ConfigurationError, match=r"'parallelism\.default'") as caught:
        load_configuration(config, {}, {})
    assert (caught.value.where or "").startswith(f"program, {__file__}:")


def test_variables_of_tests_and_of_the_runtime_set_no_key() -> None:
    env = {"MILLSTREAM_TEST_KAFKA": "x", "MILLSTREAM_FAULTS_DIR": "x", "MILLSTREAM_INTERNAL_SECRET": "x"}
    assert load_configuration(None, {}, env).to_dict() == {}


@pytest.mark.parametrize(("old", "new"), list(options.LEGACY_KEYS.items()))
def test_an_old_spelling_is_unknown_and_points_to_the_new_one(old: str, new: str) -> None:
    assert new in options.OPTIONS
    assert old not in options.OPTIONS
    with pytest.raises(ConfigurationError) as caught:
        load_configuration(None, {old: "1"}, {})
    assert f"'{new}'" in caught.value.what
    assert caught.value.fix == f"write '{new}'"


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        (KEY, "two", "whole number from 1 to 32768"),
        (KEY, "0", "whole number"),
        (KEY, "1.5", "whole number"),
        (KEY, "", "whole number"),
        ("execution.checkpointing.interval", "10 parsecs", "length of time of at least 1 ms"),
        ("execution.checkpointing.interval", "0", "length of time"),
        ("execution.checkpointing.interval", "-1 s", "length of time"),
        ("execution.checkpointing.mode", "SOMETIMES", "one of EXACTLY_ONCE, AT_LEAST_ONCE"),
        ("execution.checkpointing.dir", " ", "folder"),
        ("execution.runtime-mode", "TURBO", "STREAMING, BATCH, AUTOMATIC"),
        ("execution.sorted-inputs.memory", "12 parsecs", "amount of memory"),
        ("execution.sorted-inputs.memory", "0 mb", "amount of memory"),
        ("restart-strategy.exponential-delay.jitter-factor", "2", "from 0 to 1"),
        ("restart-strategy.exponential-delay.backoff-multiplier", "0.5", "at least 1"),
        ("restart-strategy.fixed-delay.attempts", "0", "infinite"),
        ("pipeline.operator-chaining.enabled", "maybe", "true or false"),
        ("state.backend.type", "disk", "hashmap, rocksdb"),
        ("io.tmp.dirs", "/a,,/b", "folders"),
    ],
)
def test_a_value_that_does_not_parse_says_key_value_form_and_example(
    key: str, value: str, expected: str
) -> None:
    with pytest.raises(ConfigurationError, match=expected) as caught:
        load_configuration(None, {key: value}, {})
    assert f"'{key}'" in caught.value.what
    assert repr(value) in caught.value.what
    assert f"{key}: {options.OPTIONS[key].form.example}" in (caught.value.fix or "")
    assert caught.value.where == f"-D {key}={value}"


@pytest.mark.parametrize(
    ("key", "value", "parsed"),
    [
        (KEY, 4, 4),
        (KEY, " 4 ", 4),
        ("execution.checkpointing.interval", timedelta(seconds=2), 2_000),
        ("execution.checkpointing.interval", Duration.of_minutes(1), 60_000),
        ("execution.checkpointing.interval", Time.seconds(3), 3_000),
        ("execution.checkpointing.interval", 500, 500),
        ("execution.buffer-timeout.interval", "0", 0),
        ("execution.checkpointing.mode", "at_least_once", "AT_LEAST_ONCE"),
        ("restart-strategy.type", "fixeddelay", "fixed-delay"),
        ("restart-strategy.type", "off", "none"),
        ("restart-strategy.fixed-delay.attempts", "infinite", None),
        ("restart-strategy.exponential-delay.backoff-multiplier", 2, 2.0),
        ("pipeline.operator-chaining.enabled", "FALSE", False),
        ("pipeline.operator-chaining.enabled", True, True),
        ("pipeline.name", "a job", "a job"),
        ("io.tmp.dirs", "/a; /b", ("/a", "/b")),
    ],
)
def test_values_may_be_written_as_python_or_as_text(key: str, value: Any, parsed: Any) -> None:
    config = load_configuration(program(value, key), {}, {})
    assert config.get(options.OPTIONS[key]) == parsed
    assert Configuration.from_dict(config.to_dict()).get(options.OPTIONS[key]) == parsed


@pytest.mark.parametrize("key", list(options.OPTIONS))
def test_defaults_and_examples_of_every_option_parse(key: str) -> None:
    option = options.OPTIONS[key]
    option.parse(option.form.example)
    if option.default not in (None, ()):
        assert option.parse(option.form.write(option.default)) == option.default
    assert option.description.endswith(".")


def test_every_option_has_an_environment_variable_of_its_own() -> None:
    names = [row.environment for row in describe_options()]
    assert len(set(names)) == len(names) == len(options.OPTIONS)
    assert "MILLSTREAM_PIPELINE_MAX_PARALLELISM" in names


def test_the_documentation_writes_defaults_as_one_would_set_them() -> None:
    defaults = {row.key: row.default for row in describe_options()}
    assert defaults["execution.checkpointing.timeout"] == "10 min"
    assert defaults["execution.checkpointing.interval"] == "(unset)"
    assert defaults["pipeline.operator-chaining.enabled"] == "true"
    assert defaults["restart-strategy.exponential-delay.attempts-before-reset-backoff"] == "infinite"
    assert defaults["restart-strategy.fixed-delay.attempts"] == "1"


@pytest.mark.parametrize(
    ("text", "line"),
    [("a: [", 1), ("parallelism.default: 2\n\tx: 1", 2), ("- a\n- b", 1), ("just text", 1)],
)
def test_a_file_that_is_no_table_of_keys_says_where(tmp_path: Path, text: str, line: int) -> None:
    path = yaml_file(tmp_path, text)
    with pytest.raises(ConfigurationError) as caught:
        load_configuration(None, {}, {}, path)
    assert caught.value.where == f"{path}:{line}"
    assert caught.value.fix


def test_a_key_that_the_file_sets_twice_is_an_error(tmp_path: Path) -> None:
    path = yaml_file(tmp_path, "parallelism.default: 1\nparallelism:\n  default: 2\n")
    with pytest.raises(ConfigurationError, match="twice") as caught:
        load_configuration(None, {}, {}, path)
    assert caught.value.where == f"{path}:3"
    assert f"{path}:1" in caught.value.what


def test_a_key_without_a_value_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=KEY):
        load_configuration(None, {}, {}, yaml_file(tmp_path, f"{KEY}:\n"))


def test_pyflinks_methods_set_and_get() -> None:
    config = Configuration()
    config.set_string("a", "x")
    config.set_integer("b", 2)
    config.set_boolean("c", True)
    config.set_float("d", 1.5)
    assert config.get_string("a", "y") == "x"
    assert config.get_integer("b", 1) == 2
    assert config.get_boolean("c", False) is True
    assert config.get_float("d", 0.5) == 1.5
    assert (
        config.get_string("n", "y"),
        config.get_integer("n", 1),
        config.get_boolean("n", True),
        config.get_float("n", 0.5),
    ) == (
        "y",
        1,
        True,
        0.5,
    )
    assert config.get_string("b", "") == "2"
    assert config.to_dict() == {"a": "x", "b": "2", "c": "true", "d": "1.5"}
    assert config.key_set() == {"a", "b", "c", "d"}
    assert config.contains_key("a")
    assert config.remove_config("a")
    assert not config.remove_config("a")
    other = Configuration(config)
    assert other == config
    other.add_all(config, "p.")
    assert other.get_integer("p.b", 0) == 2
    target: dict[str, str] = {}
    other.add_all_to_dict(target)
    assert target == other.to_dict()
    with pytest.raises(ConfigurationError, match="whole number"):
        Configuration({"b": "x"}).get_integer("b", 1)
    with pytest.raises(ConfigurationError, match="true or false"):
        Configuration({"b": "x"}).get_boolean("b", True)


def test_arguments_of_the_command_line_are_taken_apart_at_the_first_equals_sign() -> None:
    assert parse_overrides(["a=b=c", " k = v ", "a=d"]) == {"a": "d", "k": "v"}
    for wrong in ("a", "=b"):
        with pytest.raises(ConfigurationError, match="sets nothing"):
            parse_overrides([wrong])


@given(st.integers(0, 10**12))
def test_durations_are_read_as_written(millis: int) -> None:
    assert parse_duration_ms(write_duration(millis)) == millis


@pytest.mark.parametrize(
    ("text", "millis"),
    [
        ("10 s", 10_000),
        ("200ms", 200),
        ("1 min", 60_000),
        ("2 h", 7_200_000),
        ("1d", 86_400_000),
        ("0.5 s", 500),
        ("7", 7),
        ("1500 us", 1),
    ],
)
def test_durations_have_units(text: str, millis: int) -> None:
    assert parse_duration_ms(text) == millis
