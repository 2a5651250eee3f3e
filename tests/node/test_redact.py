"""No secret outlives its arrival, whatever it stands in; and what checks need stays."""

# ruff: noqa: E501 - a case is a line

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import tomlkit
from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuready.node.facts import Fact, file
from pytest_gpuready.node.redact import redact, redact_bytes

#: The seeded secret; where a format asks for a shape of its own, the case brings it.
S = "S3cr3t-canary/+Value0123"
HEX = "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567"
JWT = "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQifQ.c2lnbmF0dXJlLWNhbmFyeQ"
B64 = "dXNlcjpTM2NyM3QtY2FuYXJ5"
PEM_BODY = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7\nVJTUt9Us8cKjMzEfYyjiWA4R4/M2bS1GB4t7NXp98C3SC6dVMvDuictGeurT8jNb"

TOML: dict[str, tuple[str, list[str]]] = {
    "v1 auth": (
        f'version = 1\n[plugins.cri.registry.auths."https://r.example"]\n  username = "u"\n  password = "{S}"\n',
        [S],
    ),
    "v1 auth string": (f'[plugins.cri.registry.auths."https://r"]\n  auth = "{B64}"\n', [B64]),
    "v2 config auth": (
        f'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry.configs."r.example:5000".auth]\n  password = "{S}"\n',
        [S],
    ),
    "v2 identity token": (
        f'[plugins."io.containerd.grpc.v1.cri".registry.configs."r".auth]\n  identitytoken = "{JWT}"\n  username = ""\n',
        [JWT],
    ),
    "v2 single quotes": (f"[plugins.'x'.auth]\n  password = '{S}'\n", [S]),
    "v2 triple quotes": (f'password = """{S}"""\n', [S]),
    "v2 triple quotes on lines of their own": (f'password = """\n{S}\nsecond-{S}\n"""\nroot = "/x"\n', [S]),
    "v2 triple single quotes": (f"client_secret = '''\n{S}'''\n", [S]),
    "v2 inline table": (f'auth = {{ username = "u", password = "{S}", auth = "{B64}" }}\n', [S, B64]),
    "v3": (f"version = 3\n[plugins.'io.containerd.cri.v1.images'.registry.configs.r.auth]\n  password = '{S}'\n", [S]),
    "v3 quoted key": (f'"password" = "{S}"\n', [S]),
    "v3 escaped quote": (f'password = "a\\"{S}"\n', [S]),
    "comment": (f'# password = "{S}"\n', [S]),
    "hosts.toml header": (
        f'[host."https://m"]\n  [host."https://m".header]\n    authorization = "Basic {B64}"\n',
        [B64],
    ),
    "hosts.toml header list": (f'[host."https://m".header]\n  authorization = ["Bearer {S}", "x"]\n', [S]),
    "hosts.toml header list on lines": (
        f'[host."https://m".header]\n  authorization = [\n    "Bearer {HEX}",\n    "{S}",\n  ]\n',
        [HEX, S],
    ),
    "hosts.toml own header": (f'x-api-key = "{S}"\nX-Registry-Token = ["{S}"]\n', [S]),
    "hosts.toml cookie": (f'cookie = "session={S}"\n', [S]),
    "mirror url": (f'endpoint = ["https://user:{S.replace("/", "_")}@mirror.example/v2"]\n', [S.replace("/", "_")]),
    "proxy url": (f'server = "http://proxy:{HEX}@10.0.0.1:3128"\n', [HEX]),
    "decryption key": (f'decryption_key = "{S}"\nkey_passphrase = "{S}"\n', [S]),
    "stargz": (f'[proxy_plugins.stargz]\n  access_key = "{S}"\n  secret_access_key = "{S}"\n', [S]),
}

JSON: dict[str, tuple[Any, list[str]]] = {
    "docker auth": ({"auths": {"https://index.docker.io/v1/": {"auth": B64}}}, [B64]),
    "docker password": ({"auths": {"r": {"username": "u", "password": S, "email": "e@x"}}}, [S]),
    "docker identity token": ({"auths": {"r": {"identitytoken": JWT}}}, [JWT]),
    "docker registry token": ({"auths": {"r": {"registrytoken": HEX}}}, [HEX]),
    "docker http headers": ({"HttpHeaders": {"Authorization": f"Bearer {HEX}", "X-Meta-Token": S}}, [HEX, S]),
    "docker headers as lists": ({"headers": {"Authorization": [f"Bearer {HEX}"], "X-Auth-Token": [S, S]}}, [HEX, S]),
    "docker proxies": ({"proxies": {"default": {"httpProxy": f"http://u:{HEX}@p:1"}}}, [HEX]),
    "crictl registry": (
        {
            "config": {
                "registry": {
                    "configs": {"r": {"auth": {"username": "u", "password": S, "auth": "", "identityToken": JWT}}}
                }
            }
        },
        [S, JWT],
    ),
    "crictl headers": ({"config": {"registry": {"headers": {"Authorization": [f"Basic {B64}"]}}}}, [B64]),
    "crictl nested": ({"config": json.dumps({"registry": {"auths": {"r": {"password": S}}}})}, [S]),
    "env list": ({"Env": ["PATH=/bin", f"AWS_SECRET_ACCESS_KEY={S}", f"NGC_API_KEY={HEX}"]}, [S, HEX]),
    "credential provider": ({"auth": {"*.dkr.ecr.amazonaws.com": {"username": "AWS", "password": S}}}, [S]),
    "kubeconfig json": ({"users": [{"user": {"token": JWT, "client-key-data": B64}}]}, [JWT, B64]),
    "oauth": ({"client_secret": S, "refresh_token": HEX, "access_token": JWT, "expires_in": 3600}, [S, HEX, JWT]),
    "aws": (
        {"AccessKeyId": "ASIAQWERTYUIOPASDFGH", "SecretAccessKey": S, "Token": HEX},
        ["ASIAQWERTYUIOPASDFGH", S, HEX],
    ),
    "gcp": (
        {
            "type": "service_account",
            "private_key": f"-----BEGIN PRIVATE KEY-----\n{PEM_BODY}\n-----END PRIVATE KEY-----\n",
            "private_key_id": HEX,
        },
        ["MIIEvQIBADANBg", "VJTUt9Us8cKj", HEX],
    ),
    "numbers": ({"password": 1234567890123}, ["1234567890123"]),
}

TEXT: dict[str, tuple[bytes, list[str]]] = {
    "k3s registries.yaml": (
        f"configs:\n  r.example:\n    auth:\n      username: u\n      password: {S}\n".encode(),
        [S],
    ),
    "k3s quoted": (f'configs:\n  "r":\n    auth:\n      password: "{S}"\n      token: \'{S}\'\n'.encode(), [S]),
    "k3s auth": (f"    auth:\n      auth: {B64}\n      identity_token: {JWT}\n".encode(), [B64, JWT]),
    "k3s config token": (f"server: https://x:6443\ntoken: K10{HEX}::server:{S}\nagent-token: {S}\n".encode(), [HEX, S]),
    "yaml with spaces in it": (f"password: two words {S}\nnext: 1\n".encode(), [S]),
    "yaml block": (f"password: |\n  {S}\n  {S}\nnext: 1\n".encode(), [S]),
    "kubeconfig": (f"users:\n- name: n\n  user:\n    token: {JWT}\n    client-key-data: {B64}\n".encode(), [JWT, B64]),
    "environ": (
        b"PATH=/bin\0" + f"REGISTRY_PASSWORD={S}\0AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE\0".encode(),
        [S, "AKIAIOSFODNN7EXAMPLE"],
    ),
    "environ proxy": (b"A=b\0" + f"HTTPS_PROXY=http://user:{HEX}@proxy:3128\0NO_PROXY=.svc\0".encode(), [HEX]),
    "environ with spaces": (f"A=b\0DB_PASSWORD=two words {S}\0C=d\0".encode(), [S]),
    "environ ngc": (f"NGC_API_KEY=nvapi-{HEX}\0NGC_CLI_API_KEY={HEX}\0".encode(), [HEX]),
    "environ hf": (f"HF_TOKEN=hf_{HEX}\0X=hf_{HEX}\0".encode(), [HEX]),
    "unit file": (f'[Service]\nEnvironment="REGISTRY_TOKEN={S}" "A=b"\nEnvironment=API_KEY={S}\n'.encode(), [S]),
    "command line": (f"/usr/bin/x\0--password\0{S}\0--token={HEX}\0-v\0".encode(), [S, HEX]),
    "command line with dashes": (f"x --password -{S} --registry-password={S}".encode(), [S]),
    "command line k3s": (f"/usr/local/bin/k3s agent --token {S} --server https://x".encode(), [S]),
    "command line url": (f"x --endpoint https://u:{HEX}@h/p".encode(), [HEX]),
    "url user only": (f"https://{HEX}@github.example/x".encode(), [HEX]),
    "url signed": (
        f"https://s3/x?X-Amz-Signature={HEX}&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2Fx&a=b".encode(),
        [HEX, "AKIAIOSFODNN7EXAMPLE"],
    ),
    "url sas": (f"https://acc.blob.core.windows.net/c?sv=1&sig={HEX}%3D&se=2".encode(), [HEX]),
    "header": (f"> Authorization: Bearer {HEX}\n> Cookie: id={S}\n".encode(), [HEX, S]),
    "header basic": (f"authorization: basic {B64}==\r\n".encode(), [B64]),
    "jwt alone": (f"some words {JWT} and more".encode(), [JWT]),
    "github": (f"ghp_{HEX} github_pat_{HEX} gho_{HEX}".encode(), [HEX]),
    "gitlab": (f"glpat-{HEX}".encode(), [HEX]),
    "slack": (f"xoxb-{HEX}".encode(), [HEX]),
    "google": (f"AIzaSy{HEX}".encode(), [HEX]),
    "docker hub": (f"dckr_pat_{HEX}".encode(), [HEX]),
    "azure": (f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={B64}==;EndpointSuffix=x".encode(), [B64]),
    "pem": (
        f"a\n-----BEGIN RSA PRIVATE KEY-----\n{PEM_BODY}\n-----END RSA PRIVATE KEY-----\nb\n".encode(),
        ["MIIEvQ", "VJTUt9Us"],
    ),
    "pem openssh": (
        f"-----BEGIN OPENSSH PRIVATE KEY-----\n{PEM_BODY}\n-----END OPENSSH PRIVATE KEY-----".encode(),
        ["MIIEvQ", "VJTUt9Us"],
    ),
    "pem encrypted": (
        f"-----BEGIN ENCRYPTED PRIVATE KEY-----\r\n{PEM_BODY}\r\n-----END ENCRYPTED PRIVATE KEY-----".encode(),
        ["MIIEvQ", "VJTUt9Us"],
    ),
    "pem cut off": (f"-----BEGIN EC PRIVATE KEY-----\n{PEM_BODY}".encode(), ["MIIEvQ", "VJTUt9Us"]),
    "pem escaped": (
        f'"key": "-----BEGIN PRIVATE KEY-----\\n{PEM_BODY[:64]}\\n-----END PRIVATE KEY-----"'.encode(),
        ["MIIEvQ"],
    ),
    "ini": (f"[registry]\npassword={S}\npasswd = {S}\nsecret: {S}\n".encode(), [S]),
    "bootstrap token": (f"token: abcdef.0123456789abcdef\nfrom: {S[:3]}\n".encode(), ["0123456789abcdef"]),
    "netrc": (f"machine r.example login u password {S}\n".encode(), [S]),
    "error message": (f'level=error msg="login failed" password="{S}" err="401"'.encode(), [S]),
    "escaped json in a log": (f'msg="{{\\"auth\\":\\"{B64}\\",\\"password\\":\\"{S}\\"}}"'.encode(), [B64, S]),
}


def _gone(before: bytes, secrets: list[str]) -> bytes:
    """Redact; every secret must be gone, and length and lines must be as before."""
    for secret in secrets:
        assert secret.encode() in before, "the case does not hold its secret"
    after = redact_bytes(before)
    assert [secret for secret in secrets if secret.encode() in after] == []
    assert len(after) == len(before)
    assert [place for place, byte in enumerate(after) if byte in b"\r\n"] == [
        p for p, byte in enumerate(before) if byte in b"\r\n"
    ]
    assert redact_bytes(after) == after, "a second pass changes it"
    return after


def test_at_least_sixty_secrets_are_seeded() -> None:
    assert sum(len(secrets) for cases in (TOML, JSON, TEXT) for _, secrets in cases.values()) >= 60


@pytest.mark.parametrize("name", TOML)
def test_toml_loses_its_secrets_and_stays_toml(name: str) -> None:
    text, secrets = TOML[name]
    after = _gone(text.encode(), secrets).decode()
    assert _shape(tomlkit.parse(after).unwrap()) == _shape(tomlkit.parse(text).unwrap())


@pytest.mark.parametrize("name", JSON)
@pytest.mark.parametrize("indent", [None, 2])
def test_json_loses_its_secrets_and_stays_json(name: str, indent: int | None) -> None:
    document, secrets = JSON[name]
    after = _gone(json.dumps(document, indent=indent).encode(), secrets)
    if name != "numbers":
        assert _shape(json.loads(after)) == _shape(document)


@pytest.mark.parametrize("name", TEXT)
def test_other_text_loses_its_secrets(name: str) -> None:
    text, secrets = TEXT[name]
    _gone(text, secrets)


def _shape(value: Any) -> Any:
    """Keys, lengths of lists and kinds of values."""
    if isinstance(value, dict):
        return {key: _shape(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_shape(one) for one in value]
    return type(value).__name__


def test_a_cri_answer_keeps_its_framing() -> None:
    """Protobuf: a length stands before each value; a value of another length would shift all that follows."""

    def field(number: int, value: bytes) -> bytes:
        return bytes([number << 3 | 2, *_varint(len(value))]) + value

    config = json.dumps(
        {
            "registry": {"configs": {"r": {"auth": {"password": S, "identitytoken": JWT}}}},
            "cniPluginDir": "/opt/cni/bin",
        }
    )
    message = field(2, field(1, b"config") + field(2, config.encode())) + field(
        2, field(1, b"golang") + field(2, b"go1.22")
    )
    after = _gone(message, [S, JWT])
    assert after[: message.index(b"{")] == message[: message.index(b"{")]
    assert after.endswith(field(1, b"golang") + field(2, b"go1.22"))
    assert b"/opt/cni/bin" in after


def _varint(number: int) -> list[int]:
    return [number] if number < 128 else [number & 127 | 128, *_varint(number >> 7)]


HARMLESS = [
    'config_path = "/etc/containerd/certs.d"',
    "config_path = '/etc/containerd/certs.d:/etc/docker/certs.d'",
    '[plugins."io.containerd.grpc.v1.cri".registry.configs."r.example".auth]',
    '[plugins."io.containerd.grpc.v1.cri".registry.auths."https://r.example"]',
    '[plugins."io.containerd.grpc.v1.cri".registry.headers]',
    "[plugins.'io.containerd.cri.v1.images'.registry.configs]",
    'username = "deploy"',
    "enable_unprivileged_ports = true",
    "password = true",
    "token: null",
    'auth = ""',
    "SystemdCgroup = true",
    'BinaryName = "/usr/bin/nvidia-container-runtime"',
    "runtime_type = 'io.containerd.runc.v2'",
    'key_model = "node"',
    'stream_server_key_file = ""',
    'x509_key_pair_streaming = "x"',
    'key_file = "/etc/ssl/key.pem"',
    'tls_key_file = "/a/b"',
    'tokenFile: "/var/run/secrets/kubernetes.io/serviceaccount/token"',
    "--token-file /etc/token",
    "--authentication-token-webhook=true",
    "--authorization-mode=Webhook",
    "--authentication-mode=x509",
    "authentication:\n  anonymous:\n    enabled: false\n  webhook:\n    cacheTTL: 0s\n    enabled: true",
    "authorization:\n  mode: Webhook\n  webhook:\n    cacheAuthorizedTTL: 0s",
    "--image-credential-provider-config=/etc/kubernetes/credential-provider.yaml",
    "--image-credential-provider-bin-dir=/opt/bin",
    "serviceAccountTokenMaxExpiration: 24h",
    '"io.containerd.grpc.v1.cri"',
    "nvcr.io/nvidia/cuda:12.4.1-base-ubuntu22.04",
    "registry.k8s.io/pause@sha256:7031c1b283388d2c2e09b57badb803c05ebed362dc88d84b480cc47f72a21097",
    "docker.io/library/busybox@sha256:0a1b2c3d4e5f60718293a4b5c6d7e8f9012345670a1b2c3d4e5f607182930000",
    "GPU-5c1d6e2f-8b1f-4d3f-9a55-0a1b2c3d4e5f",
    "MIG-3eb87630-93d5-b2b6-b8ff-9b359caf4ee2",
    "NVIDIA H100 80GB HBM3",
    "0000:3b:00.0",
    "https://mirror.example:5000/v2/",
    "unix:///run/containerd/containerd.sock",
    "user@host",
    "root@gpu001:/etc#",
    "https://github.com/containerd/containerd@v2",
    "ssh://n1 or mail to admin@example.com",
    "NVRM: version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024",
    "Bearer and Basic are schemes",
    "basic setup",
    "the author of it",
    'authors = ["a"]',
    "AUTHORS file",
    'nvidia-container-runtime.mode = "cdi"',
    "secretName: nvidia",
    "imagePullSecrets:",
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "NO_PROXY=10.0.0.0/8,.svc",
    "cat: /etc/shadow: Permission denied",
    "-----BEGIN CERTIFICATE-----\nMIIDXTCCAkWgAwIBAgIJAKL0UG\n-----END CERTIFICATE-----",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKx root@n1",
]


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact_bytes(text.encode()).decode() == text


def test_the_name_of_a_secret_and_its_place_stay() -> None:
    after = redact_bytes(f'[auths."r"]\n  password = "{S}"\n'.encode()).decode()
    assert re.fullmatch(r'\[auths\."r"\]\n  password = "\[redacted\]\*+"\n', after)


def test_notes_and_data_are_both_redacted() -> None:
    fact = redact(file("/x"), Fact("ok", f"token={HEX}".encode(), 1, f"password={HEX}"))
    assert HEX not in repr(fact)
    assert redact(file("/x"), Fact("ok", b"nothing")) == Fact("ok", b"nothing")


@pytest.mark.parametrize(
    "piece",
    [
        b"a", b"-", b"_", b".", b"=", b": ", b'"', b"'", b"[", b"password", b"password=", b"password = [", b"auth", b"x.auth.", b"token-",
        b"https://", b"a://", b"://", b"@", b"?sig=", b"bearer ", b"basic", b"eyJ", b"eyJaaaaaaaa.", b"-----BEGIN PRIVATE KEY-----",
        b"-----BEGIN ", b"--", b"--password ", b"secret\0", b"A=b\0", b'password = """', b"\n", b"password: |\n", b" ", b'\\"',
    ],
)  # fmt: skip
def test_a_megabyte_on_one_line_comes_to_its_end(piece: bytes) -> None:
    """Where a pattern cost the square of a line's length, as earlier ones did, this would take minutes."""
    text = (piece * ((1 << 20) // len(piece) + 1))[: 1 << 20]
    assert len(redact_bytes(text)) == len(text)


@given(st.binary(max_size=300))
def test_any_bytes_keep_their_length_and_lines(data: bytes) -> None:
    after = redact_bytes(data)
    assert len(after) == len(data)
    assert after.count(b"\n") == data.count(b"\n")
