"""What the fuzz runs found: each example went wrong once."""

from __future__ import annotations

import pytest

from pytest_gpuready.node.facts import Fact, Facts, glob
from pytest_gpuready.node.hosts import SpecError, parse
from pytest_gpuready.report.text import cut, folded_hard, wrapped
from pytest_gpuready.views import Views
from pytest_gpuready.views.driver import DKMS, Driver
from pytest_gpuready.views.nvml import _from_child
from pytest_gpuready.views.nvsmi import Garbled, _named
from pytest_gpuready.views.toolkit_probe import numbers
from tests.support import driver as d
from tests.support.simnode import SimNode


def test_a_refusal_of_a_spec_with_line_ends_is_one_line() -> None:
    with pytest.raises(SpecError) as caught:
        parse("n1\nn2")
    assert str(caught.value).startswith("'n1 n2' names no transport")
    assert "\n" not in parse("snapshot://a\nb").label


def test_a_path_in_odd_bytes_is_still_a_path() -> None:
    """As the command line brings what is no UTF-8."""
    assert parse("kubectl://p?kubeconfig=/\udcea").label == "kubectl://p?kubeconfig=/%EA"


@pytest.mark.parametrize("text", ["9" * 5000, f"1.{'9' * 5000}", "GPU"])
def test_a_version_of_thousands_of_digits_is_no_error(text: str) -> None:
    assert len(numbers(text)) <= 2
    assert _named((), f"GPU {text}: H100\n  MIG 1g  Device {text}: (UUID: x)") == ()


def test_a_folder_of_dkms_that_is_none_is_passed_over() -> None:
    facts = Facts("n1", [(glob(DKMS), Fact("ok", b"/\0/var/lib/dkms/nvidia/580.1/6.8\0x\0"))])
    assert Views(facts).get(Driver).dkms == {"580.1": ["6.8"]}


def test_a_device_file_mode_of_odd_digits_is_none() -> None:
    node = d.h100(SimNode()).put("/proc/driver/nvidia/params", "DeviceFileMode: ²\nDeviceFileUID: ²\n")
    assert Views(node.facts()).get(Driver).node_faults() == []


@pytest.mark.parametrize("answer", ['{"gpus": [{"index": 0, "mig": [1]}]}', '{"gpus": [{"index": 1e999}]}'])
def test_lists_that_nvml_cut_short_are_not_known(answer: str) -> None:
    with pytest.raises(Garbled):
        _from_child(answer)


def test_long_text_wraps_without_an_end_of_patience() -> None:
    """A character is looked at a few times, not once for each that follows."""
    text = "é" * 200_000
    assert len(wrapped(text, 80)) == len(folded_hard(text, 80)) == 2500
    assert cut(text, 10) == "é" * 9 + "…"
    assert folded_hard("漢字", 1) == ["漢", "字"]
