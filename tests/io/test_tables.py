"""Kaldi's text tables."""

import pytest

from kdspeech.io.errors import InputError
from kdspeech.io.tables import read_table, write_table


def table(tmp_path, content: bytes):
    path = tmp_path / "text"
    path.write_bytes(content)
    return path


def test_round_trip_sorts_as_the_c_locale_does(tmp_path):
    rows = {"b": "2", "a-1": "x  y", "a": "1", "B": "0", "ä": "5", "a_1": ""}
    path = write_table(tmp_path / "t", rows)
    keys = [line.split()[0] for line in path.read_bytes().splitlines()]
    assert keys == sorted(key.encode() for key in rows)
    assert read_table(path, empty_values=True, need_sorted=True) == rows


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a 1\nb 2\na 3\n", r"text:3: duplicate key a"),
        (b"b 1\na 2\n", r"text:2: not sorted: a after b"),
        (b"a 1\n\nb 2\n", r"text:2: empty line"),
        (b"a 1\nb\n", r"text:2: b has no value"),
        (b" a 1\n", r"text:1: begins with a space"),
        (b"a 1\nb \xff\n", r"text:2: not UTF-8"),
    ],
)
def test_bad_lines_are_named(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        read_table(table(tmp_path, content), need_sorted=True)


def test_missing_table_is_named(tmp_path):
    with pytest.raises(InputError, match="wav.scp: cannot be read: No such file"):
        read_table(tmp_path / "wav.scp")


def test_empty_values_and_order_are_the_callers_choice(tmp_path):
    path = table(tmp_path, b"b\na 2\r\n")
    assert read_table(path, empty_values=True) == {"b": "", "a": "2"}
