"""What a file's first bytes say that its name does not: its encoding, or that it is no text at all."""

from __future__ import annotations

import codecs

from rdrop_cli.errors import DataError

HEAD = 4096
"""Bytes that are looked at."""

_MARKS = (  # UTF-32 first: its mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_KINDS = (
    (b"\x1f\x8b", "compressed by gzip", "Name it with .gz at the end."),
    (b"PK\x03\x04", "a zip archive, as Excel workbooks are too", "Save the table as csv, in UTF-8."),
    (b"\xd0\xcf\x11\xe0", "an Excel or Word document", "Save the table as csv, in UTF-8."),
    (b"PAR1", "a parquet file", "Name it .parquet."),
    (b"ARROW1", "an Arrow file", "Save it as parquet or csv."),
    (b"SQLite format 3\x00", "an SQLite database", "Save the table as csv."),
    (b"%PDF", "a PDF document", "Save its text as csv."),
    (b"BZh", "compressed by bzip2", "Unpack it, or compress it by gzip."),
    (b"\xfd7zXZ\x00", "compressed by xz", "Unpack it, or compress it by gzip."),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd", "Unpack it, or compress it by gzip."),
)


def encoding_of(head: bytes, name: str) -> str:
    """The encoding that a text file's first bytes promise: UTF-8 unless a byte-order mark says otherwise.

    Args:
        head: The first bytes, `HEAD` are enough.
        name: The file, for messages.

    Raises:
        DataError: it is no text, or UTF-16 that does not say so.
    """
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    for magic, kind, hint in _KINDS:
        if head.startswith(magic):
            raise DataError(f"{name}: is {kind}, not text", hint)
    if _looks_like_utf16(head):
        raise DataError(f"{name}: reads as UTF-16 without a byte-order mark", "Save it as UTF-8.")
    return "utf-8-sig"


def encoding_problem(text: str) -> str | None:
    """What is wrong with text whose undecodable bytes were kept as surrogate escapes; None: nothing."""
    if is_valid_text(text):
        return None
    try:
        text.encode("utf-8", "surrogateescape").decode("cp1252")
    except UnicodeError:
        return "not valid UTF-8"
    return "not valid UTF-8 (Latin-1 or Windows-1252? save it as UTF-8)"


def is_valid_text(text: str) -> bool:
    """False where bytes that are not UTF-8 stood, or half a character that JSON can escape (a lone surrogate)."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _looks_like_utf16(head: bytes) -> bool:
    """Every second byte of Western text in UTF-16 is zero, which in UTF-8 none is."""
    half = len(head) // 2
    return half > 2 and any(
        head[start::2].count(0) > 0.7 * half > 5 * head[1 - start :: 2].count(0) for start in (0, 1)
    )
