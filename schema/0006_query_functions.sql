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

-- Boxes around geometries, for spatial indexes; NULL for what is none. gateway/query/geometry_box.h says what a box is,
-- and looks for those that overlap; both must be right together. types: which geometries are told apart, 1 points, 2
-- lines, 4 polygons, 8 lists of polygons; others are everywhere. Nothing here may raise an error: it would refuse a
-- write. Hence the rounding, before anything is multiplied.

-- 1, 2, 4, 8; 0 for no type of geometry.
create function orrery.geometry_type(value jsonb) returns integer language sql immutable parallel safe as $$
    select case value->>'type' when 'Point' then 1 when 'LineString' then 2 when 'Polygon' then 4
                when 'MultiPolygon' then 8 else 0 end
$$;

create function orrery.geometry_rounded(x float8) returns float8 language sql immutable parallel safe as $$
    select round(x * 1e9) / 1e9
$$;

-- Two numbers; what may follow them does not count.
create function orrery.is_position(v jsonb) returns boolean language sql immutable parallel safe as $$
    select case when jsonb_typeof(v) = 'array' then coalesce(jsonb_typeof(v->0) = 'number' and jsonb_typeof(v->1) = 'number', false)
                else false end
$$;

-- Around a line or a ring on the globe: west between -180 and 180, east maybe beyond. is_outer: a ring with what lies
-- left of it, which is everything but what it encloses when it goes clockwise, or may do so. NULL for what is no path.
-- Loops count, because a query inside them costs more than all the rest.
create function orrery.globe_path(path jsonb, is_outer boolean,
    out west float8, out south float8, out east float8, out north float8)
language plpgsql immutable parallel safe as $$
declare
    place  jsonb;
    x      float8;
    y      float8;
    half   float8;  -- tangent of half the geocentric latitude
    way    float8;
    last_x float8;
    last_y float8;
    last_half float8;
    along  float8;
    edge   float8 := 0;  -- the longest, in degrees of longitude
    turned float8 := 0;
    part   float8;
    area   float8 := 0;  -- enclosed, on the sphere of directions
    size   float8 := 0;  -- what the area was added up from
    length float8 := 0;
begin
    if jsonb_typeof(path) is distinct from 'array' then
        return;
    end if;
    for n in 0 .. jsonb_array_length(path) - 1 loop
        place := path->n;
        if not orrery.is_position(place) then
            west := null;
            return;
        end if;
        x := (place->0)::float8;
        y := (place->1)::float8;
        if abs(x) > 180 or abs(y) > 90 then
            west := null;
            return;
        end if;
        x := orrery.geometry_rounded(x);
        y := orrery.geometry_rounded(y);
        half := tan(atan(0.9933056200098587 * tan(radians(y))) / 2);
        if n = 0 then
            along := x;
            west := x;
            east := x;
            south := y;
            north := y;
        else
            way := x - last_x;
            way := case when way > 180 then way - 360 when way <= -180 then way + 360 else way end;
            along := along + way;
            west := least(west, along);
            east := greatest(east, along);
            south := least(south, y);
            north := greatest(north, y);
            edge := greatest(edge, abs(way));
            turned := turned + way;
            if is_outer then
                part := 2 * atan2(tan(radians(way) / 2) * (last_half + half), 1 + last_half * half);
                area := area - part;
                size := size + abs(part);
                length := length + radians(abs(way) + abs(y - last_y)) + 3e-11;
            end if;
        end if;
        last_x := x;
        last_y := y;
        last_half := half;
    end loop;
    if west is null then
        return;
    end if;
    -- What rounding may have done to the area: the smallest rings may go either way.
    if edge >= 179 or is_outer and abs(turned) < 180 and area <= 1e-11 * size + 2e-11 * length then
        west := -180;
        east := 210;
        south := -90;
        north := 90;
        return;
    end if;
    if north > 0 then
        north := degrees(atan(tan(radians(north)) / cos(radians(edge / 2))));
    end if;
    if south < 0 then
        south := degrees(atan(tan(radians(south)) / cos(radians(edge / 2))));
    end if;
    if is_outer and turned >= 180 then
        north := 90;
    elsif is_outer and turned <= -180 then
        south := -90;
    end if;
    if abs(turned) >= 180 or north > 89.5 or south < -89.5 or east - west >= 330 then
        west := -180;
        east := 210;
    elsif west < -180 then
        west := west + 360;
        east := east + 360;
    end if;
end
$$;

create function orrery.globe_box(value jsonb, types integer) returns box
language plpgsql immutable parallel safe cost 1000 as $$
declare
    type     integer := orrery.geometry_type(value);
    at       jsonb;
    polygons jsonb;
    polygon  jsonb;
    x        float8;
    y        float8;
    p        record;
    west     float8;
    south    float8;
    east     float8;
    north    float8;
    west_0   float8;  -- the same with longitudes from 0 on
    east_0   float8;
begin
    if type = 0 then
        return null;
    end if;
    if type & types = 0 then
        return box(point(-180, -90), point(210, 90));
    end if;
    at := value->'coordinates';
    if type = 1 then
        if not orrery.is_position(at) then
            return null;
        end if;
        x := (at->0)::float8;
        y := (at->1)::float8;
        return case when abs(x) <= 180 and abs(y) <= 90 then
            box(point(orrery.geometry_rounded(x), orrery.geometry_rounded(y))) end;
    end if;
    if jsonb_typeof(at) is distinct from 'array' then
        return null;
    end if;
    polygons := case type when 2 then jsonb_build_array(jsonb_build_array(at)) when 4 then jsonb_build_array(at) else at end;
    for i in 0 .. jsonb_array_length(polygons) - 1 loop
        polygon := polygons->i;
        continue when jsonb_typeof(polygon) <> 'array';
        for j in 0 .. jsonb_array_length(polygon) - 1 loop
            p := orrery.globe_path(polygon->j, j = 0 and type <> 2);
            continue when p.west is null;
            west := least(west, p.west);
            east := greatest(east, p.east);
            south := least(south, p.south);
            north := greatest(north, p.north);
            x := case when p.west < 0 then 360 else 0 end;
            west_0 := least(west_0, p.west + x);
            east_0 := greatest(east_0, p.east + x);
        end loop;
    end loop;
    if east_0 - west_0 < east - west then
        west := west_0;
        east := east_0;
    end if;
    if east > 210 then
        west := -180;
        east := 210;
    end if;
    return box(point(orrery.geometry_rounded(west), orrery.geometry_rounded(south)),
               point(orrery.geometry_rounded(east), orrery.geometry_rounded(north)));
end
$$;

-- In a plane nothing bends. bounds: what is outside is taken for the nearest place inside.
create function orrery.plane_box(value jsonb, types integer, bounds box) returns box
language plpgsql immutable parallel safe cost 1000 as $$
declare
    type  integer := orrery.geometry_type(value);
    low   point := bounds[1];
    high  point := bounds[0];
    at    jsonb;
    west  float8;
    south float8;
    east  float8;
    north float8;
begin
    if type = 0 then
        return null;
    end if;
    if type & types = 0 then
        return box(point(orrery.geometry_rounded(low[0]), orrery.geometry_rounded(low[1])),
                   point(orrery.geometry_rounded(high[0]), orrery.geometry_rounded(high[1])));
    end if;
    at := value->'coordinates';
    if type = 1 then
        if not orrery.is_position(at) then
            return null;
        end if;
        west := (at->0)::float8;
        south := (at->1)::float8;
        east := west;
        north := south;
    else
        select min((q->0)::float8), min((q->1)::float8), max((q->0)::float8), max((q->1)::float8)
        from jsonb_path_query(at, case type when 2 then '$[*]' when 4 then '$[*][*]' else '$[*][*][*]' end::jsonpath) q
        where orrery.is_position(q)
        into west, south, east, north;
        if west is null then
            return null;
        end if;
    end if;
    return box(point(orrery.geometry_rounded(least(greatest(west, low[0]), high[0])),
                     orrery.geometry_rounded(least(greatest(south, low[1]), high[1]))),
               point(orrery.geometry_rounded(least(greatest(east, low[0]), high[0])),
                     orrery.geometry_rounded(least(greatest(north, low[1]), high[1]))));
end
$$;
