"""Detect a file's encoding, or that it is not text, from its first bytes."""

from __future__ import annotations

import codecs

from rdrop_cli.errors import DataError

HEAD = 4096
"""Number of bytes that are examined."""

_MARKS = (  # UTF-32 first: its mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_KINDS = (
    (b"\x1f\x8b", "compressed with gzip", "Add .gz to its name."),
    (b"PK\x03\x04", "a zip archive (as Excel workbooks are)", "Save the table as csv, in UTF-8."),
    (b"\xd0\xcf\x11\xe0", "an Excel or Word document", "Save the table as csv, in UTF-8."),
    (b"PAR1", "a parquet file", "Name it .parquet."),
    (b"ARROW1", "an Arrow file", "Save it as parquet or csv."),
    (b"SQLite format 3\x00", "an SQLite database", "Save the table as csv."),
    (b"%PDF", "a PDF document", "Save its text as csv."),
    (b"BZh", "compressed with bzip2", "Decompress it, or compress it with gzip."),
    (b"\xfd7zXZ\x00", "compressed with xz", "Decompress it, or compress it with gzip."),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "Decompress it, or compress it with gzip."),
)


def encoding_of(head: bytes, name: str) -> str:
    """The encoding of a text file by its first bytes: UTF-8 unless a byte-order mark says otherwise.

    Args:
        head: The first bytes; `HEAD` of them are enough.
        name: The file, for messages.

    Raises:
        DataError: it is not text, or UTF-16 without a byte-order mark.
    """
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    for magic, kind, hint in _KINDS:
        if head.startswith(magic):
            raise DataError(f"{name}: is {kind}, not text", hint)
    if _looks_like_utf16(head):
        raise DataError(f"{name}: appears to be UTF-16 without a byte-order mark", "Save it as UTF-8.")
    return "utf-8-sig"


def encoding_problem(text: str) -> str | None:
    """What is wrong with text read with surrogate escapes for undecodable bytes; None: nothing."""
    if is_valid_text(text):
        return None
    try:
        text.encode("utf-8", "surrogateescape").decode("cp1252")
    except UnicodeError:
        return "not valid UTF-8"
    return "not valid UTF-8 (Latin-1 or Windows-1252? save it as UTF-8)"


def is_valid_text(text: str) -> bool:
    """False if text contains a surrogate: an undecodable byte, or half of a pair that JSON escaped."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _looks_like_utf16(head: bytes) -> bool:
    """Whether about every second byte is zero, as in Western text in UTF-16; UTF-8 text has no zero bytes."""
    half = len(head) // 2
    return half > 2 and any(
        head[start::2].count(0) > 0.7 * half > 5 * head[1 - start :: 2].count(0) for start in (0, 1)
    )
