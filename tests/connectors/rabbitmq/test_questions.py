"""What readers ask each other by way of the enumerator."""

from __future__ import annotations

import pytest

from millstream.connectors.rabbitmq.questions import (
    Answer,
    Ask,
    Asked,
    Done,
    Event,
    Finish,
    Questions,
    Reply,
    Settled,
    decode_event,
    encode_event,
)


def ready(parallelism: int) -> Questions:
    questions = Questions(parallelism)
    for subtask in range(parallelism):
        assert questions.add_reader(subtask) == []
    return questions


def test_all_others_are_asked_and_the_latest_checkpoint_counts() -> None:
    questions = ready(3)
    assert questions.handle(1, Ask(7, ["a", "b"])) == [(0, Asked(1, ["a", "b"])), (2, Asked(1, ["a", "b"]))]
    assert questions.handle(0, Reply(1, ["a"], 4, [])) == []
    assert questions.handle(2, Reply(1, ["a"], 6, [])) == [(1, Answer(7, {"a": 6}, []))]


def test_questions_wait_until_every_reader_has_its_ledger() -> None:
    questions = Questions(2)
    assert questions.add_reader(1) == []
    assert questions.handle(1, Ask(1, ["a"])) == []
    assert questions.add_reader(0) == [(0, Asked(1, ["a"]))]


def test_an_id_is_under_one_question_at_a_time() -> None:
    questions = ready(2)
    assert questions.handle(0, Ask(1, ["a"])) == [(1, Asked(1, ["a"]))]
    assert questions.handle(1, Ask(1, ["a"])) == [(1, Answer(1, {}, ["a"]))]
    assert questions.handle(1, Ask(2, ["a", "b"])) == [(0, Asked(2, ["b"]))]
    assert questions.handle(0, Reply(2, [], 1, [])) == [(1, Answer(2, {}, ["a"]))]
    assert questions.handle(1, Reply(1, [], 1, [])) == [(0, Answer(1, {}, []))]
    assert questions.handle(1, Ask(3, ["a"])) == [(0, Asked(3, ["a"]))]


def test_what_a_sibling_is_about_to_emit_is_asked_for_again() -> None:
    questions = ready(2)
    questions.handle(0, Ask(1, ["a", "b"]))
    assert questions.handle(1, Reply(1, ["b"], 2, ["a", "b"])) == [(0, Answer(1, {"b": 2}, ["a"]))]


def test_certain_ids_are_told_to_the_others_and_the_end_to_all_at_once() -> None:
    questions = ready(2)
    assert questions.handle(0, Settled(["a"])) == [(1, Settled(["a"]))]
    assert questions.handle(0, Done()) == []
    assert questions.handle(1, Done()) == [(0, Finish()), (1, Finish())]


@pytest.mark.parametrize(
    "event",
    [
        Ask(1, ["a"]),
        Asked(1, ["a"]),
        Reply(1, ["a"], 2, []),
        Answer(1, {"a": 2}, ["b"]),
        Settled(["a"]),
        Done(),
        Finish(),
    ],
)
def test_events_survive_their_encoding(event: Event) -> None:
    assert decode_event(encode_event(event)) == event
