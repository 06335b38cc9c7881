"""The cases of tests/query with azure-cosmos: as the server answers them, and through the SDK's own pipeline, which takes the query's
plan and asks each partition key range. One JSON line per case and way on stdout."""

import concurrent.futures
import json
import os
import threading

from azure.cosmos import CosmosClient, exceptions
from azure.cosmos._execution_context import execution_dispatcher

AT_ONCE = 4
PAGES_MAX = 200
LOCK = threading.Lock()
LOCAL = threading.local()

Proxy = execution_dispatcher._ProxyQueryExecutionContext


def plans_at_will(work):
    """The SDK plans only what a server refuses to answer whole; here it is made to whenever a thread says so."""

    def wrapped(self):
        if getattr(LOCAL, "is_planning", False) and self._resource_link and not self._fetched_query_plan:
            self._create_execution_context_with_query_plan()
        return work(self)
    return wrapped


Proxy.__next__ = plans_at_will(Proxy.__next__)
Proxy.fetch_next_block = plans_at_will(Proxy.fetch_next_block)


def whole(container, query, parameters):
    return list(container.query_items(query, parameters=parameters, enable_cross_partition_query=True))


def resumed(container, query, parameters):
    """Page after page, each asked for anew."""
    rows, token = [], None
    for _ in range(PAGES_MAX):
        pages = container.query_items(query, parameters=parameters, enable_cross_partition_query=True,
                                      max_item_count=4).by_page(token)
        page = next(pages, None)
        if page is None:  # an empty page is told as the end
            return rows
        rows += list(page)
        token = pages.continuation_token
        if not token:
            return rows
    raise AssertionError(f"still not at the end after {PAGES_MAX} pages")


def planned(container, query, parameters):
    LOCAL.is_planning = True
    try:
        return list(container.query_items(query, parameters=parameters, enable_cross_partition_query=True, max_item_count=3))
    finally:
        LOCAL.is_planning = False


def database():
    """One client for each thread: the SDK's caches are not made for several."""
    if not hasattr(LOCAL, "database"):
        client = CosmosClient(os.environ["ORRERY_ENDPOINT"], credential=os.environ["ORRERY_KEY"])
        LOCAL.database = client.get_database_client(os.environ["ORRERY_DATABASE"])
    return LOCAL.database


def run(case):
    container = database().get_container_client(case["container"])
    for way in (whole, resumed) if case["direct"] else (whole, resumed, planned):
        line = {"case": case["name"], "way": way.__name__}
        try:
            line["rows"] = way(container, case["query"], case["parameters"])
        except exceptions.CosmosHttpResponseError as error:
            line["status"], line["message"] = error.status_code, str(error.message)
        except Exception as error:  # noqa: BLE001 - told as this case's result
            line["status"], line["message"] = 0, f"{type(error).__name__}: {error}"
        with LOCK:
            print(json.dumps(line), flush=True)


def main():
    with open(os.environ["ORRERY_CASES"], encoding="utf-8") as file:
        cases = json.load(file)
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        for done in [pool.submit(run, case) for case in cases]:
            done.result()


main()
