/*
 * One table: path, method, handler.
 */
#ifndef ORRERY_HTTP_ROUTES_H
#define ORRERY_HTTP_ROUTES_H

#include "loop/op.h"
#include "request/request.h"

#include <stdio.h>

enum route_access {
    ROUTE_OPEN, /* no authorization */
    ROUTE_READ,
    ROUTE_WRITE,
    ROUTE_OPERATOR, /* needs a read-write key, whatever the region may do for clients */
    ROUTE_PEER,     /* the same, between regions; stands in no public list */
    ROUTE_POST      /* a write, unless its headers make it a query */
};

struct route {
    enum path_kind path;
    enum method method;
    enum route_access access;
    op_step *handler;
    const char *name; /* for logs and metrics */
};

/* The route of a method on a path; NULL when the path does not take the method. */
const struct route *route_find(enum path_kind path, enum method method);

/* "GET, POST": what a path takes, for the Allow header. Writes a terminated text. */
void route_allowed(enum path_kind path, char *text, size_t size);

/* All of them, one line each: "GET /dbs/{db}". */
void route_print_all(FILE *out);

/* Number of a route, below route_count(): index of its metrics. */
unsigned route_index(const struct route *route);
unsigned route_count(void);
const struct route *route_at(unsigned index);

#endif
