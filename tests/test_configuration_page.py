"""The documentation's tables of keys are those of the schema."""

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "configuration_page.py"))


def test_the_page_is_what_the_script_would_write():
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert SCRIPT["with_tables"](text) == text, "run python scripts/configuration_page.py"


def test_only_what_is_between_the_markers_is_written():
    text = f"before\n{SCRIPT['BEGIN']}\nof yesterday\n{SCRIPT['END']}\nafter\n"
    written = SCRIPT["with_tables"](text)
    assert written.startswith("before\n") and written.endswith("\nafter\n") and "of yesterday" not in written
    assert "| `train.lr` | number > 0 | `0.0001` | Learning rate" in written
    with pytest.raises(SystemExit):
        SCRIPT["with_tables"]("no markers")
