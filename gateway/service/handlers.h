/*
 * Every handler that the router names. Each is the first step of its request (service/call.h).
 */
#ifndef ORRERY_SERVICE_HANDLERS_H
#define ORRERY_SERVICE_HANDLERS_H

#include "loop/op.h"

op_step account_read;
op_step databases_create, databases_list, databases_read, databases_delete;
op_step containers_create, containers_list, containers_read, containers_replace, containers_delete;
op_step pkranges_list;
op_step items_post, items_list, items_read, items_replace, items_patch, items_delete;
op_step items_changes; /* of items_list, with a-im */
op_step items_delete_partition;
op_step sprocs_create, sprocs_list, sprocs_read, sprocs_replace, sprocs_delete, sprocs_execute;
op_step triggers_create, triggers_list, triggers_read, triggers_replace, triggers_delete;
op_step udfs_create, udfs_list, udfs_read, udfs_replace, udfs_delete;
op_step conflicts_list, conflicts_query, conflicts_read, conflicts_delete;
op_step faults_read, faults_order, faults_clear; /* on demand */
op_step users_create, users_list, users_read, users_replace, users_delete;
op_step permissions_create, permissions_list, permissions_read, permissions_replace,
    permissions_delete;
op_step keys_create, keys_list, keys_fetch, keys_replace; /* client encryption keys */
op_step exchange_pull, levels_beat;                       /* of a gateway of another region */
op_step epochs_read, epochs_answer, epochs_change;
op_step offers_list, offers_query, offers_read, offers_replace;

#endif
