-- What statements compiled from queries call (gateway/query/emit*.c), and what indexes for them are built on.
--
-- Values are compared in the order undefined < null < false < true < numbers < strings < arrays < objects. jsonb's own
-- order is another, so a value is ordered by two: its rank, which is its type, and its key, which orders within it.
-- SQL functions, and not strict: so PostgreSQL puts their bodies into the statement (measured: 1.6 us a row, a strict
-- one 2.1), in an index's expression as in a query's.

create function orrery.value_rank(v jsonb) returns smallint language sql immutable parallel safe as $$
    select case jsonb_typeof(v) when 'null' then 1 when 'boolean' then 2 when 'number' then 3 when 'string' then 4
                when 'array' then 5 when 'object' then 6 else 0 end::smallint
$$;

-- Never NULL, because a comparison of rows with NULL is unknown. At most 200 characters of a string, because an entry
-- of an index is limited; cut alike for all, so that v <= w implies key(v) <= key(w). Arrays are all equal, as are
-- objects.
create function orrery.value_key(v jsonb) returns jsonb language sql immutable parallel safe as $$
    select case jsonb_typeof(v)
           when 'string' then case when octet_length(v #>> '{}') > 200 then to_jsonb(left(v #>> '{}', 200)) else v end
           when 'array' then 'null'::jsonb when 'object' then 'null'::jsonb
           else coalesce(v, 'null'::jsonb) end
$$;

-- An object literal is '{}' || member || member: undefined members disappear.
create function orrery.member(name text, v jsonb) returns jsonb language sql immutable parallel safe as $$
    select case when v is null then '{}'::jsonb else jsonb_build_object(name, v) end
$$;

-- An array literal is '[]' || element || element.
create function orrery.element(v jsonb) returns jsonb language sql immutable parallel safe as $$
    select case when v is null then '[]'::jsonb else jsonb_build_array(v) end
$$;

-- Length in UTF-16 code units, in which the language counts.
create function orrery.text_units(s text) returns integer language sql immutable parallel safe as $$
    select case when octet_length(s) = length(s) then length(s)
           else length(s) + length(regexp_replace(s, '[^\U00010000-\U0010FFFF]', '', 'g')) end
$$;

-- The public _rid of an item: the eight bytes of its container, then its number with the lowest byte first, in base64
-- with - for / (gateway/model/rid.h).
create function orrery.rid_text(container bytea, rid bigint) returns text language sql immutable parallel safe as $$
    select translate(encode(container ||
        set_byte(set_byte(set_byte(set_byte(set_byte(set_byte(set_byte(set_byte('\x0000000000000000'::bytea,
            0, (rid & 255)::int), 1, (rid >> 8 & 255)::int), 2, (rid >> 16 & 255)::int), 3, (rid >> 24 & 255)::int),
            4, (rid >> 32 & 255)::int), 5, (rid >> 40 & 255)::int), 6, (rid >> 48 & 255)::int), 7, (rid >> 56 & 255)::int),
        'base64'), '/', '-')
$$;

-- An element of an array. "->" alone takes a scalar for an array of one.
create function orrery.value_at(v jsonb, n integer) returns jsonb language sql immutable parallel safe as $$
    select case when jsonb_typeof(v) = 'array' then v -> n end
$$;

-- Numbers that are not finite leave an expression as undefined.
create function orrery.number_json(x float8) returns jsonb language sql immutable parallel safe as $$
    select case when x > '-Infinity' and x < 'Infinity' then to_jsonb(x) end
$$;

-- Sums and products as IEEE 754 has them, where PostgreSQL would raise an error: a result that is not finite, a product
-- that vanishes. Called for operands that are not known to be harmless. What overflows is seen at half the size
-- (2^1023), or at 2^-512 times the size of both operands; what vanishes at 2^1022 times the size of the smaller one.
create function orrery.number_add(a float8, b float8) returns float8 language sql immutable parallel safe as $$
    select case when abs(a) < 'Infinity' and abs(b) < 'Infinity'
                     and abs(case when abs(a) > 1 then a / 2 else 0 end + case when abs(b) > 1 then b / 2 else 0 end)
                         >= 8.98846567431158e307
                then 'Infinity'::float8 * sign(a) else a + b end
$$;

create function orrery.number_multiply(a float8, b float8) returns float8 language sql immutable parallel safe as $$
    select case when abs(a) < 'Infinity' and abs(b) < 'Infinity' and abs(a) >= 1 and abs(b) >= 1
                     and abs((a * 7.458340731200207e-155) * (b * 7.458340731200207e-155)) >= 1
                then 'Infinity'::float8 * sign(a) * sign(b)
                when a <> 0 and b <> 0 and abs(a) < 1 and abs(b) < 1
                     and case when greatest(abs(a), abs(b)) < 1e-170 then true
                              else least(abs(a), abs(b)) * 4.49423283715579e307 * greatest(abs(a), abs(b))
                                   <= 1.1102230246251565e-16 end
                then 0
                else a * b end
$$;
