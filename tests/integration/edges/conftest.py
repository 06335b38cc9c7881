"""A database, a container and one item that no refused request may change."""

import pytest
from support.gateway import Gateway

ARRIVAL_S = 4  # a request that has not arrived whole by then is refused
IDLE_S = 6  # an idle connection is closed

WORDS = {
    400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 405: "MethodNotAllowed",
    408: "RequestTimeout", 409: "Conflict", 412: "PreconditionFailed", 413: "RequestEntityTooLarge",
    414: "UriTooLong", 431: "RequestHeaderFieldsTooLarge", 505: "HttpVersionNotSupported",
}


@pytest.fixture(scope="session")
def gateway(postgres):
    """One that waits for nobody long."""
    args = ["--arrival-timeout-ms", str(ARRIVAL_S * 1000), "--connection-timeout-s", str(IDLE_S)]
    with Gateway(postgres, args=args) as running:
        yield running


def refused(answer, *statuses):
    """A refusal as SDKs need it: JSON with code and message, its length, its type, an activity id."""
    assert answer is not None, "the connection ended without an answer"
    assert answer.status in statuses, f"{answer.status} {answer.body!r}"
    assert answer.header("content-type").split(";")[0] == "application/json"
    assert int(answer.header("content-length")) == len(answer.body)
    assert len(answer.header("x-ms-activity-id")) == 36
    body = answer.json
    assert body["code"] == WORDS.get(answer.status, body["code"]), body
    assert body["message"].strip(), body
    return answer


class Place:
    """Where the tests work: paths and a client."""

    database = "/dbs/edges"
    container = "/dbs/edges/colls/items"
    docs = "/dbs/edges/colls/items/docs"
    canary = "/dbs/edges/colls/items/docs/canary"

    def __init__(self, client):
        self.client = client

    def make(self):
        for path, body in (
                ("/dbs", {"id": "edges"}),
                ("/dbs/edges/colls", {"id": "items", "partitionKey": {"paths": ["/pk"], "kind": "Hash", "version": 2}})):
            answer = self.client.post(path, body)
            assert answer.status == 201, answer
        answer = self.client.post(self.docs, {"id": "canary", "pk": "p", "n": 1}, pk=["p"])
        assert answer.status == 201, answer
        return self

    def create(self, body, pk=("p",), **headers):
        return self.client.post(self.docs, body, pk=list(pk), headers=headers)

    def read(self, name, pk=("p",)):
        return self.client.get(f"{self.docs}/{name}", pk=list(pk))

    def state(self):
        """Everything that a request could have changed by mistake, as bytes."""
        found = [self.client.get("/dbs").body, self.client.get(self.database + "/colls").body]
        continuation = None
        while True:
            answer = self.client.get(self.docs, headers={"x-ms-continuation": continuation})
            assert answer.status == 200, answer
            found.append(answer.body)
            continuation = answer.header("x-ms-continuation")
            if continuation is None:
                return found


@pytest.fixture(scope="session")
def made(gateway):
    return Place(gateway.client()).make()


@pytest.fixture
def place(gateway, made):
    """A fresh connection per test, so that one test's broken stream is not the next one's."""
    found = Place(gateway.client())
    yield found
    found.client.close()


@pytest.fixture(autouse=True)
def unchanged(request, gateway, made):
    """Nothing has changed when the test is over, unless it is marked as one that writes."""
    if request.node.get_closest_marker("writes"):
        yield
        return
    made.client.close()
    before = made.state()
    yield
    made.client.close()
    assert made.state() == before, "something changed"
