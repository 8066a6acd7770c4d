"""TLS and the access policy together: whose certificate it is decides. And faults of one file or connection that must not reach others."""

import asyncio
import time
from contextlib import suppress

import grpc
import pytest

from serving.doors.grpc import stubs
from serving.doors.http.connection import HttpConnection
from serving.doors.tls import certificates as followed
from serving.doors.tls import files as pem
from serving.doors.tls.certificates import Certificates
from serving.doors.tls.files import TlsError, TlsFiles
from tests.fakes.serving.authority import Authority
from tests.fakes.serving.doors import open_doors, simple_message
from tests.fakes.serving.guarded.gate_world import FakeWorld
from tests.fakes.serving.guarded.token_issuer import token
from tests.integration.doors.tls.test_doors_tls import asked, context, secured
from tests.waiting import until_so

CA = Authority("callers")
BLUE = CA.issue("anything", client=True, uris=("spiffe://prod/soar",))
UNKNOWN = CA.issue("CN=spiffe://prod/soar", client=True, dns=("spiffe.prod",), uris=("spiffe://other/prod",))


def trust(issued=None):
    made = context(issued=issued)
    made.load_verify_locations(cadata=CA.pem.decode())
    return made


def server_files(folder, client="optional"):
    issued = CA.issue().write(folder)
    (folder / "ca.crt").write_bytes(CA.pem)
    return TlsFiles(*issued.paths, folder / "ca.crt", client)


@pytest.fixture(scope="module")
def world():
    return FakeWorld("open: [health]\n", now_s=time.time())


@pytest.fixture(scope="module")
def doors(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    for issued in (BLUE, UNKNOWN):
        issued.write(tmp_path_factory.mktemp("client"))
    with open_doors(
        grpc.ssl_channel_credentials(CA.pem, BLUE.key, BLUE.certificate), gate=world.gate, tls=server_files(folder)
    ) as opened:
        yield opened


@pytest.mark.parametrize(
    ("issued", "path", "status"),
    [
        pytest.param(BLUE, "/v2/models/echo", b"200", id="its tenant's model"),
        pytest.param(BLUE, "/v2/models/simple", b"200", id="a shared model"),
        pytest.param(BLUE, "/v2/models/words", b"403", id="another tenant's model"),
        pytest.param(BLUE, "/metrics", b"403", id="what its role does not grant"),
        pytest.param(UNKNOWN, "/v2/models/echo", b"401", id="a certificate that no rule is about"),
        pytest.param(UNKNOWN, "/v2/health/live", b"200", id="which still sees what is open"),
        pytest.param(None, "/v2/models/echo", b"401", id="no certificate"),
    ],
)
def test_a_client_s_certificate_is_its_caller(doors, issued, path, status):
    with secured(doors, trust(issued)) as sock:
        assert asked(sock, path).split(b" ", 2)[1] == status


def test_the_same_over_grpc_and_in_the_request(doors, world):
    doors.call("ModelInfer", simple_message().SerializeToString())
    assert doors.service.seen[-1].caller == "certificate:spiffe://prod/soar"
    assert doors.service.seen[-1].caller_tenant == doors.service.seen[-1].tenant == "blue"
    asks = stubs.message("ModelMetadataRequest")
    with pytest.raises(grpc.RpcError) as refused:
        doors.call("ModelMetadata", asks(name="words").SerializeToString())
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


def test_a_wrong_token_is_not_made_good_by_a_certificate_and_a_good_one_counts_before_it(doors, world):
    with secured(doors, trust(BLUE)) as sock:
        for sub, path, status in (("red-1", "words", b"200"), ("red-1", "echo", b"403"), (None, "echo", b"401")):
            shown = b"x.y.z" if sub is None else token(world.now_s, sub=sub)
            sock.sendall(b"GET /v2/models/%b HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %b\r\n\r\n" % (path.encode(), shown))
            assert sock.recv(65536).split(b" ", 2)[1] == status


def test_credentials_that_come_twice_are_refused(doors, world):
    """A proxy before the door may have looked at the first, where the door would look at the last."""
    good = token(world.now_s, sub="admin")
    with secured(doors, trust()) as sock:
        head = b"GET /v2/models/echo HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %b\r\nauthorization: Bearer %b\r\n\r\n" % (
            good,
            good,
        )
        sock.sendall(head)
        assert sock.recv(65536).split(b" ", 2)[1] == b"401"
    twice = [("authorization", f"Bearer {good.decode()}")] * 2
    with pytest.raises(grpc.RpcError) as refused:
        doors.call("ModelInfer", simple_message().SerializeToString(), metadata=twice)
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_remarks_between_the_certificates_of_client_cas_may_be_in_any_language(tmp_path):
    files = server_files(tmp_path)
    (tmp_path / "ca.crt").write_bytes("# Főtanúsítvány, autorité de tests\n".encode() + CA.pem + "# ende: für heute\n".encode())
    certificates = Certificates.open(files)
    assert [one["subject"] for one in certificates.context(pem.HTTP1).get_ca_certs()]


def test_a_pair_that_is_whole_by_the_time_its_refusal_is_noted_is_used_at_the_next_look(tmp_path, monkeypatch):
    """The certificate is written, then its key: a look in between refuses the mixture, and must not take the whole pair for refused."""
    certificates, new, read = Certificates.open(server_files(tmp_path)), CA.issue(), pem.read
    (tmp_path / "tls.crt").write_bytes(new.certificate)

    def read_and_go_on(files):
        content = read(files)
        (tmp_path / "tls.key").write_bytes(new.key)
        return content

    monkeypatch.setattr(pem, "read", read_and_go_on)
    assert not certificates.look()
    assert certificates.problem()
    assert certificates.look()
    assert certificates.problem() == ()


async def test_an_error_that_nobody_thought_of_does_not_end_the_following_of_the_files(tmp_path, monkeypatch):
    certificates, open_contexts, looks = Certificates.open(server_files(tmp_path)), pem.open_contexts, []

    def broken(*asked):
        looks.append(asked)
        if len(looks) == 1:
            raise TypeError("nobody thought of it")
        return open_contexts(*asked)

    monkeypatch.setattr(pem, "open_contexts", broken)
    monkeypatch.setattr(followed, "LOOK_EVERY_S", 0.001)
    CA.issue().write(tmp_path)
    task = asyncio.create_task(certificates.follow())
    try:
        await until_so(lambda: certificates._reloads["loaded"] or task.done())
        assert not task.done()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def test_a_connection_that_fails_as_it_opens_does_not_stop_the_handshakes_of_others(tmp_path, monkeypatch):
    with open_doors(tls=server_files(tmp_path)) as doors:
        made = HttpConnection.connection_made
        monkeypatch.setattr(HttpConnection, "connection_made", lambda *_: 1 / 0)
        with suppress(OSError), secured(doors, trust()) as sock:
            assert sock.recv(1) == b""
        monkeypatch.setattr(HttpConnection, "connection_made", made)
        with secured(doors, trust()) as sock:
            assert b"200 OK" in asked(sock)


def test_no_certificate_authority_is_an_error_that_says_so(tmp_path):
    files = server_files(tmp_path)
    (tmp_path / "ca.crt").write_bytes("# só isto\n".encode())
    with pytest.raises(TlsError, match="VEDETTE_TLS_CLIENT_CA"):
        Certificates.open(files)
