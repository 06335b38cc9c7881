/* Resource ids: every layout there and back, and what is none. */
#include "model/rid.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

static void texts_that_are_no_resource_id_are_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "a",
        "abc",
        "ab/d",
        "items",
        "AAAABQ",
        "AAAABQ=",
        "////////",
        "AAAABQ== ",
        "%3D%3D",
        "AAAABQAAAAY",
        "AAAABYAAAAA=",             /* container without number */
        "AAAABYAAAAYBAAAAAAAAEA==", /* a child of unknown type */
        "AAAABYAAAAYBAAAAAAAAUAAAAAE=",
        "AAAABYAAAAYBAAAAAAAAUAAAAAEAAAABAAAA",
    };
    struct rid rid;

    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        if (rid_parse(slice_from_text(texts[i]), &rid))
            fail_msg("accepted: %s", texts[i]);
    }
}

static void every_type_comes_back(void **state)
{
    const struct {
        struct rid rid;
        size_t len;
    } cases[] = {
        {{RID_OFFER, 0, 0, 0x123456}, 4},
        {{RID_OFFER, 0, 0, RID_OFFER_MAX}, 4},
        {{RID_DATABASE, 1, 0, 0}, 8},
        {{RID_DATABASE, 0x7fffffff, 0, 0}, 8},
        {{RID_CONTAINER, 1, 2, 0}, 12},
        {{RID_CONTAINER, 0x7fffffff, 0x7fffffff, 0}, 12},
        {{RID_USER, 1, 2, 0}, 12},
        {{RID_PERMISSION, 1, 2, 3}, 24},
        {{RID_CLIENT_ENCRYPTION_KEY, 1, 0, 9}, 24},
        {{RID_ITEM, 1, 2, 0}, 24},
        {{RID_ITEM, 1, 2, RID_NUMBER_MAX}, 24},
        {{RID_CONFLICT, 1, 2, 3}, 24},
        {{RID_PKRANGE, 1, 2, 3}, 24},
        {{RID_UDF, 1, 2, 3}, 24},
        {{RID_TRIGGER, 1, 2, 3}, 24},
        {{RID_SPROC, 1, 2, RID_NUMBER_MAX}, 24},
        {{RID_SCHEMA, 1, 2, 3}, 24},
    };

    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[RID_TEXT_BYTES];
        struct rid again;
        rid_format(&cases[i].rid, text);
        assert_int_equal(strlen(text), cases[i].len);
        assert_null(strchr(text, '/'));
        assert_true(rid_parse(slice_from_text(text), &again));
        assert_int_equal(again.type, cases[i].rid.type);
        assert_int_equal(again.database, cases[i].rid.database);
        assert_int_equal(again.owner, cases[i].rid.owner);
        assert_true(again.number == cases[i].rid.number);
    }
}

static void layouts_are_those_of_the_service(void **state)
{
    struct rid rid = {RID_CONTAINER, 1, 1, 0};
    char text[RID_TEXT_BYTES];

    (void) state;
    rid_format(&rid, text);
    assert_string_equal(text, "AAAAAYAAAAE=");                   /* the top bit of byte 4 */
    assert_true(rid_parse(SLICE_LITERAL("yEcCAPX6aAw="), &rid)); /* a real one */
    assert_int_equal(rid.type, RID_CONTAINER);
    assert_int_equal(rid.owner, 0x75fa680c);
    assert_true(rid.database == 0xc8470200);
    assert_true(rid_parse(SLICE_LITERAL("Hu+t"), &rid));
    assert_int_equal(rid.type, RID_OFFER);
    rid = (struct rid){RID_ITEM, 1, 1, 1};
    rid_format(&rid, text);
    assert_string_equal(text, "AAAAAYAAAAEBAAAAAAAAAA==");
}

static void paths_are_complete(void **state)
{
    const struct rid item = {RID_ITEM, 1, 1, 1}, offer = {RID_OFFER, 0, 0, 1};
    const struct rid permission = {RID_PERMISSION, 1, 2, 3};
    struct buf buf = {0};

    (void) state;
    rid_append_self(&buf, &item);
    buf_append_char(&buf, ' ');
    rid_append_self(&buf, &offer);
    buf_append_char(&buf, ' ');
    rid_append_self(&buf, &permission);
    assert_string_equal(
        buf_text(&buf),
        "dbs/AAAAAQ==/colls/AAAAAYAAAAE=/docs/AAAAAYAAAAEBAAAAAAAAAA==/ offers/AQAA/ "
        "dbs/AAAAAQ==/users/AAAAAQAAAAI=/permissions/AAAAAQAAAAIDAAAAAAAAAA==/");
    buf_finish(&buf);
}

static void database_segments_are_told_by_form(void **state)
{
    (void) state;
    assert_false(rid_is_database_segment(SLICE_LITERAL("")));
    assert_false(rid_is_database_segment(SLICE_LITERAL("database")));
    assert_false(rid_is_database_segment(SLICE_LITERAL("AAAABQ=")));
    assert_true(rid_is_database_segment(SLICE_LITERAL("AAAABQ==")));
    assert_true(rid_is_database_segment(SLICE_LITERAL("-+AABQ==")));
}

static void item_numbers_grow_with_the_counter(void **state)
{
    (void) state;
    assert_true(rid_item_number(1, 4095, 255) < rid_item_number(2, 0, 0));
    assert_true(rid_item_number(((uint64_t) 1 << 40) - 1, 4095, 255) == RID_NUMBER_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_that_are_no_resource_id_are_refused),
        cmocka_unit_test(every_type_comes_back),
        cmocka_unit_test(layouts_are_those_of_the_service),
        cmocka_unit_test(paths_are_complete),
        cmocka_unit_test(database_segments_are_told_by_form),
        cmocka_unit_test(item_numbers_grow_with_the_counter),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
