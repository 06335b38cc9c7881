/* Authorization: signatures of the reference, wrong ones, dates, and what resource tokens open. */
#include "base/keys.h"
#include "model/authtoken.h"

#include "base/clock.h"
#include "base/crypto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#define DATE "Mon, 01 Jan 2024 00:00:00 GMT"
#define NOW_S 1704067200

static struct arena arena;
static struct fault fault;
static struct authtoken token;
static char key_bytes[4][64];
static struct authtoken_keys keys;

static struct slice key_of(size_t slot, const char *base64)
{
    size_t len;

    if (!base64_decode(slice_from_text(base64), key_bytes[slot], sizeof(key_bytes[slot]), &len))
        fail();
    return slice_make(key_bytes[slot], len);
}

static int setup(void **state)
{
    (void) state;
    arena_init(&arena, 1 << 20);
    fault = (struct fault){0};
    keys = (struct authtoken_keys){.primary = key_of(0, KEY_EMULATOR)};
    return 0;
}

static int teardown(void **state)
{
    (void) state;
    arena_finish(&arena);
    return 0;
}

static bool parse(const char *header)
{
    return authtoken_parse(&token, slice_from_text(header), &arena, &fault);
}

static struct authtoken_request request_of(const char *method, const char *type, const char *link)
{
    return (struct authtoken_request){.method = slice_from_text(method),
                                      .resource_type = slice_from_text(type),
                                      .link = slice_from_text(link),
                                      .ms_date = SLICE_LITERAL(DATE)};
}

/* The header that a client with this key would send. */
static const char *sign(struct slice key, const struct authtoken_request *request)
{
    struct buf buf = {0};

    authtoken_sign(&buf, key, request);
    const char *text = arena_copy(&arena, buf.ptr, buf.len);
    buf_finish(&buf);
    return text;
}

static bool verify(const struct authtoken_request *request, enum authtoken_access *access)
{
    return authtoken_verify(&token, request, &keys, NOW_S, access, &fault);
}

static void malformed_headers_are_refused(void **state)
{
    static const char *const headers[] = {
        "",
        " ",
        "master",
        "type=master",
        "type=master&ver=1.0",
        "type=master&ver=1.0&sig=",
        "type=&ver=1.0&sig=a",
        "ver=1.0&sig=a",
        "type=other&ver=1.0&sig=a",
        "type=master&ver=2.0&sig=a",
        "type=master&sig=a",
        "type%3Dmaster%26ver%3D1.0",
        "Bearer abc",
        "&&&",
        "===",
        "%",
        "%%%",
        "%3",
        "type=aad&ver=1.0&sig=a.b.c",
        "type%3Daad%26ver%3D1.0%26sig%3Da",
        "type=sas&sig=a",
    };
    char *large = arena_alloc(&arena, AUTHTOKEN_HEADER_BYTES_MAX + 2);

    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
        fault = (struct fault){0};
        if (parse(headers[i]))
            fail_msg("accepted: %s", headers[i]);
        assert_int_equal(fault.status, 401);
    }
    assert_false(parse("type=aad&ver=1.0&sig=a.b.c"));
    assert_non_null(strstr(fault.message, "not supported here"));
    memset(large, 'a', AUTHTOKEN_HEADER_BYTES_MAX + 1);
    assert_false(parse(large));
    assert_int_equal(fault.status, 401);
}

static void headers_are_read_encoded_or_not(void **state)
{
    static const char *const headers[] = {
        "type=master&ver=1.0&sig=a+b/c=",
        "type=master&ver=1.0&sig=a b/c=",
        "type%3dmaster%26ver%3d1.0%26sig%3da%2bb%2fc%3d",
        "type%3Dmaster%26ver%3D1.0%26sig%3Da%2Bb%2Fc%3D",
        " sig%3Da%2Bb%2Fc%3D%26ver%3D1.0%26type%3DMaster ",
    };

    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
        if (!parse(headers[i]))
            fail_msg("%s: %s", headers[i], fault.message);
        assert_int_equal(token.type, AUTHTOKEN_MASTER);
        assert_true(slice_equals_text(token.signature, "a+b/c="));
    }
}

/* The table of the protocol reference, section 3.2. */
static void signatures_are_those_of_the_sdks(void **state)
{
    static const char *const docs_key =
        "dsZQi3KtZmCv1ljt3VNWNm7sQUF1y5rJfC6kv5JiwvW0EndXdDku/dkKBp8/ufDToSxLzR4y+O/0H/t4bQtVNw==";
    static const struct {
        const char *method, *type, *link, *signature;
    } cases[] = {
        {"GET", "", "", "u8LyODOx9u9KLAZ0XLJJonoe6JxFUWrh9etqqU9xL0I="},
        {"POST", "docs", "dbs/d/colls/c", "Ju6uVbcXWxFi+GRGZUjUuloom9YxP49Zs+oWl45G+/I="},
        {"GET", "docs", "dbs/d/colls/c/docs/a b", "pDPDdYRO2zG6mux9Ae0Se0xy5y+2ST4nUl6cWwWCKzU="},
        {"POST", "dbs", "", "OBAtWkLJj41BUMyPSJDPEFMF5aF1P3+e+qSzqq75wNE="},
        {"PUT", "offers", "abcd", "Y34u46nQVZyH8TYIXZe8Vqgsp3qhkMn5qXKo7e7hvZg="},
    };
    enum authtoken_access access;

    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct authtoken_request request =
            request_of(cases[i].method, cases[i].type, cases[i].link);
        token = (struct authtoken){AUTHTOKEN_MASTER, slice_from_text(cases[i].signature)};
        if (!verify(&request, &access))
            fail_msg("%s", fault.message);
        assert_int_equal(access, AUTHTOKEN_READ_WRITE);
    }
    struct authtoken_request request = request_of("GET", "dbs", "dbs/ToDoList");
    request.ms_date = SLICE_LITERAL("Thu, 27 Apr 2017 00:51:12 GMT");
    keys.primary = key_of(1, docs_key);
    token.signature = SLICE_LITERAL("c09PEVJrgp2uQRkr934kFbTqhByc7TVr3OHyqlu+c+c=");
    assert_true(authtoken_verify(&token, &request, &keys, 1493254272, &access, &fault));
}

static void wrong_signatures_show_the_payload(void **state)
{
    static const char *const signatures[] = {
        "a",
        "====",
        "u8LyODOx9u9KLAZ0XLJJonoe6JxFUWrh9etqqU9xL0A=",
        "u8LyODOx9u9KLAZ0",
        "u8LyODOx9u9KLAZ0XLJJonoe6JxFUWrh9etqqU9xL0Iu8LyODOx9u9KLAZ0XLJJonoe6JxFUWrh9etqqU9xL0I=",
    };
    struct authtoken_request request = request_of("GET", "docs", "dbs/d/colls/c/docs/1");
    enum authtoken_access access;

    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(signatures); i++) {
        fault = (struct fault){0};
        token = (struct authtoken){AUTHTOKEN_MASTER, slice_from_text(signatures[i])};
        assert_false(verify(&request, &access));
        assert_int_equal(fault.status, 401);
        assert_non_null(
            strstr(fault.message,
                   "'get\\ndocs\\ndbs/d/colls/c/docs/1\\nmon, 01 jan 2024 00:00:00 gmt\\n\\n'"));
    }
    /* One signed request is not another. */
    assert_true(parse(sign(keys.primary, &request)));
    assert_true(verify(&request, &access));
    struct authtoken_request other = request_of("DELETE", "docs", "dbs/d/colls/c/docs/1");
    assert_false(verify(&other, &access));
    other = request_of("GET", "docs", "dbs/d/colls/c/docs/2");
    assert_false(verify(&other, &access));
    other = request_of("GET", "sprocs", "dbs/d/colls/c/docs/1");
    assert_false(verify(&other, &access));
}

static void dates_are_checked(void **state)
{
    static const char *const wrong[] = {"yesterday", "2024-01-01T00:00:00Z",
                                        "Mon, 01 Jan 2024 00:00:00 +0100",
                                        "Tue, 01 Jan 2024 00:00:00 GMT"};
    struct authtoken_request request = request_of("GET", "dbs", "");
    enum authtoken_access access;

    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        fault = (struct fault){0};
        request.ms_date = slice_from_text(wrong[i]);
        assert_true(parse(sign(keys.primary, &request)));
        assert_false(verify(&request, &access));
        assert_int_equal(fault.status, 401);
        assert_non_null(strstr(fault.message, "RFC 1123"));
    }
    request.ms_date = slice_make(NULL, 0);
    assert_true(parse(sign(keys.primary, &request)));
    assert_false(verify(&request, &access));
    assert_int_equal(fault.status, 401);
    request.date = SLICE_LITERAL(DATE);
    assert_true(parse(sign(keys.primary, &request)));
    assert_true(verify(&request, &access));
    request.ms_date = SLICE_LITERAL("mon, 01 JAN 2024 00:00:00 gmt");
    assert_true(parse(sign(keys.primary, &request)));
    assert_true(verify(&request, &access));
    assert_true(authtoken_verify(&token, &request, &keys, NOW_S + 900, &access, &fault));
    assert_true(authtoken_verify(&token, &request, &keys, NOW_S - 900, &access, &fault));
    assert_false(authtoken_verify(&token, &request, &keys, NOW_S + 901, &access, &fault));
    assert_int_equal(fault.status, 403);
    assert_false(authtoken_verify(&token, &request, &keys, NOW_S - 901, &access, &fault));
    assert_int_equal(fault.status, 403);
    assert_non_null(strstr(fault.message, "current server time Sun, 31 Dec 2023 23:44:59 GMT"));
}

static void every_key_says_what_it_may(void **state)
{
    struct authtoken_request request = request_of("POST", "docs", "dbs/d/colls/c");
    struct slice all[4];
    enum authtoken_access access;

    (void) state;
    for (size_t i = 0; i < 4; i++) {
        memset(key_bytes[i], (int) ('a' + i), sizeof(key_bytes[i]));
        all[i] = slice_make(key_bytes[i], sizeof(key_bytes[i]));
    }
    keys = (struct authtoken_keys){all[0], all[1], all[2], all[3]};
    for (size_t i = 0; i < 4; i++) {
        assert_true(parse(sign(all[i], &request)));
        assert_true(verify(&request, &access));
        assert_int_equal(access, i < 2 ? AUTHTOKEN_READ_WRITE : AUTHTOKEN_READ_ONLY);
        assert_true(authtoken_check_access(access, false, &fault));
        assert_int_equal(authtoken_check_access(access, true, &fault), i < 2);
    }
    assert_int_equal(fault.status, 403);
    keys.secondary = slice_make(NULL, 0); /* an absent key signs nothing, not everything */
    assert_true(parse(sign(slice_make("", 0), &request)));
    assert_false(verify(&request, &access));
}

static void links_are_accepted_as_clients_sign_them(void **state)
{
    struct authtoken_request server = request_of("GET", "docs", "dbs/d/colls/c/docs/a b");
    struct authtoken_request client = server;
    enum authtoken_access access;

    (void) state;
    server.raw_link = SLICE_LITERAL("dbs/d/colls/c/docs/a%20b");
    client.link = server.raw_link;
    assert_true(parse(sign(keys.primary, &client)));
    assert_true(verify(&server, &access));
    server = request_of("GET", "pkranges", "dbs/AAAAAQ==/colls/AAAAAYAAAAE=");
    client = request_of("GET", "pkranges", "aaaaayaaaae=");
    assert_true(parse(sign(keys.primary, &client)));
    assert_true(verify(&server, &access));
    server = request_of("POST", "colls", "dbs/d/colls/c");
    server.other_type = SLICE_LITERAL("partitionkey");
    client = request_of("POST", "partitionkey", "dbs/d/colls/c");
    assert_true(parse(sign(keys.primary, &client)));
    assert_true(verify(&server, &access));
}

static void paths_give_type_and_link(void **state)
{
    static const struct {
        const char *path, *type, *link;
        bool is_rid;
    } cases[] = {
        {"/", "", "", false},
        {"", "", "", false},
        {"/dbs", "dbs", "", false},
        {"/dbs/d", "dbs", "dbs/d", false},
        {"/dbs/d/", "dbs", "dbs/d", false},
        {"//dbs/colls/colls/docs/docs", "docs", "dbs/colls/colls/docs", false},
        {"/dbs/d/colls/c/docs/a b", "docs", "dbs/d/colls/c/docs/a b", false},
        {"/dbs/d/colls/c/sprocs/s", "sprocs", "dbs/d/colls/c/sprocs/s", false},
        {"/dbs/d/colls/c/operations/partitionkeydelete", "colls", "dbs/d/colls/c", false},
        {"/offers", "offers", "", true},
        {"/offers/Hu+t", "offers", "Hu+t", true},
        {"/dbs/AAAAAQ==/colls/AAAAAYAAAAE=/pkranges", "pkranges", "AAAAAYAAAAE=", true},
        {"/dbs/AAAAAQ==", "dbs", "AAAAAQ==", true},
    };

    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct authtoken_path split;
        authtoken_split_path(&split, slice_from_text(cases[i].path));
        if (!slice_equals_text(split.resource_type, cases[i].type) ||
            !slice_equals_text(split.link, cases[i].link) || split.link_is_rid != cases[i].is_rid)
            fail_msg("%s: %.*s %.*s", cases[i].path, (int) split.resource_type.len,
                     split.resource_type.ptr, (int) split.link.len, split.link.ptr);
    }
}

/* Resource tokens */

static const struct authtoken_grant grant = {
    .scope = {.is_write = true,
              .database = 1,
              .container = 2,
              .child = RID_ITEM,
              .child_id = {"x;y&z", 5},
              .pk = {"\x01\0\x02", 3}},
    .permission = {RID_PERMISSION, 1, 7, 8},
    .expires_s = NOW_S + 10,
};

static const char *grant_text(void)
{
    struct buf buf = {0};

    authtoken_grant_format(&buf, &grant, &keys);
    const char *text = arena_copy(&arena, buf.ptr, buf.len);
    buf_finish(&buf);
    return text;
}

static void grants_come_back_as_given(void **state)
{
    struct authtoken_grant again;

    (void) state;
    assert_true(parse(grant_text()));
    assert_int_equal(token.type, AUTHTOKEN_RESOURCE);
    if (!authtoken_grant_verify(&again, &token, &keys, NOW_S, &arena, &fault))
        fail_msg("%s", fault.message);
    assert_true(again.scope.is_write && again.scope.database == 1 && again.scope.container == 2);
    assert_int_equal(again.scope.child, RID_ITEM);
    assert_true(slice_equals(again.scope.child_id, grant.scope.child_id));
    assert_true(slice_equals(again.scope.pk, grant.scope.pk));
    assert_true(again.permission.owner == 7 && again.permission.number == 8);
    assert_false(authtoken_grant_verify(&again, &token, &keys, NOW_S + 10, &arena, &fault));
    assert_int_equal(fault.status, 403);
    /* After the keys were rotated, the old primary being the secondary now. */
    keys.secondary = keys.primary;
    keys.primary = SLICE_LITERAL("another");
    assert_true(authtoken_grant_verify(&again, &token, &keys, NOW_S, &arena, &fault));
    keys.secondary = slice_make(NULL, 0);
    assert_false(authtoken_grant_verify(&again, &token, &keys, NOW_S, &arena, &fault));
    assert_int_equal(fault.status, 401);
}

static void changed_grants_are_refused(void **state)
{
    const char *text = grant_text();
    size_t len = strlen(text), start = strlen("type=resource&ver=1&sig=");
    struct authtoken_grant again;

    (void) state;
    for (size_t i = start; i < len; i++) {
        char *copy = arena_copy(&arena, text, len);
        copy[i] = copy[i] == 'A' ? 'B' : 'A';
        fault = (struct fault){0};
        if (i == len - 1)
            copy[i] = ';', copy[i - 1] = ';';
        assert_true(parse(copy));
        if (authtoken_grant_verify(&again, &token, &keys, NOW_S, &arena, &fault))
            fail_msg("changed at %zu: %s", i, copy);
        assert_int_equal(fault.status, 401);
    }
    assert_true(parse("type=resource&ver=1&sig=;;;"));
    assert_false(authtoken_grant_verify(&again, &token, &keys, NOW_S, &arena, &fault));
    assert_true(parse("type=resource&ver=1&sig=QUJD;QUJD;"));
    assert_false(authtoken_grant_verify(&again, &token, &keys, NOW_S, &arena, &fault));
}

static void scopes_open_what_they_name(void **state)
{
    static const struct slice id = {"i", 1}, pk = {"p", 1}, other = {"o", 1};
    const struct authtoken_scope whole = {true, 1, 2, RID_ITEM, {NULL, 0}, {NULL, 0}};
    const struct authtoken_scope read = {false, 1, 2, RID_ITEM, {NULL, 0}, {NULL, 0}};
    const struct authtoken_scope of_key = {true, 1, 2, RID_ITEM, {NULL, 0}, pk};
    const struct authtoken_scope of_item = {true, 1, 2, RID_ITEM, id, pk};
    const struct authtoken_scope database = {true, 1, 0, RID_ITEM, {NULL, 0}, {NULL, 0}};
    const struct {
        const struct authtoken_scope *scope;
        struct authtoken_target target;
        bool is_open;
    } cases[] = {
        {&whole, {AUTHTOKEN_CHILD, true, 1, 3, RID_ITEM, id, pk}, false},
        {&whole, {AUTHTOKEN_CHILD, true, 9, 2, RID_ITEM, id, pk}, false},
        {&whole, {AUTHTOKEN_OTHER, false, 1, 2, RID_ITEM, id, pk}, false},
        {&whole, {AUTHTOKEN_CHILD, true, 1, 2, RID_ITEM, id, pk}, true},
        {&whole, {AUTHTOKEN_CHILDREN, false, 1, 2, RID_SPROC, {0}, {0}}, true},
        {&read, {AUTHTOKEN_CHILD, true, 1, 2, RID_ITEM, id, pk}, false},
        {&read, {AUTHTOKEN_CONTAINER, true, 1, 2, RID_ITEM, {0}, {0}}, false},
        {&read, {AUTHTOKEN_CHILDREN, false, 1, 2, RID_ITEM, {0}, {0}}, true},
        {&read, {AUTHTOKEN_PKRANGES, false, 1, 2, RID_ITEM, {0}, {0}}, true},
        {&of_key, {AUTHTOKEN_CHILD, true, 1, 2, RID_ITEM, id, other}, false},
        {&of_key, {AUTHTOKEN_CHILDREN, false, 1, 2, RID_ITEM, {0}, {0}}, false},
        {&of_key, {AUTHTOKEN_CHILD, false, 1, 2, RID_SPROC, id, pk}, false},
        {&of_key, {AUTHTOKEN_CONTAINER, true, 1, 2, RID_ITEM, {0}, {0}}, false},
        {&of_key, {AUTHTOKEN_CONTAINER, false, 1, 2, RID_ITEM, {0}, {0}}, true},
        {&of_key, {AUTHTOKEN_CHILDREN, false, 1, 2, RID_ITEM, {0}, pk}, true},
        {&of_item, {AUTHTOKEN_CHILD, true, 1, 2, RID_ITEM, other, pk}, false},
        {&of_item, {AUTHTOKEN_CHILDREN, false, 1, 2, RID_ITEM, {0}, pk}, false},
        {&of_item, {AUTHTOKEN_CHILD, true, 1, 2, RID_ITEM, id, pk}, true},
        {&database, {AUTHTOKEN_CHILD, true, 2, 2, RID_ITEM, id, pk}, false},
        {&database, {AUTHTOKEN_CHILD, true, 1, 9, RID_ITEM, id, pk}, true},
    };

    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        fault = (struct fault){0};
        if (authtoken_scope_check(cases[i].scope, &cases[i].target, &fault) != cases[i].is_open)
            fail_msg("case %zu", i);
        assert_int_equal(fault.status, cases[i].is_open ? 0 : 403);
    }
}

static void lifetimes_have_bounds(void **state)
{
    static const char *const wrong[] = {"", "0", "-1", "18001", "1.5", "a", "99999999999999999999"};
    int64_t lifetime_s;

    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        fault = (struct fault){0};
        assert_false(authtoken_lifetime_parse(&lifetime_s, slice_from_text(wrong[i]), &fault));
        assert_int_equal(fault.status, 400);
    }
    assert_true(authtoken_lifetime_parse(&lifetime_s, slice_make(NULL, 0), &fault));
    assert_int_equal(lifetime_s, 3600);
    assert_true(authtoken_lifetime_parse(&lifetime_s, SLICE_LITERAL("18000"), &fault));
    assert_int_equal(lifetime_s, 18000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(malformed_headers_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(headers_are_read_encoded_or_not, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_signatures_show_the_payload, setup, teardown),
        cmocka_unit_test_setup_teardown(signatures_are_those_of_the_sdks, setup, teardown),
        cmocka_unit_test_setup_teardown(dates_are_checked, setup, teardown),
        cmocka_unit_test_setup_teardown(every_key_says_what_it_may, setup, teardown),
        cmocka_unit_test_setup_teardown(links_are_accepted_as_clients_sign_them, setup, teardown),
        cmocka_unit_test_setup_teardown(paths_give_type_and_link, setup, teardown),
        cmocka_unit_test_setup_teardown(changed_grants_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(grants_come_back_as_given, setup, teardown),
        cmocka_unit_test_setup_teardown(scopes_open_what_they_name, setup, teardown),
        cmocka_unit_test_setup_teardown(lifetimes_have_bounds, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
