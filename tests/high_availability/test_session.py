"""Becoming the leader and staying it, with real threads and files."""

from __future__ import annotations

import threading
from pathlib import Path

import msgspec
import pytest

from millstream.core.clock import SystemClock
from millstream.core.configuration import Configuration
from millstream.core.errors import ConfigurationError, LeadershipLostError
from millstream.runtime.high_availability.file_store import FileStore
from millstream.runtime.high_availability.leadership import LeaseTerms
from millstream.runtime.high_availability.records import ClusterRecord, JobEntry, Outcome, decode_record
from millstream.runtime.high_availability.session import LeaderSession, Watching, contend
from millstream.runtime.high_availability.settings import HighAvailability
from tests.integration.engine.harness import wait_until

TERMS = LeaseTerms.of(4_000)
JOB = JobEntry("j" * 32, "job", "graph", {}, [])


def lead(folder: Path, terms: LeaseTerms = TERMS) -> LeaderSession:
    found = contend(FileStore(folder), terms, SystemClock(), Watching(over=lambda _: False))
    assert isinstance(found, LeaderSession)
    return found


def put(job: JobEntry):
    return lambda record: msgspec.structs.replace(record, job=job)


def test_the_first_one_leads_at_once_and_its_changes_are_there_for_others(tmp_path: Path) -> None:
    session = lead(tmp_path)
    session.require()
    session.update(put(JOB))
    found = decode_record(FileStore(tmp_path).read().content)
    assert (found.epoch, found.job, found.leader and found.leader.address) == (1, JOB, "")
    session.close()


def test_a_standby_waits_as_long_as_the_leader_lives_and_leads_when_it_is_gone(tmp_path: Path) -> None:
    first = lead(tmp_path)
    first.update(put(JOB))
    seen: list[int] = []
    enough = threading.Event()

    def notice(record: ClusterRecord) -> None:
        seen.append(record.epoch)
        if len(seen) > 25:  # two and a half leases
            enough.set()

    def stand_by() -> None:
        watching = Watching(over=lambda _: False, seen=notice)
        second = contend(FileStore(tmp_path), TERMS, SystemClock(), watching)
        assert isinstance(second, LeaderSession)
        epochs.append(second.epoch)
        second.close()

    epochs: list[int] = []
    standby = threading.Thread(target=stand_by)
    standby.start()
    assert enough.wait(60)
    assert epochs == []
    first.require()
    first.close()  # no release: as if it were killed
    standby.join(60)
    assert epochs == [2]
    assert set(seen) == {1}


def test_after_a_release_nobody_waits(tmp_path: Path) -> None:
    first = lead(tmp_path, LeaseTerms.of(3_600_000))
    first.release()
    with pytest.raises(LeadershipLostError):
        first.require()
    second = lead(tmp_path)
    assert second.epoch == 2
    second.close()


def test_a_leader_whose_record_was_taken_changes_nothing_any_more(tmp_path: Path) -> None:
    deposed = lead(tmp_path, LeaseTerms.of(3_600_000))  # it believes in its lease for an hour
    deposed.update(put(JOB))
    clock = SystemClock()

    def next_sign_in_ms() -> int:
        return (deposed._machine.next_deadline_ms() or 0) - clock.monotonic_ms()

    # Until the first sign of life is answered for, the deadline is the lease's. From then on it will not look by itself for a while.
    wait_until(lambda: 600_000 < next_sign_in_ms() <= 900_000, "the answer to its first sign")
    store = FileStore(tmp_path)
    version, content = store.read()
    taken = msgspec.structs.replace(decode_record(content), revision=9, epoch=2)
    store.replace(version, msgspec.json.encode(taken))
    deposed.require()
    with pytest.raises(LeadershipLostError, match="taken the cluster's record"):
        deposed.update(put(msgspec.structs.replace(JOB, attempt=7)))
    with pytest.raises(LeadershipLostError):
        deposed.require()
    assert decode_record(store.read().content) == taken
    deposed.close()


def test_a_leader_that_cannot_show_signs_of_life_wakes_its_owner_and_acts_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = lead(tmp_path)
    lost = threading.Event()
    session.when_lost(lost.set)

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(FileStore, "write_sign", fail)
    assert lost.wait(30)
    with pytest.raises(LeadershipLostError, match="no sign of life for 3600 ms"):
        session.require()
    session.close()


def test_a_standby_ends_when_the_job_it_watched_has_ended(tmp_path: Path) -> None:
    first = lead(tmp_path)
    outcome = Outcome(JOB.job_id, "job", "FINISHED", 12)
    first.release(lambda record: msgspec.structs.replace(record, job=None, outcome=outcome))
    watching = Watching(over=lambda record: record.job is None and record.outcome is not None)
    found = contend(FileStore(tmp_path), TERMS, SystemClock(), watching)
    assert isinstance(found, ClusterRecord)
    assert found.outcome == outcome
    assert found.leader is None


@pytest.mark.parametrize(
    ("keys", "wrong"),
    [
        ({"high-availability.type": "filesystem"}, "needs high-availability.storageDir"),
        (
            {"high-availability.type": "zookeeper", "high-availability.storageDir": "/x"},
            "needs high-availability.zookeeper.quorum",
        ),
        (
            {"high-availability.type": "filesystem", "high-availability.storageDir": "s3://bucket/ha"},
            "cannot be elected in an object store",
        ),
        (
            {
                "high-availability.type": "filesystem",
                "high-availability.storageDir": "/x",
                "high-availability.cluster-id": "../y",
            },
            "cannot be the name of a cluster",
        ),
    ],
)
def test_what_is_missing_or_does_not_fit_is_said(keys: dict[str, str], wrong: str) -> None:
    with pytest.raises(ConfigurationError, match=wrong):
        HighAvailability.of(Configuration(keys))


def test_it_is_off_unless_asked_for() -> None:
    assert HighAvailability.of(Configuration({})) is None
