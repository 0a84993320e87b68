"""The user's functions of the workloads: passed to the runtime and called by the hand-written loops alike."""

from __future__ import annotations

from millstream import AggregateFunction

from .data import Event


def double(event: Event) -> Event:
    return (event[0], event[1], event[2] * 2)


def keep_two_thirds(event: Event) -> bool:
    return event[2] % 3 != 0


def value_of(event: Event) -> int:
    return event[2]


def words_of(line: str) -> list[tuple[str, int]]:
    return [(word, 1) for word in line.split()]


def key_of(record: tuple[str, object]) -> str:
    return record[0]


def time_of(event: Event, _: int) -> int:
    return event[1]


def add_counts(left: tuple[str, int], right: tuple[str, int]) -> tuple[str, int]:
    return (left[0], left[1] + right[1])


class SumAndCount(AggregateFunction[Event, tuple[int, int], tuple[int, int]]):
    """Sum of the values, and how many there were."""

    def create_accumulator(self) -> tuple[int, int]:
        return (0, 0)

    def add(self, value: Event, accumulator: tuple[int, int]) -> tuple[int, int]:
        return (accumulator[0] + value[2], accumulator[1] + 1)

    def get_result(self, accumulator: tuple[int, int]) -> tuple[int, int]:
        return accumulator

    def merge(self, acc_a: tuple[int, int], acc_b: tuple[int, int]) -> tuple[int, int]:
        return (acc_a[0] + acc_b[0], acc_a[1] + acc_b[1])


def same(event: Event) -> Event:
    return event


def spend_5_us(event: Event) -> Event:
    """About 5 microseconds of pure Python on this class of machine."""
    total = 0
    for number in range(110):
        total += number
    return (event[0], event[1], event[2] + total - total)
