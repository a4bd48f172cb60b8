"""Imports run one way: app -> commands -> core -> config, schema, errors."""

import ast
from pathlib import Path

import pytest

import rdrop_cli

PACKAGE = Path(rdrop_cli.__file__).parent
SHOWING = {"console", "tables", "live", "live_comparison", "options"}
ALLOWED = {
    "errors": set(),
    "schema": set(),
    "processes": {"errors"},
    "threads": {"processes"},
    "config": {"schema", "errors"},
    "core": {"core", "config", "schema", "errors", "processes", "threads"},
    "console": {"processes"},
    "tables": {"console", "core"},
    "live": {"console", "core", "processes"},
    "live_comparison": {"console", "core", "live", "tables"},
    "options": set(),
    "commands": {"core", "config", "schema", "errors", "processes", "threads", *SHOWING},
    "app": {"commands", "errors", "console", "options", "processes"},
    "__main__": {"app", "threads"},
    "__init__": set(),
}


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rdrop_cli"):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from names
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("rdrop_cli"))


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path):
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for name in imports_of(path):
        target = name.split(".")[1]
        if target != "__version__":
            assert target in ALLOWED[room], f"{path.name} imports {name}"


CORE = sorted((PACKAGE / "core").rglob("*.py"))


@pytest.mark.parametrize("path", CORE, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_core_never_prints_prompts_or_exits(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"print", "input", "exit", "quit"}
        if isinstance(node, ast.Attribute):
            assert node.attr not in {"stdout", "stderr"}
            assert not (node.attr == "exit" and isinstance(node.value, ast.Name) and node.value.id == "sys")
