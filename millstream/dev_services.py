"""`millstream dev services up kafka postgresql ...`: real services in the foreground, for tests and demos in other terminals."""

from __future__ import annotations

import contextlib
import enum
import signal
from collections.abc import Callable
from typing import Annotated, assert_never

import typer
from rich.console import Console

from .core.errors import MillstreamError
from .dev.provide import (
    ADDRESS_VARIABLES,
    provide_kafka,
    provide_postgresql,
    provide_rabbitmq,
    provide_redis,
    provide_s3,
    provide_zookeeper,
)

app = typer.Typer(help="Tools for developing Millstream and jobs.", no_args_is_help=True)
services = typer.Typer(help="Real services for tests, demos and benchmarks.", no_args_is_help=True)
app.add_typer(services, name="services")


class ServiceName(enum.StrEnum):
    """What can be started."""

    KAFKA = "kafka"
    POSTGRESQL = "postgresql"
    RABBITMQ = "rabbitmq"
    REDIS = "redis"
    S3 = "s3"
    ZOOKEEPER = "zookeeper"


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


def _start(name: ServiceName, console: Console, running: contextlib.ExitStack) -> str:
    """The address of the service, which runs until the stack is closed."""
    with console.status(f"starting {name} (the first time, jars are fetched)"):
        try:
            address, stop = _provide(name)
        except MillstreamError as error:
            console.print(f"{name}: {error}", style="red", markup=False)
            raise typer.Exit(1) from error
    running.callback(stop)
    console.print(f"export {ADDRESS_VARIABLES[name]}={address}", soft_wrap=True)
    return address


def _provide(name: ServiceName) -> tuple[str, Callable[[], None]]:
    match name:
        case ServiceName.KAFKA:
            broker = provide_kafka()
            return broker.bootstrap_servers, broker.stop
        case ServiceName.POSTGRESQL:
            server = provide_postgresql()
        case ServiceName.RABBITMQ:
            server = provide_rabbitmq()
        case ServiceName.REDIS:
            server = provide_redis()
        case ServiceName.S3:
            server = provide_s3()
        case ServiceName.ZOOKEEPER:
            server = provide_zookeeper()
        case _:
            assert_never(name)
    return server.url, server.stop
