"""A bounded share of `make chaos RUNS=n`: whole jobs on real processes under the faults that a seed decides about."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec
import pytest

from millstream.dev.kafka import KafkaBroker
from tests.chaos.driver import Entry, Verdict, run
from tests.chaos.jobs.topologies import EXPECTED, expected_timers
from tests.chaos.schedule import FaultKind, plan_of


@pytest.mark.chaos
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [9, 20, 58])
def test_every_result_is_there_once(seed: int, kafka: KafkaBroker, tmp_path: Path) -> None:
    entry = run(plan_of(seed), tmp_path / "ledger.jsonl", lambda: kafka.bootstrap_servers)
    assert entry.verdict is Verdict.EXACT, f"{entry.detail}\nagain: {entry.repeat}"


@pytest.mark.slow
@pytest.mark.parametrize("sink", ["files", "kafka"])
def test_a_missing_result_is_found_and_the_ledger_tells_how_to_see_it_again(
    sink: str, kafka: KafkaBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The net has no hole: what a run should have given and did not is its verdict."""
    plan = msgspec.structs.replace(
        plan_of(7), topology="timers", events=1_000, rate=100_000, faults=(), burners=None, sink=sink
    )
    monkeypatch.setitem(EXPECTED, "timers", lambda events: [*expected_timers(events), "one more"])
    entry = run(plan, tmp_path / "ledger.jsonl", lambda: kafka.bootstrap_servers)
    assert (entry.verdict, entry.lost, entry.doubled) == (Verdict.WRONG, 1, 0)
    [line] = (tmp_path / "ledger.jsonl").read_text().splitlines()
    assert msgspec.json.decode(line, type=Entry) == entry
    assert entry.repeat == "make chaos RUNS=1 SEED=7"


def test_a_seed_is_always_the_same_run_and_seeds_reach_every_fault() -> None:
    plans = [plan_of(seed) for seed in range(100)]
    assert plans == [plan_of(seed) for seed in range(100)]
    kinds = Counter(fault.kind for plan in plans for fault in plan.faults)
    assert set(kinds) == set(FaultKind)
    topologies = Counter("graph" if plan.topology.startswith("graph-") else plan.topology for plan in plans)
    assert set(topologies) == {"graph", *EXPECTED}
    assert {plan.backend for plan in plans} == {"hashmap", "rocksdb"}
    assert {plan.sink for plan in plans} == {"files", "kafka"}
