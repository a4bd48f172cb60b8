"""What a report consists of: sections, and in them facts, tables, pictures and texts. All but the SVG is plain text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(frozen=True)
class Tile:
    """A figure that is shown large.

    Attributes:
        detail: A line below it, such as its interval.
    """

    title: str
    value: str
    detail: str = ""


@dataclass(frozen=True)
class Tiles:
    """The figures that matter most."""

    tiles: Sequence[Tile]
    kind: ClassVar[str] = "tiles"


@dataclass(frozen=True)
class Facts:
    """Names with their values.

    Attributes:
        rows: A value of several lines is a sequence.
    """

    rows: Sequence[tuple[str, str | Sequence[str]]]
    kind: ClassVar[str] = "facts"


@dataclass(frozen=True)
class Table:
    """A table whose first columns are text and whose others are numbers.

    Attributes:
        caption: What it shows; read aloud, and visible.
        texts: How many columns are text.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: int = 1
    kind: ClassVar[str] = "table"


@dataclass(frozen=True)
class Picture:
    """A picture with the table of what it shows.

    Attributes:
        name: Unique in the report; letters, digits and hyphens.
        svg: The `<svg>` element; trusted, as `drawing.Sheet.svg` makes it.
        text: What can be seen, for those who cannot see it.
        note: How to read it.
    """

    name: str
    title: str
    svg: str
    text: str
    table: Table
    note: str = ""
    kind: ClassVar[str] = "picture"


@dataclass(frozen=True)
class SideBySide:
    """Pictures, and what belongs to them, side by side where there is room.

    Attributes:
        is_roomy: They need more room than pictures.
    """

    parts: Sequence[Picture | Table | Facts]
    is_roomy: bool = False
    kind: ClassVar[str] = "side-by-side"


@dataclass(frozen=True)
class Example:
    """An example of the data with what a model said of it.

    Attributes:
        texts: The text, or the two of a pair.
        true: Its class.
        predicted: The class that the model gave it.
        remarks: What else is known, such as the length.
    """

    texts: Sequence[str]
    true: str
    predicted: str
    confidence: str
    remarks: Sequence[str] = ()


@dataclass(frozen=True)
class Examples:
    """Examples, one below the other."""

    examples: Sequence[Example]
    kind: ClassVar[str] = "examples"


@dataclass(frozen=True)
class Command:
    """A command to copy."""

    line: str
    title: str = ""
    kind: ClassVar[str] = "command"


@dataclass(frozen=True)
class Notes:
    """Sentences, each a paragraph.

    Attributes:
        tone: `plain`, `caution`, or `verdict`.
    """

    sentences: Sequence[str]
    tone: str = "plain"
    kind: ClassVar[str] = "notes"


Block = Tiles | Facts | Table | SideBySide | Examples | Command | Notes


@dataclass(frozen=True)
class Section:
    """A section of a report.

    Attributes:
        name: Unique in the report; letters, digits and hyphens.
        blocks: What it shows.
        missing: Why it, or a part of it, could not be made; a sentence each.
    """

    name: str
    title: str
    blocks: Sequence[Block] = ()
    lead: str = ""
    missing: Sequence[str] = ()

    @property
    def is_left_out(self) -> bool:
        """True where nothing of it could be made."""
        return not self.blocks


@dataclass(frozen=True)
class Report:
    """A whole page.

    Attributes:
        kicker: A word or two above the title.
        summary: A sentence below it.
        foot: The last line.
    """

    title: str
    kicker: str
    summary: str
    sections: Sequence[Section] = field(default_factory=list)
    foot: str = ""
