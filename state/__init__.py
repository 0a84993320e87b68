"""Keyed state: descriptors and handles for users, tables and backends below them, timers, key groups.

Start reading at `backend.py` (the contract between operators and backends). `heap.py` and `rocksdb.py` implement it,
`backends.py` chooses one by name; `descriptors.py` and `keyed.py` are what user functions see; `timers.py` keeps timers
in a table like any other state.
"""
