from __future__ import annotations

from millstream import WatermarkStrategy
from millstream.core.batch import MAX_TIMESTAMP, MIN_TIMESTAMP
from millstream.operators.source import SourceSpec
from millstream.runtime.graph.job_graph import ChainedOperator, JobVertex
from millstream.runtime.job_manager.watermark_alignment import Announcement, WatermarkAlignment

BASE = WatermarkStrategy.for_monotonous_timestamps()


def vertex(index, strategy, parallelism=1):
    operator = ChainedOperator(f"op{index}", "source", None, SourceSpec(strategy), None, None)
    return JobVertex(f"v{index}", index, "source", (operator,), parallelism, 128, "default")


def group(*drifts, parallelism=1, interval=100):
    strategies = [BASE.with_watermark_alignment("g", drift, interval) for drift in drifts]
    vertices = [vertex(index, strategy, parallelism) for index, strategy in enumerate(strategies)]
    return WatermarkAlignment.of(vertices, now_ms=0)


def limits(announcements):
    return {subtask: a.max_watermark for a in announcements for subtask in a.subtasks}


def test_each_source_may_be_its_own_drift_ahead_of_the_least_watermark_of_the_group() -> None:
    alignment = group(10, 50)
    alignment.report(0, 0, 1_000)
    alignment.report(1, 0, 300)
    assert alignment.due(99) == []
    assert alignment.due(100) == [Announcement(("0/0",), 310), Announcement(("1/0",), 350)]


def test_all_subtasks_count_and_all_are_told() -> None:
    alignment = group(10, parallelism=2)
    alignment.report(0, 0, 1_000)
    alignment.report(0, 1, 20)
    assert limits(alignment.due(100)) == {"0/0": 30, "0/1": 30}


def test_who_has_not_reported_yet_is_at_the_beginning() -> None:
    alignment = group(10, 10)
    alignment.report(0, 0, 1_000)
    assert set(limits(alignment.due(100)).values()) == {MIN_TIMESTAMP + 10}


def test_idle_and_ended_sources_hold_back_nobody_and_the_last_one_is_free() -> None:
    alignment = group(10, 10)
    alignment.report(0, 0, MAX_TIMESTAMP)
    alignment.report(1, 0, 70)
    assert set(limits(alignment.due(100)).values()) == {80}
    alignment.report(1, 0, MAX_TIMESTAMP)
    assert set(limits(alignment.due(200)).values()) == {MAX_TIMESTAMP}


def test_a_limit_that_did_not_change_is_not_announced_again() -> None:
    alignment = group(10)
    alignment.report(0, 0, 5)
    assert len(alignment.due(100)) == 1
    assert alignment.next_deadline_ms() == 200
    assert alignment.due(200) == []


def test_groups_do_not_know_each_other() -> None:
    strategies = [BASE.with_watermark_alignment(name, 10, 100) for name in ("g", "h")]
    vertices = [vertex(index, strategy) for index, strategy in enumerate(strategies)]
    alignment = WatermarkAlignment.of([*vertices, vertex(2, BASE)], 0)
    alignment.report(0, 0, 100)
    alignment.report(1, 0, 500)
    assert limits(alignment.due(100)) == {"0/0": 110, "1/0": 510}


def test_without_aligned_sources_there_is_nothing_to_do() -> None:
    alignment = WatermarkAlignment.of([vertex(0, BASE)], 0)
    assert alignment.next_deadline_ms() is None
    assert alignment.due(10**9) == []
