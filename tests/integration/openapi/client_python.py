"""A program over the client that was generated in Python.

    client_python.py URL DATABASE [KEY]

Without a key requests are not signed. One line is printed per step; a failure is an exception.
"""

import json
import sys
import urllib.parse

import orrery_client as api
from support import wire


class SigningClient(api.ApiClient):
    """Adds the two headers of authorization to every request."""

    def __init__(self, configuration, key):
        super().__init__(configuration)
        self.key = key

    def call_api(self, method, url, header_params=None, *rest, **named):
        path = urllib.parse.urlsplit(url).path
        headers = dict(header_params or {})
        headers.update(wire.signed(method, path, self.key))
        return super().call_api(method, url, headers, *rest, **named)



def step(text):
    print(text, flush=True)


def expect(status, code, call, *positional, **named):
    try:
        call(*positional, **named)
    except api.ApiException as error:
        assert error.status == status, error
        found = json.loads(error.body)
        assert found["code"] == code and found["message"], found
        assert isinstance(error.data, api.Error) and error.data.code == code, error.data
        return
    raise AssertionError(f"no {status}")


def items(client, db):
    calls = api.ItemsApi(client)
    key = json.dumps(["customer-7"])
    sent = {"id": "order 1-ä", "customer": "customer-7", "total": 12.5, "lines": [{"n": 1}, None, True], "größe": "5 €"}
    created = calls.create_item_with_http_info(
        db, "orders", api.ItemPost(api.Item.from_dict(sent)), x_ms_documentdb_partitionkey=key)
    assert created.status_code == 201 and isinstance(created.data, api.StoredItem), created
    step("item created")

    read = calls.get_item(db, "orders", sent["id"], key, x_ms_session_token=created.headers["x-ms-session-token"])
    assert read.etag == created.data.etag and read.rid == created.data.rid, read
    assert {"id": read.id, **read.additional_properties} == sent, read
    step("item read back as it was sent")
    expect(409, "Conflict", calls.create_item, db, "orders", api.ItemPost(api.Item.from_dict(sent)),
           x_ms_documentdb_partitionkey=key)
    step("item refused a second time")

    changed = calls.replace_item(db, "orders", sent["id"], api.Item.from_dict({**sent, "total": 13}),
                                 x_ms_documentdb_partitionkey=key, if_match=read.etag)
    assert changed.additional_properties["total"] == 13 and changed.etag != read.etag, changed
    expect(412, "PreconditionFailed", calls.replace_item, db, "orders", sent["id"], api.Item.from_dict(sent),
           x_ms_documentdb_partitionkey=key, if_match=read.etag)
    step("item replaced, but not with an old etag")

    patch = api.Patch(api.PatchDocument(operations=[api.PatchOperation(op="incr", path="/total", value=1)]))
    patched = calls.patch_item(db, "orders", sent["id"], key, patch)
    assert patched.additional_properties["total"] == 14, patched
    step("item patched")

    upserted = calls.create_item_with_http_info(
        db, "orders", api.ItemPost(api.Item.from_dict(sent)), x_ms_documentdb_partitionkey=key, x_ms_documentdb_is_upsert=True)
    assert upserted.status_code == 200, upserted
    assert isinstance(upserted.data.actual_instance, api.StoredItem), upserted.data
    step("item upserted")

    batch = api.ItemPost([
        api.BatchOperation(operationType="Create", resourceBody={"id": "2", "customer": "customer-7"}),
        api.BatchOperation(operationType="Read", id=sent["id"])])
    done = calls.create_item(db, "orders", batch, x_ms_documentdb_partitionkey=key,
                             x_ms_cosmos_is_batch_request=True, x_ms_cosmos_batch_atomic=True)
    assert [one.status_code for one in done.actual_instance] == [201, 200], done
    step("batch run")

    page = calls.list_items(db, "orders", x_ms_documentdb_partitionkey=key)
    assert sorted(found.id for found in page.documents) == ["2", sent["id"]] and page.count == 2, page
    step("items listed")

    query = api.Query(query="SELECT VALUE c.total FROM c WHERE c.customer = @who AND IS_DEFINED(c.total)",
                      parameters=[api.QueryParameter(name="@who", value="customer-7")])
    found = calls.create_item(db, "orders", api.ItemPost(query), x_ms_documentdb_isquery=True,
                              x_ms_documentdb_query_enablecrosspartition=True, _content_type="application/query+json").actual_instance
    assert isinstance(found, api.QueryResult) and found.documents == [12.5] and found.count == 1, found
    expect(400, "BadRequest", calls.create_item, db, "orders", api.ItemPost(api.Query(query="SELECT")), x_ms_documentdb_isquery=True)
    step("items queried")

    calls.delete_item(db, "orders", sent["id"], key)
    expect(404, "NotFound", calls.get_item, db, "orders", sent["id"], key)
    step("item deleted")


def main(url, db, key=""):
    configuration = api.Configuration(host=url.rstrip("/"))
    client = SigningClient(configuration, key) if key else api.ApiClient(configuration)
    account = api.AccountApi(client).get_account()
    assert account.user_consistency_policy.default_consistency_level, account
    step("account read")
    databases, containers = api.DatabasesApi(client), api.ContainersApi(client)
    assert databases.create_database(api.DatabaseDefinition(id=db)).id == db
    step("database created")
    created = containers.create_container(db, api.ContainerDefinition(
        id="orders", partition_key=api.PartitionKeyDefinition(paths=["/customer"], kind="Hash", version=2)))
    assert created.partition_key.version == 2 and created.indexing_policy.indexing_mode == "consistent", created
    step("container created")
    ranges = api.PartitionKeyRangesApi(client).list_partition_key_ranges(db, "orders").partition_key_ranges
    assert ranges[0].min_inclusive == "" and ranges[-1].max_exclusive == "FF", ranges
    step("ranges read")
    items(client, db)
    databases.delete_database(db)
    expect(404, "NotFound", databases.get_database, db)
    step("database deleted")


if __name__ == "__main__":
    main(*sys.argv[1:])
