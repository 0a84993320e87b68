"""Checkpoints in S3: the same contract as on a disk, conditional writes, and what a store under load answers."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from random import Random
from threading import Barrier, Thread

import pytest

from millstream.checkpoint.catalog import list_checkpoints, resume_point
from millstream.checkpoint.metadata import encode_metadata
from millstream.checkpoint.retry import RetryPolicy
from millstream.checkpoint.storage import CheckpointStorage, open_files
from millstream.core.errors import CheckpointError, CheckpointFailureReason
from millstream.dev.s3 import s3_environment
from tests.checkpoint.s3_weather import Weather
from tests.checkpoint.samples import metadata
from tests.services.availability import unique_name

JOB = "0" * 32
MINIMUM_PART_BYTES = 5 << 20


@pytest.fixture(scope="module")
def server() -> Iterator[Weather]:
    weather = Weather()
    yield weather
    weather.close()


@pytest.fixture
def weather(server: Weather, monkeypatch: pytest.MonkeyPatch) -> Weather:
    """A server in this process with an empty bucket, `url_of(weather)`."""
    from s3fs import S3FileSystem

    for name, value in s3_environment(server.endpoint_url).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(S3FileSystem, "default_block_size", MINIMUM_PART_BYTES)
    # Ours are under test, not those of s3fs and botocore below them.
    monkeypatch.setattr(S3FileSystem, "retries", 1)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    S3FileSystem.clear_instance_cache()
    server.plan = lambda _request, _count: ""
    return server


@pytest.fixture
def url(weather: Weather) -> str:
    from s3fs import S3FileSystem

    bucket = unique_name("weather")
    S3FileSystem().mkdir(bucket)
    weather.requests.clear()
    return f"s3://{bucket}/checkpoints"


def storage(url: str, attempts: int = 5) -> CheckpointStorage:
    return CheckpointStorage(url, JOB, retry=RetryPolicy(attempts=attempts, pause=lambda _: None))


def test_a_checkpoint_is_written_listed_restored_and_discarded(url, tmp_path):
    store = storage(url)
    store.check_writable()
    sst = tmp_path / "000012.sst"
    sst.write_bytes(bytes(range(256)) * 1_000)
    streams = store.streams(7, attempt=3)
    exclusive, shared = streams.write_exclusive("state", [b"ab", b"cd"]), streams.upload_shared(sst)
    content = metadata(exclusive, shared, checkpoint_id=7, job_id=JOB)
    store.write_metadata(7, encode_metadata(content))
    [info] = list_checkpoints(url)
    assert (info.checkpoint_id, info.problem, info.complete) == (7, None, True)
    assert info.timestamp_ms == content.timestamp_ms
    assert resume_point(url, content.job_name).next_checkpoint_id == 8
    reader = store.reader()
    assert reader.read(exclusive) == b"abcd"
    reader.download(shared, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == sst.read_bytes()
    store.discard(7)
    store.discard_files([shared])
    assert store.checkpoint_ids() == ()
    assert store.file_names(None) == ()
    assert store.claim_attempt("clicks") == 1
    assert store.claim_attempt("clicks") == 2


def test_large_files_go_up_in_parts_and_none_appears_before_the_last(url, weather):
    store = storage(url)
    chunk = b"z" * (1 << 20)
    seen: list[tuple[str, ...]] = []

    def chunks():
        for _ in range(12):
            yield chunk
        seen.append(store.file_names(1))

    ref = store.streams(1, 1).write_exclusive("big", chunks())
    assert ref.size == 12 << 20
    assert seen == [()]
    store.reader().verify(ref, content=True)
    assert (
        sum(request.startswith("PUT") for request in weather.requests) == 3
    )  # parts; and two POSTs around them

    def failing():
        yield from (chunk for _ in range(12))
        raise OSError(5, "planned")

    with pytest.raises(CheckpointError, match="planned"):
        store.streams(2, 1).write_exclusive("big", failing())
    assert store.file_names(2) == ()
    assert sum(request.startswith("DELETE") for request in weather.requests) == 1  # the upload was given up


@pytest.mark.parametrize("outcome", ["503 SlowDown", "500 InternalError", "503 ServiceUnavailable", "reset"])
def test_passing_trouble_of_every_request_is_waited_for(url, weather, outcome):
    store, random = storage(url, attempts=20), Random(1)
    weather.plan = lambda _request, _number: outcome if random.random() < 0.4 else ""
    ref = store.streams(1, 1).write_exclusive("state", [b"abcd"])
    store.write_metadata(1, encode_metadata(metadata(ref, job_id=JOB, checkpoint_id=1)))
    assert store.reader().read(ref) == b"abcd"
    assert store.load(1).checkpoint_id == 1
    assert store.checkpoint_ids() == (1,)
    store.discard(1)
    assert store.checkpoint_ids() == ()
    assert len(weather.requests) > 12


@pytest.mark.parametrize("outcome", ["503 SlowDown", "reset"])
def test_lasting_trouble_fails_the_write_and_is_no_damage_to_what_is_read(url, weather, outcome):
    store = storage(url, attempts=2)
    ref = store.streams(1, 1).write_exclusive("state", [b"abcd"])
    store.write_metadata(1, encode_metadata(metadata(ref, job_id=JOB, checkpoint_id=1)))
    weather.plan = lambda _request, _number: outcome
    operations = (
        lambda: store.streams(2, 1).write_exclusive("state", [b"abcd"]),
        lambda: store.reader().read(ref),
        lambda: store.load(1),
        lambda: store.discard(1),
    )
    for operation in operations:
        with pytest.raises(CheckpointError) as caught:
            operation()
        # CORRUPT would make a job go back to an older checkpoint because of a network that is down.
        assert caught.value.reason is CheckpointFailureReason.STORAGE, caught.value


def test_an_answer_that_got_lost_is_a_success_when_asked_again(url, weather):
    """The object is written, the connection breaks before the answer: the repeated conditional write meets our own."""
    store = storage(url)
    content = encode_metadata(metadata(job_id=JOB, checkpoint_id=1))
    store.write_metadata(1, content)  # as the first, unheard one did
    store.write_metadata(1, content)
    assert store.load(1).checkpoint_id == 1


def test_of_many_job_managers_one_completes_a_checkpoint(url):
    """Conditional writes decide, whoever looks first: no two may both believe to have completed it."""
    contents = [
        encode_metadata(metadata(job_id=JOB, checkpoint_id=1, timestamp_ms=number)) for number in range(6)
    ]
    start, won = Barrier(len(contents)), []

    def complete(number: int) -> None:
        store = storage(url)
        start.wait()
        try:
            store.write_metadata(1, contents[number])
        except CheckpointError:
            return
        won.append(number)

    threads = [Thread(target=complete, args=(number,)) for number in range(len(contents))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert storage(url).load(1).timestamp_ms == won[0]


def test_a_store_without_conditional_writes_is_used_with_a_warning(url, weather, caplog):
    store = storage(url)

    def unsupported(request: str, _number: int) -> str:
        first_put = request.startswith("PUT") and not any(r.startswith("PUT") for r in weather.requests)
        return "501 NotImplemented" if first_put else ""

    weather.plan = unsupported
    with caplog.at_level(logging.WARNING):
        store.write_metadata(1, b"mine")
    assert "does not write conditionally" in caplog.text
    with pytest.raises(CheckpointError, match="two of them run the same job"):
        store.write_metadata(1, b"another's")


def test_a_bucket_that_is_not_there_is_an_error_and_is_not_made(weather):
    url = f"s3://{unique_name('missing')}/checkpoints"
    with pytest.raises(CheckpointError, match="the checkpoint directory cannot be written"):
        storage(url).check_writable()
    assert not any(request.startswith("PUT") and request.count("/") == 1 for request in weather.requests[-3:])


def test_missing_credentials_are_not_waited_for(weather, url, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    from s3fs import S3FileSystem

    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    S3FileSystem.clear_instance_cache()
    weather.plan = lambda _request, _number: "403 AccessDenied"
    pauses: list[int] = []
    store = CheckpointStorage(url, JOB, retry=RetryPolicy(pause=pauses.append))
    with pytest.raises(CheckpointError, match="cannot be written"):
        store.check_writable()
    assert pauses == []


def test_what_a_reader_sees_is_never_a_listing_of_before(url):
    mine, theirs = open_files(url), open_files(url)
    assert mine.entries() == []
    theirs.write("a", lambda: (b"x",))
    assert [entry.name for entry in mine.entries()] == ["a"]
    theirs.write("a", lambda: (b"xyz",))
    assert mine.size("a") == 3
