/*
 * Ids that users give to databases, containers, users, permissions and scripts. Items have rules of
 * their own (model/item.h). Source: protocol reference, section 1.5.
 */
#ifndef ORRERY_MODEL_IDS_H
#define ORRERY_MODEL_IDS_H

#include "base/arena.h"
#include "base/fault.h"

#define IDS_CHARACTERS_MAX 255

/*
 * Check an id: 1 to 255 characters of UTF-8, none of / \ ? #, no space at the end. Fault 400.
 */
bool ids_check(struct slice id, struct fault *fault) MUST_CHECK;

/*
 * The id of a definition, a JSON object of a validated text: decoded and checked.
 *
 * fault  400 when it is missing or no string (in the words that SDKs' users know), or breaks the
 * rules
 */
bool ids_from_object(struct slice object, struct arena *arena, struct slice *id,
                     struct fault *fault) MUST_CHECK;

/* The same for a whole body, such as {"id":"d"}, which is validated first. */
bool ids_from_body(struct slice body, struct arena *arena, struct slice *id,
                   struct fault *fault) MUST_CHECK;

#endif
