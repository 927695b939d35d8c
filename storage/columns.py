"""The columns of a Parquet table, some of which artifacts have only since a later format than the first."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import pyarrow as pa

from taskdistill.storage.formats import Added

NOTHING_ADDED: Mapping[str, Added] = MappingProxyType({})


class Columns(NamedTuple):
    """What a table has in the present format, and which of it came later than format 1."""

    schema: pa.Schema
    added: Mapping[str, Added] = NOTHING_ADDED

    def in_format(self, found: int) -> pa.Schema:
        """Return the columns that a table of this format has."""
        return pa.schema([field for field in self.schema if not self.is_later(field.name, found)])

    def is_later(self, name: str, found: int) -> bool:
        """Whether a column came after this format."""
        return name in self.added and self.added[name].format > found

    def completed(self, table: pa.Table, found: int, names: Sequence[str] = ()) -> pa.Table:
        """Return these columns, all where none are named, of a table of this format: those that came later are filled
        with their neutral values.
        """
        fields = [self.schema.field(name) for name in names or self.schema.names]
        columns = [
            pa.array([self.added[field.name].neutral] * table.num_rows, field.type)
            if self.is_later(field.name, found)
            else table[field.name]
            for field in fields
        ]
        return pa.table(columns, schema=pa.schema(fields))
