"""`rdrop predict --output -`: lines of JSON on stdout, and with `--input -` an answer for each line as it comes."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import pages
from conftest import make_reviews, write_csv

PATIENCE = 120
"""Seconds after which something is stuck."""
PROGRAM = (  # a process in the background ignores SIGINT, and so do those that it starts
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
    "from rdrop_cli.__main__ import main; main()"
)


def environment(**more):
    """As it is for most users: with PYTHONUNBUFFERED no line would have to be flushed."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"} | more


@contextlib.contextmanager
def service(*options):
    """A process that answers lines, ready for the first one; killed if it hangs."""
    command = [sys.executable, "-c", PROGRAM, "predict", "--input", "-", "--output", "-", *options]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, **pipes, env=environment(), encoding="utf-8", bufsize=1) as process:
        guard = threading.Timer(PATIENCE, process.kill)
        guard.start()
        try:
            assert process.stderr.readline() == "Ready: reading lines from stdin\n"
            yield process
        finally:
            process.kill()
            guard.cancel()


def line(text):
    return json.dumps({"text": text}) + "\n"


def answers(result):
    return [json.loads(answer) for answer in result.stdout.splitlines()]


def test_each_line_is_answered_before_the_next_is_written_and_many_at_once_in_order(exported):
    many = [f"great movie {index}" for index in range(5000)]
    with service() as process:
        for index in range(10):
            process.stdin.write(line(f"dull plot {index}"))
            assert json.loads(process.stdout.readline())["text"] == f"dull plot {index}"

        def write():
            process.stdin.write("".join(map(line, many)))
            process.stdin.close()

        writer = threading.Thread(target=write)
        writer.start()
        found = [json.loads(answer) for answer in process.stdout]
        writer.join()
        assert [item["text"] for item in found] == many
        assert {item["label"] for item in found} <= {"0", "1"}
        said = process.stderr.read()
        assert process.wait(PATIENCE) == 0
    assert said.startswith("Columns: text 'text'\n5,010 predictions in stdout (onnx): ")
    assert said.count("\n") == 2


@pytest.mark.parametrize(
    ("stop", "code", "said"),
    [
        (lambda process: process.send_signal(signal.SIGINT), 130, "error: interrupted\n"),
        (lambda process: process.send_signal(signal.SIGTERM), -signal.SIGTERM, ""),
        (lambda process: (process.stdout.close(), process.stdin.write(line("nobody reads this"))), 1, ""),
    ],
    ids=["Ctrl-C", "SIGTERM", "stdout closed"],
)
def test_it_ends_quietly_while_stdin_is_open(exported, stop, code, said):
    with service("--backend", "onnx") as process:
        process.stdin.write(line("great"))
        assert json.loads(process.stdout.readline())["label"] == "1"
        stop(process)
        assert process.wait(PATIENCE) == code
        assert process.stderr.read() == said


def test_a_line_that_cannot_be_used_is_answered_with_its_problem(rdrop, exported):
    first = b'{"text": "great", "id": 1}\n\nnot json\n{"id": 2}\n{"text": 5}\n"text"\n'
    last = b'{"text": "bad \xff"}\n{"text": "dull"}'
    result = rdrop("predict", "--input", "-", "--output", "-", stdin=first + last)
    found = answers(result)
    assert [item["text"] for item in found] == ["great", "", "", "5", "", "", "dull"]
    assert set(found[0]) == set(found[-1]) == {"text", "label", "score", "probabilities"}
    problems = [item["problem"] for item in found[1:-1]]
    assert re.fullmatch(r"stdin, line 3: not valid JSON \(.+\)", problems[0])
    assert problems[1:4] == [
        "stdin, line 4: text is missing",
        "stdin, line 5: text is int, not text",
        "stdin, line 6: not a JSON object",
    ]
    assert problems[4].startswith("stdin, line 7: not valid UTF-8")
    assert f"5 rows with problems; the first: {problems[0]}" in result.stderr


def test_every_json_output_has_the_problem_and_tables_keep_their_columns(rdrop, exported):
    Path("in.jsonl").write_text('{"text": "great"}\noops\n')
    for name in ("out.jsonl", "out.csv"):
        rdrop("predict", "--input", "in.jsonl", "--output", name)
    kept = [json.loads(answer) for answer in Path("out.jsonl").read_text().splitlines()]
    assert kept == rdrop.json("predict", "--input", "in.jsonl")["predictions"]
    assert "problem" not in kept[0]
    assert kept[1]["problem"].startswith("in.jsonl, line 2: not valid JSON")
    assert Path("out.csv").read_text().splitlines()[0] == "text,label,score,probability_0,probability_1"


@pytest.mark.parametrize(
    ("options", "stdin", "texts"),
    [
        (["--input-format", "txt"], b"great\n\n{}\n", ["great", "", "{}"]),
        (["--input-format", "csv"], b'id,text\n1,"two\nlines"\n2,dull\n', ["two\nlines", "dull"]),
        ([], b'{"review": "great"}\n{"review": "dull", "text": "x"}\n', ["great", "dull"]),
        ([], b"", []),
    ],
)
def test_formats_and_columns_of_stdin(rdrop, exported, options, stdin, texts):
    result = rdrop("predict", "--input", "-", "--output", "-", *options, stdin=stdin)
    assert [item["text"] for item in answers(result)] == texts


@pytest.mark.parametrize(
    ("options", "stdin", "answered", "message"),
    [
        ([], b'{"id": 1}\n', 0, "stdin: no text column (text, sentence, review, ...); found 'id'"),
        ([], b"[1]\n", 0, "stdin: contains a JSON array, not one object per line"),
        (["--input-format", "csv"], b'text\na\nb\n"open\nnever closed\n', 2, "stdin, line 4: a quote is opened here"),
    ],
)
def test_input_that_cannot_be_read_on_is_one_error_behind_the_answers(
    rdrop, exported, options, stdin, answered, message
):
    result = rdrop("predict", "--input", "-", "--output", "-", "--quiet", *options, stdin=stdin, code=1)
    assert len(answers(result)) == answered
    assert result.stderr.startswith(f"error: {message}")
    assert result.stderr.count("\n") == 1


def test_files_and_texts_are_written_to_stdout_too(rdrop, exported):
    rows = make_reviews(70, seed=3)
    source = write_csv(Path("in.csv"), rows)
    result = rdrop("predict", "--input", source, "--output", "-")
    assert [item["text"] for item in answers(result)] == [text for text, _ in rows]
    assert "Classifying: 70 done" in result.stderr
    nasty = "\x1b]0;x\x07 \u202e café"
    result = rdrop("predict", nasty, "dull", "--output", "-", "--quiet")
    assert [item["text"] for item in answers(result)] == [nasty, "dull"]
    assert not set("\x1b\x07\u202e") & set(result.stdout)
    assert result.stderr == ""


def test_quiet_is_silent(rdrop, exported):
    assert rdrop("predict", "--input", "-", "--output", "-", "--quiet", stdin=b'{"text": "a"}\n').stderr == ""


def test_two_documents_do_not_share_stdout(rdrop, exported):
    error = rdrop.error("predict", "--input", "-", "--output", "-", "--json", code=2)
    assert "--output - and --json both write to stdout; omit one" in error


def test_the_program_on_the_page_gets_its_answers(exported):
    section = (pages.ROOT / "docs/predicting.md").read_text("utf-8").partition("## As a service")[2]
    program = re.search(r"```python\n(.*?)```", section, flags=re.S)[1]
    here = Path("bin")
    here.mkdir()
    (here / "rdrop").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m rdrop_cli "$@"\n')
    (here / "rdrop").chmod(0o755)
    path = f"{here.absolute()}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(PATH=path),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert (done.stdout, done.stderr) == ("1 great movie\n0 a dull mess\n", "")
