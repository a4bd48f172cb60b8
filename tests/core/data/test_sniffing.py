"""Encodings and kinds of files, from their first bytes."""

import pytest

from rdrop_cli.core.data.readers import read_rows
from rdrop_cli.core.data.sniffing import encoding_of, encoding_problem
from rdrop_cli.errors import DataError


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_is_believed(tmp_path, encoding):
    (tmp_path / "r.csv").write_bytes("text,label\r\nschön 👍,1\r\n".encode(encoding))
    assert [row.values for row in read_rows(tmp_path / "r.csv")] == [{"text": "schön 👍", "label": "1"}]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_that_does_not_say_so_is_named(encoding):
    with pytest.raises(DataError, match="UTF-16 without a byte-order mark"):
        encoding_of("text,label\nfine,1\n".encode(encoding), "r.csv")


@pytest.mark.parametrize(
    "text", ["", "a", "a\x00b", "\x00\x00\x00\x00\x00\x00\x00\x00", "评论评论评论", "a\x00b\x00 and so on"]
)
def test_text_with_zeros_is_still_text(text):
    assert encoding_of(text.encode(), "r.csv") == "utf-8-sig"


def test_bytes_that_are_no_utf8_are_guessed_at():
    def read(content):
        return encoding_problem(content.decode("utf-8", "surrogateescape"))

    assert read("schön".encode()) is None
    assert read("schön".encode("latin-1")) == "not valid UTF-8 (Latin-1 or Windows-1252? save it as UTF-8)"
    assert read(b"\x81\x8d") == "not valid UTF-8"  # no character in Windows-1252
