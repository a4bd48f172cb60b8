"""Find the files of an input that consists of many, and decide where the predictions of each go."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rdrop_cli.core.data.readers import format_of
from rdrop_cli.core.inference.writers import FORMATS as OUTPUT_FORMATS
from rdrop_cli.core.storage.files import user_path
from rdrop_cli.errors import ConfigError, DataError, one_line

FORMATS = ("csv", "tsv", "jsonl", "txt", "parquet")
"""What a part may be. A json array is none, since it is read whole."""
_WILDCARD = re.compile(r"[*?[]")
_NOT_DATA = (".", "_")
"""Names that begin so are no data: hidden files, and by Hadoop's convention _SUCCESS, _metadata and the like."""


@dataclass(frozen=True)
class Part:
    """One of the files.

    Attributes:
        name: Its path below the folder of all, with slashes.
        source: The file to read.
        target: The file to write.
        size: In bytes, when it was found.
        modified: Its time stamp then, in nanoseconds.
    """

    name: str
    source: Path
    target: Path
    size: int
    modified: int


@dataclass(frozen=True)
class Parts:
    """All files of an input, in natural order of their names.

    Attributes:
        root: The folder that all are in.
        output: The folder for the predictions.
        passed_over: Names of files that are no parts.
    """

    root: Path
    output: Path
    all: tuple[Part, ...]
    passed_over: tuple[str, ...] = ()


@dataclass(frozen=True)
class Shard:
    """A share of the parts: `number` (from 1) of `count`."""

    number: int
    count: int

    def of(self, parts: Sequence[Part]) -> tuple[Part, ...]:
        """The parts of this share, which are spread over all."""
        return tuple(parts[self.number - 1 :: self.count])

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def parse_shard(text: str | None) -> Shard | None:
    """The share that a `--shard` option names; None if it was not given.

    Raises:
        ConfigError: it is not I/N with I from 1 to N.
    """
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise ConfigError(f"--shard {text}: must be I/N with I from 1 to N, such as 1/8")
    return Shard(int(match[1]), int(match[2]))


def is_many(source: str) -> bool:
    """True for a folder and for a pattern; a file whose name looks like a pattern is a file."""
    path = user_path(source)
    return path.is_dir() or (_WILDCARD.search(source) is not None and not path.exists())


def find_parts(source: str, output: Path, input_format: str | None = None) -> Parts:
    """Find the files of a folder, including its subfolders, or of a pattern.

    Args:
        source: A folder, or a pattern with `*`, `?`, `[...]` or `**`.
        output: The folder for the predictions, which need not exist. It may be in the folder of the parts.
        input_format: The format of all files; None: by suffix, and files of other types are passed over.

    Raises:
        DataError: there are none, or the predictions of one would replace those of another, or an input file.
        ConfigError: the input format is not one of a part.
    """
    if input_format is not None and input_format not in FORMATS:
        raise ConfigError(
            f"--input-format {input_format}: not possible for many files", f"Known: {', '.join(FORMATS)}."
        )
    path = user_path(source)
    root = path if path.is_dir() else _root_of(path)
    if output.exists() and not output.is_dir():
        raise DataError(f"{output}: is not a folder", "The predictions of many files need a folder as --output.")
    if output.resolve() == root.resolve():
        raise DataError(f"{output}: is the folder of the input files", "Give another --output.")
    all_names = sorted(_walk(root, output) if path.is_dir() else _matches(path, root, output), key=natural)
    names = [name for name in all_names if _is_part(name, input_format)]
    if not names:
        others = f", but {len(all_names):,} of other types" if all_names else ""
        raise DataError(f"{source}: no {', '.join(FORMATS)} files found{others}")
    parts = tuple(_part(root, name, output, input_format) for name in names)
    _check_targets(parts)
    return Parts(root, output, parts, tuple(name for name in all_names if not _is_part(name, input_format)))


def natural(name: str) -> tuple[list[tuple[int, str]], str]:
    """A sort key by which part-2 comes before part-10."""
    pieces = re.split(r"([0-9]+)", name)
    return [(int(piece), "") if index % 2 else (-1, piece) for index, piece in enumerate(pieces)], name


def target_name(name: str, input_format: str | None = None) -> str:
    """The name of the file with the predictions of a file: the same, if its suffix fits what is written.

    That is the input's format, and jsonl for text files, which have no columns.
    """
    path = Path(name)
    read = input_format or format_of(path) or ""
    written = read if read in OUTPUT_FORMATS else "jsonl"
    is_zipped = path.suffix.lower() == ".gz"
    if format_of(path) == written and not (is_zipped and written == "parquet"):
        return name
    bare = name[:-3] if is_zipped else name
    bare = bare[: -len(Path(bare).suffix)] if format_of(Path(bare)) else bare
    return f"{bare}.{written}{'.gz' if is_zipped and written != 'parquet' else ''}"


def _root_of(pattern: Path) -> Path:
    """The folder before the first wildcard."""
    fixed: list[str] = []
    for piece in pattern.parts[:-1]:
        if _WILDCARD.search(piece):
            break
        fixed.append(piece)
    return Path(*fixed)


def _walk(root: Path, output: Path) -> Iterator[str]:
    def fail(error: OSError) -> None:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror})") from error

    without = output.resolve()
    for folder, folders, files in os.walk(root, onerror=fail):
        below = Path(folder).relative_to(root)
        folders[:] = [name for name in folders if _may_be_data(name) and Path(folder, name).resolve() != without]
        yield from ((below / name).as_posix() for name in files if _may_be_data(name))


def _matches(pattern: Path, root: Path, output: Path) -> Iterator[str]:
    without = output.resolve()
    is_inside = root.resolve() in without.parents
    try:
        paths = set(root.glob(str(pattern.relative_to(root))))
    except ValueError as error:
        raise DataError(f"{pattern}: not a pattern ({one_line(error)})") from error
    for path in paths:
        below = path.relative_to(root)
        if is_inside and without in path.resolve().parents:
            continue
        if all(map(_may_be_data, below.parts)) and (path.is_file() or not path.exists()):  # a broken link
            yield below.as_posix()


def _may_be_data(name: str) -> bool:
    return not name.startswith(_NOT_DATA)


def _is_part(name: str, input_format: str | None) -> bool:
    return input_format is not None or format_of(Path(name)) in FORMATS


def _part(root: Path, name: str, output: Path, input_format: str | None) -> Part:
    source = root / name
    try:
        stat = source.stat()
    except OSError as error:
        raise DataError(f"{source}: cannot be read ({error.strerror})") from error
    return Part(name, source, output / target_name(name, input_format), stat.st_size, stat.st_mtime_ns)


def _check_targets(parts: Iterable[Part]) -> None:
    by_target: dict[Path, Part] = {}
    for part in parts:
        if (other := by_target.get(part.target)) is not None:
            raise DataError(
                f"{other.source} and {part.source}: the predictions of both would be {part.target}",
                "Predict them in two commands, with two folders as --output.",
            )
        by_target[part.target] = part
    sources = {part.source.resolve() for part in by_target.values()}
    for target in by_target:
        if target.resolve() in sources:
            raise DataError(f"{target}: is an input file; predictions would replace the data", "Give another --output.")
