"""What README and the pages of docs/ show: commands, keys and links."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [README, ROOT / "CONTRIBUTING.md", *DOCS]


def commands_in(page: Path, *, inline: bool = True) -> Iterator[list[str]]:
    """The arguments of each `rdrop` command of a page: those of its code blocks, and those within a sentence.

    A pipe's other commands and what a shell redirects are left out.
    """
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```(?:bash|console)\n(.*?)^```", text, flags=re.M | re.S)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    if inline:
        without_blocks = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
        lines += re.findall(r"`(rdrop [^`]+)`", without_blocks.replace("\n", " "))
    for line in lines:
        for part in re.split(r" (?:\||&&|>) ", line):
            words = shlex.split(part, comments=True) if re.match(r"\S*rdrop ", part) else []
            if words:
                yield words[1:]


def links_in(page: Path) -> list[str]:
    """Where the page's links and pictures lead."""
    return re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
