"""Read the corpus: plant made-up secrets in every form, each in the kind of fact that it occurs in."""

from __future__ import annotations

import base64
import random
import re
import string
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from pytest_gpuready.node.facts import Fact, Request, file, run, script

HERE = Path(__file__).parent

_SIGNS = {"⏎": "\n", "␀": "\0", "→": "\t", "␛": "\x1b", "␁": "\x01", "∅": "\u200b"}

_REQUESTS: dict[str, Request] = {
    "toml": file("/etc/containerd/config.toml"),
    "yaml": file("/etc/cdi/site.yaml"),
    "json": file("/etc/cdi/site.json"),
    "env": file("/proc/1/environ"),
    "nul": file("/proc/1/cmdline"),
    "args": script("processes", ""),
    "run": run("cat", "x"),
    "log": script("kernel log", ""),
    "note": run("containerd", "--version"),
}


@dataclass(frozen=True)
class Planted:
    """A text that holds secrets, as a fact of its kind."""

    kind: str
    form: str
    text: str
    secrets: tuple[str, ...]

    @property
    def request(self) -> Request:
        """The question whose answer it is."""
        return _REQUESTS[self.kind]

    @property
    def fact(self) -> Fact:
        """The answer: standard error for a note, arguments as the list of processes prints them."""
        if self.kind == "note":
            return Fact("ok", b"containerd v2.1.9", 0, self.text)
        text = self.text
        if self.kind == "args":
            text = "pid 7\ncomm k3s\n" + "".join(f"arg {arg}\n" for arg in text.split("\n")) + "path /usr/bin:/bin\n"
        return Fact("ok", text.encode(), 0)


def forms() -> list[tuple[str, str, str]]:
    """Kind of fact, name, and text of each form."""
    lines = (HERE / "forms.txt").read_text("utf-8").splitlines()
    found = [line.split(" | ", 2) for line in lines if line.strip() and not line.startswith("#")]
    return [(kind, name, _plain(text))
            for kind, name, text in found]  # fmt: skip


def planted() -> list[Planted]:
    """Every form with secrets of its own, twice: with such as generators make, and with such as people choose."""
    return [_plant(*form, style) for form in forms() for style in ("generated", "chosen")]


def _plant(kind: str, name: str, text: str, style: str) -> Planted:
    luck = random.Random(f"{kind} {name} {style}")  # noqa: S311 - the same secrets in every run
    secrets: list[str] = []

    def seed(found: re.Match[str]) -> str:
        secret, shown = _secret(found[1], luck, style)
        secrets.append(secret)
        return shown

    sown = re.sub(r"\{(secret|hex|basic|url|at|slash|words|apos|inch|upper|bootstrap|digits)\}", seed, text)
    return Planted(kind, f"{kind}: {name} ({style})", sown, tuple(secrets))


def _secret(what: str, luck: random.Random, style: str) -> tuple[str, str]:
    """A secret and how it stands in the text."""

    def some(letters: str, count: int) -> str:
        return "".join(luck.choices(letters, k=count))

    lower, letters, digits = string.ascii_lowercase, string.ascii_letters, string.digits
    plain = some(letters, 6) + some(letters + digits, 14) if style == "generated" else some(lower, 9) + some(digits, 2)
    if what == "secret":
        secret = some(letters, 8) + "/+" + some(letters + digits, 14) if style == "generated" else plain
        return secret, secret
    if what == "basic":
        return plain, base64.b64encode(f"user:{plain}".encode()).decode()
    if what == "url":
        secret = f"{plain}@/ #{some(lower, 6)}"
        return secret, urllib.parse.quote(secret, safe="")
    secret = {
        "hex": some(digits, 1) + some("abcdef", 1) + some("abcdef" + digits, 38),
        "at": f"{plain}@{some(lower, 6)}",
        "slash": f"{plain}@{some(lower, 6)}/{some(lower, 6)}",
        "words": f"{some(lower, 7)} {some(lower, 7)} {some(digits, 5)}",
        "apos": f"it's {plain} {some(lower, 6)}",
        "inch": f'{some(lower, 6)}"{plain}',
        "upper": some(string.ascii_uppercase + "234567", 16),
        "bootstrap": some(lower, 8) + some(digits, 2) + some(lower + digits, 6),
        "digits": some(digits[1:], 12),
    }[what]
    return secret, secret


def remains(secrets: tuple[str, ...], text: str) -> list[str]:
    """The secrets, or words of them, that are found in the text: as they are, in base64, and quoted for URLs."""
    plain = [text, urllib.parse.unquote(text)]
    for found in re.findall(r"[A-Za-z0-9+/_-]{8,}={0,2}", text):
        raw = found.replace("-", "+").replace("_", "/").rstrip("=")
        plain += [base64.b64decode(raw[shift:] + "=" * (-len(raw[shift:]) % 4), validate=False).decode("latin-1")
                  for shift in (0, 1, 2, 3) if len(raw[shift:]) % 4 != 1]  # fmt: skip
    everything = "\n".join(plain)
    return [
        secret
        for secret in secrets
        if any(word in everything for word in [secret, *re.findall(r"[A-Za-z0-9]{6,}", secret)])
    ]


def harmless() -> list[str]:
    """Lines without a secret that look like some with one."""
    lines = (HERE / "harmless.txt").read_text("utf-8").splitlines()
    return [_plain(line) for line in lines if line and not line.startswith("# --")]


def _plain(text: str) -> str:
    return re.sub("[⏎␀→␛␁∅]", lambda sign: _SIGNS[sign[0]], text)
