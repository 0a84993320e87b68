from hypothesis import given
from hypothesis import strategies as st

from millstream.checkpoint.metadata import Metadata
from millstream.checkpoint.two_phase_commit import COMMITTABLES_STATE
from millstream.runtime.graph.job_graph import ChainedOperator, JobGraph, JobVertex
from millstream.runtime.graph.stream_graph import JobSettings
from millstream.runtime.job_manager.restore import describe_operators, plan_restore
from millstream.state.handles import OperatorSnapshot


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
