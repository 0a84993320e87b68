"""The local databases: usable, restartable, and gone when their owner is gone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pika
import psutil
import psycopg
import pytest
import redis

from millstream.dev.rabbitmq import LocalRabbitMQ
from millstream.dev.server import LocalServer, Server
from tests.services.availability import unavailable, unique_name

ROOT = Path(__file__).parents[2]


class Notes:
    """Something that a server remembers."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.name = unique_name("note").replace("-", "_")

    def write(self, text: str) -> None:
        if self.url.startswith("redis"):
            with redis.Redis.from_url(self.url) as client:
                client.set(self.name, text)
            return
        if self.url.startswith("amqp"):
            with pika.BlockingConnection(pika.URLParameters(self.url)) as connection:
                channel = connection.channel()
                channel.queue_declare(self.name, durable=True)
                channel.confirm_delivery()
                channel.basic_publish("", self.name, text.encode(), pika.BasicProperties(delivery_mode=2))
            return
        with psycopg.connect(self.url) as connection:
            connection.execute(f"CREATE TABLE {self.name} AS SELECT '{text}' AS content")

    def read(self) -> str:
        if self.url.startswith("redis"):
            with redis.Redis.from_url(self.url) as client:
                return client.get(self.name).decode()
        if self.url.startswith("amqp"):
            with pika.BlockingConnection(pika.URLParameters(self.url)) as connection:
                return connection.channel().basic_get(self.name, auto_ack=True)[2].decode()
        with psycopg.connect(self.url) as connection:
            return connection.execute(f"SELECT content FROM {self.name}").fetchone()[0]


@pytest.fixture(params=["postgresql", "rabbitmq", "redis_server"])
def server(request: pytest.FixtureRequest) -> Server:
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("how", ["in order", "kill -9"])
def test_what_was_written_survives_a_restart_at_the_same_url(server: Server, how: str) -> None:
    if not isinstance(server, LocalServer):
        unavailable("this test is about the local process", fix="unset the variable with the server's URL")
    notes = Notes(server.url)
    notes.write("kept")
    if how == "in order":
        server.restart()
    else:
        if isinstance(server, LocalRabbitMQ):
            server.flush()
        server.kill()
        server.start()
    assert notes.read() == "kept"


def test_a_server_dies_with_its_killed_owner(server: Server) -> None:
    if not isinstance(server, LocalServer):
        unavailable("this test is about the local process", fix="unset the variable with the server's URL")
    name, module = type(server).__name__, server.name
    program = f"from millstream.dev.{module} import {name}; s = {name}(); s.start(); print(s.pid, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        running = psutil.Process(int(owner.stdout.readline()))
        assert running.is_running()
        if os.geteuid() == 0 and module == "postgresql":
            assert running.username() == "postgres"
        owner.kill()
    _, alive = psutil.wait_procs([running], timeout=20)
    assert not alive or running.status() == psutil.STATUS_ZOMBIE
