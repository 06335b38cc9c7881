"""What compiled queries call: ranks and keys order values, absent parts disappear, lengths are in UTF-16 units."""

import base64
import json
import random
import struct

ORDERED = [None, "null", "false", "true", "-1e308", "-1", "-0.5", "0", "1e-300", "0.5", "1", "1e21", '""', '"A"', '"a"', '"aa"',
           '"é"', '"\uffff"', '"😀"', "[]", "{}"]


def rank_and_key(connection, value):
    return connection.execute("select orrery.value_rank(%s::jsonb), orrery.value_key(%s::jsonb)::text", [value, value]).fetchone()


def test_rank_and_key_order_values_as_the_language_does(connection):
    values = list(enumerate(ORDERED))
    random.Random(1).shuffle(values)
    rows = connection.execute(
        "select n from unnest(%s::int[], %s::text[]) x(n, v)"
        " order by orrery.value_rank(v::jsonb), orrery.value_key(v::jsonb)",
        [[n for n, _ in values], [v for _, v in values]]).fetchall()
    assert [n for n, in rows] == list(range(len(ORDERED)))


def test_arrays_are_equal_and_objects_are_equal(connection):
    assert rank_and_key(connection, "[1]") == rank_and_key(connection, "[]") == (5, "null")
    assert rank_and_key(connection, '{"a":1}') == rank_and_key(connection, "{}") == (6, "null")
    assert rank_and_key(connection, None) == (0, "null")


def test_keys_of_long_strings_keep_the_order(connection):
    """A key that cut some strings shorter than others once put them before their own prefixes."""
    dice = random.Random(2)
    alphabet = "abé\U0001f600"
    strings = sorted({"".join(dice.choice(alphabet) for _ in range(dice.choice((1, 60, 199, 200, 201, 260, 400))))
                      if dice.random() < 0.5 else "a" * dice.randrange(190, 210) for _ in range(600)})
    rows = connection.execute(
        "select n, orrery.value_key(v) from unnest(%s::int[], %s::jsonb[]) x(n, v) order by orrery.value_key(v), n",
        [list(range(len(strings))), [json.dumps(s) for s in strings]]).fetchall()
    assert [n for n, _ in rows] == list(range(len(strings)))
    assert max(len(key) for _, key in rows) == 200


def test_an_item_with_a_huge_string_can_be_indexed(connection):
    connection.execute("create temporary table t (doc jsonb)")
    connection.execute("create index on t (orrery.value_rank(doc->'a'), orrery.value_key(doc->'a'))")
    dice = random.Random(3)
    text = "".join(chr(dice.randrange(0x4e00, 0x9fff)) for _ in range(500_000))
    connection.execute("insert into t values (%s)", [json.dumps({"a": text})])


def test_undefined_members_and_elements_disappear(connection):
    row = connection.execute(
        "select '{}'::jsonb || orrery.member('a', '1') || orrery.member('b', null) || orrery.member('c', 'null'),"
        " '[]'::jsonb || orrery.element('1') || orrery.element(null) || orrery.element('[2]')").fetchone()
    assert row == ({"a": 1, "c": None}, [1, [2]])


def test_text_units_are_those_of_utf16(connection):
    for text in ("", "abc", "größe", "€", "a😀b", "\U00010000\U0010ffff", "\uffff"):
        assert connection.execute("select orrery.text_units(%s)", [text]).fetchone() == (len(text.encode("utf-16-le")) // 2,)


def test_rid_text_is_the_public_rid(connection):
    dice = random.Random(4)
    for rid in (1, 255, 256, (1 << 60) - 1, *(dice.randrange(1 << 60) for _ in range(200))):
        container = dice.randbytes(8)
        expected = base64.b64encode(container + struct.pack("<Q", rid)).decode().replace("/", "-")
        assert connection.execute("select orrery.rid_text(%s, %s)", [container, rid]).fetchone() == (expected,)
