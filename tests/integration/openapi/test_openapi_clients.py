"""Clients that openapi-generator makes from the document, built and used against a gateway.

Both programs make a database and a container, take an item through its life and print the same
steps; each runs without authorization and with signed requests.
"""

import os
import pathlib
import shutil
import sys

import pytest

from support import openapi, wire

HERE = pathlib.Path(__file__).resolve().parent
BUILD_S = 300
RUN_S = 60

STEPS = [
    "account read", "database created", "container created", "ranges read",
    "item created", "item read back as it was sent", "item refused a second time",
    "item replaced, but not with an old etag", "item patched", "item upserted", "batch run", "items listed", "items queried",
    "item deleted", "database deleted",
]


def python_client(place):
    folder = openapi.generate("python", place / "python", packageName="orrery_client")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(openapi.ROOT / "tests")])}
    return [sys.executable, HERE / "client_python.py"], environment


def go_client(place):
    openapi.need("go")
    folder = openapi.generate("go", place / "go", packageName="generated")
    (folder / "go.mod").write_text("module example.org/generated\n\ngo 1.18\n")
    program = folder / "program"
    program.mkdir()
    shutil.copy(HERE / "client_go" / "main.go", program)
    (program / "go.mod").write_text(
        "module example.org/program\n\ngo 1.18\n\n"
        "require example.org/generated v0.0.0\n\nreplace example.org/generated => ../\n")
    environment = {**os.environ, "GOWORK": "off"}
    done = openapi.run(["go", "build", "-o", "client", "."], BUILD_S, cwd=program, env=environment)
    assert done.returncode == 0, done.stdout
    return [program / "client"], environment


@pytest.fixture(scope="module", params=[python_client, go_client], ids=["python", "go"])
def client(request, tmp_path_factory):
    try:
        return request.param(tmp_path_factory.mktemp("client"))
    except openapi.Missing as missing:
        pytest.skip(str(missing))


def run(client, name, url, *key):
    command, environment = client
    done = openapi.run([*command, url, name, *key], RUN_S, env=environment)
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines() == STEPS


def test_a_client_works_without_authorization(client, open_gateway, request):
    run(client, f"open-{request.node.callspec.id}", open_gateway.http)


def test_a_client_works_with_signed_requests(client, gateway, request):
    run(client, f"signed-{request.node.callspec.id}", gateway.http, wire.KEY)


def test_a_client_is_refused_without_a_signature(client, gateway):
    command, environment = client
    done = openapi.run([*command, gateway.http, "unsigned"], RUN_S, env=environment)
    assert done.returncode != 0
    assert "Unauthorized" in done.stdout
