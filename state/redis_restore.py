"""Brings Redis to the checkpoint that is restored: its log is applied, unless it was.

Redis holds one version of the state of each key group: that of the checkpoint `applied`, or, where a worker died in the middle, a mixture
of it and `applying`. A handle's log holds every key that changed between its `base` and its checkpoint, with its last value. So a key
group can be brought to the checkpoint exactly when `base <= applied` and `applying <= checkpoint`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..core.errors import StateError
from .backend import BackendContext
from .entry_keys import prefix_of
from .handles import ExternalVersion, KeyedStateHandle
from .overlay import Layer, Place
from .redis_connection import RedisConnection
from .redis_keys import RedisKeys, applied, applying, state_name
from .redis_log import LOG, read_log
from .redis_store import mark, operations_of
from .table_registry import BLOCKS_INFO, RESERVED_TABLE, TableRegistry


@dataclass(frozen=True, slots=True)
class Progress:
    """What Redis holds of a key group: None where it knows of no checkpoint of it."""

    applied: int | None
    applying: int | None


def restore(
    connection: RedisConnection, context: BackendContext, keys: RedisKeys, registry: TableRegistry
) -> int:
    """Own the key groups of the context, with the state that it restores.

    Returns:
        The checkpoint that Redis holds now: 0 for a start from nothing or from another job.

    Raises:
        StateError: a newer attempt owns the state; or Redis is not at a checkpoint from which the restored one can be reached.
        CheckpointError: CORRUPT, as the reader's.
    """
    owner = context.owner
    connection.own(keys.owner, owner.attempt)
    handles = [(handle, handle.external) for handle in context.restored if handle.external is not None]
    own_groups = range(context.key_groups[0], context.key_groups[1] + 1)
    if not handles:
        _refuse_reset(connection, context, keys)
        _wipe(connection, context, keys, own_groups)
        return 0
    restored = handles[0][1]
    is_own = (restored.job_id, restored.operator_id) == (owner.job_id, owner.operator_id)
    source = keys if is_own else RedisKeys(_area(context), restored.job_id, restored.operator_id)
    behind = _behind(connection, context, source, handles)
    if not is_own:
        _wipe(connection, context, keys, own_groups)
        _copy(connection, source, keys, own_groups)
        _behind(connection, context, source, handles)  # it may have gone on meanwhile, but not beyond
        behind = list(own_groups)
    target = restored.checkpoint_id if is_own else 0
    if behind:
        connection.apply(
            keys.owner,
            owner.attempt,
            mark((applying(g) for g in behind), restored.checkpoint_id if is_own else 0),
        )
        for layer, states in _logs(context, handles, set(behind), registry):
            for operations in operations_of(layer, keys, states):
                connection.apply(keys.owner, owner.attempt, operations)
        connection.apply(keys.owner, owner.attempt, mark((applied(g) for g in behind), target))
    return target


def _area(context: BackendContext) -> str:
    assert context.store is not None, "who chooses the backend gives its store"
    return context.store.area


def progress_of(
    connection: RedisConnection, keys: RedisKeys, key_groups: tuple[int, int]
) -> dict[int, Progress]:
    """Of each key group from the first to the last."""
    groups = range(key_groups[0], key_groups[1] + 1)
    fields = [field for group in groups for field in (applied(group), applying(group))]
    found: list[bytes | None] = connection.ask("HMGET", keys.owner, *fields)
    numbers = iter([None if value is None else int(value) for value in found])
    return {group: Progress(next(numbers), next(numbers)) for group in groups}


def _behind(
    connection: RedisConnection,
    context: BackendContext,
    source: RedisKeys,
    handles: list[tuple[KeyedStateHandle, ExternalVersion]],
) -> list[int]:
    """The key groups of the context whose log is still to be applied.

    Raises:
        StateError: Redis is at no checkpoint from which the restored one can be reached.
    """
    behind: list[int] = []
    progress = progress_of(connection, source, context.key_groups)
    for handle, version in handles:
        first = max(handle.key_groups[0], context.key_groups[0])
        last = min(handle.key_groups[1], context.key_groups[1])
        behind += [
            group
            for group in range(first, last + 1)
            if not _is_reached(progress[group], version, connection.where, group)
        ]
    return behind


def _is_reached(progress: Progress, version: ExternalVersion, where: str, group: int) -> bool:
    checkpoint, job = version.checkpoint_id, version.job_id
    if progress.applied is None or progress.applied < version.base:
        has = "nothing" if progress.applied is None else f"only checkpoint {progress.applied}"
        raise StateError(
            f"Redis has lost state: of job {job} it holds {has}, while checkpoint {checkpoint} is based on {version.base}",
            where=f"{where}, key group {group}",
            fix="restore the data of Redis (it needs appendonly or snapshots), or start from a canonical savepoint",
        )
    newest = max(progress.applied, progress.applying or 0)
    if newest > checkpoint:
        raise StateError(
            f"Redis holds checkpoint {newest} of job {job} already, and no earlier one: checkpoint {checkpoint} cannot be restored",
            where=f"{where}, key group {group}",
            fix=f"restore checkpoint {newest} or a later one, or a canonical savepoint; the backend 'postgresql' keeps versions",
        )
    return progress.applied == checkpoint


def _refuse_reset(connection: RedisConnection, context: BackendContext, keys: RedisKeys) -> None:
    progress = progress_of(connection, keys, context.key_groups)
    newest = max(max(p.applied or 0, p.applying or 0) for p in progress.values())
    if newest:
        raise StateError(
            f"Redis holds checkpoint {newest} of job {context.owner.job_id}, which is started from nothing",
            where=connection.where,
            fix="resume the job from its checkpoint, or delete the keys of the job",
        )


def _wipe(connection: RedisConnection, context: BackendContext, keys: RedisKeys, groups: range) -> None:
    """Key groups with no entry, at no checkpoint."""
    attempt = context.owner.attempt
    states: set[bytes] = connection.ask("SMEMBERS", keys.states)
    for group, state, parts in _namespaces(connection, keys, groups, states):
        emptied = Layer()
        for part in parts:
            emptied.drop(Place(prefix_of(group, 0), part))
        for operations in operations_of(emptied, keys, {0: state}):
            connection.apply(keys.owner, attempt, operations)
    connection.apply(keys.owner, attempt, mark((f(g) for g in groups for f in (applied, applying)), 0))


def _copy(connection: RedisConnection, source: RedisKeys, target: RedisKeys, groups: range) -> None:
    """Every entry of key groups, by commands inside Redis."""
    states: set[bytes] = connection.ask("SMEMBERS", source.states)
    if states:
        connection.ask("SADD", target.states, *states)
    for group, state, parts in _namespaces(connection, source, groups, states):
        connection.copy(
            [(source.data(group, state, part), target.data(group, state, part)) for part in parts]
        )
        connection.ask("SADD", target.index(group, state), *parts)


def _namespaces(
    connection: RedisConnection, keys: RedisKeys, groups: range, states: set[bytes]
) -> Iterator[tuple[int, bytes, set[bytes]]]:
    """(key group, state, its namespaces) where there are any."""
    for state in states:
        for group in groups:
            index = keys.index(group, state)
            parts: set[bytes] = connection.ask("SMEMBERS", index)
            if parts:
                yield group, state, parts


def _logs(
    context: BackendContext,
    handles: list[tuple[KeyedStateHandle, ExternalVersion]],
    groups: set[int],
    registry: TableRegistry,
) -> Iterator[tuple[Layer, dict[int, bytes]]]:
    """Changes in these key groups, and what the tables are called in keys."""
    for handle, _ in handles:
        ref = handle.files.get(LOG)
        if ref is None:
            continue
        numbers = {info.table_id: registry.table_id(info) for info in handle.tables}
        numbers[RESERVED_TABLE] = RESERVED_TABLE
        states = {registry.table_id(info): state_name(info) for info in handle.tables}
        states[RESERVED_TABLE] = state_name(BLOCKS_INFO)
        content = context.reader.read(ref)
        layer, gone = read_log(
            content, context.key_groups, numbers, where=f"operator '{context.operator}': {ref.path}"
        )
        yield layer.within(groups), states | gone
