"""Tables from CSV files, with errors that name the line and the column."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._validation import describe, join_names

DELIMITERS = ",;\t"

MISSING = {"", "na", "n/a", "nan", "null", "none", "?", "-"}


@dataclass(frozen=True)
class CsvTable:
    """Cells as they stand in the file."""

    path: Path
    names: list[str]
    rows: list[list[str]]
    lines: list[int]  # number of the line in which each row ends

    def column(self, name: str) -> list[str]:
        k = self.names.index(name)
        return [row[k] for row in self.rows]

    def without(self, names: Sequence[str]) -> CsvTable:
        kept = [k for k, name in enumerate(self.names) if name not in names]
        return CsvTable(
            self.path,
            [self.names[k] for k in kept],
            [[row[k] for k in kept] for row in self.rows],
            self.lines,
        )


def read_csv(path: Path) -> CsvTable:
    """A file with a header line; separated by commas, semicolons or tabs."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            reader = csv.reader(file, delimiter=find_delimiter(first), strict=True)
            parsed = [
                (row, reader.line_num) for row in reader if any(map(str.strip, row))
            ]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8 ({error.reason})") from None
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}") from None
    if not parsed:
        raise ValueError(
            f"{path} is empty: a header line and rows of numbers are needed"
        )
    names = [name.strip() for name in parsed[0][0]]
    check_header(path, names, len(parsed) - 1)
    for row, line in parsed[1:]:
        if len(row) != len(names):
            raise ValueError(
                f"{path}, line {line}: {len(row)} cells, but the header has {len(names)}"
            )
    rows = [[cell.strip() for cell in row] for row, _ in parsed[1:]]
    return CsvTable(path, names, rows, [line for _, line in parsed[1:]])


def find_delimiter(header: str) -> str:
    return max(DELIMITERS, key=header.count)


def check_header(path: Path, names: list[str], n_rows: int) -> None:
    if all(is_number(name) for name in names):
        raise ValueError(
            f"{path}: the first line must hold the names of the columns, but it holds "
            f"only numbers ({join_names(names)})"
        )
    if "" in names:
        raise ValueError(
            f"{path}: column {names.index('') + 1} has no name in the first line (pandas "
            "writes such a column of row labels unless told index=False)"
        )
    if n_rows == 0:
        raise ValueError(f"{path} has a header but no rows")


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def as_numbers(table: CsvTable) -> dict[str, list[float]]:
    """Columns of finite numbers; ValueError with the first bad cell and their number."""

    def read(cell: str) -> float | None:
        try:
            number = float(cell)
        except ValueError:
            return None
        return number if math.isfinite(number) else None

    return read_cells(table, read, "a finite number")


def as_states(table: CsvTable) -> dict[str, list[Any]]:
    """Columns of texts, or of integers where all cells are; none may be missing."""
    columns = read_cells(
        table, lambda cell: None if cell.lower() in MISSING else cell, "a state"
    )
    return {name: to_integers(cells) for name, cells in columns.items()}


def to_integers(cells: list[str]) -> list[Any]:
    try:
        return [int(cell) for cell in cells]
    except ValueError:
        return cells


def read_cells(
    table: CsvTable, read: Callable[[str], Any], expected: str
) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {}
    bad: list[tuple[int, str, str]] = []  # row, column, cell
    for name in table.names:
        cells = table.column(name)
        columns[name] = [read(cell) for cell in cells]
        bad += [
            (k, name, cells[k])
            for k, value in enumerate(columns[name])
            if value is None
        ]
    if not bad:
        return columns
    k, name, cell = min(bad, key=lambda one: one[0])
    what = "is missing" if cell.lower() in MISSING else f"is not {expected}"
    more = ""
    if len(bad) > 1:
        names = [n for n in table.names if any(one[1] == n for one in bad)]
        more = f"; {len(bad)} such cells, in columns {join_names(names)}"
    raise ValueError(
        f"{table.path}, line {table.lines[k]} (row {k + 1}), column {name!r}: "
        f"{describe(cell)} {what}{more}. "
        "Correct or drop those rows, or leave columns out with --drop"
    )


def read_targets(table: CsvTable, column: str, names: Sequence[str]) -> list[Any]:
    """The variables that each row's cell names: "", one, or several joined by +."""
    targets: list[Any] = []
    for k, cell in enumerate(table.column(column)):
        if cell in names or not cell:
            targets.append(cell)
            continue
        several = tuple(part.strip() for part in cell.split("+"))
        unknown = [part for part in several if part not in names]
        if unknown:
            raise ValueError(
                f"{table.path}, line {table.lines[k]} (row {k + 1}), column {column!r}: "
                f"{unknown[0]!r} is not a variable; expected {join_names(names)}, several "
                "joined by +, or an empty cell"
            )
        targets.append(several)
    return targets
