from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkid.app.durations import LONGEST, decode_duration, encode_duration


@given(st.integers(min_value=0, max_value=int(LONGEST.total_seconds())))
def test_what_was_written_is_read_back(seconds: int) -> None:
    duration = timedelta(seconds=seconds)
    assert decode_duration(encode_duration(duration)) == duration


@given(st.text(max_size=12))
def test_any_text_is_a_duration_or_a_value_error(text: str) -> None:
    try:
        duration = decode_duration(text)
    except ValueError:
        return
    assert timedelta(0) <= duration <= LONGEST


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2y", 2 * 365 * 86400),
        ("1w", 7 * 86400),
        ("90d", 90 * 86400),
        ("24h", 86400),
        ("10m", 600),
        ("30s", 30),
        ("1h30m", 5400),
        ("1y2w3d4h5m6s", 365 * 86400 + 17 * 86400 + 4 * 3600 + 306),
    ],
)
def test_units_add_up(text: str, seconds: int) -> None:
    assert decode_duration(text).total_seconds() == seconds


@pytest.mark.parametrize(
    "text",
    ["", "5", "d", "5 d", "-1d", "1.5h", "1m1h", "1M", "\u0661d", "101y", "1d1d"],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"duration|longer"):
        decode_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (60, "1m"), (90, "90s"), (86400, "1d"), (604800, "1w")],
)
def test_the_largest_unit_that_fits_is_shown(seconds: int, text: str) -> None:
    assert encode_duration(timedelta(seconds=seconds)) == text
