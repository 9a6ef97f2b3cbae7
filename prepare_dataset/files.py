"""geometry.csv: how each photograph became its prepared image."""
import csv
import io
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

from mbos.io import RefusedError
from mbos.io.files import save_text
from mbos.io.geometry import Geometry


def read_geometry(path: Path) -> dict[str, Geometry]:
    """Read geometry.csv; an empty dict if there is none.

    Raises:
        RefusedError: If the file is damaged.
    """
    if not path.exists():
        return {}
    try:
        with open(path, newline='', encoding='utf-8') as file:
            rows = map(Geometry.from_row, csv.DictReader(file))
            return {row.name: row for row in rows}
    except (KeyError, TypeError, ValueError) as error:
        raise RefusedError(f'{path}: cannot be read ({error!r}); remove the '
                           'file, it will be made again.') from error


def write_geometry(path: Path, rows: Iterable[Geometry]) -> None:
    """Write geometry.csv, sorted by name."""
    stream = io.StringIO()
    columns = [field.name for field in fields(Geometry)]
    writer = csv.DictWriter(stream, columns, lineterminator='\n')
    writer.writeheader()
    writer.writerows(vars(row) for row in sorted(rows, key=lambda r: r.name))
    save_text(path, stream.getvalue())
