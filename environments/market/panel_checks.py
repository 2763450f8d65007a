"""What a table of prices must be before anything is built on it: one clear line for each way it can be wrong."""

from __future__ import annotations

from typing import NoReturn

import numpy as np
import numpy.typing as npt
import pandas as pd

from environments.errors import DataError

KEYS = ("date", "symbol", "asset_class")
PRICES = ("open", "high", "low", "close")
COLUMNS = (*KEYS, *PRICES, "volume")

# Adjusting for splits and dividends multiplies a bar's four prices one by one: they agree only up to rounding.
ROUNDING = 1e-6

Mask = npt.NDArray[np.bool_]


def checked(frame: pd.DataFrame, origin: str) -> pd.DataFrame:
    """Checks a table of bars and brings its columns to one form.

    Args:
        frame: One row per asset and bar, with the columns of ``COLUMNS``; every further column must be numeric.
        origin: Where the table comes from (a path), the first words of every message.

    Returns:
        A new frame, rows in the order given, numbered from 0: ``date`` datetime64[s] without a zone (UTC where there
        was one), ``symbol`` and ``asset_class`` text, everything else float64.

    Raises:
        DataError: The table cannot be used; the line names the rule and the first row that breaks it.
    """
    _check_columns(frame, origin)
    frame = frame.reset_index(drop=True)
    keys = {"date": _dates(frame, origin), **{name: _names(frame, name, origin) for name in KEYS[1:]}}
    numbers = {name: _numbers(frame, name, origin) for name in frame.columns if name not in KEYS}
    table = pd.DataFrame({**keys, **numbers})
    _check_duplicates(table, origin)
    _check_values(table, origin)
    _check_ranges(table, origin)
    _check_classes(table, origin)
    return table


def _check_columns(frame: pd.DataFrame, origin: str) -> None:
    found = ", ".join(str(name) for name in frame.columns) or "none"
    missing = [name for name in COLUMNS if name not in frame.columns]
    if missing:
        raise DataError(
            f"{origin}: missing columns {', '.join(missing)}; a panel has the columns {', '.join(COLUMNS)} "
            f"(and numeric extras); found: {found}"
        )
    if not frame.columns.is_unique:
        raise DataError(f"{origin}: a column name is given twice; each may appear once; found: {found}")
    if frame.empty:
        raise DataError(f"{origin}: no rows; a panel needs at least one bar (columns found: {found})")


def _dates(frame: pd.DataFrame, origin: str) -> pd.Series:
    given = frame["date"]
    rule = "write ISO dates such as 2020-01-31"
    if pd.api.types.is_numeric_dtype(given):
        raise DataError(f"{origin}: column 'date' holds numbers (first: {given.iloc[0]}); {rule}")
    # ISO only: 01/02/2020 is January to one half of the world and February to the other.
    parsed = pd.to_datetime(given, format="ISO8601", errors="coerce", utc=True)
    bad = parsed.isna().to_numpy()
    if bad.any():
        row = int(bad.argmax())
        raise DataError(
            f"{origin}: {_rows(bad)} with a date that cannot be read, first in row {row + 1:,} "
            f"({frame['symbol'].iloc[row]}): {given.iloc[row]!r}; {rule}"
        )
    return parsed.dt.tz_localize(None).astype("datetime64[s]")


def _names(frame: pd.DataFrame, name: str, origin: str) -> pd.Series:
    bad = frame[name].isna().to_numpy() | (frame[name].astype(str) == "").to_numpy()
    if bad.any():
        raise DataError(
            f"{origin}: {_rows(bad)} without a {name}, first in row {int(bad.argmax()) + 1:,}; every row must name one"
        )
    return frame[name].astype(str)


def _numbers(frame: pd.DataFrame, name: str, origin: str) -> pd.Series:
    column = frame[name]
    if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_complex_dtype(column):
        bad = pd.to_numeric(column, errors="coerce").isna().to_numpy()
        row = int(bad.argmax())
        raise DataError(
            f"{origin}: column {name!r} is not numeric, first in row {row + 1:,} ({frame['symbol'].iloc[row]} on "
            f"{frame['date'].iloc[row]}): {column.iloc[row]!r}; write numbers or leave the column out"
            f"{' (it is needed)' if name in COLUMNS else ''}"
        )
    return column.astype("float64")


def _check_duplicates(table: pd.DataFrame, origin: str) -> None:
    bad = table.duplicated(["date", "symbol"]).to_numpy()
    if bad.any():
        _refuse(table, bad, f"{origin}: {_rows(bad)} that repeat a (date, symbol)", "keep one row for each")


def _check_values(table: pd.DataFrame, origin: str) -> None:
    for name in (*PRICES, "volume"):
        bad = ~np.isfinite(table[name].to_numpy())
        if bad.any():
            rule = "every bar needs finite numbers: mend the value, or drop the row (an asset may miss a bar)"
            _refuse(table, bad, f"{origin}: {_rows(bad)} where {name} is NaN or infinite", rule, name)
    for name in PRICES:
        bad = (table[name] <= 0).to_numpy()
        if bad.any():
            _refuse(table, bad, f"{origin}: {_rows(bad)} where {name} is not positive", "prices must be above 0", name)
    bad = (table["volume"] < 0).to_numpy()
    if bad.any():
        _refuse(table, bad, f"{origin}: {_rows(bad)} with a negative volume", "volume must be 0 or more", "volume")
    for name in table.columns.difference(list(COLUMNS)):
        bad = np.isinf(table[name].to_numpy())
        if bad.any():
            rule = "an extra column may be NaN where it is not known, never infinite"
            _refuse(table, bad, f"{origin}: {_rows(bad)} where {name} is infinite", rule, name)


def _check_ranges(table: pd.DataFrame, origin: str) -> None:
    pairs = (("high", "low"), ("high", "open"), ("high", "close"), ("open", "low"), ("close", "low"))
    for above, below in pairs:
        bad = (table[above] < table[below] * (1 - ROUNDING)).to_numpy()
        if bad.any():
            rule = "low <= open, close <= high must hold in every bar: mend or drop the row"
            _refuse(table, bad, f"{origin}: {_rows(bad)} with {above} < {below}", rule, above, below)


def _check_classes(table: pd.DataFrame, origin: str) -> None:
    pairs = table[["symbol", "asset_class"]].drop_duplicates()
    twice = pairs["symbol"].duplicated()
    if twice.any():
        symbol = pairs["symbol"][twice].iloc[0]
        classes = ", ".join(sorted(pairs["asset_class"][pairs["symbol"] == symbol]))
        count = pairs["symbol"][twice].nunique()
        raise DataError(
            f"{origin}: {count:,} symbol{'s' if count > 1 else ''} in more than one asset_class, first {symbol} "
            f"({classes}); a symbol belongs to one class: rename it or mend asset_class"
        )


def _refuse(table: pd.DataFrame, bad: Mask, what: str, rule: str, *show: str) -> NoReturn:
    """Raises with the first of the bad rows as the example, and its values in the columns of ``show``."""
    row = table.iloc[int(bad.argmax())]
    day = pd.Timestamp(row["date"]).isoformat(sep=" ").removesuffix(" 00:00:00")
    values = ", ".join(f"{name} {row[name]:g}" for name in show)
    raise DataError(f"{what}, first {row['symbol']} on {day}{': ' if values else ''}{values}; {rule}")


def _rows(bad: Mask) -> str:
    count = int(bad.sum())
    return f"{count:,} row" if count == 1 else f"{count:,} rows"
