"""What attempts that died left of checkpoints they did not complete, and files that lost their last reference late."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection
from typing import Final

from ..core.errors import CheckpointError, CheckpointFailureReason
from ..state.handles import FileRef
from .storage import CheckpointStorage

_LOG: Final = logging.getLogger(__name__)
_OF_ATTEMPT: Final = re.compile(r"\.?a(\d+)-")  # with the dot: the temporary file of a write that was cut off


def remove_leftovers(storage: CheckpointStorage, *, before_attempt: int) -> int:
    """Delete what no complete checkpoint of the job refers to; how many folders and files.

    These are folders without `_metadata` and files in `shared/`, of attempts before `before_attempt` alone. As long as one
    complete checkpoint cannot be read, no shared file is touched: it may be the one that needs it.

    Call it only while no task of those attempts runs and no metadata is being written.

    Raises:
        CheckpointError: STORAGE.
    """
    referenced: set[str] = set()
    incomplete: list[int] = []
    unreadable: list[int] = []
    for number in storage.checkpoint_ids():
        try:
            referenced |= {file.path for file in storage.load(number).files()}
        except CheckpointError as error:
            missing = error.reason is CheckpointFailureReason.NOT_FOUND
            (incomplete if missing else unreadable).append(number)
    in_use = {path.partition("/")[0] for path in referenced}
    removed = [n for n in incomplete if f"chk-{n}" not in in_use and _is_older(storage, n, before_attempt)]
    for number in removed:
        storage.discard(number)
    files = [] if unreadable else [f for f in _shared(storage, before_attempt) if f.path not in referenced]
    storage.discard_files(files)
    if removed or files:
        _LOG.info("removed %d unfinished checkpoints and %d unused shared files", len(removed), len(files))
    return len(removed) + len(files)


def remove_unlisted(storage: CheckpointStorage, listed: Collection[int], *, before_attempt: int) -> int:
    """Delete complete checkpoints of attempts before `before_attempt` that are not `listed`; how many.

    Where a list says what is complete (high availability), metadata alone does not: its writer died, or was deposed, before
    anybody heard of it, so nothing was committed for it. What a listed checkpoint refers to stays.

    Raises:
        CheckpointError: STORAGE.
    """
    needed: set[str] = set()
    found: dict[int, int] = {}
    for number in storage.checkpoint_ids():
        try:
            metadata = storage.load(number)
        except CheckpointError as error:
            if error.reason is CheckpointFailureReason.STORAGE or number in listed:
                raise
            continue
        if number in listed:
            needed |= {file.path.partition("/")[0] for file in metadata.files()}
        elif metadata.attempt < before_attempt:
            found[number] = metadata.attempt
    removed = [number for number in found if f"chk-{number}" not in needed]
    for number in removed:
        _LOG.info("checkpoint %d of attempt %d was never confirmed and is removed", number, found[number])
        storage.discard(number)
    return len(removed)


def _is_older(storage: CheckpointStorage, checkpoint_id: int, before_attempt: int) -> bool:
    attempts = (_attempt_of(name) for name in storage.file_names(checkpoint_id))
    return all(attempt is None or attempt < before_attempt for attempt in attempts)


def _shared(storage: CheckpointStorage, before_attempt: int) -> list[FileRef]:
    return [
        FileRef(f"shared/{name}", 0, "", shared=True)
        for name in storage.file_names(None)
        if (attempt := _attempt_of(name)) is not None and attempt < before_attempt
    ]


def _attempt_of(name: str) -> int | None:
    match = _OF_ATTEMPT.match(name)
    return int(match.group(1)) if match else None
