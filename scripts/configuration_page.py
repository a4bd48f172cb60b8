"""Write the tables of keys in docs/configuration.md, from the schema.

python scripts/configuration_page.py            # writes them
python scripts/configuration_page.py --check    # exits with 1 where the page is out of date
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from rdrop_cli.key_reference import KeyGroup, key_groups, yaml_value

PAGE = Path(__file__).parent.parent / "docs" / "configuration.md"
BEGIN = "<!-- keys: written by scripts/configuration_page.py -->"
END = "<!-- end of keys -->"


def main() -> None:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(description="Write the tables of keys in docs/configuration.md.")
    parser.add_argument("--check", action="store_true", help="Change nothing; exit with 1 where it is out of date.")
    only_check = parser.parse_args().check
    text = PAGE.read_text(encoding="utf-8")
    wanted = with_tables(text)
    if text == wanted:
        return
    if only_check:
        sys.exit(f"{PAGE} is out of date: run python scripts/configuration_page.py")
    PAGE.write_text(wanted, encoding="utf-8")


def with_tables(text: str) -> str:
    """The page's text with the tables of today between the markers."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        sys.exit(f"{PAGE}: expected the lines {BEGIN} and {END}")
    tables = "\n\n".join("\n".join(table(group)) for group in key_groups())
    return f"{before}{BEGIN}\n\n{tables}\n\n{END}{after}"


def table(group: KeyGroup) -> Iterator[str]:
    """A heading, what the group is about, and a row for each key."""
    yield f"### {group.name}"
    yield ""
    yield group.doc
    yield ""
    yield "| key | type | default | description |"
    yield "| --- | --- | --- | --- |"
    for key in group.keys:
        cells = [f"`{key.name}`", key.type, f"`{yaml_value(key.default)}`", key.doc]
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    main()
