"""What MkDocs calls while it builds the user guide (`hooks` in mkdocs.yml)."""

from __future__ import annotations

import sys
from pathlib import Path

# MkDocs loads this file by its path.
sys.path.insert(0, str(Path(__file__).parents[1]))

from scripts.reference import fill_in


def on_page_markdown(markdown: str, **_: object) -> str:
    """Put the generated parts into a page."""
    return fill_in(markdown)
