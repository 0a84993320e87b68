"""The orders of the example, against sums in plain Python."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from millstream.dev.server import Server


def test_every_order_is_counted_once_and_what_is_none_is_told(
    rabbitmq: Server, examples_folder: Path
) -> None:
    import rabbitmq_orders as example

    program = examples_folder / "rabbitmq_orders.py"
    done = subprocess.run(
        [sys.executable, program, rabbitmq.url], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    sums: dict[tuple[str, int], list[int]] = defaultdict(lambda: [0, 0])
    for number in range(example.NUMBER_OF_ORDERS):
        order, time_ms = example.order(number)
        window = sums[order.customer, time_ms // example.WINDOW_MS * example.WINDOW_MS]
        window[0] += 1
        window[1] += order.cents
    printed = done.stdout.splitlines()
    [unreadable] = [line for line in printed if "unreadable" in line]
    assert "no order" in unreadable
    expected = [
        f"{customer} {start} {orders} {cents}" for (customer, start), (orders, cents) in sorted(sums.items())
    ]
    assert [line for line in printed if line != unreadable] == expected
