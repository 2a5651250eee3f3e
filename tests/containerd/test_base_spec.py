"""What a base runtime spec is refused with: the words are those of real daemons (Debian's 1.6.20, 1.7.24, 2.1.9)."""

from __future__ import annotations

import pytest

from pytest_gpuready.containerd.base_spec import spec_error

NO = "invalid character"
CANNOT = "json: cannot unmarshal"


@pytest.mark.parametrize("data", [b"{}", b"null", b"{}{}", b'{"x": [1.5e-3, true, null]} junk', b'{"a": "\xff"}',
                                  b'{"annotations": {"a": "b"}, "process": {"rlimits": [{"hard": 1}]}}',
                                  b'{"hooks": null, "linux": {"seccomp": {"architectures": ["x"]}}}'])  # fmt: skip
def test_what_is_taken(data: bytes) -> None:
    assert spec_error(data) is spec_error(data, newer=True) is None


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b" \n", "EOF"),
        (b"{", "unexpected EOF"),
        (b'{"a":1', "unexpected EOF"),
        (b'{"a', "unexpected EOF"),
        (b'{"a":1,}', f"{NO} '}}' looking for beginning of object key string"),
        (b"{'a':1}", rf"{NO} '\'' looking for beginning of object key string"),
        (b"# c\n{}", f"{NO} '#' looking for beginning of value"),
        (b'{"a" 1}', f"{NO} '1' after object key"),
        (b'{"a":01}', f"{NO} '1' after object key:value pair"),
        (b"[1 2]", f"{NO} '2' after array element"),
        (b'{"a":tru}', f"{NO} '}}' in literal true (expecting 'e')"),
        (b'{"x":NaN}', f"{NO} 'N' looking for beginning of value"),
        (b'{"x":-}', f"{NO} '}}' in numeric literal"),
        (b'{"x":1.}', f"{NO} '}}' after decimal point in numeric literal"),
        (b'{"x":1e}', f"{NO} '}}' in exponent of numeric literal"),
        (b'{"x":"\\q"}', f"{NO} 'q' in string escape code"),
        (b'{"x":"\\u12"}', f"{NO} '\"' in \\u hexadecimal character escape"),
        (b"[]", f"{CANNOT} array into Go value of type specs.Spec"),
        (b'"x"', f"{CANNOT} string into Go value of type specs.Spec"),
        (b'{"ociVersion": 1}', f"{CANNOT} number into Go struct field Spec.ociVersion of type string"),
        (b'{"process": "x"}', f"{CANNOT} string into Go struct field Spec.process of type specs.Process"),
        (b'{"mounts":{}}', f"{CANNOT} object into Go struct field Spec.mounts of type []specs.Mount"),
    ],
)
def test_what_is_refused(data: bytes, words: str) -> None:
    assert spec_error(data) == spec_error(data, newer=True) == words


@pytest.mark.parametrize(
    ("data", "old", "new"),
    [
        (b"\xef\xbb\xbf{}", f"{NO} 'ï' looking for beginning of value",
         rf"{NO} '\ufeff' looking for beginning of value"),
        (b'{"a":"\n"}', rf"{NO} '\n' in string literal", rf"{NO} '\n' in string"),
        (b'{"process":{"args":"sh"}}', f"{CANNOT} string into Go struct field Process.process.args of type []string",
         f"{CANNOT} string into Go struct field Spec.process.args of type []string"),
        (b'{"process":{"user":{"uid":1.5}}}',
         f"{CANNOT} number 1.5 into Go struct field User.process.user.uid of type uint32",
         f"{CANNOT} number 1.5 into Go struct field Spec.process.user.uid of type uint32"),
        (b'{"process":{"rlimits":[{"soft":-1}]}}',
         f"{CANNOT} number -1 into Go struct field POSIXRlimit.process.rlimits.soft of type uint64",
         f"{CANNOT} number -1 into Go struct field Spec.process.rlimits.0.soft of type uint64"),
        (b'{"annotations":{"a":1}}', f"{CANNOT} number into Go struct field Spec.annotations of type string",
         f"{CANNOT} number into Go struct field Spec.annotations.a of type string"),
        (b'{"OCIVERSION":5}', f"{CANNOT} number into Go struct field Spec.ociVersion of type string",
         f"{CANNOT} number into Go struct field Spec.OCIVERSION of type string"),
    ],
)  # fmt: skip
def test_what_the_newest_go_words_in_another_way(data: bytes, old: str, new: str) -> None:
    assert (spec_error(data), spec_error(data, newer=True)) == (old, new)


def test_deep_nesting_is_no_trouble() -> None:
    assert spec_error(b"[" * 20000) == "exceeded max depth"
    assert spec_error(b'{"a":' * 5000 + b"1" + b"}" * 5000) is None
