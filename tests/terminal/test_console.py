"""Text from data reaches the terminal escaped."""

import io
import json

import pytest
from rich.console import Console

from rdrop_cli.core.metrics.formatting import number
from rdrop_cli.terminal.console import Screen, add_row, json_text, safe, table
from rdrop_cli.wording import duration


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, ünïcödé, 评论, 👍", "plain, ünïcödé, 评论, 👍"),
        ("\x1b]0;x\x07", "\\x1b]0;x\\x07"),
        ("[bold red]x[/]", "[bold red]x[/]"),
        ("[/]", "[/]"),
        ("\u202eabc", "\\u202eabc"),
        ("two\nlines\r\t", "two\\nlines\\r\\t"),
        ("\x00", "\\x00"),
        ("\udcff", "\\udcff"),
        ("", ""),
    ],
)
def test_what_could_act_on_a_terminal_is_escaped(text, shown):
    assert safe(text) == shown
    made = table("text")
    add_row(made, text)
    buffer = io.StringIO()
    Console(file=buffer, force_terminal=True, width=80, color_system=None).print(made)
    assert shown in buffer.getvalue()
    assert "\x07" not in buffer.getvalue()


def test_a_long_text_is_cut():
    assert safe("x" * 1_000_000, 10) == "xxxxxxxxx…"


def test_an_undefined_metric_is_a_dash():
    assert (number(None), number(0.5)) == ("–", "0.5000")


def test_with_json_everything_else_goes_to_stderr(capsys):
    screen = Screen(json_output=True)
    screen.say("a remark")
    screen.show("a result")
    screen.document({"key": [1, "ü"]})
    out, err = capsys.readouterr()
    assert out == '{"key": [1, "ü"]}\n'
    assert err.split("\n")[:2] == ["a remark", "a result"]


def test_quiet_keeps_results_and_warnings_and_drops_remarks(capsys):
    screen = Screen(quiet=True)
    screen.say("a remark")
    screen.say("a warning\x1b[0m", style="yellow")
    screen.show("a result")
    with screen.stages() as stages:
        stages.update("Reading", 5, 5)
    out, err = capsys.readouterr()
    assert out == "a result\n"
    assert err.startswith("a warning") and err.isascii() and "\x1b" not in err


def test_json_on_a_terminal_is_escaped_where_it_could_act_and_readable_elsewhere():
    content = {"text": "评论 👍 \x1b[0m \x9b1m \u202e \x7f \ud83d \U000e0001"}
    text = json_text(content)
    assert text.isprintable()
    assert "评论 👍" in text
    assert json.loads(text) == content


def test_a_long_stage_into_a_pipe_says_how_far_it_is_and_how_fast(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("rdrop_cli.terminal.stages.time.monotonic", lambda: now[0])
    with Screen().stages() as stages:
        for seconds, done, total in (
            (0, 0, None),
            (10, 1000, None),
            (20, 2000, None),
            (30, 3000, None),
            (40, 4000, 4000),
        ):
            now[0] = float(seconds)
            stages.update("Reading", done, total)
        stages.update("Splitting", 5, 5)
    assert capsys.readouterr().out.splitlines() == [
        "Reading: 2,000, 100/s", "Reading: 4,000 done, 100/s", "Splitting: 5 done",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (605, "10 min 05 s"), (7860, "2 h 11 min")],
)
def test_durations_are_as_people_say_them(seconds, said):
    assert duration(seconds) == said
