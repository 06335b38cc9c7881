"""A certificate of the user's own: what clients see of it, and that SIGHUP brings the next one. Files with which etcd is asked."""

import os
import signal
import socket
import ssl
import subprocess
import time
import urllib.parse

import pytest
from support import wire
from support.gateway import Gateway, conninfo_of, migrate


def make(folder, name, *args):
    """A self-signed certificate for localhost and its key: two files."""
    certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
         "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", certificate,
         *args], check=True, capture_output=True, timeout=60)
    return certificate, key


def shown(url, session=None):
    """The certificate that a new connection is shown, in PEM, whoever signed it."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection((urllib.parse.urlsplit(url).hostname, urllib.parse.urlsplit(url).port), 30) as raw:
        with context.wrap_socket(raw, server_hostname="localhost", session=session) as tls:
            return ssl.DER_cert_to_PEM_cert(tls.getpeercert(binary_form=True))


def same(pem, path):
    return ssl.PEM_cert_to_DER_cert(pem) == ssl.PEM_cert_to_DER_cert(path.read_text())


def put(path, *sources):
    """Replace a file as a renewal does: whole or not at all."""
    beside = path.with_name(path.name + ".new")
    beside.write_bytes(b"".join(source if isinstance(source, bytes) else source.read_bytes() for source in sources))
    os.rename(beside, path)


def reload(gateway, text, count):
    """SIGHUP, and wait until the log tells of it for the count-th time."""
    gateway.process.send_signal(signal.SIGHUP)
    for _ in range(600):
        if gateway.log(10000).count(text) >= count:
            return
        time.sleep(0.05)
    raise AssertionError(gateway.log())


def trusted(gateway):
    """A client that trusts what the gateway says is to be trusted now."""
    (gateway.directory / "fetched-ca.pem").unlink(missing_ok=True)
    return gateway.client(tls=True)


@pytest.fixture
def served(server, folder):
    old, new = make(folder, "old"), make(folder, "new")
    put(folder / "server.pem", *old)
    with Gateway(server, args=["--cert-file", str(folder / "server.pem"), "--threads", "2"]) as gateway:
        yield gateway, folder / "server.pem", old, new


def test_new_connections_are_shown_the_new_certificate(served):
    gateway, file, old, new = served
    kept, old_trust = gateway.client(tls=True), gateway.ca_file
    assert kept.get("/dbs").status == 200 and same(shown(gateway.https), old[0])
    put(file, *new)
    assert same(shown(gateway.https), old[0])  # not before it is told
    reload(gateway, "certificate loaded", 1)
    for _ in range(8):  # of every thread
        assert same(shown(gateway.https), new[0])
    client = trusted(gateway)
    assert client.get("/dbs").status == 200
    with pytest.raises(ssl.SSLError):
        wire.Client(gateway.https, str(folder_copy(old[0]))).get("/dbs")
    assert kept.connection is not None and kept.get("/dbs").status == 200  # it keeps what it was shown
    assert old_trust == kept.ca_file
    for count in range(2, 6):
        put(file, *(old if count % 2 == 0 else new))
        reload(gateway, "certificate loaded", count)
        assert same(shown(gateway.https), (old if count % 2 == 0 else new)[0])
    assert kept.get("/dbs").status == 200
    kept.close()
    client.close()


def folder_copy(path):
    """The client's own copy, which no later fetch overwrites."""
    copy = path.with_suffix(".trusted")
    copy.write_bytes(path.read_bytes())
    return copy


@pytest.mark.parametrize("broken", ["gone", "empty", "noise", "cut", "key_of_another", "no_key", "directory"])
def test_file_that_cannot_be_used_changes_nothing(served, broken):
    gateway, file, old, new = served
    whole = new[0].read_bytes() + new[1].read_bytes()
    if broken == "gone":
        file.unlink()
    elif broken == "directory":
        file.unlink()
        file.mkdir()
    else:
        put(file, {"empty": b"", "noise": os.urandom(4000), "cut": whole[:400], "no_key": new[0].read_bytes(),
                   "key_of_another": new[0].read_bytes() + old[1].read_bytes()}[broken])
    reload(gateway, "certificate not loaded, the old one stays", 1)
    assert str(file) in gateway.log()
    assert same(shown(gateway.https), old[0])
    client = gateway.client(tls=True)
    assert client.get("/dbs").status == 200
    client.close()
    if broken == "directory":
        file.rmdir()
    put(file, *new)
    reload(gateway, "certificate loaded", 1)
    assert same(shown(gateway.https), new[0])


def test_key_in_a_file_of_its_own(server, folder):
    certificate, key = make(folder, "apart")
    next_certificate, next_key = make(folder, "next")
    with Gateway(server, args=["--cert-file", str(certificate), "--cert-key-file", str(key)]) as gateway:
        assert same(shown(gateway.https), certificate)
        put(certificate, next_certificate)
        reload(gateway, "certificate not loaded, the old one stays", 1)  # between the two files of a renewal
        put(key, next_key)
        reload(gateway, "certificate loaded", 1)
        assert same(shown(gateway.https), next_certificate)


def test_encrypted_bundle(server, folder):
    old, new = make(folder, "old"), make(folder, "new")

    def bundle(pair, out, password):
        subprocess.run(["openssl", "pkcs12", "-export", "-in", pair[0], "-inkey", pair[1], "-out", out,
                        "-passout", f"pass:{password}"], check=True, capture_output=True, timeout=60)

    file = folder / "server.p12"
    bundle(old, file, "sesame")
    with Gateway(server, args=["--cert-file", str(file), "--cert-secret", "sesame"]) as gateway:
        assert same(shown(gateway.https), old[0])
        bundle(new, file, "another")
        reload(gateway, "certificate not loaded, the old one stays", 1)
        bundle(new, file, "sesame")
        reload(gateway, "certificate loaded", 1)
        assert same(shown(gateway.https), new[0])


def test_own_authority_stays(server):
    """Without a file of the user's, SIGHUP looks at our own again: nothing changes while it is good."""
    with Gateway(server) as gateway:
        before, trust = shown(gateway.https), (gateway.directory / "ca.pem").read_bytes()
        reload(gateway, "certificate loaded", 1)
        assert shown(gateway.https) == before
        (gateway.directory / "server.pem").unlink()
        reload(gateway, "certificate loaded", 2)
        assert shown(gateway.https) != before
        assert (gateway.directory / "ca.pem").read_bytes() == trust
        client = gateway.client(tls=True)
        assert client.get("/dbs").status == 200
        client.close()


def test_without_https_there_is_no_certificate(server):
    """It once read what is not there. SIGHUP then reads the keys alone."""
    with Gateway(server, args=["--port", "none"]) as gateway:
        assert "https" not in gateway.ready
        client = gateway.client()
        assert client.get("/dbs").status == 200
        assert client.get("/_explorer/emulator.pem", sign=False).status == 404
        reload(gateway, "keys loaded", 1)
        assert client.get("/dbs").status == 200
        assert "certificate loaded" not in gateway.log()
        client.close()


def test_wrong_files_for_etcd_end_the_start(server, orrery, tmp_path):
    assert migrate(conninfo_of(server)).returncode == 0
    (first, key), (_, other) = make(tmp_path, "first"), make(tmp_path, "other")
    away, no_pem = tmp_path / "away.pem", tmp_path / "no.pem"
    no_pem.write_text("-----BEGIN CERTIFICATE-----\n")
    for words, message in [
            (["--etcd-ca-file", away], f'cannot read "{away}": No such file or directory'),
            (["--etcd-ca-file", no_pem], f'certificate "{no_pem}": '), (["--etcd-ca-file", key], f'certificate "{key}": '),
            (["--etcd-cert-file", first, "--etcd-cert-key-file", away], f'cannot read "{away}": No such file or directory'),
            (["--etcd-cert-file", first, "--etcd-cert-key-file", other], f'certificate "{first}" with the key in "{other}": '),
            (["--etcd-cert-file", first], f'certificate "{first}" with the key in "{first}": ')]:
        done = orrery("serve", "--port", "none", "--http-port", "0", "--database", conninfo_of(server), *words)
        assert done.returncode == 1 and f"cannot start: {message}" in done.stderr, (words, done)
        assert len(done.stderr.strip().splitlines()) == 1 and done.stderr[-3:].strip() not in ("", ":"), done.stderr
