from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from environments.errors import DataError
from environments.market.panel import load_panel, panel_from_frame
from tests.environments.panels import REAL_PANEL, other_future, ragged_frame


def two_assets() -> pd.DataFrame:
    """COIN trades on three days; SHARE only on the second, and again on the third."""
    rows = [
        ("2020-01-03", "COIN", "crypto", 10.0, 12.0, 9.0, 11.0, 5.0),
        ("2020-01-04", "COIN", "crypto", 11.0, 13.0, 10.0, 12.0, 6.0),
        ("2020-01-06", "COIN", "crypto", 12.0, 12.0, 12.0, 12.0, 0.0),
        ("2020-01-03", "SHARE", "stocks", 50.0, 55.0, 45.0, 52.0, 100.0),
        ("2020-01-06", "SHARE", "stocks", 53.0, 56.0, 50.0, 54.0, 200.0),
        ("2020-01-04", "LATE", "wine", 7.0, 7.0, 7.0, 7.0, 1.0),
    ]
    return pd.DataFrame(rows, columns=["date", "symbol", "asset_class", "open", "high", "low", "close", "volume"])


def test_assets_are_aligned_on_the_union_of_their_dates() -> None:
    panel = panel_from_frame(two_assets(), origin="here")
    assert panel.dates_T.dtype == np.dtype("datetime64[s]")
    assert [str(day)[:10] for day in panel.dates_T] == ["2020-01-03", "2020-01-04", "2020-01-06"]
    assert panel.symbols == ("SHARE", "COIN", "LATE")
    assert panel.classes == ("stocks", "crypto", "wine")
    assert panel.class_N.tolist() == [0, 1, 2]
    assert panel.traded_TN.tolist() == [[True, True, False], [False, True, True], [True, True, False]]
    assert panel.close_TN.tolist() == [[52, 11, 1], [52, 12, 7], [54, 12, 7]]
    assert panel.open_TN.tolist() == [[50, 10, 1], [52, 11, 7], [53, 12, 7]]
    assert panel.high_TN.tolist() == [[55, 12, 1], [52, 13, 7], [56, 12, 7]]
    assert panel.low_TN.tolist() == [[45, 9, 1], [52, 10, 7], [50, 12, 7]]
    assert panel.volume_TN.tolist() == [[100, 5, 0], [0, 6, 1], [200, 0, 0]]
    assert panel.notes == ()


def test_extras_are_carried_from_the_past_only() -> None:
    frame = two_assets().assign(mood=[1.0, np.nan, 3.0, np.nan, 5.0, np.nan], empty=np.nan)
    panel = panel_from_frame(frame, origin="here")
    np.testing.assert_array_equal(panel.extras["mood"], [[np.nan, 1, np.nan], [np.nan, 1, np.nan], [5, 3, np.nan]])
    assert np.isnan(panel.extras["empty"]).all()


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_rows_in_any_order_give_the_same_panel_and_a_note(tmp_path: Path, suffix: str) -> None:
    frame = two_assets()
    ordered = panel_from_frame(frame, origin="x")
    path = tmp_path / f"prices{suffix}"
    shuffled = frame.iloc[::-1]
    shuffled.to_csv(path, index=False) if suffix == ".csv" else shuffled.to_parquet(path)
    panel = load_panel(path)
    assert panel.notes == (f"{path}: 3 rows were out of date order: sorted",)
    for field in dataclasses.fields(panel):
        if field.name not in ("notes", "extras"):
            np.testing.assert_array_equal(getattr(panel, field.name), getattr(ordered, field.name))


def test_names_are_text_whatever_they_look_like(tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    frame = two_assets().replace({"symbol": {"SHARE": "000001", "COIN": "NA"}})
    frame.to_csv(path, index=False, encoding="utf-8-sig")
    assert load_panel(path).symbols == ("000001", "NA", "LATE")


def test_a_key_that_is_index_and_column_at_once_is_read_once(tmp_path: Path) -> None:
    two_assets().set_index("date", drop=False).to_parquet(tmp_path / "both.parquet")
    expected = panel_from_frame(two_assets(), origin="test")
    np.testing.assert_array_equal(load_panel(tmp_path / "both.parquet").close_TN, expected.close_TN)


def test_keys_saved_as_the_index_are_found(tmp_path: Path) -> None:
    path = tmp_path / "prices.parquet"
    two_assets().set_index(["date", "symbol"]).to_parquet(path)
    assert load_panel(path).symbols == ("SHARE", "COIN", "LATE")


@pytest.mark.parametrize("dates", ["datetime64[ns]", "datetime64[ns, UTC]", "object", "category"])
def test_dates_of_every_usual_type_are_read(dates: str) -> None:
    frame = two_assets()
    parsed = pd.to_datetime(frame["date"])
    if dates == "datetime64[ns, UTC]":
        parsed = parsed.dt.tz_localize("UTC")
    frame["date"] = parsed.dt.date if dates == "object" else parsed.astype(dates)
    panel = panel_from_frame(frame, origin="here")
    assert panel.dates_T[0] == np.datetime64("2020-01-03")


def changed(column: str, row: int, value: object) -> pd.DataFrame:
    frame = two_assets()
    frame[column] = frame[column].astype(object) if isinstance(value, str) else frame[column]
    frame.loc[row, column] = value
    return frame


REFUSED = {
    "missing columns": (two_assets().drop(columns=["open", "volume"]), r"missing columns open, volume; .*found: date"),
    "no rows": (two_assets().iloc[:0], "no rows; a panel needs at least one bar"),
    "repeated column": (pd.concat([two_assets(), two_assets()["low"]], axis=1), "column name is given twice"),
    "duplicate": (
        pd.concat([two_assets(), two_assets().iloc[[4, 5]]]),
        r"2 rows that repeat a \(date, symbol\), first SHARE on 2020-01-06; keep one row",
    ),
    "zero price": (changed("low", 1, 0.0), "1 row where low is not positive, first COIN on 2020-01-04: low 0; prices"),
    "negative price": (changed("open", 3, -2.5), "open is not positive, first SHARE on 2020-01-03: open -2.5"),
    "nan price": (changed("close", 4, np.nan), "close is NaN or infinite, first SHARE on 2020-01-06: close nan; every"),
    "infinite price": (changed("high", 0, np.inf), "high is NaN or infinite, first COIN on 2020-01-03: high inf"),
    "nan volume": (changed("volume", 0, np.nan), "volume is NaN or infinite"),
    "negative volume": (changed("volume", 0, -1.0), "negative volume, first COIN on 2020-01-03: volume -1"),
    "high below low": (changed("high", 0, 8.0), "high < low, first COIN on 2020-01-03: high 8, low 9; low <= open"),
    "high below close": (changed("high", 0, 10.5), "high < close, first COIN"),
    "high below open": (changed("high", 4, 52.9), "high < open, first SHARE on 2020-01-06: high 52.9, open 53"),
    "low above open": (changed("low", 0, 10.5), "open < low, first COIN"),
    "low above close": (changed("close", 3, 44.0), "close < low, first SHARE"),
    "bad date": (changed("date", 2, "soon"), r"1 row with a date that cannot be read, first in row 3 \(COIN\): 'soon'"),
    "ambiguous date": (changed("date", 2, "03/04/2020"), "write ISO dates such as 2020-01-31"),
    "no date": (changed("date", 2, None), "1 row with a date that cannot be read"),
    "numeric date": (two_assets().assign(date=20200103), "column 'date' holds numbers .first: 20200103.; write ISO"),
    "no symbol": (changed("symbol", 1, None), "1 row without a symbol, first in row 2"),
    "empty class": (changed("asset_class", 1, ""), "1 row without a asset_class, first in row 2"),
    "text price": (
        changed("close", 1, "twelve"),
        r"column 'close' is not numeric, first in row 2 \(COIN on 2020-01-04\): 'twelve'; write numbers",
    ),
    "text extra": (two_assets().assign(mood="good"), "'mood' is not numeric, .*'good'; write numbers or leave the col"),
    "infinite extra": (two_assets().assign(mood=np.inf), "6 rows where mood is infinite, first COIN on 2020-01-03"),
    "two classes": (changed("asset_class", 4, "etf"), r"1 symbol .*in more than one asset_class, first SHARE .etf, st"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_refused_in_one_line(case: str) -> None:
    frame, message = REFUSED[case]
    with pytest.raises(DataError, match=message) as error:
        panel_from_frame(frame, origin="prices.csv")
    assert str(error.value).startswith("prices.csv: ")
    assert "\n" not in str(error.value)


def test_rounding_in_adjusted_prices_is_accepted() -> None:
    panel_from_frame(changed("high", 0, 11.0 * (1 - 1e-9)), origin="here")


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_files_that_cannot_be_read_are_refused_in_one_line(tmp_path: Path) -> None:
    two_assets().to_parquet(tmp_path / "whole.parquet")
    whole = (tmp_path / "whole.parquet").read_bytes()
    cases = {
        tmp_path: "is a directory; data.path names one file",
        tmp_path / "none.csv": "no such file .*set data.path to your prices",
        write(tmp_path / "prices.xlsx", b"x"): "suffix '.xlsx'; .*.parquet or .csv",
        write(tmp_path / "empty.parquet", b""): "not a readable Parquet file .empty, truncated or damaged",
        write(tmp_path / "cut.parquet", whole[: len(whole) // 2]): "not a readable Parquet file",
        write(tmp_path / "noise.parquet", b"not parquet at all"): "not a readable Parquet file",
        write(tmp_path / "empty.csv", b""): "empty file; a panel has the columns date, symbol",
        write(tmp_path / "header.csv", ",".join(two_assets().columns).encode()): "no rows; a panel needs",
        write(tmp_path / "torn.csv", b"date,symbol\n1,2\n1,2,3,4\n"): "not a readable CSV file",
        write(tmp_path / "binary.csv", b"\xff\xfe\x00\x01date"): "not a readable CSV file",
    }
    for path, message in cases.items():
        with pytest.raises(DataError, match=message) as error:
            load_panel(path)
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), cut=st.integers(20, 80))
def test_the_future_changes_no_earlier_bar(seed: int, cut: int) -> None:
    frame = ragged_frame(seed)
    whole = panel_from_frame(frame, origin="whole")
    last = pd.Timestamp(whole.dates_T[cut])
    rows = cut + 1
    futures = (frame[frame["date"] <= last], other_future(frame, last, seed + 1))
    for other in (panel_from_frame(future, origin="other") for future in futures):
        assert other.symbols == whole.symbols
        for name in ("dates_T", "open_TN", "high_TN", "low_TN", "close_TN", "volume_TN", "traded_TN"):
            np.testing.assert_array_equal(getattr(other, name)[:rows], getattr(whole, name)[:rows])
        np.testing.assert_array_equal(other.extras["sentiment"][:rows], whole.extras["sentiment"][:rows])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_every_row_is_in_the_panel_and_nothing_else_trades(seed: int) -> None:
    frame = ragged_frame(seed)
    panel = panel_from_frame(frame, origin="here")
    assert panel.traded_TN.sum() == len(frame)
    bar = np.searchsorted(panel.dates_T, frame["date"].to_numpy())
    asset = frame["symbol"].map(panel.symbols.index).to_numpy()
    for name in ("open", "high", "low", "close", "volume"):
        np.testing.assert_array_equal(getattr(panel, f"{name}_TN")[bar, asset], frame[name])
    still_TN = ~panel.traded_TN[1:] & (panel.traded_TN.cumsum(axis=0)[1:] > 0)
    np.testing.assert_array_equal(panel.close_TN[1:][still_TN], panel.close_TN[:-1][still_TN])


@pytest.mark.skipif(not REAL_PANEL.is_file(), reason="the real price panel is not here")
def test_the_real_panel_loads() -> None:
    panel = load_panel(REAL_PANEL)
    assert panel.close_TN.shape == (2373, 53)
    assert panel.classes == ("stocks", "crypto", "etf", "currencies", "reits")
    assert np.bincount(panel.class_N).tolist() == [21, 6, 12, 5, 9]
    assert panel.notes == ()
