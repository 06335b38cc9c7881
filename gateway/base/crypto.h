/*
 * Digests, base64, comparison in constant time, random bytes; over nettle and the kernel.
 */
#ifndef ORRERY_BASE_CRYPTO_H
#define ORRERY_BASE_CRYPTO_H

#include "base/compiler.h"
#include "base/slice.h"

#include <stdint.h>

#define SHA256_BYTES 32

/* A UUID in lower-case text with its NUL. */
#define UUID_TEXT_BYTES 37

/* HMAC-SHA256 of a text under a key of any length. */
void crypto_hmac_sha256(struct slice key, struct slice text, uint8_t mac[SHA256_BYTES]);

void crypto_sha256(struct slice text, uint8_t digest[SHA256_BYTES]);

/* True when equal; takes the same time wherever the first difference is. */
bool crypto_equals(const void *a, const void *b, size_t len);

/* Bytes of base64 text for len bytes, without a NUL. */
#define BASE64_LEN(len) (((len) + 2) / 3 * 4)

/* Standard alphabet with padding; writes BASE64_LEN(len) bytes, no NUL. */
void base64_encode(const void *bytes, size_t len, char *text);

/*
 * Strict decoding: standard alphabet, padding required, no spaces, unused bits zero.
 *
 * out_size  room at out; BASE64 text of n characters needs at most n / 4 * 3
 * returns   false when malformed or too long
 */
bool base64_decode(struct slice text, void *out, size_t out_size, size_t *out_len) MUST_CHECK;

/* Unpredictable bytes; buffered per thread, so that a UUID per request costs no system call. */
void crypto_random(void *out, size_t len);

/* A random (version 4) UUID. */
void uuid_create(uint8_t uuid[16]);
void uuid_format(const uint8_t uuid[16], char text[UUID_TEXT_BYTES]);

/* Any 8-4-4-4-12 hex digits, either case. */
bool uuid_parse(struct slice text, uint8_t uuid[16]) MUST_CHECK;

#endif
