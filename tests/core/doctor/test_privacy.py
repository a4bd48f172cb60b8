"""What is taken out of a report."""

import pytest

from rdrop_cli.core.doctor.privacy import HIDDEN, variable, without_secrets


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("/home/alice/runs", "~/runs"),
        ("/home/alice", "~"),
        ("/home/alice2/runs", "/home/alice2/runs"),
        ("in /home/alice, and", "in ~, and"),
        ("https://alice:pw@mirror.example/a", "https://***@mirror.example/a"),
        ("https://pw@mirror.example", "https://***@mirror.example"),
        ("https://mirror.example/?token=abc&x=1", "https://mirror.example/?token=***&x=***"),
        ("token hf_abcdefghij is bad", "token hf_*** is bad"),
        ("hf_xet", "hf_xet"),
        ("torch==2.8", "torch==2.8"),
    ],
)
def test_text(monkeypatch, text, left):
    monkeypatch.setenv("HOME", "/home/alice")
    assert without_secrets(text) == left
    assert without_secrets({"a": [text, 1, None]}) == {"a": [left, 1, None]}


def test_a_home_folder_that_is_the_root_is_no_part_of_other_paths(monkeypatch):
    monkeypatch.setenv("HOME", "/")
    assert without_secrets("/data/runs of http://mirror.example") == "/data/runs of http://mirror.example"


@pytest.mark.parametrize("name", ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "MY_API_KEY", "DB_PASSWORD"])
def test_variables_that_are_secrets_by_name(name):
    assert variable(name, "x") == HIDDEN
    assert variable(name, "") == ""


@pytest.mark.parametrize("name", ["HF_HOME", "TOKENIZERS_PARALLELISM"])
def test_variables_that_are_none(name):
    assert variable(name, "x") == "x"
