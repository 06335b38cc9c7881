/*
 * Text to tokens.
 *
 * The lexer is asked for one token after the other and keeps nothing but its place, so a parser may
 * copy it to look ahead. Every token knows the bytes it came from.
 */
#ifndef ORRERY_QUERY_LEXER_H
#define ORRERY_QUERY_LEXER_H

#include "base/arena.h"
#include "base/compiler.h"
#include "base/fault.h"
#include "base/slice.h"
#include "query/diagnosis.h"

enum token_kind {
    TOKEN_END,
    TOKEN_NAME,      /* an identifier, and what keywords after it leave over */
    TOKEN_KEYWORD,   /* a reserved word, in any letter case */
    TOKEN_STRING,    /* decoded in `string` */
    TOKEN_NUMBER,    /* value in `number` */
    TOKEN_PARAMETER, /* `string` is the name with its @ */
    TOKEN_PUNCTUATION,
};

/* The reserved words; none may be a bare identifier or stand after a dot. */
/* clang-format off */
#define KEYWORD_TABLE(ROW)                                                                         \
    ROW(AND) ROW(ARRAY) ROW(AS) ROW(ASC) ROW(BETWEEN) ROW(BY) ROW(DESC) ROW(DISTINCT)              \
    ROW(ESCAPE) ROW(EXISTS) ROW(FALSE) ROW(FROM) ROW(GROUP) ROW(IN) ROW(JOIN) ROW(LEFT)            \
    ROW(LIKE) ROW(LIMIT) ROW(NOT) ROW(NULL) ROW(OFFSET) ROW(OR) ROW(ORDER) ROW(RANK) ROW(RIGHT)    \
    ROW(SELECT) ROW(TOP) ROW(TRUE) ROW(UDF) ROW(UNDEFINED) ROW(VALUE) ROW(WHERE)
/* clang-format on */

enum keyword {
    KEYWORD_NONE,
#define ROW(word) KEYWORD_##word,
    KEYWORD_TABLE(ROW)
#undef ROW
};

/* One character stands for itself. */
enum punctuation {
    PUNCTUATION_NOT_EQUAL = 256, /* != and <> */
    PUNCTUATION_LESS_EQUAL,
    PUNCTUATION_GREATER_EQUAL,
    PUNCTUATION_SHIFT_LEFT,
    PUNCTUATION_SHIFT_RIGHT,
    PUNCTUATION_SHIFT_RIGHT_ZERO,
    PUNCTUATION_CONCAT,   /* || */
    PUNCTUATION_COALESCE, /* ?? */
};

struct token {
    enum token_kind kind;
    enum keyword keyword; /* KEYWORD_NONE unless kind says so */
    int punctuation;      /* a character or an enum punctuation; 0 unless kind says so */
    struct span span;
    struct slice spelled; /* the bytes in the query text; borrowed */
    struct slice string;  /* NUL-terminated, in the arena */
    double number;
};

struct lexer {
    struct arena *arena; /* decoded strings */
    struct slice text;   /* borrowed */
    size_t at;
};

/* The text must be well-formed UTF-8 and shorter than 4 GiB. */
void lexer_init(struct lexer *lexer, struct arena *arena, struct slice text);

/*
 * The next token; TOKEN_END for ever after the last one.
 *
 * fault    400 SC1001 for a malformed literal, a comment without end, a byte that begins no token;
 *          400 for U+0000 or half a surrogate pair in a string, which no stored document can hold;
 * 503
 */
bool lexer_next(struct lexer *lexer, struct token *token, struct fault *fault) MUST_CHECK;

#endif
