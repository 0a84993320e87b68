import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.checkpoint.metadata import Metadata
from millstream.checkpoint.two_phase_commit import COMMITTABLES_STATE
from millstream.core.errors import CheckpointError
from millstream.core.types import GENERIC
from millstream.runtime.graph.job_graph import ChainedOperator, JobEdge, JobGraph, JobVertex
from millstream.runtime.graph.stream_graph import JobSettings, Rebalance
from millstream.runtime.job_manager.restore import check_channels, describe_operators, plan_restore
from millstream.state.handles import ChannelStateHandle, EdgeName, FileRef, OperatorSnapshot


def job(parallelism, *, with_source=True):
    source = ChainedOperator("source", "Source", "s", None, None, source=object() if with_source else None)
    sink = ChainedOperator("sink", "Sink", None, None, 0)
    return JobGraph(
        JobSettings("j"), (JobVertex("v", 0, "x", (source, sink), parallelism, 128, "default"),), ()
    )


def metadata(states, enumerators=None):
    return Metadata("id", "j", 7, 0, 1, (), states, enumerators or {})


def test_nothing_is_restored_for_operators_the_checkpoint_does_not_know():
    plan = plan_restore(metadata({}), job(2))
    assert plan.operators == {}
    assert plan.splits == {}
    assert plan.checkpoint_id == 7


def test_a_source_whose_readers_had_no_split_left_is_still_restored():
    plan = plan_restore(metadata({}, {"source": b"e"}), job(2))
    assert plan.splits == {"source": []}
    assert plan.enumerators == {"source": b"e"}


def test_operators_are_described_with_what_a_checkpoint_must_match():
    described = describe_operators(job(3))
    assert [(o.operator_id, o.uid, o.parallelism, o.max_parallelism) for o in described] == [
        ("source", "s", 3, 128),
        ("sink", None, 3, 128),
    ]


items = st.lists(st.binary(min_size=1, max_size=3), max_size=5)


@given(st.lists(st.tuples(items, items, items, items), min_size=1, max_size=5), st.integers(1, 5))
def test_at_any_parallelism_nothing_is_lost_and_only_union_lists_are_doubled(old, parallelism):
    states = {
        "source": tuple(OperatorSnapshot(lists={"splits": splits}) for splits, *_ in old),
        "sink": tuple(
            OperatorSnapshot(lists={COMMITTABLES_STATE: c, "writer": w, "union:ids": u, "splits": s})
            for s, c, w, u in old
        ),
    }
    plan = plan_restore(metadata(states, {"source": b"e"}), job(parallelism))
    assert plan.splits["source"] == [split for splits, *_ in old for split in splits]
    sinks = [plan.operators[f"0/{i}"]["sink"] for i in range(parallelism)]
    everything = [c for _, committables, *_ in old for c in committables]
    assert sorted(c for sink in sinks for c in sink.committables) == sorted(everything)
    assert all(sink.all_committables == everything for sink in sinks)
    writers = [w for sink in sinks for w in sink.snapshot.lists["writer"]]
    assert sorted(writers) == sorted(w for _, _, ws, _ in old for w in ws)
    union = [u for *_, us in old for u in us]
    assert all(sink.snapshot.lists["union:ids"] == union for sink in sinks)
    assert all(COMMITTABLES_STATE not in sink.snapshot.lists for sink in sinks)
    assert sorted(s for sink in sinks for s in sink.snapshot.lists["splits"]) == sorted(
        s for splits, *_ in old for s in splits
    )  # "splits" mean something in a source only
    assert all("splits" not in plan.operators[f"0/{i}"]["source"].snapshot.lists for i in range(parallelism))


def exchange(parallelism):
    """From a source in a vertex of its own to a sink."""
    vertices = tuple(
        JobVertex(id_, n, id_, (ChainedOperator(id_, id_, None, None, None),), parallelism, 128, "default")
        for n, id_ in enumerate(("source", "sink"))
    )
    return JobGraph(JobSettings("j"), vertices, (JobEdge(0, 0, 0, 1, Rebalance(), None, GENERIC),))


def under_way(subtask, *, outgoing, parallelism=2):
    edge = EdgeName("source", None, "sink", 1)
    file = FileRef(f"{outgoing} {subtask}", 1, "", shared=False)
    return ChannelStateHandle(edge, (), subtask, outgoing, parallelism, parallelism, file)


def in_flight():
    """Of two subtasks, each of which kept something as a source and as a sink."""
    return {
        "source": tuple(OperatorSnapshot(channels=(under_way(n, outgoing=True),)) for n in range(2)),
        "sink": tuple(OperatorSnapshot(channels=(under_way(n, outgoing=False),)) for n in range(2)),
    }


def test_what_was_under_way_goes_to_its_targets_alone():
    plan = plan_restore(metadata(in_flight()), exchange(2))
    for subtask in range(2):
        assert plan.operators[f"0/{subtask}"]["source"].snapshot.channels == ()
        files = {handle.file.path for handle in plan.operators[f"1/{subtask}"]["sink"].snapshot.channels}
        assert files == {"True 0", "True 1", f"False {subtask}"}


def test_at_another_parallelism_every_target_reads_everything_that_was_under_way():
    plan = plan_restore(metadata(in_flight()), exchange(3))
    for subtask in range(3):
        assert len(plan.operators[f"1/{subtask}"]["sink"].snapshot.channels) == 4


def test_records_whose_exchange_is_gone_are_dropped_only_when_asked_for():
    check_channels(metadata(in_flight()), exchange(3), path="chk-7")
    with pytest.raises(
        CheckpointError, match="between operators that the program does not connect"
    ) as caught:
        check_channels(metadata(in_flight()), job(2), path="chk-7")
    assert "ignore-unclaimed-state" in caught.value.fix
    check_channels(metadata(in_flight()), job(2), path="chk-7", ignore_unclaimed_state=True)
