#include "query/lexer.h"

#include "base/buf.h"
#include "base/hex.h"
#include "query/text.h"

#include <math.h>
#include <stdlib.h>

#include "base/banned.h"

static const struct {
    const char *spelled;
    size_t len;
} keywords[] = {[KEYWORD_NONE] = {"", 0},
#define ROW(word) [KEYWORD_##word] = {#word, sizeof(#word) - 1},
                KEYWORD_TABLE(ROW)
#undef ROW
};

void lexer_init(struct lexer *lexer, struct arena *arena, struct slice text)
{
    *lexer = (struct lexer){.arena = arena, .text = text};
}

/* The byte that many places on; 0 past the end (a NUL in the text begins no token either). */
static char peek(const struct lexer *lexer, size_t ahead)
{
    return lexer->at + ahead < lexer->text.len ? lexer->text.ptr[lexer->at + ahead] : '\0';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_name_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_name_part(char c)
{
    return is_name_start(c) || is_digit(c);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool syntax(const struct lexer *lexer, size_t start, struct fault *fault)
{
    struct span span = {(uint32_t) start, (uint32_t) lexer->at};

    return diagnosis_syntax(fault, lexer->text, span);
}

/* Move past white space, "-- to the end of the line" and block comments. */
static bool blanks_skip(struct lexer *lexer, struct fault *fault)
{
    for (;;) {
        size_t start = lexer->at;

        if (is_space(peek(lexer, 0))) {
            lexer->at++;
        } else if (peek(lexer, 0) == '-' && peek(lexer, 1) == '-') {
            while (lexer->at < lexer->text.len && peek(lexer, 0) != '\n')
                lexer->at++;
        } else if (peek(lexer, 0) == '/' && peek(lexer, 1) == '*') {
            size_t end = text_find(lexer->text, SLICE_LITERAL("*/"), start + 2);
            if (end == SIZE_MAX) {
                lexer->at += 2;
                return syntax(lexer, start, fault);
            }
            lexer->at = end + 2;
        } else {
            return true;
        }
    }
}

static void name_scan(struct lexer *lexer, struct token *token)
{
    size_t start = lexer->at;

    while (is_name_part(peek(lexer, 0)))
        lexer->at++;
    struct slice word = slice_make(lexer->text.ptr + start, lexer->at - start);
    token->kind = TOKEN_NAME;
    for (size_t i = 1; i < ARRAY_LEN(keywords); i++) {
        if (word.len == keywords[i].len && (word.ptr[0] & 0x5f) == keywords[i].spelled[0] &&
            strncasecmp(word.ptr, keywords[i].spelled, word.len) == 0) {
            token->kind = TOKEN_KEYWORD;
            token->keyword = (enum keyword) i;
            break;
        }
    }
}

static void digits_skip(struct lexer *lexer)
{
    while (is_digit(peek(lexer, 0)))
        lexer->at++;
}

static void hexadecimal_scan(struct lexer *lexer, struct token *token)
{
    lexer->at += 2;
    for (int digit; (digit = hex_value(peek(lexer, 0))) >= 0; lexer->at++)
        token->number = token->number * 16 + digit;
}

/* digits [. digits*] [e[+-]digits] | . digits [exp] | 0x hex */
static bool number_scan(struct lexer *lexer, struct token *token, struct fault *fault)
{
    size_t start = lexer->at;

    token->kind = TOKEN_NUMBER;
    if (peek(lexer, 0) == '0' && (peek(lexer, 1) | 0x20) == 'x' && hex_value(peek(lexer, 2)) >= 0) {
        hexadecimal_scan(lexer, token);
    } else {
        digits_skip(lexer);
        if (peek(lexer, 0) == '.') {
            lexer->at++;
            digits_skip(lexer);
        }
        size_t sign = peek(lexer, 1) == '+' || peek(lexer, 1) == '-';
        if ((peek(lexer, 0) | 0x20) == 'e' && is_digit(peek(lexer, 1 + sign))) {
            lexer->at += 1 + sign;
            digits_skip(lexer);
        }
        /* strtod wants a terminated text and stops where we did, having no other letters to read.
         */
        const char *digits = arena_copy(lexer->arena, lexer->text.ptr + start, lexer->at - start);
        if (digits == NULL)
            return fault_set_oom(fault);
        token->number = strtod(digits, NULL);
    }
    if (!is_name_part(peek(lexer, 0)))
        return true;
    while (is_name_part(peek(lexer, 0)))
        lexer->at++;
    return syntax(lexer, start, fault);
}

/* Four hexadecimal digits; -1 when there are not. */
static long hex4(struct lexer *lexer)
{
    long value = 0;

    for (size_t i = 0; i < 4; i++) {
        int digit = hex_value(peek(lexer, i));
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    lexer->at += 4;
    return value;
}

/* What follows \u; surrogates come as two escapes. False for a form that names no character. */
static bool unicode_escape(struct lexer *lexer, struct buf *string)
{
    long unit = hex4(lexer);

    if (unit >= 0xd800 && unit <= 0xdbff && peek(lexer, 0) == '\\' && peek(lexer, 1) == 'u') {
        lexer->at += 2;
        long low = hex4(lexer);
        if (low < 0xdc00 || low > 0xdfff)
            return false;
        unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
    }
    if (unit <= 0 || (unit >= 0xd800 && unit <= 0xdfff))
        return false;
    text_append(string, (uint32_t) unit);
    return true;
}

static bool escape(struct lexer *lexer, struct buf *string)
{
    static const char letters[] = "'\"\\/bfnrt";
    static const char meanings[] = "'\"\\/\b\f\n\r\t";
    char c = peek(lexer, 0);

    lexer->at++;
    if (c == 'u')
        return unicode_escape(lexer, string);
    const char *found = c != '\0' ? strchr(letters, c) : NULL;
    if (found == NULL)
        return false;
    buf_append_char(string, meanings[found - letters]);
    return true;
}

static bool string_read(struct lexer *lexer, struct buf *string)
{
    char quote = peek(lexer, 0);

    lexer->at++;
    for (;;) {
        char c = peek(lexer, 0);

        if ((unsigned char) c < 0x20) /* the end, too */
            return false;
        lexer->at++;
        if (c == quote)
            return true;
        if (c != '\\')
            buf_append_char(string, c);
        else if (!escape(lexer, string))
            return false;
    }
}

static bool string_scan(struct lexer *lexer, struct token *token, struct fault *fault)
{
    size_t start = lexer->at;
    struct buf string = {0};

    token->kind = TOKEN_STRING;
    if (!string_read(lexer, &string)) {
        buf_finish(&string);
        lexer->at = lexer->at < lexer->text.len ? lexer->at : lexer->text.len;
        return syntax(lexer, start, fault);
    }
    token->string = slice_make(arena_copy(lexer->arena, string.ptr, string.len), string.len);
    bool is_out_of_memory = string.has_failed || token->string.ptr == NULL;
    buf_finish(&string);
    return is_out_of_memory ? fault_set_oom(fault) : true;
}

static bool parameter_scan(struct lexer *lexer, struct token *token, struct fault *fault)
{
    size_t start = lexer->at++;

    if (!is_name_start(peek(lexer, 0)))
        return syntax(lexer, start, fault);
    while (is_name_part(peek(lexer, 0)))
        lexer->at++;
    token->kind = TOKEN_PARAMETER;
    token->string = slice_make(lexer->text.ptr + start, lexer->at - start);
    return true;
}

/* Longest first, where one begins another. */
static const struct {
    const char *spelled;
    int punctuation;
} punctuations[] = {
    {">>>", PUNCTUATION_SHIFT_RIGHT_ZERO}, {"!=", PUNCTUATION_NOT_EQUAL},
    {"<>", PUNCTUATION_NOT_EQUAL},         {"<=", PUNCTUATION_LESS_EQUAL},
    {">=", PUNCTUATION_GREATER_EQUAL},     {"<<", PUNCTUATION_SHIFT_LEFT},
    {">>", PUNCTUATION_SHIFT_RIGHT},       {"||", PUNCTUATION_CONCAT},
    {"??", PUNCTUATION_COALESCE},
};

static bool punctuation_scan(struct lexer *lexer, struct token *token, struct fault *fault)
{
    struct slice rest = slice_make(lexer->text.ptr + lexer->at, lexer->text.len - lexer->at);
    size_t start = lexer->at;

    token->kind = TOKEN_PUNCTUATION;
    for (size_t i = 0; i < ARRAY_LEN(punctuations); i++) {
        if (slice_starts_with(rest, punctuations[i].spelled)) {
            token->punctuation = punctuations[i].punctuation;
            lexer->at += strlen(punctuations[i].spelled);
            return true;
        }
    }
    token->punctuation = (unsigned char) rest.ptr[0];
    if (rest.ptr[0] != '\0' && strchr("()[]{},.:?=<>+-*/%&|^~", rest.ptr[0]) != NULL) {
        lexer->at++;
        return true;
    }
    (void) text_next(lexer->text, &lexer->at);
    return syntax(lexer, start, fault);
}

static bool token_scan(struct lexer *lexer, struct token *token, struct fault *fault)
{
    char c = peek(lexer, 0);

    if (is_name_start(c)) {
        name_scan(lexer, token);
        return true;
    }
    if (is_digit(c) || (c == '.' && is_digit(peek(lexer, 1))))
        return number_scan(lexer, token, fault);
    if (c == '\'' || c == '"')
        return string_scan(lexer, token, fault);
    if (c == '@')
        return parameter_scan(lexer, token, fault);
    return punctuation_scan(lexer, token, fault);
}

bool lexer_next(struct lexer *lexer, struct token *token, struct fault *fault)
{
    *token = (struct token){.kind = TOKEN_END};
    if (!blanks_skip(lexer, fault))
        return false;
    size_t start = lexer->at;
    if (start < lexer->text.len && !token_scan(lexer, token, fault))
        return false;
    token->span = (struct span){(uint32_t) start, (uint32_t) lexer->at};
    token->spelled = slice_make(lexer->text.ptr + start, lexer->at - start);
    return true;
}
