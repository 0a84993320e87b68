"""Which transaction timeouts a job starts with."""

from __future__ import annotations

import pytest

from millstream import StreamExecutionEnvironment
from millstream.connectors.kafka import (
    DeliveryGuarantee,
    KafkaRecordSerializationSchema,
    KafkaSink,
    SimpleStringSchema,
)
from millstream.core.configuration import Configuration, options
from millstream.core.errors import ConfigurationError
from millstream.runtime.graph.compiler import compile_job
from millstream.runtime.job_manager.transaction_timeouts import (
    fit_to_transactions,
    longest_transaction_ms,
)

MINUTE_MS = 60_000


def check(settings: dict[str, str], guarantee: DeliveryGuarantee, **properties: int) -> Configuration:
    env = StreamExecutionEnvironment.get_execution_environment().configure(settings)
    serializer = KafkaRecordSerializationSchema.builder().set_topic("out")
    sink = (
        KafkaSink.builder()
        .set_bootstrap_servers("host:9092")
        .set_delivery_guarantee(guarantee)
        .set_transactional_id_prefix("p")
        .set_record_serializer(serializer.set_value_serialization_schema(SimpleStringSchema()).build())
        .set_properties({name.replace("_", "."): value for name, value in properties.items()})
        .build()
    )
    env.from_collection(["a"], str).sink_to(sink).name("to-kafka")
    return fit_to_transactions(compile_job(env.get_stream_graph()), env.get_configuration())


@pytest.mark.parametrize("interval", ["200 ms", "10 s", "1 min", "4 min"])
def test_a_sink_with_default_settings_starts(interval: str) -> None:
    check({"execution.checkpointing.interval": interval}, DeliveryGuarantee.EXACTLY_ONCE)


def test_without_checkpoints_or_transactions_there_is_nothing_to_outlive() -> None:
    check({}, DeliveryGuarantee.EXACTLY_ONCE, transaction_timeout_ms=1000)
    settings = {"execution.checkpointing.interval": "1 s"}
    check(settings, DeliveryGuarantee.AT_LEAST_ONCE, transaction_timeout_ms=1000)


def test_a_timeout_shorter_than_a_checkpoint_may_take_is_refused_with_the_settings_to_change() -> None:
    settings = {"execution.checkpointing.interval": "10 s", "execution.checkpointing.timeout": "10 min"}
    with pytest.raises(ConfigurationError) as caught:
        check(settings, DeliveryGuarantee.EXACTLY_ONCE, transaction_timeout_ms=MINUTE_MS)
    error = caught.value
    assert "to-kafka" in error.what
    assert "60 s after it began" in error.what
    assert "625 s" in error.what
    assert error.where is not None
    assert "execution.checkpointing.timeout (600 s)" in error.where
    assert error.fix is not None
    assert "transaction.timeout.ms" in error.fix


@pytest.mark.parametrize(
    ("settings", "longest_ms"),
    [
        ({}, 11 * MINUTE_MS + 1_000),
        ({"restart-strategy.type": "none"}, 10 * MINUTE_MS + 1_000),
        ({"restart-strategy.type": "fixed-delay", "restart-strategy.fixed-delay.delay": "5 s"}, 606_000),
        ({"execution.checkpointing.min-pause": "30 s"}, 11 * MINUTE_MS + 30_000),
        ({"execution.checkpointing.tolerable-failed-checkpoints": "2"}, 31 * MINUTE_MS + 1_000),
    ],
)
def test_what_a_transaction_must_outlive(settings: dict[str, str], longest_ms: int) -> None:
    configuration = Configuration()
    for key, value in {"execution.checkpointing.interval": "1 s", **settings}.items():
        configuration.set_string(key, value)
    assert longest_transaction_ms(configuration) == longest_ms


@pytest.mark.parametrize("interval", ["200 ms", "10 s"])
def test_timeouts_left_at_their_defaults_adapt_to_shorter_transactions(interval: str) -> None:
    settings = {"execution.checkpointing.interval": interval}
    fitted = check(settings, DeliveryGuarantee.EXACTLY_ONCE, transaction_timeout_ms=MINUTE_MS)
    assert longest_transaction_ms(fitted) <= MINUTE_MS
    assert fitted.get(options.CHECKPOINTING_TIMEOUT) >= 30_000


def test_transactions_too_short_for_any_sensible_checkpoint_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="aborted by its broker"):
        check(
            {"execution.checkpointing.interval": "1 min"},
            DeliveryGuarantee.EXACTLY_ONCE,
            transaction_timeout_ms=MINUTE_MS,
        )
