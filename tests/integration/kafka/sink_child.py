"""A process with an exactly-once writer that follows a plan and then kills itself with -9. Run by `harness.run_child`."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.integration.kafka.harness import checkpoint, exactly_once_sink, writer_context


def main() -> None:
    plan = json.loads(sys.argv[1])
    settings = dict(plan["sink"])
    where = {key: settings.pop(key) for key in ("subtask", "parallelism") if key in settings}
    sink = exactly_once_sink(**settings)
    writer = sink.create_writer(writer_context(**where))
    committer = sink.create_committer()
    committables, encoded = [], []
    for step, *arguments in plan["steps"]:
        match step:
            case "write":
                writer.write_batch(arguments, None)
            case "flush":
                writer.flush(end_of_input=False)
            case "precommit":
                committables = checkpoint(writer, *arguments)
                encoded += [sink.encode_committable(committable).hex() for committable in committables]
                Path(plan["answer"]).write_text(json.dumps(encoded))
            case "commit":
                committer.commit(committables)
    os.kill(os.getpid(), signal.SIGKILL)


main()
