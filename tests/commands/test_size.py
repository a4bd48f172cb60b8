"""Commands are thin: they parse, call the core, and show. What is longer does the work itself."""

import ast
from pathlib import Path

import pytest

from rdrop_cli import commands

LONGEST = 40
"""Lines of a function's body, behind its signature and its docstring."""


def functions():
    for path in sorted(Path(commands.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield pytest.param(node, id=f"{path.stem}.{node.name}")


@pytest.mark.parametrize("function", list(functions()))
def test_no_function_of_a_command_is_long(function):
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
    assert lines <= LONGEST
