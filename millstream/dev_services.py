"""`millstream dev services up kafka`: real services in the foreground, for tests and demos in other terminals."""

from __future__ import annotations

import contextlib
import enum
import signal
from typing import Annotated

import typer
from rich.console import Console

from .core.errors import MillstreamError
from .dev.kafka import KafkaBroker
from .dev.provide import ADDRESS_VARIABLES, provide_kafka

app = typer.Typer(help="Tools for developing Millstream and jobs.", no_args_is_help=True)
services = typer.Typer(help="Real services for tests, demos and benchmarks.", no_args_is_help=True)
app.add_typer(services, name="services")


class ServiceName(enum.StrEnum):
    """What can be started."""

    KAFKA = "kafka"


@services.callback()
def _services() -> None:
    """Keeps `up` a command of its own while it is the only one."""


@services.command()
def up(
    names: Annotated[list[ServiceName] | None, typer.Argument(help="Which; default: all.")] = None,
) -> None:
    """Start services, print their addresses, and stop them on Ctrl-C or SIGTERM.

    Each comes from its environment variable (MILLSTREAM_TEST_KAFKA=host:port), from a container where Docker answers, or
    runs as a local process with a port and a folder of its own; that one ends with this command, whatever ends it.
    """
    console = Console()
    with contextlib.ExitStack() as running:
        started = [_start(name, console, running) for name in names or list(ServiceName)]
        # Blocked only now: children started earlier must not inherit the mask. And before saying so: a signal sent by
        # whoever reads the line must find us waiting for it.
        stopping = {signal.SIGINT, signal.SIGTERM}
        signal.pthread_sigmask(signal.SIG_BLOCK, stopping)
        console.print(f"{len(started)} running; Ctrl-C stops.")
        signal.sigwait(stopping)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, stopping)
        console.print("stopping")


def _start(name: ServiceName, console: Console, running: contextlib.ExitStack) -> KafkaBroker:
    match name:
        case ServiceName.KAFKA:
            with console.status("starting Apache Kafka (the first time its jars are fetched)"):
                try:
                    broker = provide_kafka()
                except MillstreamError as error:
                    console.print(f"kafka: {error}", style="red", markup=False)
                    raise typer.Exit(1) from error
            running.callback(broker.stop)
            console.print(f"export {ADDRESS_VARIABLES['kafka']}={broker.bootstrap_servers}", soft_wrap=True)
            return broker
