"""Every room has a door: what it may import. Imports run one way, from `app` down to `errors`."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import rdrop_cli
from conftest import heavy_imports

PACKAGE = Path(rdrop_cli.__file__).parent
BASE = {"errors", "schema", "wording"}
ALLOWED = {
    "errors": set(),
    "schema": set(),
    "wording": set(),
    "processes": {"errors"},
    "large_imports": set(),
    "threads": {"processes"},
    "strict_yaml": {"errors"},
    "config": {*BASE, "strict_yaml"},
    "key_reference": {"config", "schema", "strict_yaml"},
    "core.progress": set(),
    "core.loss": set(),
    "core.metrics": set(),
    "core.storage": {*BASE, "core.progress"},
    "core.data": {*BASE, "core.storage", "core.progress"},
    "core.model": {*BASE, "core.data", "core.storage", "core.progress", "processes", "threads"},
    "core.doctor": {*BASE, "core.model", "core.storage", "processes", "threads"},
    "core.trainer": {"core.loss", "core.model", "core.storage", "errors", "processes"},
    "core.runs": {
        *BASE,
        "config",
        "processes",
        "core.progress",
        "core.model",
        "core.data",
        "core.storage",
        "core.metrics",
    },
}
ALLOWED["core.inference"] = {*ALLOWED["core.runs"], "core.runs", "large_imports", "threads"}
ALLOWED["core.exporting"] = {*ALLOWED["core.inference"], "core.inference"}
ALLOWED["core.training"] = {*ALLOWED["core.inference"], "core.inference", "core.trainer", "core.loss"}
ALLOWED["core.executors"] = {
    *BASE, "config", "large_imports", "threads", "processes", "core.training", "core.inference", "core.runs",
    "core.data", "core.model", "core.storage", "core.progress",
}  # fmt: skip
ALLOWED["core.comparison"] = {
    *BASE, "config", "core.executors", "core.training", "core.runs", "core.model", "core.data", "core.storage",
    "core.metrics", "core.progress",
}  # fmt: skip
ALLOWED["core.report"] = {
    *BASE, "config", "strict_yaml", "core.comparison", "core.runs", "core.inference", "core.data", "core.storage",
    "core.metrics", "core.progress",
}  # fmt: skip
ALLOWED["core.publishing"] = {
    *BASE, "core.runs", "core.data", "core.storage", "core.metrics", "core.progress",
}  # fmt: skip
ALLOWED["core.sweep"] = {
    *BASE, "config", "strict_yaml", "core.comparison", "core.executors", "core.training", "core.runs", "core.model",
    "core.data", "core.storage", "core.metrics",
}  # fmt: skip
ALLOWED["terminal"] = {
    *("processes", "schema", "wording", "key_reference", "core.comparison", "core.training", "core.runs", "core.data"),
    *("core.doctor", "core.exporting", "core.metrics", "core.model", "core.publishing", "core.sweep"),
}
ALLOWED["commands"] = {
    *(ALLOWED["core.training"] - {"core.trainer", "core.loss"}),
    *(
        "core.training",
        "core.comparison",
        "core.executors",
        "core.doctor",
        "core.exporting",
        "core.publishing",
        "core.report",
        "core.sweep",
        "key_reference",
        "terminal",
        "threads",
    ),
}
ALLOWED["app"] = {"commands", "terminal", "errors", "processes"}
ALLOWED["__main__"] = {"app", "large_imports", "threads"}
ALLOWED["__init__"] = {"core.inference", "core.loss", "core.metrics", "core.trainer"}  # lazily: test_public_names
ALLOWED["core"] = set()
TORCHLESS = (
    *("core.data", "core.storage", "core.metrics", "core.runs", "core.doctor", "core.inference", "core.report"),
    "core.publishing",
)
WITH_TORCH = {Path("core/inference/backends/torch.py")}


def room_of(parts):
    return ".".join(parts[:2]) if parts[0] == "core" and parts[1:] != ("__init__",) else parts[0]


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rdrop_cli"):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from names
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("rdrop_cli"))


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path):
    room = room_of(path.relative_to(PACKAGE).with_suffix("").parts)
    for name in imports_of(path):
        target = room_of(tuple(name.split(".")[1:]))
        if target not in ("__version__", room):
            assert target in ALLOWED[room], f"{path.name} imports {name}"


@pytest.mark.parametrize("room", TORCHLESS)
def test_rooms_that_need_no_torch_load_none(room):
    folder = PACKAGE / Path(*room.split("."))
    paths = [path.relative_to(PACKAGE) for path in folder.rglob("*.py")]
    names = [".".join(["rdrop_cli", *path.with_suffix("").parts]) for path in paths if path not in WITH_TORCH]
    code = f"import sys; [__import__(name) for name in {names!r}]; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_prediction_with_an_export_loads_no_pytorch_and_only_what_its_files_need(rdrop, exported, suffix):
    Path("in.csv").write_text("text\ngreat\ndull\n")
    rdrop("predict", "--input", "in.csv", "--output", "in.parquet", "--backend", "onnx")
    command = ["predict", "--input", f"in.{suffix}", "--output", f"out.{suffix}", "--backend", "onnx"]
    needed = ["pandas", "pyarrow"] if suffix == "parquet" else []  # pyarrow loads pandas where it is installed
    assert heavy_imports(command, "pyarrow", "yaml") == str(needed)
    assert Path(f"out.{suffix}").is_file()


def test_texts_and_stdin_are_classified_without_pytorch(exported):
    assert heavy_imports(["predict", "great movie"], "pyarrow", "yaml", "urllib.request", "rdrop_cli.schema") == "[]"
    assert heavy_imports(["predict", "--input", "-"], "pyarrow", "yaml", stdin="great\n") == "[]"


def test_evaluating_an_export_loads_no_pytorch(exported):
    command = ["evaluate", exported["run_dir"], "--backend", "onnx-int8", "--against", exported["run_dir"]]
    assert "torch" not in heavy_imports(command) and "transformers" not in heavy_imports(command)


CORE = sorted((PACKAGE / "core").rglob("*.py"))


@pytest.mark.parametrize("path", CORE, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_core_never_prints_prompts_or_exits(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"print", "input", "exit", "quit"}
        if isinstance(node, ast.Attribute):
            assert node.attr not in {"stdout", "stderr"}
            assert not (node.attr == "exit" and isinstance(node.value, ast.Name) and node.value.id == "sys")
