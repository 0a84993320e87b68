from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def examples_folder(monkeypatch) -> Path:
    """Examples import one another by plain names, as scripts in one folder do."""
    folder = Path(__file__).parents[2] / "examples"
    monkeypatch.syspath_prepend(str(folder))
    return folder
