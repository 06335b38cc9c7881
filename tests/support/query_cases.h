/*
 * The cases of tests/query, one after the other. tests/query/README.md describes the files.
 */
#ifndef ORRERY_TESTS_SUPPORT_QUERY_CASES_H
#define ORRERY_TESTS_SUPPORT_QUERY_CASES_H

#include <cjson/cJSON.h>
#include <stdbool.h>

enum query_expectation {
    EXPECT_ROWS,    /* in any order */
    EXPECT_ORDERED, /* in this order */
    EXPECT_NEARLY,  /* in this order, numbers up to rounding */
    EXPECT_REFUSED,
};

struct query_case {
    const char *file;
    unsigned line;         /* of the query's beginning */
    const cJSON *items;    /* array */
    const cJSON *settings; /* members of the container's definition; NULL for none */
    char *query;
    cJSON *parameters;     /* as in a request's body */
    bool is_not_in_memory; /* needs more than items and a definition */
    enum query_expectation expectation;
    cJSON *rows;     /* array; NULL when refused */
    unsigned status; /* when refused; 0 else */
    char code[16];   /* such as SC1001; empty: any */
    int start, end;  /* of the place; -1: any */
};

typedef void query_case_each(const struct query_case *test, void *context);

/* Every case of a file; their number. A file that is not well-formed ends the program. */
unsigned query_cases_read(const char *path, query_case_each *each, void *context);

#endif
