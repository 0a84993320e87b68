"""Comparing text with files in this folder."""

import os
from pathlib import Path

FOLDER = Path(__file__).parent


def check_golden(name, text):
    """Fail when `text` differs from the file; with UPDATE_GOLDEN=1 write the file instead."""
    path = FOLDER / name
    if os.environ.get("UPDATE_GOLDEN") == "1":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, f"{name} is out of date; UPDATE_GOLDEN=1 rewrites it"
