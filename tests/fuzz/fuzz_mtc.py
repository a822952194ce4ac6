"""Reading a MigrationController never raises, every finding stands within it, and shows no password.

So is what Go makes of the URL in it: parts, or its own error.
"""

from __future__ import annotations

import re
from contextlib import suppress

import driver

from ferryman.config import gourl
from ferryman.config.dialects import mtc
from ferryman.config.render import render
from ferryman.config.source import Diagnostics, Source

HEAD = b"apiVersion: migration.openshift.io/v1alpha1\nkind: MigrationController\nspec:\n"
URLS = (
    *(
        b"http://u:sesame-word@10.0.0.1:3128",
        b"u:sesame-word@h:1",
        b"http://u:sesame-word%@h",
        b"'http://u:x sesame@h:1'",
    ),
    *(b"http://[fd00::1]:3128", b"//h:1", b"https://h:1/x?y#z", b"http://u:%0a@h:1", b"http://ip:port"),
)
SEEDS = [HEAD + b"  stunnel_tcp_proxy: " + url + b"\n" for url in URLS]
SEEDS += [
    HEAD + b"  [...]\n  rsync_opt_extras: [-X, --acls]\n  rsync_endpoint_type: NodePort\n  rsync_backoff_limit: 99\n",
    b"# page\n```sh\n"
    + HEAD
    + b"  [...]\n  stunnel_verify_ca: true\n```\nand so on\n```yaml\nkind: NetworkPolicy\n```\n",
    HEAD + b"---\nkind: EgressFirewall\n---\n" + HEAD,
]


def one(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    with suppress(gourl.GoUrlError):
        gourl.parse(text)
    lines = text.split("\n")
    diagnostics = Diagnostics()
    source = Source("fuzz.yaml", text)
    assert mtc.recognise(source) in (0, 40, 96)
    document = mtc.parse([source], diagnostics, {})
    places = [finding.mark for finding in diagnostics.found]
    for mark in (*places, *document.marks.values()):
        assert mark is not None
        assert 1 <= mark.line <= len(lines)
        assert 1 <= mark.column <= len(lines[mark.line - 1]) + 1
    for secret in re.findall(r"^  stunnel_tcp_proxy: http://[a-z]+:(sesame[a-z-]*)@[a-z0-9.:]+$", text, re.MULTILINE):
        if text.count(secret) == 1:  # or it may stand where nobody can know that it is one
            assert not any(secret in render(finding, [source]) for finding in diagnostics.found)


if __name__ == "__main__":
    driver.main(one, SEEDS)
