"""Go's words for URLs and durations that it refuses; they were asked of real daemons."""

from __future__ import annotations

import pytest

from pytest_gpuready.containerd.go_errors import duration_error, url_error


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://h:x", 'parse "https://h:x": invalid port ":x" after host'),
        ("https://[::1]x", 'parse "https://[::1]x": invalid port "x" after host'),
        ("https://[::1", "parse \"https://[::1\": missing ']' in host"),
        ("https://a b/", 'parse "https://a b/": invalid character " " in host name'),
        (":x", 'parse ":x": missing protocol scheme'),
        ("a b:c", 'parse "a b:c": first path segment in URL cannot contain colon'),
        ("%zz", 'parse "%zz": invalid URL escape "%zz"'),
        ("https://h/%41", None),
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


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2562047h", None),
        ("2562048h", 'time: invalid duration "2562048h"'),
        ("-2562047h47m16.854775808s", None),
        ("9223372036854775808ns", 'time: invalid duration "9223372036854775808ns"'),
        ("1.s", None),
        ("5", 'time: missing unit in duration "5"'),
    ],
)
def test_a_duration_of_more_than_292_years_is_none(text: str, words: str | None) -> None:
    assert duration_error(text) == words
