-- Databases, containers, users, ...: items of range 0, and what else their changes must do in the same transaction.

select orrery.container_tables(0);

insert into orrery.ranges (range_id, container, index, epk_min, epk_max, epoch, origin, vector, committed)
select 0, 0, 0, '', '\xff', t.epoch, s.ordinal, array_fill(0::bigint, array[s.ordinal]), array_fill(0::bigint, array[s.ordinal])
from orrery.topology t, orrery.region_self s;

-- The tables of a container, the indexes that its policy declares, its ranges.
create function orrery.container_make(
    p_number bigint, p_epk_min bytea[], p_epk_max bytea[], p_default_ttl integer, p_has_unique_keys boolean,
    p_index_kind smallint[], p_index_spec text[], p_index_definition text[])
returns void language plpgsql as $$
begin
    perform orrery.container_tables(p_number, p_default_ttl);
    perform orrery.index_declare(p_number, p_index_kind, p_index_spec, p_index_definition);
    insert into orrery.ranges (range_id, container, index, epk_min, epk_max, epoch, origin, vector, committed,
                               default_ttl, has_unique_keys)
    select p_number << 12 | (e.n - 1), p_number, e.n - 1, e.epk_min, e.epk_max, m.epoch, m.origin,
           array_fill(0::bigint, array[m.origin]), array_fill(0::bigint, array[m.origin]),
           p_default_ttl, p_has_unique_keys
    from orrery.ranges m
    cross join unnest(p_epk_min, p_epk_max) with ordinality e(epk_min, epk_max, n)
    where m.range_id = 0;
    perform orrery.ranges_enroll(p_number);
end
$$;

-- Take the locks of all ranges of containers.
create function orrery.container_lock(variadic p_number bigint[]) returns void language sql as $$
    select g.range_id from orrery.ranges g where g.container = any (p_number) order by g.range_id for no key update
$$;

-- Ranges of a container learn the default lifetime under their locks.
create function orrery.container_default_ttl(p_number bigint, p_default_ttl integer) returns void language plpgsql as $$
begin
    perform orrery.container_lock(p_number);
    perform orrery.container_ttl_indexes(p_number, p_default_ttl);  -- with the locks: a writer holds them when it comes to the table
    update orrery.ranges g set default_ttl = p_default_ttl
    where g.container = p_number and g.default_ttl is distinct from p_default_ttl;
end
$$;

-- Create a container: its item and its offer (the operations, as for write_0), its tables with the indexes that its
-- policy declares (index_declare), its ranges, all or nothing.
create function orrery.container_create(
    p_epoch bigint, p_writer bigint, p_sequence bigint, p_now bigint,
    p_txn integer[], p_kind smallint[], p_pk bytea[], p_id text[], p_etag uuid[], p_if_match uuid[],
    p_flags smallint[], p_ttl integer[], p_rid bigint[], p_body text[], p_doc text[],
    p_number bigint, p_epk_min bytea[], p_epk_max bytea[], p_default_ttl integer, p_has_unique_keys boolean,
    p_index_kind smallint[], p_index_spec text[], p_index_definition text[])
returns table (n integer, status smallint, substatus integer, lsn bigint, ts bigint, rid bigint, etag uuid,
               epoch bigint, vector bigint[])
language plpgsql as $$
declare
    passed boolean := true;
begin
    for n, status, substatus, lsn, ts, rid, etag, epoch, vector in
        select * from orrery.write_0(0, p_epoch, p_writer, p_sequence, p_now, p_txn, p_kind, p_pk, p_id, p_etag,
                                     p_if_match, p_flags, p_ttl, p_rid, p_body, p_doc, '{}', '{}', '{}', null)
    loop
        passed := passed and status < 300;
        return next;
    end loop;
    -- a batch sent again finds them there
    if passed and not exists (select from orrery.ranges g where g.container = p_number) then
        perform orrery.container_make(p_number, p_epk_min, p_epk_max, p_default_ttl, p_has_unique_keys,
                                      p_index_kind, p_index_spec, p_index_definition);
    end if;
end
$$;

-- Replace a container's definition; its ranges learn the default lifetime.
create function orrery.container_replace(
    p_epoch bigint, p_writer bigint, p_sequence bigint, p_now bigint,
    p_txn integer[], p_kind smallint[], p_pk bytea[], p_id text[], p_etag uuid[], p_if_match uuid[],
    p_flags smallint[], p_ttl integer[], p_rid bigint[], p_body text[], p_doc text[],
    p_number bigint, p_default_ttl integer)
returns table (n integer, status smallint, substatus integer, lsn bigint, ts bigint, rid bigint, etag uuid,
               epoch bigint, vector bigint[])
language plpgsql as $$
declare
    passed boolean := true;
begin
    for n, status, substatus, lsn, ts, rid, etag, epoch, vector in
        select * from orrery.write_0(0, p_epoch, p_writer, p_sequence, p_now, p_txn, p_kind, p_pk, p_id, p_etag,
                                     p_if_match, p_flags, p_ttl, p_rid, p_body, p_doc, '{}', '{}', '{}', null)
    loop
        passed := passed and status < 300;
        return next;
    end loop;
    if passed then
        perform orrery.container_default_ttl(p_number, p_default_ttl);
    end if;
end
$$;

-- Delete a database, container, user, ... (pk, id) with everything below it, in one transaction: one row, as if
-- write_0 had deleted the item alone. Ranges of containers below become 'dropped', under their locks, so no write
-- can follow; container_reap removes their tables later. Everything below is found by number: numbers are unique in
-- the account and part of the children's pk.
create function orrery.resource_drop(
    p_epoch bigint, p_writer bigint, p_sequence bigint, p_now bigint, p_pk bytea, p_id text, p_if_match uuid)
returns table (n integer, status smallint, substatus integer, lsn bigint, ts bigint, rid bigint, etag uuid,
               epoch bigint, vector bigint[])
language plpgsql as $$
#variable_conflict use_column
declare
    pks     bytea[];
    ids     text[];
    numbers bigint[];
    ops     integer;
begin
    perform orrery.range_lock(0);
    with recursive tree(number, pk, id, depth) as (
        select i.rid, p_pk, p_id collate "C", 0
        from (select) one
        left join orrery.items_0 i on i.range_id = 0 and i.pk = p_pk and i.id = p_id and not i.deleted
        union all
        select i.rid, i.pk, i.id, t.depth + 1
        from tree t
        cross join unnest(array['colls', 'ranges', 'users', 'clientencryptionkeys', 'permissions', 'grants', 'sprocs', 'triggers',
                                'udfs', 'offers']) k(kind)
        join orrery.items_0 i on i.range_id = 0 and i.pk = convert_to(k.kind || '/' || t.number, 'UTF8') and not i.deleted
    )
    select array_agg(t.pk order by t.depth, t.pk, t.id), array_agg(t.id order by t.depth, t.pk, t.id),
           array_agg(t.number) filter (where t.pk >= 'colls/' and t.pk < 'colls0')
    from tree t into pks, ids, numbers;
    ops := cardinality(pks);
    return query
    select * from orrery.write_0(0, p_epoch, p_writer, p_sequence, p_now, array_fill(1, array[ops]),
        array_fill(3::smallint, array[ops]), pks, ids, array_fill(null::uuid, array[ops]), array[p_if_match],
        array_fill(0::smallint, array[ops]), array_fill(null::integer, array[ops]), array_fill(null::bigint, array[ops]),
        array_fill(null::text, array[ops]), array_fill(null::text, array[ops]), '{}', '{}', '{}', null) w
    where w.n = 1;
    if exists (select from orrery.items_0 i
               where i.range_id = 0 and i.pk = p_pk and i.id = p_id and i.deleted) and numbers is not null then
        perform orrery.container_lock(variadic numbers);
        update orrery.ranges g set state = 'dropped' where g.container = any (numbers);
    end if;
end
$$;

-- Take a range's lock by itself.
create function orrery.range_lock(p_range bigint) returns void language plpgsql as $$
begin
    update orrery.ranges g set seq = g.seq where g.range_id = p_range;
end
$$;

-- Remove what dropped containers left: tables, functions, ranges, batches, claims. The number of containers removed.
-- An index that is being built holds its table, for as long as that takes: the build is cancelled, the container waits
-- for the next call.
create function orrery.container_reap(p_limit integer default 1) returns integer language plpgsql as $$
declare
    gone bigint;
    reaped integer := 0;
begin
    if not pg_try_advisory_xact_lock(hashtext('orrery.container_reap'), 0) then
        return 0;  -- another gateway is at it
    end if;
    for gone in
        select g.container from orrery.ranges g group by g.container having bool_and(g.state = 'dropped') limit p_limit
    loop
        continue when orrery.index_cancel(gone);
        execute format('drop table if exists orrery.%I, orrery.%I', 'items_' || gone, 'log_' || gone);
        execute format('drop function if exists orrery.%I, orrery.%I, orrery.%I, orrery.%I',
                       'write_' || gone, 'clash_' || gone, 'apply_' || gone, 'fetch_' || gone);
        delete from orrery.unique_claims c where c.range_id between gone << 12 and gone << 12 | 4095;
        delete from orrery.unique_clashes c where c.range_id between gone << 12 and gone << 12 | 4095;
        delete from orrery.conflicts x where x.range_id between gone << 12 and gone << 12 | 4095;
        delete from orrery.batches w where w.range_id between gone << 12 and gone << 12 | 4095;
        delete from orrery.range_epochs e where e.range_id between gone << 12 and gone << 12 | 4095;
        delete from orrery.query_indexes q where q.container = gone;
        delete from orrery.container_indexing c where c.container = gone;
        delete from orrery.ranges g where g.container = gone;
        reaped := reaped + 1;
    end loop;
    return reaped;
end
$$;

-- Writers come and go; a batch older than this is not sent again by anybody.
create function orrery.batches_purge(p_before bigint) returns bigint language sql as $$
    with gone as (delete from orrery.batches where at < p_before returning 1) select count(*) from gone
$$;
