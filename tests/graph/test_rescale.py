from hypothesis import given
from hypothesis import strategies as st

from millstream.runtime.graph.execution_graph import rescaled_targets

sizes = st.integers(1, 40)


@given(sources=sizes, targets=sizes)
def test_rescale_gives_every_subtask_of_both_sides_an_even_share(sources, targets) -> None:
    links = [
        (source, target) for source in range(sources) for target in rescaled_targets(source, sources, targets)
    ]
    assert len(links) == max(sources, targets)
    assert {source for source, _ in links} == set(range(sources))
    assert {target for _, target in links} == set(range(targets))
    per_source = [sum(source == s for source, _ in links) for s in range(sources)]
    per_target = [sum(target == t for _, target in links) for t in range(targets)]
    assert max(per_source) - min(per_source) <= 1
    assert max(per_target) - min(per_target) <= 1
    assert links == sorted(links)


def test_rescale_joins_neighbours_as_flink_lays_them_out() -> None:
    assert [list(rescaled_targets(s, 2, 6)) for s in range(2)] == [[0, 1, 2], [3, 4, 5]]
    assert [list(rescaled_targets(s, 6, 2)) for s in range(6)] == [[0]] * 3 + [[1]] * 3
    assert [list(rescaled_targets(s, 3, 4)) for s in range(3)] == [[0, 1], [2], [3]]
    assert [list(rescaled_targets(s, 4, 3)) for s in range(4)] == [[0], [1], [2], [2]]
