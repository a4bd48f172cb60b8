"""A command that is shown can be pasted."""

import shlex

import pytest

from rdrop_cli.core.runs import layout
from rdrop_cli.core.storage import shell


@pytest.mark.parametrize("argument", ["runs/a", "my runs/a", "it's", "a$b", 'say "x"', "", "[a,b]"])
def test_a_posix_shell_reads_back_what_was_meant(argument, monkeypatch):
    monkeypatch.setattr(shell, "ON_WINDOWS", False)
    assert shlex.split(shell.join(["rdrop", "--out", argument])) == ["rdrop", "--out", argument]


@pytest.mark.parametrize(
    ("argument", "shown"),
    [
        (r"runs\a-1", r"runs\a-1"),
        (r"C:\Users\me\runs", r"C:\Users\me\runs"),
        ("--resume", "--resume"),
        ("train.lr=1e-4", "train.lr=1e-4"),
        (r"my runs\a", r'"my runs\a"'),
        ("my runs\\", '"my runs\\\\"'),  # or the last backslash would escape the quote
        ('say "x"', '"say ""x"""'),
        ("a&b", '"a&b"'),
        ("[a,b]", '"[a,b]"'),
        ("-a.b", '"-a.b"'),  # PowerShell splits it at the dot
        ("@home", '"@home"'),
        ("", '""'),
    ],
)
def test_windows_shells_both_take_double_quotes(argument, shown, monkeypatch):
    monkeypatch.setattr(shell, "ON_WINDOWS", True)
    assert shell.quote(argument) == shown


def test_the_command_that_resumes_a_run_names_its_folder_as_the_shell_takes_it(tmp_path, monkeypatch):
    run = tmp_path / "my run"
    command = layout.resume_command(run)
    assert shlex.split(command) == ["rdrop", "train", "--resume", "--out", str(run)]
    monkeypatch.setattr(shell, "ON_WINDOWS", True)
    assert layout.resume_command(run).endswith('my run"')
