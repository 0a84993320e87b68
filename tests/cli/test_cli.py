"""The command line, run as a user runs it."""

import signal
import subprocess

import pytest

GREETING = """
    import sys
    from greetings import greeting
    from millstream import StreamExecutionEnvironment

    env = StreamExecutionEnvironment.get_execution_environment()
    env.from_collection(sys.argv[1:]).map(greeting).print()
    if __name__ == "__main__":
        env.execute()
"""


def test_run_runs_the_program_as_python_would(millstream, job):
    job("def greeting(name):\n    return f'hello {name}'\n", "greetings.py")
    done = millstream("run", job(GREETING), "--", "world", "--there")
    assert done.stdout == "hello world\nhello --there\n"
    assert not done.stderr


def test_modules_beside_the_program_can_be_imported_by_worker_processes(millstream, job):
    job("def greeting(name):\n    return f'hello {name}'\n", "greetings.py")
    done = millstream("run", job(GREETING), "-p", "2", "-D", "taskmanager.mode=process", "--", "a", "b")
    assert sorted(line.partition(" ")[2] for line in done.stdout.splitlines()) == ["hello a", "hello b"]


SETTINGS = """
    from millstream import StreamExecutionEnvironment

    env = StreamExecutionEnvironment.get_execution_environment()
    print(env.get_parallelism(), env.get_configuration().to_dict())
"""


def test_options_become_settings(millstream, job):
    done = millstream(
        "run", job(SETTINGS), "-p", "3", "-D", "pipeline.name=named", "-D", "state.backend.type = rocksdb"
    )
    assert done.stdout == (
        "3 {'pipeline.name': 'named', 'state.backend.type': 'rocksdb', 'parallelism.default': '3'}\n"
    )


def test_an_unknown_setting_names_its_source_and_the_nearest_key(millstream, job):
    done = millstream("run", job(SETTINGS), "-D", "paralelism.default=2", code=1)
    assert "ConfigurationError: unknown key 'paralelism.default'" in done.stderr
    assert "-D paralelism.default=2" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-D", "no-equals-sign"), "KEY=VALUE"),
        (("-p", "0"), "'-p'"),
        (("--resume", "--from", "chk-1"), "not both"),
    ],
)
def test_wrong_usage_exits_with_2(millstream, job, arguments, message):
    assert message in millstream("run", job(SETTINGS), *arguments, code=2).stderr


def test_a_missing_program_is_wrong_usage(millstream):
    assert "nowhere.py" in millstream("run", "nowhere.py", code=2).stderr


FAILING = """
    from millstream import StreamExecutionEnvironment

    def invert(number):
        return 1 // number

    env = StreamExecutionEnvironment.get_execution_environment()
    env.from_collection([1, 0]).map(invert).name("inverse").print()
    env.execute("failing")
"""


def test_a_user_s_exception_ends_in_the_user_s_own_line(millstream, job):
    done = millstream("run", job(FAILING), code=1)
    assert "operator 'inverse'" in done.stderr
    assert "record 0" in done.stderr
    assert "return 1 // number" in done.stderr
    assert done.stderr.rstrip().endswith("ZeroDivisionError: integer division or modulo by zero")
    assert "millstream/" not in done.stderr


def test_an_exception_of_the_program_itself_has_a_traceback_without_ours(millstream, job):
    done = millstream("run", job("import this_module_does_not_exist\n"), code=1)
    assert done.stderr.startswith("Traceback")
    assert "runpy" not in done.stderr
    assert "millstream/" not in done.stderr
    assert "this_module_does_not_exist" in done.stderr


def test_a_bad_definition_points_at_the_line(millstream, job):
    path = job("""
        from millstream import TumblingEventTimeWindows

        TumblingEventTimeWindows.of(0)
    """)
    done = millstream("run", path, code=1)
    assert done.stderr.startswith("JobDefinitionError: the size of a window must be positive")
    assert f"where: {path}:4" in done.stderr


def test_a_program_s_own_exit_code_is_kept(millstream, job):
    millstream("run", job("raise SystemExit(7)\n"), code=7)


def test_plan_shows_the_graphs_of_every_job_and_runs_none(millstream, job):
    path = job("""
        from millstream import StreamExecutionEnvironment

        env = StreamExecutionEnvironment.get_execution_environment()
        env.from_collection([1]).map(str).print()
        env.execute("first")
        env.from_collection([2]).print("second")
        env.execute("second")
    """)
    done = millstream("plan", path, "-p", "2")
    assert done.stdout.count("== StreamGraph ==") == 2
    assert done.stdout.startswith(
        "Job 'first'\n\n== StreamGraph ==\n  1: Source: Collection Source [parallelism 1"
    )
    assert "Map -> Sink: Print to Std. Out (2/2)" in done.stdout
    assert "Job 'second'" in done.stdout


COUNTING = """
    import sys
    from millstream import StreamExecutionEnvironment, WatermarkStrategy
    from millstream.connectors.datagen import DataGeneratorSource, RateLimiterStrategy

    env = StreamExecutionEnvironment.get_execution_environment()
    env.enable_checkpointing(50)
    env.get_checkpoint_config().set_checkpoint_storage_dir(sys.argv[1])
    numbers = DataGeneratorSource(int, 10**9, RateLimiterStrategy.per_second(200))
    env.from_source(numbers, WatermarkStrategy.no_watermarks(), "numbers").print()
    env.execute("counting")
"""


def newest_checkpoint(tmp_path):
    """Number and folder of the newest complete one; 0 where there is none."""
    found = [path.parent for path in tmp_path.glob("checkpoints/*/chk-*/_metadata")]
    return max(((int(folder.name.removeprefix("chk-")), folder) for folder in found), default=(0, None))


@pytest.fixture
def run_until(command, job, tmp_path):
    """Run the counting job until it printed some numbers and took a checkpoint, then send it a signal; all it printed."""
    argv, options = command

    def run(number, code, *arguments):
        running = subprocess.Popen(
            [*argv, "run", str(job(COUNTING)), *arguments, "--", str(tmp_path / "checkpoints")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        printed, enough = [], None
        for line in running.stdout:
            printed.append(int(line))
            if len(printed) == 20:
                enough = newest_checkpoint(tmp_path)[0] + 2  # its barrier comes after these numbers
            if enough is not None and newest_checkpoint(tmp_path)[0] >= enough:
                break
        running.send_signal(number)
        _, complaints = running.communicate(timeout=30)
        assert running.returncode == code, complaints
        assert "Traceback" not in complaints
        return printed

    return run


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("mode", ["embedded", "process"])
def test_a_signal_cancels_the_job_and_checkpoints_stay(millstream, run_until, tmp_path, number, code, mode):
    assert run_until(number, code, "-D", f"taskmanager.mode={mode}")[0] == 0
    listing = millstream("checkpoints", tmp_path / "checkpoints").stdout
    assert "counting" in listing
    assert "complete" in listing


def test_resume_goes_on_from_the_newest_checkpoint_and_from_from_the_given_one(run_until, tmp_path):
    assert run_until(signal.SIGTERM, 143, "--resume")[0] == 0  # nothing there yet: a fresh start
    resumed_at = run_until(signal.SIGKILL, -9, "--resume")[0]
    assert resumed_at > 0
    _, folder = newest_checkpoint(tmp_path)
    assert run_until(signal.SIGTERM, 143, "--from", str(folder))[0] > resumed_at


def test_a_checkpoint_that_is_not_there_is_one_clear_error(millstream, job, tmp_path):
    done = millstream(
        "run", job(COUNTING), "--from", tmp_path / "chk-9", "--", tmp_path / "checkpoints", code=1
    )
    assert done.stderr.startswith("CheckpointError: ")
    assert "chk-9" in done.stderr
    assert "Traceback" not in done.stderr


def test_checkpoints_of_an_empty_folder(millstream, tmp_path):
    assert "no checkpoints in" in millstream("checkpoints", tmp_path).stdout


def test_checkpoints_of_a_missing_folder_is_an_error_or_empty_but_no_traceback(command):
    argv, options = command
    done = subprocess.run(
        [*argv, "checkpoints", "not-there"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **options,
    )
    assert "Traceback" not in done.stderr


def test_bare_millstream_explains_itself(command):
    argv, options = command
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, **options)
    for name in ("run", "plan", "checkpoints", "dev"):
        assert name in done.stdout + done.stderr
