/*
 * Random queries and documents, few values that meet often.
 *
 * A query is a tree of pieces of text, so that a wrong answer can be told with a smaller one: any
 * piece may stand for any other of its kind, and shrinking tries them.
 */
#ifndef ORRERY_TESTS_DIFFERENTIAL_GENERATE_H
#define ORRERY_TESTS_DIFFERENTIAL_GENERATE_H

#include "base/buf.h"

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

#define PIECE_CHILDREN 6

enum piece_kind {
    PIECE_FIXED,   /* clauses, which stay */
    PIECE_BOOLEAN, /* predicates and values, which may be one of their own parts or a constant */
    PIECE_VALUE,
};

/* Text in which each \1 is the next child's. */
struct piece {
    enum piece_kind kind;
    const char *format;
    char text[256]; /* the format, where it was made */
    struct piece *children[PIECE_CHILDREN];
    unsigned count;
    struct piece *next_made;
};

/* xorshift; never zero */
extern uint64_t random_state;

uint64_t random_below(uint64_t limit);

/* Free all pieces. */
void generate_end(void);

void piece_print(const struct piece *piece, struct buf *out);

/* "SELECT VALUE c FROM c WHERE …", with joins and subqueries. */
struct piece *generate_filter(void);

/* "SELECT VALUE c.id FROM c WHERE … ORDER BY …", paths of the item. */
struct piece *generate_order(void);

/* Aggregates, GROUP BY, DISTINCT. */
struct piece *generate_groups(void);

/* "SELECT VALUE 1 FROM c WHERE ST_…", of c.p, c.q and constants. */
struct piece *generate_spatial(void);

/* What the parameters of all queries are; geometries differ from call to call. */
cJSON *generate_parameters(void);

cJSON *generate_document(unsigned number);

/*
 * Make a query smaller while `fails` holds of it; a new tree takes the old one's place in part.
 */
typedef bool piece_fails(const struct piece *root, void *context);
void piece_shrink(struct piece *root, piece_fails *fails, void *context);

#endif
