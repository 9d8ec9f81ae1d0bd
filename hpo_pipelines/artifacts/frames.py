"""The formats of pandas' frames and series."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any, ClassVar

from hpo_pipelines.artifacts.codec import Codec, dump_parts, load_parts
from hpo_pipelines.artifacts.formats import Reading, Written
from hpo_pipelines.errors import NotSerializable


class FrameFormat:
    """A pickle whose columns lie beside it: nothing is converted, so index, dtypes and ``attrs`` come back.

    Read, the columns are the mapped file itself, writable, copied page by page where they are written to.
    """

    name: ClassVar[str] = "frame"
    indexed: ClassVar[bool] = True

    def matches(self, value: object) -> bool:
        pandas = sys.modules.get("pandas")
        return pandas is not None and type(value) in (pandas.DataFrame, pandas.Series)

    def write(self, value: Any, codec: Codec) -> Written:
        parts = dump_parts(value, codec)
        if any(part.readonly and _is_array(part.obj) for part in parts[1:]):
            # A pickle remembers that memory was read-only, and its reader could then not write into the column.
            parts = dump_parts(value.copy(), codec)
        return Written(parts)

    def read(self, parts: Sequence[memoryview], source: Reading) -> Any:
        return load_parts(parts, source.codec)


def _is_array(owner: object) -> bool:
    return isinstance(owner, sys.modules["numpy"].ndarray)


_SERIES = b"hpo_pipelines.series"


class ArrowFormat:
    """Arrow's IPC file format, on request: what any Arrow reader opens.

    What Arrow cannot say (the ``freq`` of an index, tuples among lists) is lost, as in ``to_feather``; the value digest
    is that of what will be read. Encoded in memory before it is written. Source:
    https://arrow.apache.org/docs/format/Columnar.html#ipc-file-format
    """

    name: ClassVar[str] = "arrow"
    indexed: ClassVar[bool] = False

    def matches(self, value: object) -> bool:
        return FrameFormat().matches(value)

    def write(self, value: Any, codec: Codec) -> Written:
        import pyarrow as pa

        try:
            encoded = self._encode(_table(value))
            read_back = self._decode(encoded)
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise NotSerializable(f"Arrow has no type for a column of it ({error}); leave the format out") from error
        return Written([memoryview(encoded)], read_back)

    def read(self, parts: Sequence[memoryview], source: Reading) -> Any:
        import pyarrow as pa

        return self._decode(pa.py_buffer(parts[0]))

    def _encode(self, table: Any) -> Any:
        import pyarrow as pa

        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        return sink.getvalue()

    def _decode(self, encoded: Any) -> Any:
        import pyarrow as pa

        return _value(pa.ipc.open_file(encoded).read_all())


class ParquetFormat(ArrowFormat):
    """Parquet, on request: smaller and far slower; otherwise as Arrow. Source: https://parquet.apache.org/docs/"""

    name: ClassVar[str] = "parquet"

    def _encode(self, table: Any) -> Any:
        import pyarrow as pa
        import pyarrow.parquet as pq

        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        return sink.getvalue()

    def _decode(self, encoded: Any) -> Any:
        import pyarrow as pa
        import pyarrow.parquet as pq

        return _value(pq.read_table(pa.BufferReader(encoded)))


def _table(value: Any) -> Any:
    """The Arrow table of a frame; of a series, a table of one column that remembers the series' name."""
    import pandas as pd
    import pyarrow as pa

    if isinstance(value, pd.DataFrame):
        return pa.Table.from_pandas(value)
    if value.name is not None and not isinstance(value.name, str):
        raise ValueError(f"the name of a series must be a string or None, not {value.name!r}")
    table = pa.Table.from_pandas(value.to_frame("values"))
    return table.replace_schema_metadata({**table.schema.metadata, _SERIES: json.dumps(value.name)})


def _value(table: Any) -> Any:
    metadata = table.schema.metadata or {}
    # One block for each column: Arrow's memory is then taken over instead of copied, but may be read-only.
    frame = table.to_pandas()
    if _SERIES in metadata:
        return frame["values"].rename(json.loads(metadata[_SERIES]))
    return frame
