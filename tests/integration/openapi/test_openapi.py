"""The document itself: valid, in good style, and the same as what the gateway's tables say."""

import re

import pytest
from openapi_spec_validator import OpenAPIV30SpecValidator

from support import openapi
from support.gateway import program

DOCUMENT = openapi.document()
OPERATIONS = openapi.operations(DOCUMENT)

# Headers that the gateway reads and the document has no parameter for, with the reason.
NOT_PARAMETERS = {
    "authorization": "a security scheme",
    "x-ms-date": "a security scheme",
    "date": "takes the place of x-ms-date",
    "host": "HTTP",
    "transfer-encoding": "HTTP",
    "x-forwarded-host": "set by proxies",
    "x-forwarded-proto": "set by proxies",
    "x-ms-offer-type": "refused with 400: of the time before throughput had numbers",
    "x-ms-documentdb-pre-trigger-include": "refused with 400: triggers do not run",
    "x-ms-documentdb-post-trigger-include": "refused with 400: triggers do not run",
}
# Parameters that every client sends and that change nothing.
WITHOUT_EFFECT = {"x-ms-version"}


def header_parameters():
    return {p["name"] for p in DOCUMENT["components"]["parameters"].values() if p["in"] == "header"}


def test_it_is_valid_openapi():
    OpenAPIV30SpecValidator(DOCUMENT).validate()


def test_the_linter_has_nothing_to_say():
    try:
        linter = openapi.linter()
    except openapi.Missing as missing:
        pytest.skip(str(missing))
    done = openapi.run([linter, "lint", "--config", "redocly.yaml", openapi.PATH], cwd=openapi.FOLDER)
    assert done.returncode == 0, done.stdout


def test_the_linter_notices_a_mistake(tmp_path):
    """So that the test above can fail."""
    try:
        linter = openapi.linter()
    except openapi.Missing as missing:
        pytest.skip(str(missing))
    broken = tmp_path / "openapi.yaml"
    broken.write_text(openapi.PATH.read_text().replace("operationId: getItem\n", "operationId: listItems\n"))
    done = openapi.run([linter, "lint", "--config", "redocly.yaml", broken], cwd=openapi.FOLDER)
    assert done.returncode != 0
    assert "operation-operationId-unique" in done.stdout


def test_routes_txt_lists_the_operations():
    listed = (openapi.FOLDER / "routes.txt").read_text().splitlines()
    assert listed == sorted(OPERATIONS)


def test_every_route_is_documented_and_the_reverse():
    done = openapi.run([program(), "routes"])
    assert done.returncode == 0, done.stdout
    routes = done.stdout.split("\n")[:-1]
    assert all(re.fullmatch(r"[A-Z]+ /\S*", route) for route in routes), done.stdout
    assert sorted(routes) == sorted(OPERATIONS)


def test_every_header_that_is_read_is_documented_and_the_reverse():
    rows = openapi.table_rows("request/headers.h", "HEADER_TABLE")
    read = {re.fullmatch(r"\w+, \"([^\"]+)\"", row)[1] for row in rows}
    assert len(read) > 20
    assert read - set(NOT_PARAMETERS) == header_parameters() - WITHOUT_EFFECT
    assert set(NOT_PARAMETERS) <= read


def test_every_substatus_is_documented_and_the_reverse():
    """The rows of substatus.h and the values of x-ms-substatus, by the status that they go with."""
    rows = [re.match(r"\w+, (\d+), (\d+),", row) for row in openapi.table_rows("base/substatus.h", "SUBSTATUS_TABLE")]
    raised = {(int(row[1]), int(row[2])) for row in rows} - {(0, 0)}
    assert len(raised) > 5
    documented = set()
    for operation in OPERATIONS.values():
        for status, response in operation["responses"].items():
            response = openapi.follow(DOCUMENT, response)
            header = openapi.follow(DOCUMENT, response.get("headers", {}).get("x-ms-substatus", {}))
            documented |= {(int(status), number) for number in header.get("schema", {}).get("enum", [])}
    assert documented == raised


def test_every_word_for_a_status_is_documented_and_the_reverse():
    text = (openapi.ROOT / "gateway" / "base" / "fault.c").read_text()
    body = text.split("const char *fault_code(", 1)[1].split("\n}", 1)[0]
    assert set(re.findall(r'return "(\w+)";', body)) == set(DOCUMENT["components"]["schemas"]["Error"]["properties"]["code"]["enum"])


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_is_complete(name):
    """Errors have the error's schema, and only 204 and 304 and what says so have no body."""
    operation = OPERATIONS[name]
    assert re.fullmatch(r"[a-z]+[A-Za-z]+", operation["operationId"])
    for status, response in operation["responses"].items():
        response = openapi.follow(DOCUMENT, response)
        content = response.get("content")
        if status in ("204", "304"):
            assert content is None, status
        elif int(status) >= 400:
            assert content == {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}, status
        else:
            assert content is not None or "No body." in response["description"], status
        assert {"x-ms-activity-id", "x-ms-request-charge"} <= set(response["headers"]), status
    if operation["tags"] != ["Operations"]:
        assert {"400", "401", "403", "408", "429", "431", "503"} <= set(operation["responses"])
