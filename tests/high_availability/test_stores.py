"""The record in ZooKeeper and on a file system: replaced by one at a time, whoever asks, however often."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from millstream.core.errors import ConfigurationError
from millstream.dev.server import LocalServer, Server
from millstream.runtime.high_availability.file_store import FileStore
from millstream.runtime.high_availability.leadership import LeaseTerms
from millstream.runtime.high_availability.store import RecordConflict, RecordStore, Versioned
from millstream.runtime.high_availability.zookeeper_store import ZooKeeperStore
from tests.services.availability import unavailable, unique_name


class RecordStoreSuite:
    """What any place of the election must keep. `open_store` is another process's view of one and the same."""

    @pytest.fixture
    def open_store(self) -> Iterator[Callable[[], RecordStore]]:
        raise NotImplementedError

    def test_there_is_nothing_at_first(self, open_store: Callable[[], RecordStore]) -> None:
        store = open_store()
        assert store.read() == Versioned(0, b"")
        assert store.read_sign(1) == b""

    def test_a_replacement_is_seen_by_everyone(self, open_store: Callable[[], RecordStore]) -> None:
        ours, theirs = open_store(), open_store()
        version = ours.replace(0, b"one")
        assert theirs.read() == Versioned(version, b"one")
        again = theirs.replace(version, b"two")
        assert again > version
        assert ours.read() == Versioned(again, b"two")

    def test_whoever_has_not_seen_the_last_one_is_refused_whatever_came_between(
        self, open_store: Callable[[], RecordStore]
    ) -> None:
        deposed, leader = open_store(), open_store()
        version = deposed.replace(0, b"deposed 1")
        version = deposed.replace(version, b"deposed 2")
        current = version
        for number in range(20):  # versions that are removed behind it must not become free
            current = leader.replace(current, b"leader %d" % number)
        for _ in range(2):
            with pytest.raises(RecordConflict):
                deposed.replace(version, b"deposed 3")
        assert leader.read() == Versioned(current, b"leader 19")

    def test_a_replacement_whose_answer_was_lost_may_be_repeated(
        self, open_store: Callable[[], RecordStore]
    ) -> None:
        store = open_store()
        version = store.replace(0, b"one")
        assert store.replace(0, b"one") == version
        assert store.read() == Versioned(version, b"one")

    def test_who_read_it_long_ago_is_refused_too(self, open_store: Callable[[], RecordStore]) -> None:
        leader, slow = open_store(), open_store()
        leader.replace(0, b"first")
        read = leader.replace(1, b"leader 2")
        current = read
        for number in range(3, 10):
            current = leader.replace(current, b"leader %d" % number)
        with pytest.raises(RecordConflict):
            slow.replace(read, b"slow")
        assert slow.read() == Versioned(current, b"leader 9")

    def test_of_many_at_once_one_wins_each_round(self, open_store: Callable[[], RecordStore]) -> None:
        rounds, stores = 10, [open_store() for _ in range(4)]
        won: list[tuple[int, int]] = []

        def play(number: int) -> None:
            store = stores[number]
            while (found := store.read()).version < rounds:
                try:
                    won.append((store.replace(found.version, b"%d by %d" % (found.version, number)), number))
                except RecordConflict:
                    continue

        players = [threading.Thread(target=play, args=(number,)) for number in range(len(stores))]
        for player in players:
            player.start()
        for player in players:
            player.join()
        winners = dict(won)
        assert len(winners) == len(won), (
            won
        )  # a winner that is replaced at once may count itself out, but never two in
        found = stores[0].read()
        assert found.version == rounds
        assert found.content.endswith(b" by %d" % winners.get(rounds, found.content[-1] - ord("0")))

    def test_signs_of_each_epoch_are_their_own(self, open_store: Callable[[], RecordStore]) -> None:
        leader, standby = open_store(), open_store()
        leader.write_sign(1, b"a")
        leader.write_sign(1, b"b")
        standby.write_sign(2, b"c")
        assert (standby.read_sign(1), leader.read_sign(2)) == (b"b", b"c")


class TestFileStore(RecordStoreSuite):
    @pytest.fixture
    def open_store(self, tmp_path: Path) -> Callable[[], RecordStore]:
        return lambda: FileStore(tmp_path / "cluster")

    def test_few_files_stay(self, tmp_path: Path) -> None:
        version, folder = 0, tmp_path / "cluster"
        for _ in range(3):
            store = FileStore(folder)
            for number in range(10):
                version = store.replace(version, b"%d" % number)
        # The first of each leader and its last one.
        assert len(list((folder / "record").iterdir())) == 6
        assert [path.name for path in folder.iterdir()] == ["record"]

    def test_a_folder_that_cannot_be_is_one_clear_error(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(ConfigurationError) as caught:
            FileStore(tmp_path / "file" / "cluster")
        assert "high-availability.storageDir" in (caught.value.where or "")


class TestZooKeeperStore(RecordStoreSuite):
    @pytest.fixture
    def open_store(self, zookeeper: Server) -> Iterator[Callable[[], RecordStore]]:
        root, opened = f"/test/{unique_name('cluster')}", []

        def open_another() -> RecordStore:
            opened.append(ZooKeeperStore(zookeeper.url, root, terms=LeaseTerms.of(10_000), connect_ms=10_000))
            return opened[-1]

        yield open_another
        for store in opened:
            store.close()

    def test_while_the_server_is_away_it_says_so_and_goes_on_afterwards(
        self, zookeeper: Server, open_store: Callable[[], RecordStore]
    ) -> None:
        if not isinstance(zookeeper, LocalServer):
            unavailable("this test stops the server", fix="unset MILLSTREAM_TEST_ZOOKEEPER")
        store = open_store()
        version = store.replace(0, b"one")
        zookeeper.kill()
        with pytest.raises(OSError, match="does not answer"):
            store.replace(version, b"two")
        zookeeper.start()
        while True:  # however long the client takes to find it again
            try:
                assert store.replace(version, b"two") == version + 1
            except OSError:
                continue
            break
        assert open_store().read() == Versioned(version + 1, b"two")

    def test_nobody_there_is_one_clear_error(self) -> None:
        with pytest.raises(ConfigurationError) as caught:
            ZooKeeperStore("127.0.0.1:1", "/x", terms=LeaseTerms.of(10_000), connect_ms=300)
        assert caught.value.where == "high-availability.zookeeper.quorum: 127.0.0.1:1"
