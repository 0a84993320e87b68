"""Whether a program may start from a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence

from ..core.errors import CheckpointError, CheckpointFailureReason
from ..state.handles import ACCUMULATORS_STATE, OperatorSnapshot
from .metadata import Metadata, OperatorDescription


def check_compatible(
    metadata: Metadata,
    program: Sequence[OperatorDescription],
    *,
    path: str,
    ignore_unclaimed_state: bool = False,
) -> None:
    """Nothing, if every piece of state in the checkpoint finds its operator in the program.

    `path` of the checkpoint goes into the error. `ignore_unclaimed_state` lets state go whose operator is gone
    (`execution.savepoint.ignore-unclaimed-state`).

    Raises:
        CheckpointError: INCOMPATIBLE, naming the operators of both and what can be done.
    """
    present = {operator.operator_id: operator for operator in program}
    with_state = stateful_operator_ids(metadata)
    unclaimed = [operator_id for operator_id in with_state if operator_id not in present]
    if unclaimed and not ignore_unclaimed_state:
        raise _unclaimed(metadata, unclaimed, program, path)
    then = {operator.operator_id: operator for operator in metadata.operators}
    for operator_id in with_state:
        old, new = then.get(operator_id), present.get(operator_id)
        if old is not None and new is not None:
            check_max_parallelism(new, old.max_parallelism, new.max_parallelism, where=path)


def check_max_parallelism(operator: object, then: int, now: int, *, where: str) -> None:
    """Nothing, if the state of an operator was written with the same maximum parallelism.

    Raises:
        CheckpointError: INCOMPATIBLE.
    """
    if then != now:
        raise CheckpointError(
            CheckpointFailureReason.INCOMPATIBLE,
            f"operator {operator} has max parallelism {now}, its state was written with {then}: its keys belong to other"
            " key groups now",
            where=where,
            fix=f"set `pipeline.max-parallelism`, or set_max_parallelism of the operator, to {then}",
        )


def holds_state(snapshot: OperatorSnapshot) -> bool:
    """Whether there is anything to restore."""
    return bool(snapshot.keyed or snapshot.channels) or _has_lists(snapshot)


def stateful_operator_ids(metadata: Metadata) -> tuple[str, ...]:
    """Operators that have anything to restore, in a stable order."""
    found = {
        operator_id
        for operator_id, snapshots in metadata.states.items()
        if any(holds_state(snapshot) for snapshot in snapshots)
    }
    return tuple(sorted(found | set(metadata.enumerators)))


def _has_lists(snapshot: OperatorSnapshot) -> bool:
    return any(items for name, items in snapshot.lists.items() if name != ACCUMULATORS_STATE)


def _unclaimed(
    metadata: Metadata, unclaimed: Sequence[str], program: Sequence[OperatorDescription], path: str
) -> CheckpointError:
    then = {operator.operator_id: str(operator) for operator in metadata.operators}
    lost = ", ".join(then.get(operator_id, operator_id) for operator_id in unclaimed)
    now = ", ".join(str(operator) for operator in program) or "none"
    everything = len(unclaimed) == len(stateful_operator_ids(metadata))
    guess = (
        "it is a checkpoint of another program, or no operator has a uid and the program was changed"
        if everything
        else "an operator was removed, or one without a uid changed its place"
    )
    return CheckpointError(
        CheckpointFailureReason.INCOMPATIBLE,
        f"checkpoint {metadata.checkpoint_id} of job '{metadata.job_name}' holds state of operators that this program"
        f" does not have: {lost}. The program has: {now}. So {guess}",
        where=path,
        fix="start the program that took it, give each stateful operator the uid it had, or drop that state with"
        " --allow-non-restored-state (execution.savepoint.ignore-unclaimed-state=true)",
    )
