"""An S3 server for tests and demos: moto's, as a process of its own. Objects are in its memory and end with it."""

from __future__ import annotations

import socket
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from .local_process import ServiceUnavailable
from .server import LocalServer


class LocalS3(LocalServer):
    """See `LocalServer`. `url` is what S3 clients call the endpoint."""

    name: ClassVar = "s3"

    def __init__(self) -> None:
        if find_spec("moto") is None or find_spec("flask") is None:
            raise ServiceUnavailable("moto's server is not installed", fix="pip install 'moto[server]'")
        super().__init__()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=2):
                return True
        except OSError:
            return False

    def prepare(self, folder: Path) -> None:
        """There is nothing on disk."""

    def command(self, folder: Path) -> list[str]:
        return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self._port)]


def s3_environment(url: str) -> dict[str, str]:
    """What a process needs to reach a local server, jobs and their workers included."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "millstream",
        "AWS_SECRET_ACCESS_KEY": "millstream",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
