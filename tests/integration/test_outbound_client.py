"""Requests on real sockets. 127.0.0.2 plays a public host, every other loopback address one of our own."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import anyio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tabario.clients.outbound import AddressRefused, AddressRules, Network, NoAnswer, OutboundClient, resolve
from tests.support.receivers import Receiver, receiving
from tests.support.servers import free_port

PUBLIC = "127.0.0.2"
OURS = "127.0.0.1"


class Names:
    """A name server whose answers change from one question to the next."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)

    async def __call__(self, _host: str, _port: int) -> Sequence[str]:
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def is_the_public_one(address: str) -> bool:
    return ip_address(address) == ip_address(PUBLIC)


def client(names: Names, *, seconds: float = 10, trust: ssl.SSLContext | None = None) -> OutboundClient:
    network = Network(resolve=names, allowed=is_the_public_one)
    return OutboundClient(AddressRules(plain_http=True), seconds=seconds, network=network, trust=trust)


@pytest.fixture
def app() -> Iterator[Receiver]:
    with receiving(address=PUBLIC) as receiver:
        yield receiver


def url_of(receiver: Receiver) -> str:
    return f"http://app.example:{receiver.port}/hook?key=1"


async def test_a_request_reaches_the_host_under_its_own_name(app: Receiver) -> None:
    reply = await client(Names([PUBLIC])).post(url_of(app), b"hello", {"x-one": "1"})

    assert reply.status == 204
    [request] = app.requests
    assert (request.body, request.host) == (b"hello", f"app.example:{app.port}")


async def test_a_name_that_changes_after_the_check_leads_nowhere_else(app: Receiver) -> None:
    with receiving(address=OURS, port=app.port) as inside:
        rebinding = client(Names([PUBLIC], [OURS]))
        await rebinding.post(url_of(app), b"", {})
        with pytest.raises(AddressRefused):
            await rebinding.post(url_of(app), b"", {})

    assert len(app.requests) == 1
    assert inside.requests == []


@pytest.mark.parametrize("answer", [[OURS], [PUBLIC, OURS], [OURS, PUBLIC], ["::1", PUBLIC]])
async def test_a_name_with_one_address_of_ours_is_refused(app: Receiver, answer: list[str]) -> None:
    with pytest.raises(AddressRefused):
        await client(Names(answer)).post(url_of(app), b"", {})
    assert app.requests == []


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "localhost", "[::1]"])
async def test_every_spelling_of_our_own_address_is_refused(host: str) -> None:
    strict = OutboundClient(AddressRules(plain_http=True), seconds=10)
    with receiving() as inside:
        with pytest.raises((AddressRefused, NoAnswer)):
            await strict.post(f"http://{host}:{inside.port}/", b"", {})
        assert inside.requests == []


async def test_the_system_resolves_numbers_in_any_form_to_the_address_they_mean() -> None:
    assert set(await resolve("2130706433", 80)) == {"127.0.0.1"}


async def test_the_next_address_is_tried_when_the_first_does_not_answer(app: Receiver) -> None:
    names = Names(["127.0.0.3", PUBLIC])
    network = Network(resolve=names, allowed=lambda _: True)
    reply = await OutboundClient(AddressRules(plain_http=True), seconds=10, network=network).post(url_of(app), b"", {})
    assert reply.status == 204


async def test_a_redirect_is_an_answer_and_is_not_followed(app: Receiver) -> None:
    with receiving() as elsewhere:
        app.answer(302, Location=elsewhere.url)
        assert (await client(Names([PUBLIC])).post(url_of(app), b"", {})).status == 302
        assert elsewhere.requests == []


async def test_a_host_that_does_not_answer_in_time_is_given_up(app: Receiver) -> None:
    app.release.clear()
    with pytest.raises(NoAnswer) as caught:
        await client(Names([PUBLIC]), seconds=0.3).post(url_of(app), b"", {})
    assert caught.value.reason == "timeout"


async def test_a_name_server_that_hangs_is_given_up() -> None:
    async def hang(_host: str, _port: int) -> Sequence[str]:
        await anyio.sleep_forever()
        raise AssertionError

    hanging = OutboundClient(AddressRules(plain_http=True), seconds=0.3, network=Network(resolve=hang))
    with pytest.raises(NoAnswer) as caught:
        await hanging.post("http://app.example/", b"", {})
    assert caught.value.reason == "timeout"


async def test_an_endless_answer_is_cut_off(app: Receiver) -> None:
    app.answer(200, b"x" * 30_000_000)
    assert (await client(Names([PUBLIC])).post(url_of(app), b"", {})).status == 200


@pytest.mark.parametrize(("header", "seconds"), [("120", 120), ("999999999", 86_400), ("Wed, 21 Oct 2026", None)])
async def test_a_wish_to_be_asked_later_is_heard(app: Receiver, header: str, seconds: float | None) -> None:
    app.answer(503, Retry_After=header)
    assert (await client(Names([PUBLIC])).post(url_of(app), b"", {})).retry_after == seconds


async def test_a_closed_port_is_no_answer() -> None:
    with pytest.raises(NoAnswer) as caught:
        await client(Names([PUBLIC])).post(f"http://app.example:{free_port()}/", b"", {})
    assert caught.value.reason == "connect"


async def test_the_certificate_must_be_of_the_name_that_was_asked_for(tmp_path: Path) -> None:
    certificate = certificate_for("app.example", tmp_path)
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(certificate)
    with receiving(address=PUBLIC, tls=served) as app:
        ours = client(Names([PUBLIC]), trust=ssl.create_default_context(cafile=str(certificate)))
        assert (await ours.post(f"https://app.example:{app.port}/", b"", {})).status == 204
        with pytest.raises(NoAnswer):
            await ours.post(f"https://other.example:{app.port}/", b"", {})
        with pytest.raises(NoAnswer):
            await client(Names([PUBLIC])).post(f"https://app.example:{app.port}/", b"", {})
    assert len(app.requests) == 1


def certificate_for(name: str, directory: Path) -> Path:
    """A new certificate that its own key signed, with the key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = directory / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path
