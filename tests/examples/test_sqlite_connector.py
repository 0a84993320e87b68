from __future__ import annotations

import sys

import pytest

from millstream.testing.connectors import SinkContract, SourceContract


@pytest.fixture
def connector():
    import sqlite_connector

    yield sqlite_connector
    sys.modules.pop("sqlite_connector")


class TestSQLiteSource(SourceContract):
    @pytest.fixture
    def source(self, connector, tmp_path):
        path = str(tmp_path / "in.db")
        with connector.database(path) as connection:
            connection.execute("CREATE TABLE numbers (id INTEGER PRIMARY KEY, record TEXT)")
            rows = [(3 * n, f"row {n}") for n in range(97)]  # ids with gaps
            connection.executemany("INSERT INTO numbers VALUES (?, ?)", rows)
        return connector.SQLiteSource(path, "numbers")

    @pytest.fixture
    def expected(self):
        return [f"row {n}" for n in range(97)]


class TestSQLiteSink(SinkContract):
    @pytest.fixture
    def sink(self, connector, tmp_path):
        self.database, self.path = connector.database, str(tmp_path / "out.db")
        return connector.SQLiteSink(self.path, "results")

    def visible(self, sink):
        with self.database(self.path) as connection:
            return [record for (record,) in connection.execute("SELECT record FROM results")]


def test_the_job_doubles_every_order_once(connector, tmp_path, capsys) -> None:
    connector.main(str(tmp_path / "shop.db"))
    assert capsys.readouterr().out == "1000 orders, 1001000 in all\n"
