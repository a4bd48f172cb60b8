"""Addresses as they may be shown."""

import pytest

from rdrop_cli.core.storage.addresses import without_password


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://mirror.example/a", "https://mirror.example/a"),
        ("proxy:3128", "proxy:3128"),
        ("https://alice:s3cret@mirror.example/a", "https://***@mirror.example/a"),
        ("HTTP://s3cret@mirror.example", "HTTP://***@mirror.example"),
        ("socks5h://alice:s3cret@[::1]:1080", "socks5h://***@[::1]:1080"),
        ("alice:s3cret@proxy:3128", "***@proxy:3128"),
        ("//alice:s3cret@proxy:3128", "//***@proxy:3128"),
        ("http://bob:p@ssw0rd@proxy", "http://***@proxy"),
        ("https://u:pa/ssx@host", "https://***@host"),
        ("u:pa//ssx@host", "***@host"),
        ("http://u:pa://ssx@host", "http://***@host"),
        ("http://u:p ss@host", "http://***@host"),
        ("http://u:p\nss@host", "http://***@host"),
        ("https://host/a@b", "https://***@b"),  # `host/a` could as well be a token with a slash
    ],
)
def test_nothing_before_the_last_at_sign_is_shown_except_the_scheme(address, shown):
    assert without_password(address) == shown
    assert without_password(shown) == shown
