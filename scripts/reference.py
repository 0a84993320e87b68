"""Text of the user guide that is made from the source, so that it cannot differ from it.

A page says `<!-- generated: configuration -->`; `fill_in` puts the text there. `scripts/docs_hooks.py` calls it while the guide is built.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import cycle
from typing import Any, Final

import millstream
from millstream.core.configuration import describe_options
from millstream.core.errors import MillstreamError
from millstream.pyflink.ignored_keys import IGNORED_KEYS
from millstream.pyflink.missing import MISSING
from scripts.features import Feature, load_features

_MARK: Final = re.compile(r"^<!-- generated: ([a-z-]+) -->$", re.MULTILINE)


def fill_in(markdown: str) -> str:
    """The page with each mark replaced by what it names.

    Raises:
        KeyError: a mark names nothing there is.
    """
    return _MARK.sub(lambda mark: GENERATED[mark[1]](), markdown)


def configuration_table() -> str:
    """All options: a section for each first part of the keys."""
    sections: dict[str, list[str]] = {}
    for row in describe_options():
        text = (
            f"`{row.key}`\n"
            f":   {_escaped(row.description)}\n\n"
            f"    Takes {_escaped(row.expected)}. Default: {_code(row.default)}. Environment: `{row.environment}`.\n"
        )
        sections.setdefault(row.key.split(".")[0], []).append(text)
    return "\n".join(f"## {name}\n\n" + "\n".join(rows) for name, rows in sections.items())


def command_line() -> str:
    """All commands with their arguments and options."""
    from typer.main import get_command

    from millstream.cli import add_groups, app

    add_groups()
    return "\n".join(_commands(get_command(app), "millstream"))


def _commands(command: Any, path: str) -> Iterator[str]:  # click's, or the copy that typer brings
    for name, child in getattr(command, "commands", {}).items():
        if hasattr(child, "commands"):
            yield from _commands(child, f"{path} {name}")
            continue
        yield f"## `{path} {name}`\n\n{_escaped(child.help)}\n"
        for parameter in child.params:
            names = ", ".join(f"`{option}`" for option in parameter.opts if option.startswith("-"))
            metavar = f"`{parameter.metavar}`" if parameter.metavar else ""
            head = " ".join(part for part in (names, metavar) if part) or f"`{parameter.name.upper()}`"
            yield f"{head}\n:   {_escaped(parameter.help)}\n"


def error_table() -> str:
    """The public errors, each below what it derives from."""
    public = {
        value
        for name in millstream.__all__
        if isinstance(value := getattr(millstream, name), type) and issubclass(value, MillstreamError)
    }
    lines = ["| error | means |", "| --- | --- |"]

    def add(error: type[MillstreamError], depth: int) -> None:
        if error in public:
            summary = (error.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")
            lines.append(f"| {'&emsp;' * depth}`{error.__name__}` | {_escaped(' '.join(summary.split()))} |")
        for child in sorted(error.__subclasses__(), key=lambda child: child.__name__):
            add(child, depth + 1)

    add(MillstreamError, 0)
    return "\n".join(lines)


def features_tables() -> str:
    """What `docs/features.toml` lists: a table for each area."""
    areas: dict[str, list[Feature]] = {}
    for feature in load_features():
        areas.setdefault(feature.area, []).append(feature)
    return "\n\n".join(f"## {area}\n\n" + _feature_table(features) for area, features in areas.items())


def _feature_table(features: list[Feature]) -> str:
    lines = ["| Flink | here | proven by |", "| --- | --- | --- |"]
    lines += [
        f"| {feature.flink} | `{feature.here}` | {'<br>'.join(map(_test_sentence, feature.tests))} |"
        for feature in features
    ]
    return "\n".join(lines)


def _test_sentence(test: str) -> str:
    """The sentence that the name of a test is, and its file."""
    file, *_, name = test.split("::")
    sentence = name.removeprefix("test_").replace("_s_", "'s_").replace("_", " ")
    return f"{sentence} (`{file.removeprefix('tests/')}`)"


def pyflink_missing() -> str:
    """What of PyFlink's names is absent under the alias, and why or what to use instead; names of one reason in one row."""
    names: dict[str, list[str]] = {}
    for name, reason in MISSING.items():
        names.setdefault(reason, []).append(f"`{name.removeprefix('pyflink.')}`")
    rows = [f"| {'<br>'.join(below)} | {_escaped(reason)} |" for reason, below in names.items()]
    return "\n".join(["| below `pyflink.` | why, or what instead |", "| --- | --- |", *rows])


def pyflink_ignored_keys() -> str:
    """The keys of the configuration that the alias leaves out."""
    return "\n".join(f"- `{key}{'*' if key[-1] in '.-' else ''}`" for key in IGNORED_KEYS)


def _escaped(text: str) -> str:
    """Markdown takes `chk-<n>` for HTML, except between backticks."""
    return "`".join(
        part if between else html.escape(part, quote=False)
        for part, between in zip(text.split("`"), cycle((False, True)), strict=False)
    )


def _code(default: str) -> str:
    return default if default.startswith("(") else f"`{default}`"


GENERATED: Final[Mapping[str, Callable[[], str]]] = {
    "configuration": configuration_table,
    "command-line": command_line,
    "errors": error_table,
    "features": features_tables,
    "pyflink-missing": pyflink_missing,
    "pyflink-ignored-keys": pyflink_ignored_keys,
}
