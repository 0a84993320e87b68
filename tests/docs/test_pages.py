"""What the pages of the user guide show is what tests run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from millstream.cli import app
from millstream.core.configuration import Configuration
from millstream.state_commands import app as state_app
from scripts.reference import GENERATED, fill_in

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
FENCE = re.compile(r"^( *)```([^\n]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
INCLUDED = re.compile(r'--8<-- "([^":]+)(?::(\w+))?"')
OTHERS = ('title="PyFlink', 'title="Bytewax', 'title="Quix Streams')


def fences() -> list[tuple[str, str, str]]:
    """(page, info, content) of each fenced block."""
    return [
        (str(page.relative_to(DOCS)), info.strip(), content)
        for page in PAGES
        for _, info, content in FENCE.findall(page.read_text(encoding="utf-8"))
    ]


def test_python_on_a_page_is_a_program_that_tests_run() -> None:
    untested = [
        (page, info, content)
        for page, info, content in fences()
        if info.split(" ")[0] in {"python", "py", "pycon"}
        and not INCLUDED.fullmatch(content.strip())
        and not (page.startswith("migration/") and any(other in info for other in OTHERS))
    ]
    assert untested == []


def test_what_pages_include_is_there() -> None:
    included = [match for _, _, content in fences() for match in INCLUDED.findall(content)]
    folders = (DOCS / "snippets", DOCS.parent / "examples", DOCS.parent)
    for name, section in included:
        found = [folder / name for folder in folders if (folder / name).is_file()]
        assert found, f"{name} is in none of {folders}"
        if section:
            assert f"[start:{section}]" in found[0].read_text(encoding="utf-8"), (
                f"{name} has no section {section}"
            )
    assert included


def test_every_program_of_the_guide_is_on_a_page() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    shown = [*(DOCS / "snippets").glob("*.py"), *(DOCS / "snippets").glob("*.txt")]
    assert [path.name for path in sorted(shown) if f'"{path.name}' not in text] == []


def test_commands_on_pages_exist_with_their_options() -> None:
    commands = [
        line.split("#")[0].split()
        for _, info, content in fences()
        if info.startswith("sh")
        for line in content.splitlines()
        if line.startswith("millstream ") and not line.startswith("millstream dev")
    ]
    assert commands
    for _, command, *arguments in commands:
        words, runner = [command], app
        if command == "state":  # a group, which the command line loads when it is called
            runner, words = state_app, [arguments.pop(0)]
        usage = CliRunner().invoke(runner, [*words, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"}).output
        ours = arguments[: arguments.index("--")] if "--" in arguments else arguments
        options = [argument for argument in ours if argument.startswith("-")]
        assert "Usage" in usage, command
        assert [option for option in options if option not in usage] == [], (command, arguments)


def test_settings_on_pages_are_known() -> None:
    written = [
        yaml.safe_load(content)
        for _, info, content in fences()
        if info.startswith('yaml title="millstream.yaml"')
    ]
    written += [
        dict([setting.split("=", 1)])
        for _, info, content in fences()
        if info.startswith("sh")
        for setting in re.findall(r" -D *([\w.-]+=\S+)", content)
    ]
    assert written
    for settings in written:
        configuration = Configuration.from_dict({key: str(value) for key, value in settings.items()})
        configuration.check()


@pytest.mark.parametrize("name", GENERATED)
def test_every_generated_part_is_on_a_page_and_not_empty(name) -> None:
    mark = f"<!-- generated: {name} -->"
    assert any(mark in page.read_text(encoding="utf-8") for page in PAGES)
    assert len(fill_in(mark).splitlines()) > 10


def test_a_mark_that_names_nothing_is_an_error() -> None:
    with pytest.raises(KeyError):
        fill_in("<!-- generated: nothing -->")
