"""The futures of a job, as PyFlink has them."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError, Future

import pytest

from millstream.runtime.job_manager.completable_future import CompletableFuture, completed, following


def test_asking_for_the_exception_does_not_wait():
    future = CompletableFuture()
    assert future.exception() is None
    assert not future.done()
    future.set_exception(KeyError("a"))
    assert isinstance(future.exception(), KeyError)
    assert completed(7).result() == 7
    assert completed(7).exception() is None


@pytest.mark.parametrize("before", [True, False])
def test_a_future_that_follows_ends_as_the_other_does(before):
    for complete in (lambda f: f.set_result(3), lambda f: f.set_exception(OSError("x"))):
        other = Future()
        if before:
            complete(other)
        follower = following(other)
        if not before:
            assert not follower.done()
            complete(other)
        assert follower.done()
        assert repr(follower.exception()) == repr(other.exception())


def test_cancelling_the_follower_leaves_the_other_alone():
    other = Future()
    follower, another = following(other), following(other)
    assert follower.cancel()
    other.set_result(3)
    assert follower.cancelled()
    with pytest.raises(CancelledError):
        follower.result()
    assert (other.result(), another.result()) == (3, 3)


def test_a_thread_that_waits_is_woken():
    other = Future()
    found = []
    waiting = threading.Thread(target=lambda: found.append(following(other).result(10)))
    waiting.start()
    other.set_result("there")
    waiting.join(10)
    assert found == ["there"]
