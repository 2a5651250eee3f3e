"""Go's words for URLs that it refuses; those of `registry.auths` were asked of real daemons."""

from __future__ import annotations

import pytest

from pytest_gpuready.containerd.go_errors import url_error


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://h:x", 'parse "https://h:x": invalid port ":x" after host'),
        ("https://[::1]x", 'parse "https://[::1]x": invalid port "x" after host'),
        ("https://[::1", "parse \"https://[::1\": missing ']' in host"),
        ("https://a b/", 'parse "https://a b/": invalid character " " in host name'),
        (":x", 'parse ":x": missing protocol scheme'),
        ("a b:c", 'parse "a b:c": first path segment in URL cannot contain colon'),
        ("https://h#\n", None),
        ("https://u@h:5000/v2?x=:y", None),
        ("https://[::1]:5000", None),
        ("h/a:b", None),
        ("registry:5000", None),
        ("///a b", None),
    ],
)
def test_a_url_is_refused_with_gos_words(url: str, words: str | None) -> None:
    assert url_error(url) == words
