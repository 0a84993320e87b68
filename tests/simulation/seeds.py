"""The worlds of the simulation by name, and how to run many seeds of one.

`python -m tests.simulation --seeds 10000` runs that many of each (`make simulation SEEDS=10000`); `--seed 17 scheduler` repeats one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tests.simulation import (
    barrier_world,
    checkpoint_world,
    job_world,
    keyed_world,
    leadership_world,
    loop_world,
    rabbitmq_world,
    scheduler_world,
)


def _loops(seed: int) -> None:
    wanted = loop_world.World(seed).run()
    found = loop_world.World(seed, kills=3, order=1).run()
    assert found == wanted, f"{found} instead of {wanted}"


WORLDS: dict[str, Callable[[int], object]] = {
    "barriers": barrier_world.play,
    "coordinator": lambda seed: checkpoint_world.World(seed).run(),
    "diamonds": lambda seed: barrier_world.play(seed, shape=barrier_world.DIAMOND),
    "jobs": lambda seed: job_world.World(seed).run(),
    "keyed-state": keyed_world.play,
    "leadership": lambda seed: leadership_world.World(seed).run(),
    "loops": _loops,
    "rabbitmq": lambda seed: rabbitmq_world.World(seed).run(),
    "scheduler": lambda seed: scheduler_world.World(seed).run(),
}


def run_seeds(name: str, seeds: Iterable[int]) -> int:
    """Run one world with each seed; how many there were. What breaks an invariant says how to repeat it."""
    world, count = WORLDS[name], 0
    for seed in seeds:
        try:
            world(seed)
        except Exception as error:
            error.add_note(f"repeat it: .venv/bin/python -m tests.simulation --seed {seed} {name}")
            raise
        count += 1
    return count
