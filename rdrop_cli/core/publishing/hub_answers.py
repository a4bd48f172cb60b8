"""What a hub's refusals mean, in one line, without a token or a password."""

from __future__ import annotations

import os
import re

from rdrop_cli.core.storage import hub
from rdrop_cli.core.storage.addresses import without_password
from rdrop_cli.errors import HubError, one_line

_LOGIN = "Log in with: hf auth login. Or set HF_TOKEN to a token with write permission."
_ALL_OR_NOTHING = "The hub shows all files of a push or none of them; push again."
_PLAIN = "If this hub has no Xet storage, set HF_HUB_DISABLE_XET=1."
_LONGEST = 300
"""Characters of what a hub says."""


def no_token() -> HubError:
    """There is no token, without which nothing can be published."""
    return HubError("not logged in on the hub", _LOGIN)


def offline() -> HubError:
    """The network must not be used."""
    return HubError("offline mode is on, so nothing can be published", "Unset HF_HUB_OFFLINE.")


def refusal(error: Exception, repository: str, token: str) -> HubError:
    """The error to show for one of huggingface_hub.

    Args:
        repository: `owner/name`.
        token: Is removed from the message, as is what stands before the `@` of an address.
    """
    from huggingface_hub import errors

    while isinstance(error, RuntimeError) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # the library wraps what happens while a large file is sent
    if isinstance(error, errors.OfflineModeIsEnabled):
        return offline()
    if isinstance(error, errors.HfHubHTTPError) and error.response is not None:
        return _of_status(error, repository, token)
    if isinstance(error, errors.HTTPError | OSError):
        cause = without_secrets(one_line(error), token)
        is_plain = hub.endpoint() != hub.DEFAULT_ENDPOINT and not os.environ.get("HF_HUB_DISABLE_XET")
        hint = f"{_ALL_OR_NOTHING} {_PLAIN}" if is_plain else _ALL_OR_NOTHING
        return HubError(f"{repository}: the connection to {_place()} failed ({cause})", hint)
    text = str(error)
    refused = dict.fromkeys(re.findall(r"^Encountered error for file with OID \w+: `(.*?)`?$", text, re.MULTILINE))
    text = f"{_place()} refuses the weights: {', '.join(refused)}" if refused else text
    cause = without_secrets(" ".join(text.split()), token)[:_LONGEST]
    return HubError(f"{repository}: {cause.rstrip('.')}", _ALL_OR_NOTHING)


def _of_status(error: object, repository: str, token: str) -> HubError:
    response = getattr(error, "response")  # noqa: B009 - its type is the hub library's own
    status = response.status_code
    answer = without_secrets(" ".join(str(getattr(error, "server_message", None) or "").split()), token)[:_LONGEST]
    reason = f": {answer}" if answer else ""
    if status == 401:
        return HubError(f"{repository}: {_place()} does not accept your token (401)", _LOGIN)
    if status == 403:
        hint = f"Does your token have write permission for {repository.partition('/')[0]}? {_LOGIN}"
        return HubError(f"{repository}: {_place()} refuses (403 Forbidden{reason})", hint)
    if status == 404:
        return HubError(
            f"{repository}: not found on {_place()} (404)", "Check the name, and that your token may see it."
        )
    if status == 409:
        return HubError(f"{repository}: exists already, but could not be read", "Push again, or use another name.")
    if status == 412:
        return HubError(f"{repository}: has changed on the hub in the meantime", "Push again to see what is there now.")
    return HubError(f"{repository}: {_place()} answered {status} {response.reason_phrase}{reason}", _ALL_OR_NOTHING)


def _place() -> str:
    return without_password(hub.endpoint())


def without_secrets(text: str, token: str) -> str:
    """The text without the token, and without user and password in addresses."""
    text = text.replace(token, "***") if token else text
    return re.sub(r"//[^\s'\"]*@", "//***@", text)
