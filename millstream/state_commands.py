"""`millstream state`: what is in a checkpoint or savepoint, and what differs between two."""

from __future__ import annotations

import enum
import sys
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from .state_reader import StateSnapshot

NOTHING_OR_DIFFERENT: Final = 3
"""Exit code of `get` where the key has nothing, and of `diff` where something differs."""

app = typer.Typer(help="Look into checkpoints and savepoints, without the program.", no_args_is_help=True)


class Format(enum.StrEnum):
    """How entries are printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


CheckpointPath = Annotated[
    str,
    typer.Argument(
        metavar="PATH", help="A checkpoint (a chk-<n> folder) or savepoint: a path or an fsspec URL."
    ),
]
Operator = Annotated[str, typer.Argument(metavar="UID", help="The operator's uid, id or name.")]
State = Annotated[str, typer.Argument(metavar="NAME", help="Name of the state.")]
AllowPickle = Annotated[
    bool,
    typer.Option(
        "--allow-pickle", help="Read pickled values. That can run any code: only for files you trust."
    ),
]


@app.command()
def ls(path: CheckpointPath) -> None:
    """List operators and their states with kind, types, entries and sizes."""
    from . import state_reader
    from .state_listing import listing

    with state_reader.open(path) as snapshot:
        _print(listing(snapshot))


@app.command()
def show(
    path: CheckpointPath,
    operator: Operator,
    state: State,
    key: Annotated[
        str | None,
        typer.Option("--key", metavar="KEY", help="Only this key, by the type it was declared with."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="At most so many entries; 0: all.")] = 50,
    output: Annotated[Format, typer.Option("--format", help="json: one object a line.")] = Format.TABLE,
    allow_pickle: AllowPickle = False,
) -> None:
    """Show the entries of a state, expired ones too."""
    from . import state_reader
    from .state_listing import rows_of, shown

    with state_reader.open(path, allow_pickle=allow_pickle) as snapshot:
        columns, rows = rows_of(snapshot, operator, state, key)
        iterator = iter(rows)
        _print(shown(islice(iterator, limit or None), columns, output.value))
        if limit and next(iterator, None) is not None:
            typer.echo(f"there are more than {limit} entries: --limit 0 shows all", err=True)


@app.command()
def diff(
    before: Annotated[str, typer.Argument(metavar="A", help="A checkpoint or savepoint.")],
    after: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
    examples: Annotated[int, typer.Option("--examples", min=0, help="Entries shown of each state.")] = 3,
) -> None:
    """Show what differs between two checkpoints. Exit code 0: nothing; 3: something."""
    from . import state_reader
    from .state_listing import difference_lines
    from .state_reader.differences import differences

    different = False
    with state_reader.open(before) as then, state_reader.open(after) as now:
        for found in differences(then, now, examples):
            different = True
            _print(difference_lines(found))
    if different:
        raise typer.Exit(NOTHING_OR_DIFFERENT)


@app.command()
def get(
    job: Annotated[str, typer.Argument(metavar="JOB", help="The job's name or id.")],
    operator: Operator,
    state: State,
    key: Annotated[str, typer.Argument(metavar="KEY", help="A key, by the type it was declared with.")],
    directory: Annotated[
        str | None,
        typer.Option(
            "--dir",
            metavar="DIR",
            help="The checkpoint directory; default: where a job started here writes to.",
        ),
    ] = None,
    allow_pickle: AllowPickle = False,
) -> None:
    """Print what a job had under a key in its last completed checkpoint, as JSON. Exit code 3: nothing."""
    from .state_listing import answer
    from .state_reader import QueryableStateClient

    def question(snapshot: StateSnapshot) -> list[str]:
        return answer(snapshot, operator, state, key)

    with QueryableStateClient(directory or _configured_directory(), job, allow_pickle=allow_pickle) as client:
        lines = client.read(question)
    _print(lines)
    if not lines:
        sys.stderr.write(f"'{state}' of operator '{operator}' holds nothing under the key {key}\n")
        raise typer.Exit(NOTHING_OR_DIFFERENT)


def _configured_directory() -> str:
    from .core.configuration import load_configuration
    from .runtime.job_manager.job_setup import checkpoint_directory

    return checkpoint_directory(load_configuration())


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        sys.stdout.write(line + "\n")
