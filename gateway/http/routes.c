#include "http/routes.h"

#include "http/system.h"
#include "service/handlers.h"

#include <string.h>

#include "base/banned.h"

static const struct route table[] = {
    {PATH_ITEM, METHOD_GET, ROUTE_READ, items_read, "items.read"},
    {PATH_ITEM, METHOD_PUT, ROUTE_WRITE, items_replace, "items.replace"},
    {PATH_ITEM, METHOD_PATCH, ROUTE_WRITE, items_patch, "items.patch"},
    {PATH_ITEM, METHOD_DELETE, ROUTE_WRITE, items_delete, "items.delete"},
    {PATH_ITEMS, METHOD_POST, ROUTE_POST, items_post, "items.post"},
    {PATH_ITEMS, METHOD_GET, ROUTE_READ, items_list, "items.list"},
    {PATH_PARTITION_KEY_DELETE, METHOD_POST, ROUTE_WRITE, items_delete_partition,
     "items.deletepartition"},
    {PATH_ACCOUNT, METHOD_GET, ROUTE_READ, account_read, "account.read"},
    {PATH_ALIVE, METHOD_GET, ROUTE_OPEN, system_alive, "alive"},
    {PATH_READY, METHOD_GET, ROUTE_OPEN, system_ready, "ready"},
    {PATH_STATUS, METHOD_GET, ROUTE_OPEN, system_status, "status"},
    {PATH_METRICS, METHOD_GET, ROUTE_OPEN, system_metrics, "metrics"},
    {PATH_EMULATOR_PEM, METHOD_GET, ROUTE_OPEN, system_certificate, "certificate"},
    {PATH_FAULTS, METHOD_GET, ROUTE_OPERATOR, faults_read, "faults.read"},
    {PATH_FAULTS, METHOD_POST, ROUTE_OPERATOR, faults_order, "faults.order"},
    {PATH_FAULTS, METHOD_DELETE, ROUTE_OPERATOR, faults_clear, "faults.clear"},
    {PATH_DATABASES, METHOD_POST, ROUTE_POST, databases_create, "databases.create"},
    {PATH_DATABASES, METHOD_GET, ROUTE_READ, databases_list, "databases.list"},
    {PATH_DATABASE, METHOD_GET, ROUTE_READ, databases_read, "databases.read"},
    {PATH_DATABASE, METHOD_DELETE, ROUTE_WRITE, databases_delete, "databases.delete"},
    {PATH_CONTAINERS, METHOD_POST, ROUTE_POST, containers_create, "containers.create"},
    {PATH_CONTAINERS, METHOD_GET, ROUTE_READ, containers_list, "containers.list"},
    {PATH_CONTAINER, METHOD_GET, ROUTE_READ, containers_read, "containers.read"},
    {PATH_CONTAINER, METHOD_PUT, ROUTE_WRITE, containers_replace, "containers.replace"},
    {PATH_CONTAINER, METHOD_DELETE, ROUTE_WRITE, containers_delete, "containers.delete"},
    {PATH_PKRANGES, METHOD_GET, ROUTE_READ, pkranges_list, "pkranges.list"},
    {PATH_SPROCS, METHOD_POST, ROUTE_POST, sprocs_create, "sprocs.create"},
    {PATH_SPROCS, METHOD_GET, ROUTE_READ, sprocs_list, "sprocs.list"},
    {PATH_SPROC, METHOD_GET, ROUTE_READ, sprocs_read, "sprocs.read"},
    {PATH_SPROC, METHOD_PUT, ROUTE_WRITE, sprocs_replace, "sprocs.replace"},
    {PATH_SPROC, METHOD_DELETE, ROUTE_WRITE, sprocs_delete, "sprocs.delete"},
    {PATH_SPROC, METHOD_POST, ROUTE_WRITE, sprocs_execute, "sprocs.execute"},
    {PATH_TRIGGERS, METHOD_POST, ROUTE_POST, triggers_create, "triggers.create"},
    {PATH_TRIGGERS, METHOD_GET, ROUTE_READ, triggers_list, "triggers.list"},
    {PATH_TRIGGER, METHOD_GET, ROUTE_READ, triggers_read, "triggers.read"},
    {PATH_TRIGGER, METHOD_PUT, ROUTE_WRITE, triggers_replace, "triggers.replace"},
    {PATH_TRIGGER, METHOD_DELETE, ROUTE_WRITE, triggers_delete, "triggers.delete"},
    {PATH_UDFS, METHOD_POST, ROUTE_POST, udfs_create, "udfs.create"},
    {PATH_UDFS, METHOD_GET, ROUTE_READ, udfs_list, "udfs.list"},
    {PATH_UDF, METHOD_GET, ROUTE_READ, udfs_read, "udfs.read"},
    {PATH_UDF, METHOD_PUT, ROUTE_WRITE, udfs_replace, "udfs.replace"},
    {PATH_UDF, METHOD_DELETE, ROUTE_WRITE, udfs_delete, "udfs.delete"},
    {PATH_CONFLICTS, METHOD_GET, ROUTE_READ, conflicts_list, "conflicts.list"},
    {PATH_CONFLICTS, METHOD_POST, ROUTE_POST, conflicts_query, "conflicts.query"},
    {PATH_CONFLICT, METHOD_GET, ROUTE_READ, conflicts_read, "conflicts.read"},
    {PATH_CONFLICT, METHOD_DELETE, ROUTE_WRITE, conflicts_delete, "conflicts.delete"},
    {PATH_USERS, METHOD_POST, ROUTE_POST, users_create, "users.create"},
    {PATH_USERS, METHOD_GET, ROUTE_READ, users_list, "users.list"},
    {PATH_USER, METHOD_GET, ROUTE_READ, users_read, "users.read"},
    {PATH_USER, METHOD_PUT, ROUTE_WRITE, users_replace, "users.replace"},
    {PATH_USER, METHOD_DELETE, ROUTE_WRITE, users_delete, "users.delete"},
    {PATH_PERMISSIONS, METHOD_POST, ROUTE_POST, permissions_create, "permissions.create"},
    {PATH_PERMISSIONS, METHOD_GET, ROUTE_READ, permissions_list, "permissions.list"},
    {PATH_PERMISSION, METHOD_GET, ROUTE_READ, permissions_read, "permissions.read"},
    {PATH_PERMISSION, METHOD_PUT, ROUTE_WRITE, permissions_replace, "permissions.replace"},
    {PATH_PERMISSION, METHOD_DELETE, ROUTE_WRITE, permissions_delete, "permissions.delete"},
    {PATH_KEYS, METHOD_POST, ROUTE_POST, keys_create, "keys.create"},
    {PATH_KEYS, METHOD_GET, ROUTE_READ, keys_list, "keys.list"},
    {PATH_KEY, METHOD_GET, ROUTE_READ, keys_fetch, "keys.read"},
    {PATH_KEY, METHOD_PUT, ROUTE_WRITE, keys_replace, "keys.replace"},
    {PATH_OFFERS, METHOD_GET, ROUTE_READ, offers_list, "offers.list"},
    {PATH_OFFERS, METHOD_POST, ROUTE_POST, offers_query, "offers.query"},
    {PATH_OFFER, METHOD_GET, ROUTE_READ, offers_read, "offers.read"},
    {PATH_OFFER, METHOD_PUT, ROUTE_WRITE, offers_replace, "offers.replace"},
    {PATH_PULL, METHOD_POST, ROUTE_PEER, exchange_pull, "regions.pull"},
    {PATH_BEAT, METHOD_POST, ROUTE_PEER, levels_beat, "regions.beat"},
    {PATH_TOPOLOGY, METHOD_GET, ROUTE_PEER, epochs_read, "topology.read"},
    {PATH_EPOCH, METHOD_POST, ROUTE_PEER, epochs_answer, "topology.epoch"},
    {PATH_CHANGE, METHOD_POST, ROUTE_PEER, epochs_change, "topology.change"},
};

static const char *const method_names[METHOD_COUNT] = {"GET", "POST", "PUT", "PATCH", "DELETE"};

/* Index by path and method, 0 is none; filled before main. */
static uint8_t index_of[PATH_KIND_COUNT][METHOD_COUNT];

__attribute__((constructor)) static void fill_index(void)
{
    for (unsigned i = 0; i < ARRAY_LEN(table); i++)
        index_of[table[i].path][table[i].method] = (uint8_t) (i + 1);
}

const struct route *route_find(enum path_kind path, enum method method)
{
    unsigned index = index_of[path][method];

    return index > 0 ? &table[index - 1] : NULL;
}

void route_allowed(enum path_kind path, char *text, size_t size)
{
    size_t at = 0;

    text[0] = '\0';
    for (unsigned method = 0; method < METHOD_COUNT; method++) {
        if (index_of[path][method] == 0)
            continue;
        int len = snprintf(text + at, size - at, "%s%s", at > 0 ? ", " : "", method_names[method]);
        at += len > 0 && (size_t) len < size - at ? (size_t) len : 0;
    }
}

void route_print_all(FILE *out)
{
    for (unsigned i = 0; i < ARRAY_LEN(table); i++) {
        if (table[i].access == ROUTE_PEER)
            continue;
        fprintf(out, "%s %s\n", method_names[table[i].method], path_pattern(table[i].path));
    }
}

unsigned route_index(const struct route *route)
{
    return (unsigned) (route - table);
}

unsigned route_count(void)
{
    return ARRAY_LEN(table);
}

const struct route *route_at(unsigned index)
{
    return &table[index];
}
