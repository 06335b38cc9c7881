/*
 * Attributes that every other header uses, in one spelling.
 */
#ifndef ORRERY_BASE_COMPILER_H
#define ORRERY_BASE_COMPILER_H

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(text, first) __attribute__((format(printf, text, first)))
#define UNUSED __attribute__((unused))

#define ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))

#define container_of(pointer, type, member) ((type *) ((char *) (pointer) -offsetof(type, member)))

#endif
