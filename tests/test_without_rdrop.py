"""The script of docs/predicting.md runs an export with three packages, and predicts what rdrop does."""

import json
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from pages import ROOT

PACKAGES = ("numpy", "onnxruntime", "tokenizers")
ALONE = """
import runpy, sys
sys.path.insert(0, sys.argv[1])
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
assert not {"torch", "transformers", "rdrop_cli"} & set(sys.modules)
"""


@pytest.fixture
def packages(tmp_path):
    """A folder with nothing but these packages, and the libraries that come with them."""
    folder = tmp_path / "packages"
    folder.mkdir()
    for name in PACKAGES:
        for found in Path(sysconfig.get_path("purelib")).glob(f"{name}*"):
            if found.name in (name, f"{name}.libs"):
                (folder / found.name).symlink_to(found)
    return folder


def test_it_gives_the_probabilities_of_rdrop(rdrop, exported, packages):
    page = (ROOT / "docs/predicting.md").read_text(encoding="utf-8").partition("## Without rdrop")[2]
    (script,) = re.findall(r"^```python\n(.*?)^```", page, flags=re.M | re.S)
    assert len(script.splitlines()) <= 30
    Path("classify.py").write_text(script)
    texts = ["great movie", "dull and awful", "", "great " * 20 + "dull " * 20]
    command = [sys.executable, "-I", "-S", "-c", ALONE, str(packages), "classify.py", exported["checkpoint"], *texts]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    expected = rdrop.json("predict", *texts, "--backend", "onnx")["predictions"]
    assert [pytest.approx(one["probabilities"], abs=1e-5) for one in expected] == found
