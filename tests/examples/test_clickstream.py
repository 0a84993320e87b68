from __future__ import annotations

import sys
from collections import Counter

import pytest


@pytest.fixture
def clickstream():
    import clickstream

    yield clickstream
    sys.modules.pop("clickstream")


def test_a_click_depends_on_seed_and_index_alone(clickstream) -> None:
    one, same, other = (clickstream.Clickstream(seed, 1_000) for seed in (7, 7, 8))
    assert list(one) == [same.click(index) for index in range(1_000)]
    assert list(one) != list(other)


def test_the_clicks_stay_the_same_from_release_to_release(clickstream) -> None:
    assert clickstream.Clickstream(7, 1_000).click(123) == ("product-01", "user-1510", 599, 1767225605356)


def test_clicks_of_a_channel_are_out_of_order_within_the_bound(clickstream) -> None:
    times = [click.time_ms for click in clickstream.Clickstream(7, 10_000)][:5_000]
    lag = [max(times[: index + 1]) - time for index, time in enumerate(times)]
    assert 1_000 < max(lag) <= clickstream.MAX_DISORDER_MS


def test_some_products_are_popular_and_all_are_seen(clickstream) -> None:
    views = Counter(click.product for click in clickstream.Clickstream(7, 20_000))
    assert len(views) == clickstream.PRODUCTS
    assert views["product-00"] > 10 * views["product-39"]


def test_sales_add_up(clickstream) -> None:
    stream = clickstream.Clickstream(7, 10_000)
    sales = stream.sales(window_ms=10_000)
    assert sum(row.views + row.purchases for row in sales) == 10_000
    assert sum(row.cents for row in sales) == sum(click.cents for click in stream)
    assert len({(row.product, row.window_start_ms) for row in sales}) == len(sales)
    assert all(row.window_start_ms % 10_000 == 0 for row in sales)


def test_a_row_survives_as_a_line(clickstream) -> None:
    (row,) = clickstream.Clickstream(7, 2).sales(window_ms=60_000)[:1]
    assert clickstream.Sales.from_line(row.to_line()) == row
