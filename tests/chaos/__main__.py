"""`make chaos RUNS=n [SEED=s]`: n randomised runs, seeds s, s+1, ...; a line each, and all of them in the ledger."""

from __future__ import annotations

import argparse
import signal
import sys
from collections import Counter
from contextlib import ExitStack
from functools import cache
from pathlib import Path

from rich.console import Console

from millstream.dev.kafka import LocalKafka
from tests.chaos.driver import LEDGER, Entry, Verdict, run
from tests.chaos.schedule import plan_of


def main() -> int:
    """Exit status 0 when every run was exact."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ledger", type=Path, default=LEDGER)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the scene is closed on the way out
    console = Console(highlight=False, soft_wrap=True)
    entries = []
    with ExitStack() as stack:

        @cache
        def servers() -> str:
            return stack.enter_context(LocalKafka()).bootstrap_servers

        for seed in range(options.seed, options.seed + options.runs):
            entries.append(run(plan_of(seed), options.ledger, servers))
            console.print(_line(entries[-1]), markup=False)
    console.print(_summary(entries), markup=False)
    return 0 if all(entry.verdict is Verdict.EXACT for entry in entries) else 1


def _line(entry: Entry) -> str:
    plan = entry.plan
    faults = "; ".join(
        f"{fault.kind}{'' if done else ' (not reached)'}"
        for fault, done in zip(plan.faults, [*entry.done, *[""] * len(plan.faults)], strict=False)
    )
    text = f"seed {plan.seed}: {entry.verdict} in {entry.duration_ms / 1_000:.1f} s, {plan.topology} on {plan.backend} into {plan.sink}: {faults}"
    if entry.verdict is Verdict.EXACT:
        return text
    return f"{text}\n  lost {entry.lost}, doubled {entry.doubled}: {entry.detail}\n  again: {entry.repeat}"


def _summary(entries: list[Entry]) -> str:
    verdicts = Counter(entry.verdict for entry in entries)
    done = sum(1 for entry in entries for what in entry.done if what)
    lost, doubled = sum(entry.lost for entry in entries), sum(entry.doubled for entry in entries)
    counts = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common())
    return f"{len(entries)} runs, {done} faults: {counts}; lost {lost}, doubled {doubled}"


if __name__ == "__main__":
    sys.exit(main())
