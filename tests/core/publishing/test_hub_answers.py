"""What a hub says is shown without a token or a password."""

import pytest
from huggingface_hub.errors import HTTPError, OfflineModeIsEnabled

from rdrop_cli.core.publishing import hub_answers


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("bad header b'Bearer hf_x'", "bad header b'Bearer ***'"),
        ("no answer from https://me:pa@ss/word@host/api.", "no answer from https://***@host/api."),
        ("write to me@host", "write to me@host"),
    ],
)
def test_secrets_are_removed(text, shown):
    assert hub_answers.without_secrets(text, "hf_x") == shown


def test_a_hub_of_another_kind_may_have_no_xet_storage(monkeypatch):
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    error = HTTPError("hf_x: no such address")
    assert "HF_HUB_DISABLE_XET" not in str(hub_answers.refusal(error, "me/x", "hf_x"))
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.example.org")
    message = str(hub_answers.refusal(error, "me/x", "hf_x"))
    assert "me/x: the connection to https://hub.example.org failed (***: no such address)" in message
    assert "set HF_HUB_DISABLE_XET=1" in message


def test_offline_mode_of_the_library_is_offline_mode():
    error = OfflineModeIsEnabled("Cannot reach https://me:secret@host")
    assert str(hub_answers.refusal(error, "me/x", "hf_x")) == str(hub_answers.offline())


def test_an_invalid_card_is_said_in_one_line():
    error = ValueError("Invalid metadata in README.md.\n- license is unknown.")
    message = hub_answers.refusal(error, "me/x", "hf_x").message
    assert message == "me/x: Invalid metadata in README.md. - license is unknown"
