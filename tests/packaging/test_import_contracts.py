"""The import contracts of pyproject.toml catch what they are there for: each is shown an import that breaks it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "",
    "core",
    "state",
    "checkpoint",
    "operators",
    "connectors",
    "connectors/kafka",
    "runtime",
    "runtime/graph",
    "runtime/job_manager",
    "runtime/worker",
    "runtime/exchange",
    "dev",
)

# lint-imports comes with the developers' packages, not with the tests'.
pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("module", "statement", "contract"),
    [
        ("core/low", "from ..state import high", "Imports point down"),
        ("state/low", "from ..runtime.graph import plan", "Imports point down"),
        ("operators/mine", "from ..connectors import base", "Imports point down"),
        ("core/low", "from ..environment import Environment", "No layer imports the API"),
        ("runtime/top", "from .. import version", "No layer imports the API"),
        ("runtime/top", "import millstream.dev.kafka", "No layer imports the API"),
        ("runtime/graph/plan", "from ..worker import loop", "The graph compiler does no I/O"),
        ("connectors/files", "import confluent_kafka", "Kafka's clients"),
        ("environment", "from kafka.protocol import api", "Kafka's clients"),
        ("runtime/top", "import rocksdict", "RocksDB"),
    ],
)
def test_a_forbidden_import_breaks_its_contract(
    tmp_path: Path, module: str, statement: str, contract: str
) -> None:
    output = lint(tmp_path, {module: statement}, status=1)
    assert output.count("BROKEN") == 1
    assert contract in output.partition("Broken contracts")[2]


def test_imports_that_point_down_and_clients_at_home_are_fine(tmp_path: Path) -> None:
    lint(
        tmp_path,
        {
            "environment": "from .runtime.graph import plan\nfrom .connectors import base",
            "runtime/graph/plan": "from ...operators import mine\nfrom ...core import low",
            "state/rocksdb": "import rocksdict",
            "connectors/kafka/source": "import confluent_kafka.admin\nimport kafka.protocol",
        },
        status=0,
    )


def lint(folder: Path, modules: dict[str, str], status: int) -> str:
    """Judges a tree of otherwise empty modules by the contracts of this repository."""
    for package in PACKAGES:
        (folder / "millstream" / package).mkdir(parents=True, exist_ok=True)
        (folder / "millstream" / package / "__init__.py").touch()
    empty = (
        "environment",
        "state/high",
        "connectors/base",
        "runtime/graph/plan",
        "runtime/worker/loop",
        "dev/kafka",
    )
    for module, text in {**dict.fromkeys((*empty, "operators/mine", "core/low"), ""), **modules}.items():
        (folder / "millstream" / f"{module}.py").write_text(text + "\n")
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "import_contracts.py", folder / "scripts")
    command = Path(sys.executable).with_name("lint-imports")
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [str(command), "--no-cache"], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout
