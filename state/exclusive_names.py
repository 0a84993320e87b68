"""Names for the files of one checkpoint."""

from __future__ import annotations

import hashlib
import re

from .backend import BackendContext


def exclusive_name(context: BackendContext, kind: str) -> str:
    """A name no other operator, subtask or attempt uses within a checkpoint: `local_dir` is an own folder of each.

    Readable first (operator and key groups), unique by the hash at its end.
    """
    operator = re.sub(r"[^A-Za-z0-9_-]+", "_", context.operator)[:40]
    first, last = context.key_groups
    unique = hashlib.blake2b(str(context.local_dir.absolute()).encode(), digest_size=8).hexdigest()
    return f"{operator}-{first}-{last}-{unique}.{kind}"
