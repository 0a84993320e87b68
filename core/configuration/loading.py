"""From the four places where a key can be set to one configuration.

A program's own setting comes first, then `-D key=value`, then the environment, then the file `millstream.yaml`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..errors import ConfigurationError
from .configuration import Configuration, Entry, from_entries
from .options import OPTIONS, environment_name

if TYPE_CHECKING:
    import yaml

FILE_NAME: Final = "millstream.yaml"
CONF_DIR: Final = "MILLSTREAM_CONF_DIR"
_NULL: Final = "tag:yaml.org,2002:null"
_PREFIX: Final = "MILLSTREAM_"
_NOT_KEYS: Final = ("MILLSTREAM_CONF_DIR", "MILLSTREAM_FAULTS", "MILLSTREAM_TEST", "MILLSTREAM_INTERNAL")
"""Variables with our prefix that set no key, or beginnings of their names."""


def load_configuration(
    program: Configuration | None = None,
    overrides: Mapping[str, str] | None = None,
    env: Mapping[str, str] | None = None,
    yaml_path: Path | str | None = None,
) -> Configuration:
    """What a job runs with: every key known, every value parsed.

    Args:
        program: what the program set.
        overrides: what the command line set with -D.
        env: the environment; None stands for this process's.
        yaml_path: the file; None stands for `millstream.yaml` in `MILLSTREAM_CONF_DIR`, or else in the working directory
            if it is there.

    Raises:
        ConfigurationError: an unknown key, a value that does not parse, or a file that cannot be read; with its source.
    """
    environment = os.environ if env is None else env
    path = Path(yaml_path) if yaml_path is not None else _find_file(environment)
    merged: dict[str, Entry] = {}
    if path is not None:
        merged.update(_read_yaml(path))
    merged.update(_read_environment(environment))
    merged.update({key: Entry(value, f"-D {key}={value}") for key, value in (overrides or {}).items()})
    config = from_entries(merged)
    if program is not None:
        config.add_all(program)
    config.check()
    return config


def parse_overrides(arguments: list[str]) -> dict[str, str]:
    """The keys and values of `-D key=value` arguments; of a key given twice, the last.

    >>> parse_overrides(["parallelism.default=2"])
    {'parallelism.default': '2'}

    Raises:
        ConfigurationError: an argument without a key or without `=`.
    """
    found = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not key.strip() or not equals:
            raise ConfigurationError(
                f"-D {argument} sets nothing",
                where="command line",
                fix="write -D key=value, for example -D parallelism.default=2",
            )
        found[key.strip()] = value.strip()
    return found


def _find_file(env: Mapping[str, str]) -> Path | None:
    folder = env.get(CONF_DIR)
    if folder:
        return Path(folder) / FILE_NAME  # whoever names a folder wants it read: a missing file is an error
    path = Path(FILE_NAME)
    return path if path.is_file() else None


def _read_environment(env: Mapping[str, str]) -> dict[str, Entry]:
    known = {environment_name(key): key for key in OPTIONS}
    found = {}
    for name, value in env.items():
        if not name.startswith(_PREFIX) or name.startswith(_NOT_KEYS):
            continue
        if name not in known:
            import difflib

            near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
            raise ConfigurationError(
                f"the environment variable {name} stands for no known key; the nearest is {near} for '{known[near]}'",
                where=f"environment variable {name}",
                fix=f"set {near} if that is meant, otherwise unset {name}",
            )
        found[known[name]] = Entry(value, f"environment variable {name}")
    return found


def _read_yaml(path: Path) -> dict[str, Entry]:
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"the configuration file cannot be read ({error})",
            where=str(path),
            fix=f"create it, correct its access rights, or unset {CONF_DIR}",
        ) from error
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise ConfigurationError(
            f"the configuration file is not YAML: {getattr(error, 'problem', None) or error}",
            where=f"{path}:{mark.line + 1}" if mark else str(path),
            fix="write lines such as `parallelism.default: 2`; see YAML's rules for indentation and quotes",
        ) from error
    found: dict[str, Entry] = {}
    for key, node, line in () if root is None or root.tag == _NULL else _leaves(root, "", path):
        if key in found:
            raise ConfigurationError(
                f"'{key}' is set twice, the first time in {found[key].source}",
                where=f"{path}:{line}",
                fix="keep one of the two",
            )
        found[key] = Entry(_value_of(node), f"{path}:{line}")
    return found


def _leaves(node: yaml.Node, prefix: str, path: Path) -> Iterator[tuple[str, yaml.Node, int]]:
    """Keys with dots, whether the file nests them or writes the dots, with their values and lines."""
    import yaml

    if not isinstance(node, yaml.MappingNode):
        line = node.start_mark.line + 1
        if not prefix:
            raise ConfigurationError(
                "the configuration file holds no keys",
                where=f"{path}:{line}",
                fix="write lines such as `parallelism.default: 2`",
            )
        yield prefix, node, line
        return
    for key_node, value_node in node.value:
        key = str(key_node.value)
        yield from _leaves(value_node, f"{prefix}.{key}" if prefix else key, path)


def _value_of(node: yaml.Node) -> Any:
    """The plain value of a leaf; of a scalar its text, so that `1.10` and `0700` stay what was written."""
    import yaml

    if isinstance(node, yaml.SequenceNode):
        return [_value_of(item) for item in node.value]
    return "" if node.tag == _NULL else node.value
