"""The command line: `millstream run`, `plan`, `standby`, `checkpoints`, `state`, `dev`."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from . import invocation
from .core.errors import JobCancelledError, MillstreamError
from .script import run_script

if TYPE_CHECKING:
    from .runtime.graph.stream_graph import StreamGraph

_CANCELLED_BY_SIGINT: Final = 128 + signal.SIGINT

app = typer.Typer(
    name="millstream",
    help="Stream processing in the manner of Apache Flink, in Python.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

JobFile = Annotated[Path, typer.Argument(metavar="JOB.py", help="The program.", exists=True, dir_okay=False)]
ProgramArguments = Annotated[
    list[str] | None, typer.Argument(metavar="[-- ARGS]", help="Arguments of the program.")
]
Parallelism = Annotated[
    int | None,
    typer.Option("-p", "--parallelism", min=1, help="Subtasks of each operator that does not set its own."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("-D", metavar="KEY=VALUE", help="A setting; repeat for more. See also millstream.yaml."),
]

PyFlink = Annotated[
    bool,
    typer.Option("--pyflink", help="The program imports pyflink: let it find Millstream under that name."),
]


@app.command()
def run(
    job: JobFile,
    arguments: ProgramArguments = None,
    parallelism: Parallelism = None,
    settings: Settings = None,
    from_path: Annotated[
        str | None,
        typer.Option("--from", metavar="PATH", help="Start from this savepoint or checkpoint (its folder)."),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on from the job's newest complete checkpoint; start afresh if there is none."
        ),
    ] = False,
    drop_state: Annotated[
        bool,
        typer.Option(
            "--allow-non-restored-state",
            "-n",
            help="Start although it holds state of operators that the program no longer has; that state is dropped.",
        ),
    ] = False,
    pyflink: PyFlink = False,
) -> None:
    """Run a program's jobs here, with as many worker processes as they need."""
    if resume and from_path is not None:
        raise typer.BadParameter(
            "give either --from PATH or --resume, not both", param_hint="--from / --resume"
        )
    overrides = _overrides(settings, parallelism)
    if drop_state:
        from .core.configuration import options

        overrides[options.SAVEPOINT_IGNORE_UNCLAIMED_STATE.key] = "true"
    invocation.use(invocation.Invocation(overrides, resume=resume, savepoint_path=from_path))
    _run(job, arguments, pyflink=pyflink)


@app.command()
def standby(
    cluster_id: Annotated[
        str | None, typer.Option("--cluster-id", metavar="ID", help="high-availability.cluster-id.")
    ] = None,
    settings: Settings = None,
) -> None:
    """Wait until the leader of a highly available cluster dies, then go on with its job. Needs no program.

    Ends as the job ends, whoever leads it then.
    """
    from .core.configuration import Configuration, load_configuration
    from .runtime.job_manager.standby import stand_by

    overrides = _overrides(settings, None)
    if cluster_id is not None:
        overrides["high-availability.cluster-id"] = cluster_id
    stand_by(load_configuration(Configuration(), overrides)).run_in_this_thread()


@app.command()
def plan(
    job: JobFile,
    arguments: ProgramArguments = None,
    parallelism: Parallelism = None,
    settings: Settings = None,
    pyflink: PyFlink = False,
) -> None:
    """Show the graphs of a program's jobs instead of running them.

    The program itself runs up to each execute(), which prints the graphs and returns.
    """
    invocation.use(invocation.Invocation(_overrides(settings, parallelism), show_plan=_print_plan))
    _run(job, arguments, pyflink=pyflink)


@app.command()
def checkpoints(
    directory: Annotated[
        str, typer.Argument(metavar="DIR", help="A checkpoint directory: a path or an fsspec URL.")
    ],
) -> None:
    """List what is in a checkpoint directory: sizes, complete or not, and what is wrong with those that are damaged."""
    from .checkpoint.catalog import list_checkpoints
    from .checkpoint_listing import print_checkpoints

    print_checkpoints(directory, list_checkpoints(directory))


savepoint = typer.Typer(help="What to do with savepoints.", no_args_is_help=True)
app.add_typer(savepoint, name="savepoint")


@savepoint.command()
def dispose(
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="The folder of a savepoint: a path or an fsspec URL.")
    ],
) -> None:
    """Delete a savepoint. Refuses everything that is none, such as a checkpoint."""
    from .checkpoint.savepoint_folder import SavepointFolder

    folder = SavepointFolder(path)
    folder.load()
    folder.delete()
    typer.echo(f"deleted {folder.url}")


def _run(job: Path, arguments: list[str] | None, *, pyflink: bool) -> None:
    if pyflink:
        from .pyflink import install

        install()
    run_script(job, arguments or [])


def _print_plan(graph: StreamGraph) -> None:
    from .runtime.graph.compiler import run_passes, to_job_graph
    from .runtime.graph.plan import explain_job

    decided = run_passes(graph)
    sys.stdout.write(explain_job(decided, to_job_graph(decided)) + "\n")


def _overrides(settings: list[str] | None, parallelism: int | None) -> dict[str, str]:
    overrides = {}
    for setting in settings or []:
        key, equals, value = setting.partition("=")
        if not equals or not key.strip():
            raise typer.BadParameter(f"'{setting}' is not of the form KEY=VALUE", param_hint="-D")
        overrides[key.strip()] = value.strip()
    if parallelism is not None:
        overrides["parallelism.default"] = str(parallelism)
    return overrides


def main() -> None:
    """Entry point of the command line. Our own errors are shown without a traceback of ours.

    Exit codes: 0 success, 1 the program or its job failed, 2 wrong usage, 3 `state` found nothing or a difference, 130 cancelled by Ctrl-C, 143 by SIGTERM.
    """
    if sys.argv[1:2] not in (
        ["run"],
        ["plan"],
        ["standby"],
        ["checkpoints"],
    ):  # what these need not load, a job starts sooner
        add_groups()
    try:
        app()
    except KeyboardInterrupt:
        _print_error("cancelled", "yellow")
        raise SystemExit(_CANCELLED_BY_SIGINT) from None
    except JobCancelledError as error:
        _print_error(str(error), "yellow")
        raise SystemExit(1) from None
    except MillstreamError as error:
        _print_error(f"{type(error).__name__}: {error}", "red")
        raise SystemExit(1) from None
    except BrokenPipeError:
        # Whoever read our output has gone; a second complaint at exit would only be noise.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None


def add_groups() -> None:
    """The commands that come in groups."""
    from .dev_services import app as dev_app
    from .state_commands import app as state_app

    app.add_typer(state_app, name="state")
    app.add_typer(dev_app, name="dev")


def _print_error(text: str, style: str) -> None:
    from rich.console import Console

    sys.stdout.flush()
    Console(stderr=True).print(text, style=style, markup=False, highlight=False, soft_wrap=True)
