"""Help, start-up cost, and the boundary that turns errors into one line and an exit code."""

import subprocess
import sys

import pytest

from conftest import HEAVY, heavy_imports, run_python
from rdrop_cli import __version__
from rdrop_cli.core.runs import checkpoint

COMMANDS = ("prepare", "train", "evaluate", "predict", "compare", "export", "config", "doctor")


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["config", "show", "--help"], *([name, "--help"] for name in COMMANDS)]
)
def test_help_imports_nothing_heavy(arguments):
    assert heavy_imports(arguments) == "[]"


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--alpha", "-1"],
        ["train", "gone.csv"],
        ["evaluate", "gone"],
        ["predict", "text"],
        ["export"],
        ["export", "gone"],
        ["train", "--set", "train.rate=1"],
        ["train", "--model", "gone"],
        ["compare", "--arms", "plain"],
        ["config", "show", "gone"],
    ],
)
def test_cheap_mistakes_are_found_before_anything_heavy_is_imported(arguments, tmp_path):
    code = (
        "import sys\n"
        "from rdrop_cli.app import app\n"
        f"try: app({arguments!r}, prog_name='rdrop')\n"
        "except SystemExit as stop: print('CODE', stop.code)\n"
        f"print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = run_python(code, cwd=tmp_path)
    assert done.stdout == "CODE 1\nHEAVY []\n"
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_worked_examples(rdrop, name):
    text = rdrop(name, "--help").stdout
    assert "Examples" in text
    assert text.count(f"rdrop {name}") >= 3


def test_version(rdrop):
    assert rdrop("--version").stdout == f"rdrop {__version__}\n"


def test_module_and_command_are_the_same():
    done = subprocess.run([sys.executable, "-m", "rdrop_cli", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"rdrop {__version__}\n"


def test_bad_usage_exits_with_2(rdrop):
    rdrop("--bogus", code=2)
    rdrop("train", "--alpha", "much", code=2)
    rdrop("predict", code=2)
    rdrop("predict", "text", "--input", "file.csv", code=2)


def test_an_unforeseen_error_is_one_line_with_its_cause(rdrop, monkeypatch):
    def fail(**_):
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(checkpoint, "newest_finished", fail)
    assert rdrop.error("predict", "text") == (
        "error: internal error: ZeroDivisionError: by zero. Run again with --debug for the traceback"
    )


def test_debug_shows_the_traceback(rdrop, monkeypatch):
    result = rdrop("predict", "text", "--debug", code=1)
    assert type(result.exception).__name__ == "CheckpointError"
    monkeypatch.setenv("RDROP_DEBUG", "1")
    assert type(rdrop("predict", "text", code=1).exception).__name__ == "CheckpointError"


def test_an_interruption_exits_with_130(rdrop, monkeypatch):
    def interrupt(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "newest_finished", interrupt)
    assert rdrop.error("predict", "text", code=130) == "error: interrupted"


def test_a_process_that_predicted_with_an_export_ends_in_order(exported):
    code = (
        "import atexit, sys\n"
        "from rdrop_cli.__main__ import main\n"
        "atexit.register(lambda: sys.stdout.write('the end'))\n"
        "sys.argv = ['rdrop', 'predict', *sys.argv[1:]]\n"
        "main()"
    )

    def end(*arguments):
        command = [sys.executable, "-c", code, *arguments, "--backend", "onnx"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        return done.returncode, done.stdout[-8:].strip(), done.stderr

    assert end("great movie") == (0, "the end", "")
    assert end("great movie", "--batch-size", "0")[:2] == (2, "the end")
