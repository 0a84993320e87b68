"""Command line of the simulation: see `seeds`."""

from __future__ import annotations

import argparse
import sys

from tests.simulation.seeds import WORLDS, run_seeds


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("worlds", nargs="*", help=f"which ones (all): {', '.join(WORLDS)}")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--seeds", type=int, default=1_000, help="how many seeds of each")
    chosen.add_argument("--seed", type=int, help="this one alone")
    arguments = parser.parse_args()
    seeds = range(arguments.seeds) if arguments.seed is None else [arguments.seed]
    for name in arguments.worlds or WORLDS:
        sys.stdout.write(f"{name}: {run_seeds(name, seeds)} seeds, no invariant broken\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
