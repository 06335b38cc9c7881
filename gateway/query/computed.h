/*
 * Computed properties: members that a container's definition adds to every item by an expression.
 *
 *     {"name": "lower", "query": "SELECT VALUE LOWER(c.name) FROM c"}
 *
 * A query that names c.lower means the expression, whatever an item stores there; the property is
 * no part of the item itself. The expression may name stored properties only.
 *
 * source: query reference, section 6; the service's "computed properties" page.
 */
#ifndef ORRERY_QUERY_COMPUTED_H
#define ORRERY_QUERY_COMPUTED_H

#include "base/arena.h"
#include "base/fault.h"
#include "query/ast.h"

struct computed_property {
    struct slice name;
    const struct ast *expression; /* over slot 0 */
};

struct computed_properties {
    const struct computed_property *list;
    size_t count;
};

/*
 * Read what a container's canonical definition says.
 *
 * definition  borrowed as long as the arena lives
 * fault       400 for a name that is given twice or is a system property's, for a query of another
 *             form or with what no definition may use: clauses, subqueries, parameters, aggregates,
 *             functions of space, chance, time and those that users define; 503
 */
bool computed_load(struct computed_properties *computed, struct slice definition,
                   struct arena *arena, struct fault *fault) MUST_CHECK;

/*
 * Whether a container may be replaced so: a property that becomes computed must not be one whose
 * stored values are indexed.
 *
 * stored   canonical definition of the container as it is
 * fault    as above
 */
bool computed_check_replacement(struct slice definition, struct slice stored, struct arena *arena,
                                struct fault *fault) MUST_CHECK;

#endif
