/*
 * JSON text as a tree of cJSON nodes, and back.
 *
 * cJSON's own parser takes memory for every node and every string, stops at numbers of more than 63
 * digits, and its printer writes 17 digits where fewer say the same. A tree made here lives in an
 * arena and goes with it; nobody changes it or hands it to cJSON_Delete.
 */
#ifndef ORRERY_MODEL_JSON_TREE_H
#define ORRERY_MODEL_JSON_TREE_H

#include "base/arena.h"
#include "base/buf.h"

#include <cjson/cJSON.h>

/* The tree of a value whose text json_validate has accepted; NULL without memory. */
cJSON *json_tree(struct arena *arena, struct slice value) MUST_CHECK;

/* Single nodes, for members that no text has; NULL without memory. Text is copied. */
cJSON *json_tree_string(struct arena *arena, struct slice text) MUST_CHECK;
cJSON *json_tree_number(struct arena *arena, double number) MUST_CHECK;

/* Put a node behind the members of an object; the name is borrowed and terminated. */
void json_tree_add(cJSON *object, const char *name, cJSON *member);

/*
 * Append a tree as compact text, numbers by json_print_double. What is not finite has no text: as a
 * member or an element it is left out, alone it is null.
 */
void json_tree_print(struct buf *out, const cJSON *tree);

#endif
