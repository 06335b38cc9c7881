"""A client and a database for the tests of one file."""

import uuid

import pytest


@pytest.fixture(scope="module")
def client(gateway):
    client = gateway.client()
    yield client
    client.close()


@pytest.fixture(scope="module")
def database(request, client):
    """The path of a database that is the file's own."""
    name = f"{request.module.__name__.rpartition('.')[2].removeprefix('test_')}-{uuid.uuid4().hex[:12]}"
    assert client.post("/dbs", {"id": name}).status == 201
    yield f"/dbs/{name}"
    client.delete(f"/dbs/{name}")
