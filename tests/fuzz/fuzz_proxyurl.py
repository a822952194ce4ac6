"""The URL of a proxy is read as it is meant or refused, without its password; where it is read, Go reads the same.

What Go makes of any URL is parts, or its own error.
"""

from __future__ import annotations

import re

import driver

from ferryman.config import gourl
from ferryman.config.proxy_url import parse_proxy_url, written

SEEDS = [
    *(b"http://u:sesame-word@10.0.0.1:3128", b"https://u:p%40x%2F@proxy.example:443/", b"socks5://[2001:db8::1]:1080"),
    *(b"http://u:sesame@word@h:1", b"u:sesame-word@h:1", b"http://u:%0a@h:1", b"//u:p@h:1/x?y#z", b"http://[fe80::1%25e]:1"),
    *(b"http://u:sesame%zz@h:1", b"http://sesame-word@h:1", b"http://u:p@h:99999", b"HTTP://\xc3\xbc:\xc3\xa4@h:1"),
]  # fmt: skip


def one(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    try:
        go = gourl.parse(text)
    except gourl.GoUrlError:
        go = None
    secrets = [found for found in re.findall(r"^[a-z0-9]+://[^:@/]*:(sesame[^@]*)@", text) if text.count(found) == 1]
    try:
        url = parse_proxy_url(text)
    except ValueError as error:
        refusal = str(error)
        assert not any(each in refusal for each in secrets)
        return
    assert not any(each in written(url) for each in secrets)
    assert all(c.isprintable() for c in f"{url.user}{url.password}") or not url.user.isascii() or "%" in text
    assert bool(url.user) == bool(url.password)
    if go is not None and url.address.family != "inet6":
        assert (url.scheme, url.user, url.password) == (go.scheme, go.user or "", go.password or "")
        assert go.port == str(url.address.port) or int(go.port) == url.address.port


if __name__ == "__main__":
    driver.main(one, SEEDS)
