"""A tiny engine in one process: several exactly-once writers, checkpoints, and a restore from the newest complete one.

Runs until its input ends or it is killed; at the position `hold_at` it waits for the end of its standard input. What a checkpoint holds is written to one file, atomically.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.integration.kafka.harness import checkpoint, exactly_once_sink, writer_context


def main() -> None:
    plan: dict[str, Any] = json.loads(sys.argv[1])
    parallelism, store = plan["parallelism"], Path(plan["store"])
    sink = exactly_once_sink(plan["bootstrap_servers"], plan["topic"], plan["prefix"])
    state: dict[str, Any] = {"checkpoint": 0, "position": 0, "committables": []}
    if store.exists():
        state = json.loads(store.read_text())
    pending = [sink.decode_committable(bytes.fromhex(item)) for item in state["committables"]]
    writers = [sink.create_writer(writer_context(s, parallelism, pending)) for s in range(parallelism)]
    committer = sink.create_committer()
    committer.commit(pending)
    number, position = state["checkpoint"], state["position"]
    while position < plan["records"]:
        if position >= plan["hold_at"]:
            sys.stdin.read()  # until killed, or until told that this is the last life
        chunk = range(position, min(position + 37, plan["records"]))
        for subtask, writer in enumerate(writers):
            writer.write_batch([str(n) for n in chunk if n % parallelism == subtask], None)
        position, number = chunk.stop, number + 1
        committables = [committable for writer in writers for committable in checkpoint(writer, number)]
        encoded = [sink.encode_committable(committable).hex() for committable in committables]
        part = store.with_suffix(".part")
        part.write_text(json.dumps({"checkpoint": number, "position": position, "committables": encoded}))
        part.rename(store)
        committer.commit(committables)
    for writer in writers:
        writer.close()
    committer.close()
    os.write(1, b"done\n")


main()
