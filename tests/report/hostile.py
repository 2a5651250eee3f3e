"""What a node may say to break out of a report, in every place that it has a say in."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pytest_gpuready.model import Edit, Evidence, Remedy, Where, failed, unknown, warned
from pytest_gpuready.node.facts import REACH, Fact, Facts, file
from tests.report.sample import report, run

if TYPE_CHECKING:
    from pytest_gpuready.report.model import NodeReport, Run

#: Markup, script, quotes, ends of comments, of CDATA and of scripts, links, Markdown, ANSI, bidi controls, NUL.
PAYLOADS: tuple[str, ...] = (
    "<script>window.pwned=1</script>",
    "<img src=x onerror=window.pwned=2>",
    "\"><svg onload='window.pwned=3'>",
    "'><iframe srcdoc='<script>parent.pwned=4</script>'></iframe>",
    "</pre></code></main></section></details><h1>READY</h1>",
    "</style></title></textarea><body onload=window.pwned=5>",
    "--><!-- ]]><![CDATA[ ?>",
    "javascript:window.pwned=6",
    "[click](javascript:window.pwned=7) ![x](http://evil.example/x.png) <http://evil.example>",
    "`` ` ```` ~~~~ \n```\n# heading\n\n> quote\n- [ ] box\n| a | b |\n@everyone #1 !1 **bold** <b>bold</b>",
    "{{ 7*7 }} {% raw %} ${7*7} &lt;b&gt; &#60;b&#62; {color:red}{code}{noformat}",
    "\x1b[31mred\x1b[0m \x1b]8;;http://evil.example\x07link\x1b]8;;\x07 \x9b31m \x07\x08\x0d",
    "\u202eevil\u202c \u2066a\u2069 \u200b\ufeff \U000e0041",
    "nul\x00nul \ud800 \ufffe",
    "</body></html><style>*{display:none}</style>",
    "x" * 1_000_000,
)
PAYLOAD = " ".join(PAYLOADS)

#: What must be nowhere in what is written: controls that a terminal or a reader's eye obeys.
CONTROLS = ("\x1b", "\x9b", "\x00", "\x07", "\x08", "\u202e", "\u2066", "\u200b", "\ud800", "\U000e0041")


def hostile_node(payload: str = PAYLOAD, label: str = "ssh://root@n1") -> NodeReport:
    """A node all of whose words are the payload."""
    path = f"/etc/{payload[:3000]}.toml"
    remedy = Remedy(
        payload, ("true # " + payload, f"cat <<'EOF'\n{payload}\nEOF"), (Edit(path, f"+{payload}\n-{payload}"),)
    )
    evidence = (Evidence(payload, payload), Evidence("/etc/x", f"a\n{payload}\nb"))
    outcomes = {
        "containerd.restarted": failed(
            payload, expected=payload, where=Where(path, 2), evidence=evidence, remedy=remedy
        ),
        "containerd.handler": failed(payload, expected=payload, where=Where("/etc/containerd/config.toml", 2)),
        "driver.nvml-answers": unknown(payload, expected=payload, remedy=remedy, evidence=evidence),
        "driver.persistence": warned(payload, remedy=remedy),
    }
    node = report(
        label,
        outcomes,
        hostname=payload,
        inventory={"os": payload, "containerd": payload, "gpus": [{"name": payload, "uuid": payload}]},
    )
    content = f"first\n{payload}\nlast\n".encode("utf-8", "surrogatepass")
    facts = Facts(
        label,
        [
            (REACH, Fact("ok")),
            (file(path), Fact("ok", content)),
            (file("/etc/containerd/config.toml"), Fact("ok", content)),
            (file("/etc/denied"), Fact("denied", note=payload)),
        ],
    )
    required = dataclasses.replace(node.required, because=payload)
    return dataclasses.replace(node, facts=facts, required=required, reason=payload)


def hostile_run(payload: str = PAYLOAD, *, nodes: int = 1) -> Run:
    """A run over such nodes whose command line and notes are the payload too."""
    labels = [f"ssh://root@n{number}{payload[:50] if number else ''}" for number in range(nodes)]
    made = run(*(hostile_node(payload, label) for label in labels), notes=(payload,))
    return dataclasses.replace(made, command=f"pytest {payload[:2000]}", generator=payload[:100])
