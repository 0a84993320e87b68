"""Every way to install Millstream gives the same package, with real files and no layer as a top-level module."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYERS = ("checkpoint", "connectors", "core", "operators", "runtime", "state")

# Building and installing goes through pip several times.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PROBE = f"""
import importlib, importlib.util, pkgutil
import millstream
for layer in {LAYERS}:
    module = importlib.import_module("millstream." + layer)
    assert module.__file__, layer
    assert importlib.util.find_spec(layer) is None, layer + " is importable as a top-level module"
print(len(list(pkgutil.walk_packages(millstream.__path__, "millstream."))))
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree, as a fresh clone has it, so that a build leaves nothing in the real one."""
    copy = tmp_path_factory.mktemp("clone") / "millstream"
    junk = shutil.ignore_patterns(
        ".git", ".venv*", "build", "dist", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis"
    )
    shutil.copytree(ROOT, copy, symlinks=True, ignore=junk)
    return copy


@pytest.fixture(scope="module")
def distributions(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist of the tree, and the wheel that was built from that sdist."""
    out = tmp_path_factory.mktemp("dist")
    run([sys.executable, "-m", "build", "--outdir", str(out), str(source)])
    [sdist] = out.glob("*.tar.gz")
    [wheel] = out.glob("*.whl")
    return sdist, wheel


def test_the_sdist_holds_each_module_once_as_a_real_file(
    source: Path, distributions: tuple[Path, Path]
) -> None:
    with tarfile.open(distributions[0]) as archive:
        members = archive.getmembers()
    assert [member.name for member in members if member.issym() or member.islnk()] == []
    names = {member.name.split("/", 1)[1] for member in members if member.isfile()}
    assert {name for name in names if name.split("/")[0] in LAYERS} == set()
    assert modules_of(source) <= names


def test_the_wheel_built_from_the_sdist_holds_every_module(
    source: Path, distributions: tuple[Path, Path]
) -> None:
    with zipfile.ZipFile(distributions[1]) as archive:
        names = set(archive.namelist())
    assert modules_of(source) <= names
    assert "millstream/py.typed" in names
    assert {name.split("/")[0] for name in names} == {
        "millstream",
        *(n.split("/")[0] for n in names if ".dist-info" in n),
    }


def test_a_wheel_built_from_the_tree_is_the_same(
    source: Path, distributions: tuple[Path, Path], tmp_path: Path
) -> None:
    run([sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(source)])
    [wheel] = tmp_path.glob("*.whl")
    assert contents(wheel) == contents(distributions[1])


def test_the_wheel_works_in_an_empty_environment(distributions: tuple[Path, Path], tmp_path: Path) -> None:
    python = empty_environment(tmp_path / "venv")
    run([python, "-m", "pip", "install", "--quiet", str(distributions[1])])
    assert int(run([python, "-P", "-c", PROBE], cwd=tmp_path)) > len(LAYERS)
    assert "Usage" in run([str(Path(python).with_name("millstream")), "--help"], cwd=tmp_path)


def test_pip_install_of_the_folder_works(source: Path, tmp_path: Path) -> None:
    python = empty_environment(tmp_path / "venv")
    run([python, "-m", "pip", "install", "--quiet", str(source)])
    assert int(run([python, "-P", "-c", PROBE], cwd=tmp_path)) > len(LAYERS)


def test_an_editable_installation_sees_the_tree_and_no_bare_layers(source: Path, tmp_path: Path) -> None:
    python = empty_environment(tmp_path / "venv")
    run([python, "-m", "pip", "install", "--quiet", "--editable", str(source)])
    assert int(run([python, "-P", "-c", PROBE], cwd=tmp_path)) > len(LAYERS)
    where = run([python, "-P", "-c", "import millstream; print(millstream.__file__)"], cwd=tmp_path)
    assert Path(where.strip()) == source / "millstream" / "__init__.py"


def modules_of(source: Path) -> set[str]:
    layers = {path for layer in LAYERS for path in (source / layer).rglob("*.py")}
    api = {path.relative_to(source / "millstream") for path in (source / "millstream").rglob("*.py")}
    return {f"millstream/{path.relative_to(source)}" for path in layers} | {
        f"millstream/{path}" for path in api
    }


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/RECORD")}


def empty_environment(folder: Path) -> str:
    [pip] = (ROOT / "scripts" / "vendor").glob("pip-*.whl")
    run([sys.executable, "-m", "venv", "--without-pip", str(folder)])
    python = str(folder / "bin" / "python")
    run([python, f"{pip}/pip", "install", "--quiet", "--no-index", str(pip)])
    return python


def run(command: list[str], cwd: Path | None = None) -> str:
    # The repository must not be found by accident.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout
