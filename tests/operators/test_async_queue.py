"""The order in which results leave, against models of a few lines."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from millstream.core.batch import Watermark, WatermarkStatus
from millstream.operators.async_queue import OrderedQueue, Request, UnorderedQueue

events = st.lists(
    st.one_of(st.just("record"), st.just("watermark"), st.just("idle"), st.integers(0, 30)), max_size=60
)


def play(queue, moves):
    """Records and marks in; a number completes one of those under way. Gives what came in and what left, in order."""
    came, left, under_way = [], [], []
    for number, move in enumerate(moves):
        match move:
            case "record":
                request = Request(number, None)
                came.append(number)
                under_way.append(request)
                queue.add(request)
            case "watermark" | "idle":
                mark = Watermark(number) if move == "watermark" else WatermarkStatus(idle=bool(number % 2))
                came.append(mark)
                queue.add_mark(mark)
            case _ if under_way:
                request = under_way.pop(move % len(under_way))
                queue.complete(request, [request.value])
        left += taken(queue)
        waiting = [request.value for request in queue.requests()]
        assert waiting == [e for e in came if isinstance(e, int) and e not in left]
        assert len(queue) == len(waiting)
        assert not (queue.is_empty and waiting)
    while under_way:
        request = under_way.pop()
        queue.complete(request, [request.value])
        left += taken(queue)
    assert queue.is_empty
    return came, left


def taken(queue):
    return [entry.value if isinstance(entry, Request) else entry for entry in queue.take()]


def without_marks_that_another_replaced(came, left):
    """Of neighbouring watermarks only the last has to leave."""
    kept = []
    for position, entry in enumerate(came):
        followed = position + 1 < len(came) and isinstance(came[position + 1], Watermark)
        if isinstance(entry, Watermark) and followed and entry not in left:
            continue
        kept.append(entry)
    return kept


@given(events)
def test_in_an_ordered_queue_everything_leaves_in_the_order_of_arrival(moves) -> None:
    came, left = play(OrderedQueue(), moves)
    assert left == without_marks_that_another_replaced(came, left)


@given(events)
def test_in_an_unordered_queue_no_record_crosses_a_mark(moves) -> None:
    came, left = play(UnorderedQueue(), moves)
    assert segments(left) == segments(without_marks_that_another_replaced(came, left))


def segments(entries):
    """Marks in order, and the records between them as sets."""
    found = [set()]
    for entry in entries:
        if isinstance(entry, int):
            found[-1].add(entry)
        else:
            found += [entry, set()]
    return found


def test_an_unordered_queue_lets_a_result_leave_that_came_before_its_neighbours() -> None:
    queue = UnorderedQueue()
    first, second = Request("first", None), Request("second", None)
    queue.add(first)
    queue.add(second)
    queue.complete(second, [])
    assert taken(queue) == ["second"]
    queue.add_mark(Watermark(5))
    third = Request("third", None)
    queue.add(third)
    queue.complete(third, [])
    assert taken(queue) == []
    queue.complete(first, [])
    assert taken(queue) == ["first", Watermark(5), "third"]
