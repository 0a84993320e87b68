"""Processes, folders and ports of local services, without a service."""

from __future__ import annotations

import socket
import sys

import pytest

from millstream.dev.containers import environment_name
from millstream.dev.local_process import LocalProcess, ServiceFolder, ServiceUnavailable, free_ports
from millstream.dev.maven import cache_folder, find_java


def test_a_folder_in_use_is_left_alone_and_a_leftover_is_removed(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    used = ServiceFolder("svc")
    leftover = tmp_path / "millstream-svc-leftover"
    leftover.mkdir()
    (leftover / "owner.lock").touch()
    other = tmp_path / "millstream-svc-without-a-lock"
    other.mkdir()
    third = ServiceFolder("svc")
    assert used.path.is_dir()
    assert third.path.is_dir()
    assert not leftover.exists()
    assert other.is_dir()
    used.remove()
    used.remove()
    third.remove()
    assert not used.path.exists()


def test_a_process_keeps_the_pid_it_was_started_with_and_its_output_is_kept(tmp_path) -> None:
    process = LocalProcess([sys.executable, "-c", "import os; print(os.getpid(), 'said')"], tmp_path / "log")
    assert process.wait() == 0
    assert process.last_output() == f"{process.pid} said"
    assert not process.is_alive()
    process.stop()


def test_free_ports_are_distinct_and_skip_what_is_taken() -> None:
    [first] = free_ports(1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first))
        taken.listen()
        found = free_ports(3)
    assert first not in found
    assert len(set(found)) == 3


def test_a_missing_java_names_the_command_that_installs_it(monkeypatch, tmp_path) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServiceUnavailable) as caught:
        find_java(at_least=17)
    assert "apt-get install openjdk-17" in (caught.value.fix or "")


def test_an_old_java_is_refused_with_its_version(monkeypatch, tmp_path) -> None:
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
    java.chmod(0o755)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServiceUnavailable) as caught:
        find_java(at_least=17)
    assert "11.0.2" in caught.value.what


def test_the_cache_follows_xdg(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "millstream"


def test_broker_settings_become_variables_of_the_image() -> None:
    assert environment_name("transaction.state.log.min.isr") == "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR"
