"""What MkDocs calls while it builds the user guide (`hooks` in mkdocs.yml)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
# MkDocs loads this file by its path.
sys.path.insert(0, str(ROOT))

from scripts.reference import fill_in  # noqa: E402  # found by the line above


def on_config(config: Any) -> Any:  # MkDocs's, which only the group `docs` has
    """List all decisions, so that a new one needs no entry."""
    decisions = sorted(f"adr/{path.name}" for path in (ROOT / "docs/adr").glob("*.md"))
    config["nav"].append({"Decisions": decisions})
    return config


def on_page_markdown(markdown: str, **_: object) -> str:
    """Put the generated parts into a page."""
    return fill_in(markdown)
