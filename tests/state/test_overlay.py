"""An overlay over a store reads as the store would with every layer written, whatever is frozen and written when."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from millstream.state.entry_keys import prefix_of
from millstream.state.overlaid_store import OverlaidStore
from millstream.state.overlay import Layer, Place, merged

PREFIXES = [prefix_of(0, 1), prefix_of(3, 1)]
PARTS = [b"\0\0\0\0", b"\0\0\0\x02\x02a"]
KEYS = [b"", b"k", b"kk"]
places = st.builds(Place, st.sampled_from(PREFIXES), st.sampled_from(PARTS))
operations = st.one_of(
    st.tuples(st.just("put"), places, st.sampled_from(KEYS), st.binary(min_size=1, max_size=2)),
    st.tuples(st.just("delete"), places, st.sampled_from(KEYS), st.none()),
    st.tuples(st.just("drop"), places, st.none(), st.none()),
    st.tuples(st.just("freeze"), st.none(), st.none(), st.none()),
    st.tuples(st.just("write"), st.none(), st.none(), st.none()),
)


class PlainStore:
    """What lies below: a dict."""

    def __init__(self) -> None:
        self.entries: dict[tuple[Place, bytes], bytes] = {}

    def get(self, place: Place, key: bytes) -> bytes | None:
        return self.entries.get((place, key))

    def scan(self, place: Place) -> Iterator[tuple[bytes, bytes]]:
        return iter([(key, value) for (there, key), value in self.entries.items() if there == place])

    def walk(self, prefix: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
        entries = list(self.entries.items())
        return iter([(p.part, key, value) for (p, key), value in entries if p.prefix == prefix])

    def namespace_parts(self, prefix: bytes) -> list[bytes]:
        return [place.part for place, _ in self.entries if place.prefix == prefix]

    def take(self, layer: Layer) -> None:
        for place, delta in layer.changes():
            if delta.dropped:
                self.entries = {k: v for k, v in self.entries.items() if k[0] != place}
            for key, value in delta.entries.items():
                if value is None:
                    self.entries.pop((place, key), None)
                else:
                    self.entries[place, key] = value


@given(st.lists(operations, max_size=30))
def test_reading_through_the_overlay_is_reading_the_store_with_all_layers_written(steps: list[Any]) -> None:
    below = PlainStore()
    store = OverlaidStore(below)
    model: dict[tuple[Place, bytes], bytes] = {}
    for what, place, key, value in steps:
        match what:
            case "put":
                batch = store.new_batch()
                batch.put(b"".join(place) + key, value)
                store.write(batch)
                model[place, key] = value
            case "delete":
                store.delete([(b"".join(place) + key, None)])
                model.pop((place, key), None)
            case "drop":
                store.delete([(b"".join(place), b"end")])
                model = {k: v for k, v in model.items() if k[0] != place}
            case "freeze":
                store.overlay.freeze()
            case "write":
                frozen = store.overlay.frozen
                below.take(merged(frozen))
                store.overlay.drop_layers(frozen)
        check(store, model)
    assert store.overlay.size >= 0


def check(store: OverlaidStore, model: dict[tuple[Place, bytes], bytes]) -> None:
    for prefix in PREFIXES:
        of_prefix = {(p, k): v for (p, k), v in model.items() if p.prefix == prefix}
        assert set(store.namespace_parts(prefix)) >= {p.part for p, _ in of_prefix}
        assert dict(store.walk(prefix)) == {b"".join(p) + k: v for (p, k), v in of_prefix.items()}
        for part in PARTS:
            place = Place(prefix, part)
            expected = {k: v for (p, k), v in model.items() if p == place}
            scanned = list(store.scan(b"".join(place)))
            assert len(scanned) == len(expected), "an entry came twice"
            assert dict(scanned) == {b"".join(place) + k: v for k, v in expected.items()}
            for key in KEYS:
                assert store.get(b"".join(place) + key) == expected.get(key)


def test_an_entry_that_is_changed_during_a_walk_is_still_found() -> None:
    below = PlainStore()
    store = OverlaidStore(below)
    for key in KEYS:
        below.entries[Place(PREFIXES[0], PARTS[0]), key] = b"old"
    walk = store.walk(PREFIXES[0])
    first, _ = next(walk)
    batch = store.new_batch()
    for key in KEYS:
        batch.put(PREFIXES[0] + PARTS[0] + key, b"new")
    store.write(batch)
    assert {first, *(key for key, _ in walk)} == {PREFIXES[0] + PARTS[0] + key for key in KEYS}


@given(st.lists(operations, max_size=30))
def test_merged_layers_have_the_effect_of_all(steps: list[Any]) -> None:
    store = OverlaidStore(PlainStore())
    one_by_one, at_once = PlainStore(), PlainStore()
    for what, place, key, value in steps:
        match what:
            case "put" | "delete":
                store.overlay.top.set(place, key, value)
            case "drop":
                store.overlay.top.drop(place)
            case _:
                store.overlay.freeze()
    layers = [*store.overlay.frozen, store.overlay.top]
    for layer in layers:
        one_by_one.take(layer)
    together = merged(layers)
    at_once.take(together)
    assert at_once.entries == one_by_one.entries
    assert together.size == sum(delta.dropped + len(delta.entries) for _, delta in together.changes())
