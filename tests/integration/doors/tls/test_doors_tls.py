"""Both doors over TLS: real handshakes with OpenSSL and gRPC's BoringSSL, client certificates, reload, and what hostile handshakes get."""

import asyncio
import datetime
import hashlib
import http.client
import json
import os
import socket
import ssl
from contextlib import contextmanager, suppress

import aiohttp
import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from operators.backends.metrics_pages import MetricsPages, PodTls
from operators.conformance.exchange import GrpcCall, HttpCall, NoReply
from operators.conformance.transport import Transport, Trust
from serving.access.credentials import PeerCertificate
from serving.doors.tls import handshakes as handshake_limits
from serving.doors.tls.files import TlsError, TlsFiles
from tests.fakes.serving.authority import Authority, Issued
from tests.fakes.serving.doors import Doors, open_doors, simple_message, simple_request
from tests.ports import free_port
from tests.waiting import HANG_S, until

CA = Authority()
OTHERS = Authority("others")
CLIENT = CA.issue("soar", client=True, dns=("soar.soc.example",), uris=("spiffe://soc/soar",))
INFER = "/v2/models/simple/infer"
HANDSHAKES = "vedette_tls_handshakes_total"


def pod(folder, issued: Issued, authority: Authority = CA) -> None:
    """The files as the kubelet mounts a Secret: `..data` is a symlink to the folder of the moment, put in place at once."""
    version = folder / f"..{hashlib.sha256(issued.certificate).hexdigest()[:12]}"
    issued.write(version)
    (version / "ca.crt").write_bytes(authority.pem)
    draft = folder / "..data_tmp"
    draft.symlink_to(version.name)
    os.replace(draft, folder / "..data")
    for name in ("tls.crt", "tls.key", "ca.crt"):
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")


def files(folder, client="off") -> TlsFiles:
    return TlsFiles(folder / "tls.crt", folder / "tls.key", None if client == "off" else folder / "ca.crt", client)


@contextmanager
def tls_doors(folder, client="off", issued: Issued | None = None, **options):
    pod(folder, CA.issue())
    shown = (issued.key, issued.certificate) if issued else (None, None)
    with open_doors(grpc.ssl_channel_credentials(CA.pem, *shown), tls=files(folder, client), **options) as doors:
        yield doors


def context(tmp_path_factory=None, issued: Issued | None = None, **options) -> ssl.SSLContext:
    made = ssl.create_default_context(cadata=CA.pem.decode())
    if issued is not None:
        assert issued.paths
        made.load_cert_chain(*issued.paths)
    for name, value in options.items():
        setattr(made, name, value)
    return made


def secured(
    doors: Doors, trust: ssl.SSLContext, session: ssl.SSLSession | None = None, port: int | None = None
) -> ssl.SSLSocket:
    sock = socket.create_connection(("127.0.0.1", port or doors.http_port), timeout=HANG_S)
    return trust.wrap_socket(sock, server_hostname="localhost", session=session)


def asked(sock: ssl.SSLSocket, path: str = "/v2/health/live") -> bytes:
    sock.sendall(b"GET %b HTTP/1.1\r\nhost: x\r\n\r\n" % path.encode())
    return sock.recv(65536)


@pytest.fixture(scope="module")
def doors(tmp_path_factory):
    with tls_doors(tmp_path_factory.mktemp("pod"), "optional", CLIENT) as opened:
        yield opened


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    return CLIENT.write(tmp_path_factory.mktemp("client"))


def failed(doors: Doors, reason: str, door: str = "http") -> float:
    return doors.metric(HANDSHAKES, door, reason)


def test_both_doors_answer(doors):
    connection = http.client.HTTPSConnection("127.0.0.1", doors.http_port, context=context(), timeout=HANG_S)
    for _ in range(3):  # on one kept connection
        connection.request("POST", INFER, json.dumps(simple_request()))
        assert json.loads(connection.getresponse().read())["model_name"] == "simple"
    assert connection.sock.version() == "TLSv1.3"
    assert doors.call("ModelInfer", simple_message().SerializeToString()).model_name == "simple"


def test_bodies_larger_than_records(doors):
    connection = http.client.HTTPSConnection("127.0.0.1", doors.http_port, context=context(), timeout=HANG_S)
    connection.request("POST", INFER, json.dumps(simple_request(id="x" * 900_000)))
    answer = connection.getresponse()
    assert (answer.status, len(json.loads(answer.read())["id"])) == (200, 900_000)
    connection.request("POST", INFER, b"x" * (doors_limit := 1 << 21))
    assert (connection.getresponse().status, doors_limit) == (413, 1 << 21)


@pytest.mark.parametrize(("port", "offered", "chosen"), [
    pytest.param("http_port", ["h2", "http/1.1"], "http/1.1", id="the HTTP door speaks HTTP/1.1"),
    pytest.param("grpc_port", ["h2", "http/1.1"], "h2", id="the gRPC door speaks HTTP/2"),
    pytest.param("http_port", [], None, id="a client that offers nothing is served"),
])  # fmt: skip
def test_protocol_by_alpn(doors, port, offered, chosen):
    trust = context()
    trust.set_alpn_protocols(offered)
    with secured(doors, trust, port=getattr(doors, port)) as sock:
        assert sock.selected_alpn_protocol() == chosen


def test_tls_1_2_only_with_forward_secrecy(doors):
    with secured(doors, context(maximum_version=ssl.TLSVersion.TLSv1_2)) as sock:
        assert sock.cipher()[0].startswith("ECDHE-")
        assert b"200 OK" in asked(sock)
    for weak in ("AES128-SHA", "ECDHE+AES:!AESGCM:!AESCCM"):
        trust, before = context(maximum_version=ssl.TLSVersion.TLSv1_2), failed(doors, "no_cipher")
        trust.set_ciphers(weak)
        with pytest.raises(ssl.SSLError):
            secured(doors, trust)
        until(lambda before=before: failed(doors, "no_cipher") == before + 1)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_is_resumed_with_its_client_certificate(doors, client, version):
    trust, before = context(issued=client, maximum_version=version), doors.metric("vedette_tls_resumed_total", "http")
    with secured(doors, trust) as first:
        assert b"200 OK" in asked(first)
        session = first.session
    with secured(doors, trust, session) as again:
        assert again.session_reused
        assert b"200 OK" in asked(again)
        assert {c.peer.subject for c in doors.listener._http._shared.connections if c.peer} == {"O=SOC,CN=soar"}
    assert doors.metric("vedette_tls_resumed_total", "http") == before + 1


def test_the_client_s_certificate_is_on_its_connection(doors, client):
    certificate = x509.load_pem_x509_certificate(client.certificate)
    digest, end_s = (
        hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest(),
        certificate.not_valid_after_utc.timestamp(),
    )
    expected = PeerCertificate("O=SOC,CN=soar", ("soar.soc.example",), ("spiffe://soc/soar",), digest, end_s)
    with secured(doors, context(issued=client)) as sock, secured(doors, context()) as anonymous:
        assert b"200 OK" in asked(sock)
        assert b"200 OK" in asked(anonymous)
        peers = {c.peer for c in doors.listener._http._shared.connections}
        assert peers >= {expected, None}
    doors.call("ServerLive", b"")
    assert expected in {c.peer for c in doors.listener._grpc._connections.known}


@pytest.mark.parametrize(("shown", "reason"), [
    pytest.param(None, "no_certificate", id="none"),
    pytest.param(OTHERS.issue("soar", client=True), "bad_certificate", id="of another CA"),
    pytest.param(CA.issue("soar", client=True, lasts=datetime.timedelta(minutes=-1)), "bad_certificate", id="expired"),
    pytest.param(CA.issue("web"), "bad_certificate", id="of a server"),
])  # fmt: skip
def test_who_is_refused_where_a_certificate_is_required(tmp_path, shown, reason):
    with tls_doors(tmp_path / "pod", "required", CLIENT) as doors:
        trust = context(issued=shown.write(tmp_path / "client") if shown else None)
        with (
            pytest.raises(ssl.SSLError),
            secured(doors, trust) as sock,
        ):  # with TLS 1.3 the client learns it with the first read
            asked(sock)
        until(lambda: failed(doors, reason) == 1)
        with (
            pytest.raises(grpc.RpcError),
            grpc.secure_channel(f"127.0.0.1:{doors.grpc_port}", grpc.ssl_channel_credentials(CA.pem)) as channel,
        ):
            channel.unary_unary("/inference.GRPCInferenceService/ServerLive")(b"", timeout=HANG_S)
        assert failed(doors, "no_certificate", "grpc") >= 1
        assert doors.call("ServerLive", b"").live


def test_probes_need_no_certificate_and_see_nothing_else(tmp_path):
    port = free_port()
    with tls_doors(tmp_path / "pod", "required", probe_port=port) as doors:
        found = {}
        for at in (port, doors.own_port):
            for path in ("/v2/health/ready", "/v2/health/live", "/metrics", "/v2/models/simple", INFER):
                connection = http.client.HTTPConnection("127.0.0.1", at, timeout=HANG_S)
                connection.request("POST" if path == INFER else "GET", path, json.dumps(simple_request()))
                found.setdefault(at, []).append(connection.getresponse().status)
        assert found == {port: [200, 200, 404, 404, 404], doors.own_port: [200, 200, 200, 404, 404]}
        assert not doors.service.seen


@pytest.mark.parametrize(("sent", "reason"), [
    pytest.param(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", "not_tls", id="plain HTTP"),
    pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "not_tls", id="plain HTTP/2"),
    pytest.param(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", "other", id="a malformed greeting"),
    pytest.param(b"", "closed", id="nothing"),
    pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "closed", id="half a greeting"),
])  # fmt: skip
def test_what_is_no_handshake_is_counted_and_closed(doors, sent, reason):
    before = failed(doors, reason)
    with socket.create_connection(("127.0.0.1", doors.http_port), timeout=HANG_S) as sock:
        sock.sendall(sent)
        if reason == "closed":
            sock.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):
            said = sock.recv(4096)
            assert (b"speaks TLS" in said) == sent.startswith(b"GET")
            while sock.recv(4096):
                pass
    until(lambda: failed(doors, reason) == before + 1)


def test_only_old_versions(doors):
    trust, before = context(), failed(doors, "old_version")
    trust.minimum_version, trust.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    trust.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        secured(doors, trust)
    until(lambda: failed(doors, "old_version") == before + 1)


def test_a_client_that_does_not_trust_us(doors):
    before = failed(doors, "client_alert")
    with pytest.raises(ssl.SSLCertVerificationError):
        secured(doors, ssl.create_default_context(cadata=OTHERS.pem.decode()))
    until(lambda: failed(doors, "client_alert") == before + 1)


def test_a_crowd_of_unfinished_handshakes_loses_its_oldest(tmp_path):
    with tls_doors(tmp_path / "pod", max_connections=32) as doors:  # so 4 unfinished handshakes
        slow = [socket.create_connection(("127.0.0.1", doors.http_port), timeout=HANG_S) for _ in range(6)]
        until(lambda: failed(doors, "crowded") == 2)
        with suppress(ConnectionResetError):
            assert slow[0].recv(1) == b"", "the oldest made room"
        with secured(doors, context()) as sock:
            assert b"200 OK" in asked(sock), "an honest client comes through"
        assert doors.metric("vedette_tls_unfinished_handshakes", "http") == 3
        for one in slow:
            one.close()


def test_a_handshake_that_takes_too_long_is_cut_off(tmp_path, monkeypatch):
    monkeypatch.setattr(handshake_limits, "TIMEOUT_S", 0.05)
    with tls_doors(tmp_path / "pod") as doors:
        with socket.create_connection(("127.0.0.1", doors.http_port), timeout=HANG_S) as slow, suppress(ConnectionResetError):
            slow.sendall(b"\x16\x03\x01\x02\x00\x01")
            assert slow.recv(1) == b""
        until(lambda: failed(doors, "timeout") == 1)


def test_new_certificates_are_taken_over_and_kept_connections_stay(tmp_path):
    with tls_doors(tmp_path, "optional") as doors:
        certificates = doors.listener._certificates
        with secured(doors, context()) as kept:
            before = kept.getpeercert()["serialNumber"]
            assert not certificates.look(), "nothing has changed"
            pod(tmp_path, CA.issue(lasts=datetime.timedelta(hours=2)), OTHERS)
            assert certificates.look()
            assert b"200 OK" in asked(kept), "an open connection goes on"
            with secured(doors, context()) as new:
                assert new.getpeercert()["serialNumber"] != before
            assert 3600 < doors.metric("vedette_tls_certificate_expiry_seconds", "server") <= 7200
            theirs = OTHERS.issue("soar", client=True).write(tmp_path / "client")
            with secured(doors, context(issued=theirs)) as trusted:
                assert b"200 OK" in asked(trusted), "the new CA of clients counts"
        ours = CLIENT.write(tmp_path / "before")
        with pytest.raises(ssl.SSLError), secured(doors, context(issued=ours)) as sock:
            asked(sock)


@pytest.mark.parametrize("damage", [
    pytest.param(lambda folder: (folder / "tls.crt").write_bytes(b"-----BEGIN CERT"), id="half written"),
    pytest.param(lambda folder: (folder / "tls.crt").write_bytes(CA.issue().certificate), id="the certificate of another key"),
    pytest.param(lambda folder: (folder / "tls.key").unlink(), id="no key"),
    pytest.param(lambda folder: (folder / "ca.crt").write_bytes(b""), id="no client CA"),
])  # fmt: skip
def test_bad_files_keep_the_certificates_before(tmp_path, damage):
    with tls_doors(tmp_path, "optional") as doors:
        certificates, good = doors.listener._certificates, (tmp_path / "..data").resolve()
        for name in ("tls.crt", "tls.key", "ca.crt"):
            (tmp_path / name).unlink()
            (tmp_path / name).write_bytes((good / name).read_bytes())
        damage(tmp_path)
        assert [certificates.look(), certificates.look()] == [False, False]
        assert doors.metric("vedette_tls_reloads_total", "refused") == 1, "once for the same content"
        ready = http.client.HTTPSConnection("127.0.0.1", doors.http_port, context=context(), timeout=HANG_S)
        ready.request("GET", "/v2/health/ready")
        assert "the certificates before are kept" in json.loads(ready.getresponse().read())["degraded"][0]
        for name in ("tls.crt", "tls.key", "ca.crt"):
            (tmp_path / name).write_bytes((good / name).read_bytes())
        certificates.look()
        assert certificates.problem() == ()


@pytest.mark.parametrize(("damage", "said"), [
    pytest.param(lambda f: (f / "tls.key").unlink(), "VEDETTE_TLS_KEY: cannot read", id="no key"),
    pytest.param(lambda f: (f / "tls.crt").write_bytes(b"x"), "is not a certificate in PEM form", id="no PEM"),
    pytest.param(lambda f: (f / "tls.key").write_bytes(CA.issue().key), "cannot be used together", id="two pairs"),
])  # fmt: skip
def test_a_start_with_bad_files_says_which(tmp_path, damage, said):
    issued = CA.issue().write(tmp_path)
    damage(tmp_path)
    with pytest.raises(TlsError, match=said), open_doors(tls=TlsFiles(*issued.paths)):
        pass


def test_a_client_that_says_goodbye_gets_its_answer(doors):
    with secured(doors, context()) as sock:
        sock.sendall(b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        said = b""
        while more := sock.recv(4096):
            said += more
        assert b"200 OK" in said
        assert sock.unwrap() is not None, "the server said goodbye too: the answer was not cut"


def test_garbage_behind_the_handshake_ends_its_connection_alone(doors):
    with secured(doors, context()) as victim, secured(doors, context()) as other:
        assert b"200 OK" in asked(victim)
        raw = socket.socket(fileno=os.dup(victim.fileno()))
        raw.sendall(b"\x17\x03\x03\x00\x20" + b"x" * 32)
        raw.settimeout(HANG_S)
        with suppress(ConnectionResetError):
            while raw.recv(4096):
                pass
        raw.close()
        assert b"200 OK" in asked(other)


def asked_by_the_operator(doors: Doors, tls: PodTls):
    async def ask():
        async with aiohttp.ClientSession() as session:
            return await MetricsPages(session, tls=tls).read("simple", (f"http://127.0.0.1:{doors.http_port}",))

    return asyncio.run(ask())


def test_the_operator_and_the_conformance_kit_show_their_certificates(tmp_path):
    """Pods are asked by their address; the name in the certificate is another."""
    mine = CLIENT.write(tmp_path / "mine")
    authority = tmp_path / "ca.pem"
    authority.write_bytes(CA.pem)
    with tls_doors(tmp_path / "pod", "required") as doors:
        assert asked_by_the_operator(doors, PodTls(authority, "localhost", *mine.paths)).problem is None
        assert "did not answer" in asked_by_the_operator(doors, PodTls(authority, "localhost")).problem
        assert "did not answer" in asked_by_the_operator(doors, PodTls(authority, "elsewhere", *mine.paths)).problem
        assert "cannot be used" in asked_by_the_operator(doors, PodTls(tmp_path / "none", "localhost")).problem
        for trust, answers in ((Trust(authority, *mine.paths), True), (Trust(authority), False)):
            with Transport(
                f"https://localhost:{doors.http_port}", f"grpcs://localhost:{doors.grpc_port}", 5, None, trust
            ) as kit:
                replies = kit.exchange(
                    (HttpCall("GET", "/v2/health/live"), GrpcCall("/inference.GRPCInferenceService/ServerLive", b""))
                )
            assert [not isinstance(reply, NoReply) and getattr(reply, "code", 200) != "UNAVAILABLE" for reply in replies] == [
                answers
            ] * 2
