"""Wrapping, widths, and the folding of node names."""

from __future__ import annotations

import pytest

from pytest_gpuready.node.hosts import expand, split
from pytest_gpuready.report.text import Page, columns, cut, folded_hard, listed, node_set, wrapped


@pytest.mark.parametrize(("text", "width"), [("abc", 3), ("語語", 4), ("e\u0301", 1), ("", 0)])
def test_columns_count_what_a_terminal_shows(text: str, width: int) -> None:
    assert columns(text) == width


def test_cut_is_visible_and_keeps_within_the_width() -> None:
    assert cut("abcdef", 6) == "abcdef"
    assert cut("abcdefg", 6) == "abcde…"
    assert cut("語語語語", 6) == "語語…"


def test_words_wrap_with_a_hanging_indent() -> None:
    assert wrapped("one two three", 12, first="a: ") == ["a: one two", "   three"]
    assert wrapped("one two three", 12, first="a: ", rest="  ") == ["a: one two", "  three"]


def test_no_words_give_the_first_indent() -> None:
    assert wrapped("", 20, first="  found") == ["  found"]


def test_two_blanks_hold_a_column_apart() -> None:
    assert wrapped("local  READY for all", 14) == ["local  READY", "for all"]


def test_a_path_is_never_broken_and_another_long_word_is() -> None:
    path = "/etc/containerd/conf.d/99-nvidia.toml"
    assert wrapped(f"see {path}", 20) == ["see", path]
    assert wrapped(f"see '{path}'", 20) == ["see", f"'{path}'"]
    assert wrapped("a" * 25, 20) == ["a" * 20, "a" * 5]


def test_a_long_list_without_blanks_breaks_after_commas() -> None:
    assert wrapped("ssh://a,ssh://b,ssh://c", 17) == ["ssh://a,ssh://b,", "ssh://c"]


def test_output_folds_with_its_blanks() -> None:
    assert folded_hard("ab  cd\te", 4) == ["ab  ", "cd  ", "e"]
    assert folded_hard("", 4) == [""]


def test_a_list_names_as_many_as_fit_and_at_least_one() -> None:
    assert listed(["a", "b", "c"], 7) == "a, b, c"
    assert listed(["alpha", "beta", "gamma-delta-epsilon"], 22) == "alpha, beta and 1 more"
    assert listed(["alpha", "beta"], 3) == "alpha and 1 more"
    assert listed([], 10) == ""


@pytest.mark.parametrize(
    ("labels", "folded"),
    [
        (["ssh://gpu001", "ssh://gpu002", "ssh://gpu003"], "ssh://gpu[001-003]"),
        (["ssh://gpu1", "ssh://gpu3", "ssh://gpu2", "ssh://gpu7"], "ssh://gpu[1-3,7]"),
        (["ssh://gpu9", "ssh://gpu10", "ssh://gpu11"], "ssh://gpu[9-11]"),
        (["ssh://gpu09", "ssh://gpu10"], "ssh://gpu[09-10]"),
        (["ssh://gpu9", "ssh://gpu09"], "ssh://gpu[9,09]"),
        (["ssh://root@n1:2222", "ssh://root@n2:2222"], "ssh://root@n[1-2]:2222"),
        (["ssh://r1n1.eu-1.example", "ssh://r1n2.eu-1.example"], "ssh://r1n[1-2].eu-1.example"),
        (["ssh://10.0.0.7", "ssh://10.0.0.8"], "ssh://10.0.0.[7-8]"),
        (["ssh://alpha", "ssh://beta"], "ssh://alpha,ssh://beta"),
        (["ssh://gpu1"], "ssh://gpu1"),
        (["ssh://[fe80::1]", "ssh://[fe80::2]"], "ssh://[fe80::1],ssh://[fe80::2]"),
        (["local", "ssh://a1", "ssh://a2", "ssh://b"], "local,ssh://a[1-2],ssh://b"),
        ([], ""),
    ],
)
def test_node_names_fold_and_expand_again(labels: list[str], folded: str) -> None:
    assert node_set(labels) == folded
    assert sorted(name for part in split(folded) for name in expand(part)) == sorted(labels)


def test_a_grid_of_names_loses_none_when_folded() -> None:
    labels = [f"ssh://r{rack}n{node:02}" for rack in range(1, 4) for node in range(1, 13)]
    folded = node_set(labels)
    assert folded == "ssh://r1n[01-12],ssh://r2n[01-12],ssh://r3n[01-12]"
    assert sorted(name for part in split(folded) for name in expand(part)) == sorted(labels)


def test_a_line_stays_one_line_of_plain_text() -> None:
    page = Page(80, 0)
    page.add("a\nb\x1b[31mc\u202e ")
    assert [line.text for line in page.lines] == ["a bc"]


def test_what_is_to_be_copied_keeps_its_blanks_and_lines() -> None:
    page = Page(10, 0)
    page.verbatim("sudo tee /a <<'EOF'\n\tx = 1  \n\nEOF\n")
    assert [line.text for line in page.lines] == ["sudo tee /a <<'EOF'", "\tx = 1  ", "", "EOF"]
