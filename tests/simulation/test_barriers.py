"""Whatever the order of events, each record is counted once: in an operator's state, or in what was under way, never in both."""

from __future__ import annotations

from collections import defaultdict
from random import Random

import pytest

from tests.simulation.barrier_world import RECORDS, SPLITS, State, World, seen_by

MODES = {"aligned": None, "unaligned": 0, "with a timeout": 5}
SEEDS = range(40)


def play(seed: int, overtake_after_ms: int | None, *, rescale: bool) -> int:
    """A job with some failures, from start to end. Returns how many bytes were under way in its checkpoints."""
    random = Random(seed)
    state, widths = State(), [random.randint(1, 3) for _ in range(3)]
    in_flight_bytes = 0
    for _ in range(3):
        world = World(random, state, widths, overtake_after_ms)
        world.run(random.randint(50, 700))
        state = world.completed
        in_flight_bytes += world.in_flight_bytes
        if rescale:
            widths = [random.randint(1, 3) for _ in range(3)]
    world = World(random, state, widths, overtake_after_ms)
    world.run_to_the_end()
    for layer in (1, 2):
        check_once_and_in_order(seen_by(world, layer))
    return in_flight_bytes


def check_once_and_in_order(seen: list[tuple[int, int]]) -> None:
    by_key: dict[int, list[int]] = defaultdict(list)
    for key, number in seen:
        by_key[key].append(number)
    assert by_key == {
        split * 10 + n % 3: [number for number in range(RECORDS) if number % 3 == n % 3]
        for split in range(SPLITS)
        for n in range(3)
    }


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("rescale", [False, True], ids=["same", "rescaled"])
@pytest.mark.parametrize("mode", MODES)
def test_nothing_is_lost_doubled_or_out_of_order(mode: str, rescale: bool, seed: int) -> None:
    in_flight_bytes = play(seed, MODES[mode], rescale=rescale)
    if mode == "aligned":
        assert in_flight_bytes == 0


@pytest.mark.parametrize("mode", ["unaligned", "with a timeout"])
def test_records_were_under_way(mode: str) -> None:
    assert sum(play(seed, MODES[mode], rescale=True) > 0 for seed in SEEDS) > len(SEEDS) // 2
