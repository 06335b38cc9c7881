/*
 * How large a query may be. Whoever exceeds a limit gets a 400.
 *
 * The text, JOINs, calls of user-defined functions and counts have the service's own limits
 * (query reference, section 8); for the rest it documents none, and these keep every walk over a
 * tree within the stack and the time of one request.
 */
#ifndef ORRERY_QUERY_BOUNDS_H
#define ORRERY_QUERY_BOUNDS_H

/* Characters of a query's text: 512 KiB. */
#define PARSER_TEXT_MAX 524288

/* Levels of nodes, subqueries included. */
#define AST_DEPTH_MAX 256

/*
 * Levels at which the parser recurses. A level of nodes takes up to three when every operation has
 * its parentheses, so whatever was parsed once can be printed and parsed again.
 */
#define PARSER_DEPTH_MAX (4 * AST_DEPTH_MAX)

/* Children of one node: items of IN, elements, arguments. Generated queries have thousands. */
#define AST_CHILDREN_MAX 65536

/* Parameters of one query. */
#define PARAMETERS_MAX 65536

/* JOINs of a statement, its subqueries included. */
#define CHECK_JOINS_MAX 10

/* Calls of user-defined functions in a statement. */
#define CHECK_UDF_CALLS_MAX 10

/* What TOP, OFFSET and LIMIT may count to. */
#define CHECK_COUNT_MAX 4294967295u

/* Keys of GROUP BY: every expression of the select list is compared with each. */
#define CHECK_GROUP_KEYS_MAX 64

/* Keys of ORDER BY: a composite index has no more. */
#define CHECK_ORDER_KEYS_MAX 8

#endif
