"""What NVML answers: hangs, empty answers, GPUs of elsewhere, and what other readers say."""

from __future__ import annotations

import dataclasses
import json

import pytest

from pytest_gpuready.model import Where
from tests.support import driver as d
from tests.support.driver import commands, evidence, failed, find, lists, ubuntu
from tests.support.simnode import SimNode

ELSEWHERE = "GPU-99999999-0000-0000-0000-000000000009"
LOST = "Unable to determine the device handle for GPU0000:00:07.0: GPU is lost."


def without_smi(node: SimNode, said: object) -> SimNode:
    """python3 is asked in nvidia-smi's place, and answers so."""
    return node.remove("/usr/bin/nvidia-smi").program("/usr/bin/python3").answer(("NVML by python3",), json.dumps(said))


class TestAnswers:
    def test_what_it_says_is_said(self) -> None:
        finding = find(ubuntu(2), "nvml-answers")
        assert finding.outcome.found == "2 x NVIDIA H100 80GB HBM3; driver 580.159.04, CUDA 13.0"

    def test_a_hang_is_a_failure(self) -> None:
        finding = find(d.smi(ubuntu(), rc=124, state="timeout"), "nvml-answers")
        assert finding.status == "fail"
        assert "did not end within 10 s" in finding.outcome.found

    def test_where_nvml_answers_pynvml_the_fault_is_nvidia_smis(self) -> None:
        said = {"driver": d.VERSION, "gpus": [{"index": 0, "uuid": d.uuid(0)}]}
        finding = find(d.smi(ubuntu(), "").answer(("NVML by pynvml",), json.dumps(said)), "nvml-answers")
        assert finding.status == "fail"
        assert finding.outcome.evidence[1].text == "NVML lists 1 GPUs: the fault is in /usr/bin/nvidia-smi"

    def test_the_nodes_own_deadline_is_no_answer_of_nvmls(self) -> None:
        made = ubuntu().answer(("nvidia-smi -q -x",), "", rc=0, state="timeout")
        made.answers[0] = (made.answers[0][0], dataclasses.replace(made.answers[0][1], rc=None, note="not reached"))
        assert find(made, "nvml-answers").status == "unknown"

    @pytest.mark.parametrize(
        ("output", "rc", "words"),
        [
            ("", 0, "printed nothing and exited with 0"),
            ("\n\n", 0, "printed nothing and exited with 0"),
            ("ok\n", 0, "printed something else"),
            ("<html>", 0, "printed something else"),
            ("No devices were found\n", 0, "lists no GPU"),
            ("No devices were found\n", 6, "lists no GPU"),
            (d.smi_xml(), 0, "lists no GPU"),
            (
                "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 580.173\n",
                18,
                "exit status 18",
            ),
            ("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n", 9, "exit status 9"),
            ("NVIDIA-SMI couldn't find libnvidia-ml.so library in your system.\n", 12, "exit status 12"),
            (
                "Unable to determine the device handle for GPU0000:00:06.0: GPU is lost.  Reboot the system\n",
                15,
                "exit status 15",
            ),
            ("sh: 1: /usr/bin/nvidia-smi: Exec format error\n", 126, "exit status 126"),
            (d.smi_xml(d.gpu_xml(uuid="N/A")), 0, "none with a UUID"),
            (
                d.smi_xml(d.gpu_xml(uuid="GPU-99999999-0000-0000-0000-000000000009")),
                0,
                "GPUs that this node does not have",
            ),
            ("<nvidia_smi_log></nvidia_smi_log>", 0, "lists no GPU"),
            ("<nvidia_smi_log><gpu></nvidia_smi_log>", 0, "printed something else"),
        ],
    )
    def test_no_answer_of_this_kind_ever_passes(self, output: str, rc: int, words: str) -> None:
        """The vacuous passes of other tools: an nvidia-smi that does nothing, lists nothing, or speaks of elsewhere."""
        report = d.smi(ubuntu(), output, rc=rc).judge()
        finding = report.findings["driver.nvml-answers"]
        assert finding.status == "fail"
        assert words in finding.outcome.found
        assert report.verdict != "ready"
        assert all(route.verdict != "ready" for route in report.routes.values())
        assert finding.outcome.remedy is not None

    def test_a_cut_answer_is_unknown(self) -> None:
        assert find(d.smi(ubuntu(), "<nvidia_smi_log>", state="cut"), "nvml-answers").status == "unknown"

    def test_a_lost_gpu_asks_for_a_reboot(self) -> None:
        finding = find(
            d.smi(ubuntu(), "Unable to determine the device handle for GPU0000:00:06.0: GPU is lost.\n", rc=15),
            "nvml-answers",
        )
        assert commands(finding) == "sudo reboot"

    def test_a_sentence_in_the_middle_of_the_document_is_kept_as_evidence(self) -> None:
        text = "Unable to determine the device handle for GPU0000:00:07.0: GPU is lost."
        made = d.smi(ubuntu(2), d.smi_xml(d.gpu_xml(0), f"{text}\n"), rc=15)
        report = made.judge()
        assert report.findings["driver.nvml-answers"].status == "pass"
        assert report.findings["driver.nvml-answers"].outcome.evidence[0].text == text
        assert report.findings["driver.gpu-count"].status == "fail"

    def test_entities_and_doctypes_are_never_expanded(self) -> None:
        bomb = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
        made = d.smi(ubuntu(), bomb + d.smi_xml(d.gpu_xml(name="NAME")).replace("NAME", "&b;"))
        assert find(made, "nvml-answers").status == "fail"

    def test_without_nvidia_smi_python_asks_the_library(self) -> None:
        made = ubuntu().remove("/usr/bin/nvidia-smi").program("/usr/bin/python3")
        said = {
            "driver": d.VERSION,
            "cuda": 13000,
            "gpus": [
                {
                    "index": 0,
                    "name": "NVIDIA H100 80GB HBM3",
                    "uuid": d.uuid(0),
                    "bus_id": "00000000:00:06.0",
                    "memory": 85520809984,
                }
            ],
        }
        finding = find(made.answer(("NVML by python3",), json.dumps(said)), "nvml-answers")
        assert finding.status == "pass"
        assert find(made, "gpu-count").status == "pass"

    @pytest.mark.parametrize(
        ("answer", "rc", "status"),
        [
            ('{"error": "Driver Not Loaded", "code": 9}', 0, "fail"),
            ("SyntaxError", 1, "unknown"),
            ("[]", 0, "unknown"),
            ('{"gpus": [{}]}', 0, "unknown"),
            ('{"gpus": []}', 0, "fail"),
        ],
    )
    def test_what_python_could_not_ask_is_unknown(self, answer: str, rc: int, status: str) -> None:
        made = ubuntu().remove("/usr/bin/nvidia-smi").program("/usr/bin/python3")
        assert find(made.answer(("NVML by python3",), answer, rc=rc), "nvml-answers").status == status

    def test_with_neither_it_is_unknown_in_words(self) -> None:
        finding = find(ubuntu().remove("/usr/bin/nvidia-smi"), "nvml-answers")
        assert finding.status == "unknown"
        assert "nvidia-smi is not on the node" in finding.outcome.found

    def test_what_pynvml_says_otherwise_is_evidence(self) -> None:
        said = {
            "driver": d.VERSION,
            "gpus": [{"index": 0, "name": "NVIDIA H100 80GB HBM3", "uuid": "GPU-other", "minor": 0}],
        }
        made = ubuntu().answer(("NVML by pynvml",), json.dumps(said))
        finding = find(made, "nvml-answers")
        assert finding.status == "pass"
        assert (
            "GPU 0's uuid: nvidia-smi GPU-00000000-0000-0000-0000-000000000001, NVML GPU-other"
            in finding.outcome.evidence[0].text
        )

    def test_pynvml_is_asked_on_the_local_node_alone(self) -> None:
        def asked(label: str) -> bool:
            made = d.h100(SimNode(label=label))
            return any(request.arg[0] == "NVML by pynvml" for request, _ in made.facts())

        assert asked("local")
        assert not asked("ssh://root@n1")

    def test_what_it_printed_is_the_evidence_and_its_first_line_is_told(self) -> None:
        node = d.smi(ubuntu(), "first\nsecond\n", rc=9)
        assert failed(node, "nvml-answers").endswith("failed with exit status 9: first")
        assert [text for _, text in evidence(node, "nvml-answers")] == ["first\nsecond"]
        empty = d.smi(ubuntu(), "")
        assert failed(empty, "nvml-answers").endswith("nothing looked at any GPU")
        assert [text for _, text in evidence(empty, "nvml-answers")] == ["(nothing)"]

    @pytest.mark.parametrize(
        ("said", "words"),
        [
            ("Failed to initialize NVML: Driver/library version mismatch", "reboot"),
            ("the GPU is lost", "reboot"),
            ("it has fallen off the bus", "reboot"),
            ("Unable to determine the device handle for GPU0", "reboot"),
            ("couldn't find libnvidia-ml.so library", "ldconfig"),
            ("NVML: Shared Library Not Found", "ldconfig"),
            ("something else", "nvidia-smi"),
        ],
    )
    def test_each_sentence_of_nvmls_has_its_own_remedy(self, said: str, words: str) -> None:
        assert words in commands(find(d.smi(ubuntu(), f"{said}\n", rc=15), "nvml-answers"))

    def test_a_hang_is_looked_into_before_anything_else(self) -> None:
        found = find(d.smi(ubuntu(), "the GPU is lost", rc=124, state="timeout"), "nvml-answers")
        other = find(d.smi(ubuntu(), "the GPU is lost", rc=15), "nvml-answers")
        assert found.outcome.remedy is not None
        assert found.outcome.remedy != other.outcome.remedy

    def test_gpus_of_elsewhere_are_shown_by_the_program_that_lists_them(self) -> None:
        node = lists(d.gpu_xml(uuid=ELSEWHERE))
        found = find(node, "nvml-answers").outcome
        assert found.where == Where("/usr/bin/nvidia-smi")
        assert d.uuid(0) in str(found.expected)
        assert found.evidence == ()
        by_python = without_smi(ubuntu(), {"driver": d.VERSION, "gpus": [{"index": 0, "uuid": ELSEWHERE}]})
        assert failed(by_python, "nvml-answers").startswith("NVML by python3 lists GPUs that this node does not have")
        assert find(by_python, "nvml-answers").outcome.where is None
        hidden = node.deny("/proc/driver/nvidia/gpus")
        assert find(hidden, "nvml-answers").status in ("pass", "blocked")

    def test_one_gpu_of_the_nodes_among_the_listed_is_enough(self) -> None:
        assert find(lists(d.gpu_xml(0), d.gpu_xml(1, uuid=ELSEWHERE)), "nvml-answers").status == "pass"

    def test_a_sentence_beside_the_list_is_evidence_of_every_answer(self) -> None:
        for gpu in (d.gpu_xml(uuid="N/A"), d.gpu_xml(uuid=ELSEWHERE), d.gpu_xml()):
            assert evidence(lists(gpu), "nvml-answers") == []
            assert evidence(d.smi(ubuntu(), d.smi_xml(gpu, f"{LOST}\n"), rc=15), "nvml-answers") == [
                ("/usr/bin/nvidia-smi -q -x", LOST)
            ]

    def test_without_uuids_from_the_module_no_gpu_is_a_stranger(self) -> None:
        node = d.information(ubuntu(), 0, uuid_="GPU-????????-????-????-????-????????????")
        assert find(node, "nvml-answers").status == "pass"

    def test_pynvml_that_lists_none_is_no_evidence_against_nvidia_smi(self) -> None:
        node = d.smi(ubuntu(), "").answer(("NVML by pynvml",), json.dumps({"driver": d.VERSION, "gpus": []}))
        assert [source for source, _ in evidence(node, "nvml-answers")] == ["/usr/bin/nvidia-smi -q -x"]

    def test_pynvml_with_gpus_blames_the_program_that_was_asked(self) -> None:
        said = {"driver": d.VERSION, "gpus": [{"index": 0, "uuid": d.uuid(0)}]}
        node = without_smi(ubuntu(), {"error": "Driver Not Loaded", "code": 9})
        assert evidence(node.answer(("NVML by pynvml",), json.dumps(said)), "nvml-answers") == [
            ("NVML by python3", "Driver Not Loaded (NVML error 9)"),
            ("NVML through pynvml, asked on its own", "NVML lists 1 GPUs: the fault is in the program asked"),
        ]

    def test_what_is_not_said_is_left_out(self) -> None:
        bare = d.smi_xml(d.gpu_xml(0)).replace("\t<cuda_version>13.0</cuda_version>\n", "")
        assert (
            find(d.smi(ubuntu(), bare), "nvml-answers").outcome.found
            == f"1 x NVIDIA H100 80GB HBM3; driver {d.VERSION}"
        )
        nameless = d.smi_xml(d.gpu_xml(0, name="N/A"), version="N/A")
        assert find(d.smi(ubuntu(), nameless), "nvml-answers").outcome.found == "1 x GPU; driver unsaid, CUDA 13.0"
        said = {"driver": d.VERSION, "gpus": [{"index": 0, "uuid": "GPU-other", "minor": 0}]}
        node = ubuntu().answer(("NVML by pynvml",), json.dumps(said))
        assert " differences to pynvml" in find(node, "nvml-answers").outcome.found
        assert [source for source, _ in evidence(node, "nvml-answers")] == ["NVML through pynvml, asked on its own"]
