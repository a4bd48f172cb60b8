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
        ("http://bob:p@ssw0rd@proxy", "http://***@proxy"),
        ("https://u:pa/ssx@host", "https://***@host"),
        ("alice:s3cret@proxy:3128", "***@proxy:3128"),
        (".alice:s3cret@proxy:3128", "***@proxy:3128"),
        ("https://u:pa/ssx@host cannot be reached (no route)", "https://***@host cannot be reached (no route)"),
        ("3.12, CPython, /opt/python@3.12/bin/python", "3.12, CPython, /opt/python@3.12/bin/python"),
        ("/data/a@b:/data/c", "/data/a@b:/data/c"),
        ("/data/a:http://u:s3cret@host", "***@host"),
        ("~/cache@work", "~/cache@work"),
        (r"C:\cache@work", r"C:\cache@work"),
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


@pytest.mark.parametrize("name", ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "MY_API_KEY", "DB_PASSWORD", "HF_MIRROR_PW"])
def test_variables_that_are_secrets_by_name(name):
    assert variable(name, "x") == HIDDEN
    assert variable(name, "") == ""


@pytest.mark.parametrize("name", ["HF_HOME", "TOKENIZERS_PARALLELISM"])
def test_variables_that_are_none(name):
    assert variable(name, "x") == "x"


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("HTTP_PROXY", "alice:s3cret@proxy:3128", "***@proxy:3128"),
        ("http_proxy", "/alice:s3c ret@proxy:3128", "***@proxy:3128"),
        ("HF_ENDPOINT", "https://u:pa ssx@host", "https://***@host"),
        ("HF_ENDPOINT", "https://mirror.example", "https://mirror.example"),
        ("RDROP_MIRROR", "https://u:pa ssx@host", "https://***@host"),
        ("HF_HOME", "/data/a b/cache@work", "/data/a b/cache@work"),
    ],
)
def test_a_variable_that_is_an_address_is_one_as_a_whole(name, value, shown):
    assert variable(name, value) == shown
