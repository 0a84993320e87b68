from datetime import timedelta

from millstream import WatermarkStrategy
from millstream.connectors.datagen import DataGeneratorSource
from millstream.core.batch import WatermarkStatus
from millstream.testing import ManualSource, SourceHarness, W


def test_a_source_of_ours_goes_on_where_the_snapshot_says() -> None:
    source = DataGeneratorSource(lambda number: f"record {number}", 10)
    harness = SourceHarness(source, parallelism=2, max_records=3)
    harness.poll(0)
    harness.poll(1)
    harness = harness.restored(parallelism=3)
    harness.read_available()
    assert sorted(harness.results) == [f"record {number}" for number in range(10)]
    assert harness.ended == [True, True, True]
    harness.close()


def test_a_silent_split_holds_the_watermark_back_until_it_is_idle() -> None:
    source: ManualSource[str] = ManualSource(splits=2)
    strategy: WatermarkStrategy[str] = (
        WatermarkStrategy.for_bounded_out_of_orderness(timedelta(milliseconds=10))
    ).with_idleness(timedelta(seconds=1))
    with SourceHarness(source, strategy) as harness:
        source.element("a", ts=100)
        harness.read_available()
        harness.set_processing_time(800)
        assert harness.output == ["a"]
        source.element("b", ts=200)
        harness.read_available()
        harness.set_processing_time(1_000)
        assert harness.output == ["a", "b", W(189)]
        harness.set_processing_time(1_800)
        assert harness.output[3:] == [WatermarkStatus(idle=True)]


if __name__ == "__main__":
    test_a_source_of_ours_goes_on_where_the_snapshot_says()
    test_a_silent_split_holds_the_watermark_back_until_it_is_idle()
    print("passed")
