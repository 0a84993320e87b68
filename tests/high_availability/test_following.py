"""What a fork server makes of the news of leaders."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from millstream.core.processes import start_of
from millstream.runtime.worker.following import LeaderNews, NewLeader, encode_news
from millstream.runtime.worker.fork_messages import FollowLeaders
from millstream.runtime.worker.fork_server import Successors

FIRST, SECOND, THIRD = (NewLeader(epoch, f"unix:/{epoch}", f"unix:/beat-{epoch}") for epoch in (1, 2, 3))


class Pipe:
    def __init__(self) -> None:
        reader, self._writer = os.pipe()
        self.news = LeaderNews(reader)

    def tell(self, *leaders: NewLeader) -> None:
        os.write(self._writer, b"".join(map(encode_news, leaders)))

    def close(self) -> None:
        if self._writer >= 0:
            os.close(self._writer)
        self._writer = -1


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()
    pipe.news.close()


def orders(epoch: int) -> FollowLeaders:
    return FollowLeaders(epoch, {}, b"secret", 1_000)


def test_of_several_leaders_the_last_one_counts_and_half_a_line_is_kept(pipe: Pipe) -> None:
    assert pipe.news.newest() is None
    line = encode_news(THIRD)
    os.write(pipe._writer, encode_news(FIRST) + encode_news(SECOND) + line[:10])
    assert pipe.news.newest() == SECOND
    os.write(pipe._writer, line[10:])
    assert pipe.news.newest() == THIRD
    assert not pipe.news.over
    pipe.close()
    assert pipe.news.newest() is None
    assert pipe.news.over


def test_only_later_leaders_are_followed_and_each_is_asked_once(pipe: Pipe) -> None:
    successors = Successors(orders(1), pipe.news)
    pipe.tell(FIRST)
    assert successors.next_leader(link_closed=False) is None
    pipe.tell(SECOND)
    assert (
        successors.next_leader(link_closed=False) == SECOND
    )  # though the first one's link is open: it may be stopped
    assert successors.next_leader(link_closed=False) is None


def test_a_leader_that_broke_off_before_it_answered_is_asked_again(pipe: Pipe) -> None:
    successors = Successors(orders(1), pipe.news)
    pipe.tell(SECOND)
    assert successors.next_leader(link_closed=True) == SECOND
    assert successors.next_leader(link_closed=True) == SECOND
    successors.accept(orders(2))
    assert successors.next_leader(link_closed=True) is None


def test_workers_hear_of_a_leader_when_it_has_answered(pipe: Pipe) -> None:
    successors, worker = Successors(orders(1), pipe.news), Pipe()
    successors.pipes[4711] = worker._writer
    pipe.tell(SECOND)
    successors.next_leader(link_closed=False)
    assert worker.news.newest() is None
    successors.accept(orders(2))
    assert worker.news.newest() == SECOND
    worker.close()
    worker.news.close()


def test_without_a_leader_for_the_timeout_it_is_forsaken(pipe: Pipe) -> None:
    successors = Successors(orders(1), pipe.news)
    assert not successors.is_forsaken(5_000, link_closed=False)
    assert not successors.is_forsaken(6_000, link_closed=True)
    assert not successors.is_forsaken(6_999, link_closed=True)
    assert not successors.is_forsaken(6_999, link_closed=False)  # another one came
    assert not successors.is_forsaken(8_000, link_closed=True)
    assert successors.is_forsaken(9_000, link_closed=True)


def test_when_nobody_tells_of_leaders_any_more_it_ends_with_its_leader(pipe: Pipe) -> None:
    successors = Successors(orders(1), pipe.news)
    pipe.close()
    assert successors.next_leader(link_closed=False) is None
    assert not successors.is_forsaken(0, link_closed=False)
    assert successors.is_forsaken(0, link_closed=True)


def test_a_process_that_has_ended_has_no_start_even_before_it_is_reaped() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = start_of(process.pid)
    assert started == start_of(process.pid) is not None
    process.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert start_of(process.pid) is None
    process.communicate()
    assert start_of(process.pid) is None
