from pathlib import Path

from millstream import StreamExecutionEnvironment, WatermarkStrategy
from millstream.connectors.files import (
    Encoder,
    FileSink,
    FileSource,
    OutputFileConfig,
    StreamFormat,
)

Path("in").mkdir()
Path("in/words.txt").write_text("to be\nor not\nto be\n", encoding="utf-8")

env = StreamExecutionEnvironment.get_execution_environment()
env.enable_checkpointing(1_000)
env.get_checkpoint_config().set_checkpoint_storage_dir("checkpoints")

source = FileSource.for_record_stream_format(
    StreamFormat.text_line_format(), "in"
).build()
sink = (
    FileSink.for_row_format("out", Encoder.simple_string_encoder())
    .with_output_file_config(
        OutputFileConfig.builder().with_part_suffix(".txt").build()
    )
    .build()
)
env.from_source(source, WatermarkStrategy.no_watermarks(), "words").map(
    str.upper, str
).sink_to(sink)
env.execute("shout")

for part in sorted(Path("out").rglob("*.txt")):
    print(part.read_text(encoding="utf-8"), end="")
