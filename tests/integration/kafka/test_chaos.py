"""Processes with exactly-once writers get kill -9 at random moments, and come back at other parallelisms."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from millstream.dev.kafka import KafkaBroker
from tests.integration.kafka.harness import ROOT, committed_values

RECORDS = 6000
KILLS = 6


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [1, 2])
def test_every_record_once_whenever_the_processes_die(
    kafka: KafkaBroker, kafka_topic: Callable[..., str], tmp_path: Path, seed: int
) -> None:
    topic = kafka_topic(partitions=2)
    chance = random.Random(seed)
    plan = {
        "bootstrap_servers": kafka.bootstrap_servers,
        "topic": topic,
        "prefix": topic,
        "store": str(tmp_path / "checkpoint.json"),
        "records": RECORDS,
    }
    kills = 0
    while True:
        plan["parallelism"] = chance.randint(1, 3)
        plan["hold_at"] = RECORDS * (kills + 1) // (KILLS + 1)  # so that no kill comes after the end
        command = [sys.executable, str(Path(__file__).with_name("chaos_child.py")), json.dumps(plan)]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as child:
            if kills < KILLS:
                with pytest.raises(subprocess.TimeoutExpired):
                    child.wait(chance.uniform(0.6, 2.0))
                child.kill()
                kills += 1
                continue
            output, errors = child.communicate(timeout=120)
        assert child.returncode == 0, errors
        assert output == "done\n"
        break
    assert committed_values(kafka.bootstrap_servers, topic, 2) == sorted(map(str, range(RECORDS)))
