"""The layer folders, their links, and what the declared dependencies promise."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYERS = ("checkpoint", "connectors", "core", "operators", "runtime", "state")


@pytest.mark.parametrize("layer", LAYERS)
def test_each_layer_folder_has_its_relative_link(layer: str) -> None:
    assert (ROOT / layer / "__init__.py").is_file()
    link = ROOT / "millstream" / layer
    assert link.is_symlink(), f"ln -s ../{layer} millstream/{layer}"
    assert link.readlink() == Path(f"../{layer}")


def test_millstream_holds_no_other_links() -> None:
    links = {path.name for path in (ROOT / "millstream").iterdir() if path.is_symlink()}
    assert links == set(LAYERS)


def test_every_folder_with_modules_is_a_package() -> None:
    folders = {path.parent for layer in (*LAYERS, "millstream") for path in (ROOT / layer).rglob("*.py")}
    assert [str(folder) for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


def test_no_file_is_loaded_under_two_names() -> None:
    program = """
        import importlib, pkgutil, sys, os, collections
        import millstream

        for module in pkgutil.walk_packages(millstream.__path__, "millstream."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
        names = collections.defaultdict(set)
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if file and name != "__main__":
                real = os.path.realpath(file)
                if real.startswith(os.path.realpath(sys.argv[1]) + os.sep) and "site-packages" not in real:
                    names[real].add(name)
        doubles = {file: sorted(found) for file, found in names.items() if len(found) > 1}
        strangers = sorted(name for found in names.values() for name in found if name.split(".")[0] != "millstream")
        print(len(names), doubles, strangers)
        sys.exit(bool(doubles or strangers) or not names)
    """
    done = run_python(textwrap.dedent(program), str(ROOT))
    assert done.returncode == 0, done.stdout + done.stderr


def test_importing_millstream_loads_no_client_library() -> None:
    clients = ("confluent_kafka", "kafka", "pika", "rocksdict", "fsspec", "testcontainers", "pytest")
    done = run_python(f"import sys, millstream; print([name for name in {clients} if name in sys.modules])")
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_every_package_that_is_imported_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = project["dependencies"] + [
        r for extra in project["optional-dependencies"].values() for r in extra
    ]
    distributions = {requirement.split(">")[0].split("[")[0] for requirement in declared} | {"testcontainers"}
    modules = (
        {_MODULE_OF.get(name, name) for name in distributions}
        | {"millstream"}
        | _USERS_OWN
        | _TYPE_CHECKERS_OWN
        | _LATER_PYTHONS
    )
    undeclared = {
        f"{path.relative_to(ROOT)}: {module}"
        for layer in (*LAYERS, "millstream")
        for path in sorted((ROOT / layer).rglob("*.py"))
        for module in _absolute_imports(path)
        if module not in modules and module not in sys.stdlib_module_names
    }
    assert undeclared == set()


# Libraries whose values users bring along: touched only where the user's program has them.
# pytest: whoever derives from the contract tests of `millstream.testing.connectors` runs them with it.
_USERS_OWN = {"numpy", "pytest"}
# Of the standard library of later Pythons; used where it is there.
_LATER_PYTHONS = {"compression"}
# Imported under TYPE_CHECKING alone: every type checker brings it along.
_TYPE_CHECKERS_OWN = {"typing_extensions"}
# Distributions whose module has another name.
_MODULE_OF = {"confluent-kafka": "confluent_kafka", "kafka-python": "kafka", "pyyaml": "yaml"}


def _absolute_imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=names):
                yield from (alias.name.split(".")[0] for alias in names)
            case ast.ImportFrom(level=0, module=str(module)):
                yield module.split(".")[0]


def run_python(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    # -P: the current folder is not on the path, as in a user's program; PYTHONPATH names the repository.
    return subprocess.run(
        [sys.executable, "-P", "-c", program, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
