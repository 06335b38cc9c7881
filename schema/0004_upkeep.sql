-- Expiry, purge and mass deletion: writes that choose their items themselves. Each call is one transaction of one
-- range with one LSN, under the range's lock.

-- Turn live (or, with op 4, expired) items into tombstones; the caller holds the range's lock and chose the items. p_told: what their
-- entries say, for op 6. How many, and the LSN and vector after.
create function orrery.items_bury(p_range bigint, p_now bigint, p_op smallint, p_pk bytea[], p_id text[], p_told text[] default null,
                                  out count integer, out lsn bigint, out vector bigint[])
language plpgsql as $$
#variable_conflict use_column
declare
    items text := format('items_%s', p_range >> 12);
    log   text := format('log_%s', p_range >> 12);
    r     record;
    seqs  bigint;
    context bigint[];
begin
    select * from orrery.ranges g where g.range_id = p_range into r;
    count := coalesce(cardinality(p_pk), 0);
    vector := r.vector;
    lsn := vector[r.origin];
    if count = 0 then
        return;
    end if;
    context := orrery.vector_context(vector, r.origin);
    lsn := lsn + 1;
    vector[r.origin] := lsn;
    seqs := r.seq + count;
    -- the log first: it needs what the items still say
    execute format($sql$
        insert into orrery.%I (range_id, seq, lsn, epoch, rid, ts, prev_lsn, prev_seq, index, origin, op, pk, id, context, body)
        select g.range_id, g.seq + x.n, $2, g.epoch, i.rid, greatest($3, i.ts), i.lsn, i.seq, x.n - 1, g.origin, $4,
               i.pk, i.id, $7, x.told
        from orrery.ranges g
        cross join unnest($5, $6, $8) with ordinality x(pk, id, told, n)
        cross join lateral (select * from orrery.%I i where i.range_id = $1 and i.pk = x.pk and i.id = x.id limit 1) i
        where g.range_id = $1$sql$, log, items)
    using p_range, lsn, p_now, p_op, p_pk, p_id, context, p_told;
    execute format($sql$
        insert into orrery.%I as i (range_id, rid, lsn, seq, ts, origin, deleted, pk, id, context)
        select l.range_id, l.rid, l.lsn, l.seq, l.ts, l.origin, true, l.pk, l.id, l.context
        from orrery.%I l where l.range_id = $1 and l.seq > $2 and l.seq <= $3
        on conflict (range_id, pk, id) do update set
            lsn = excluded.lsn, seq = excluded.seq, ts = excluded.ts, etag = null, ttl = null, origin = excluded.origin,
            deleted = true, context = excluded.context, heads = null, body = null, doc = null$sql$, items, log)
    using p_range, r.seq, seqs;
    if r.has_unique_keys then
        perform orrery.claims_write(p_range, array_fill(lsn, array[count]), array_fill(3::smallint, array[count]),
                                    p_pk, p_id, '{}', '{}', '{}');
    end if;
    update orrery.ranges g set seq = seqs, vector = items_bury.vector where g.range_id = p_range;
end
$$;

-- Bury up to p_limit expired items of a range; how many. Call again while it answers p_limit.
create function orrery.range_expire(p_range bigint, p_epoch bigint, p_now bigint, p_limit integer)
returns integer language plpgsql as $$
declare
    items text := format('items_%s', p_range >> 12);
    r     record;
    pks   bytea[];
    ids   text[];
begin
    perform orrery.range_lock(p_range);
    select * from orrery.ranges g where g.range_id = p_range into r;
    if r.state is distinct from 'online' or r.epoch <> p_epoch or r.default_ttl is null then
        return 0;
    end if;
    -- two small ordered scans, one per index
    execute format($sql$
        select array_agg(x.pk), array_agg(x.id) from (
            (select i.pk, i.id from orrery.%1$I i
             where i.range_id = $1 and i.ttl > 0 and not i.deleted and i.ts + i.ttl <= $2
             order by i.ts + i.ttl limit $4)
            union all
            (select i.pk, i.id from orrery.%1$I i
             where $3 > 0 and i.range_id = $1 and i.ttl is null and not i.deleted and i.ts <= $2 - $3
             order by i.ts limit $4)
            limit $4) x$sql$, items)
    using p_range, p_now, r.default_ttl, p_limit into pks, ids;
    return (orrery.items_bury(p_range, p_now, 4::smallint, pks, ids)).count;
end
$$;

-- Delete up to p_limit items of one logical partition. status 200, or 410 or 403 with a substatus as write_<n> does.
-- Call again while count = p_limit. Repeating a call does no harm.
create function orrery.partition_delete(p_range bigint, p_epoch bigint, p_now bigint, p_pk bytea, p_limit integer,
    out status smallint, out substatus integer, out count integer, out lsn bigint, out epoch bigint, out vector bigint[])
language plpgsql as $$
#variable_conflict use_column
declare
    items text := format('items_%s', p_range >> 12);
    r     record;
    pks   bytea[];
    ids   text[];
    done  record;
begin
    perform orrery.range_lock(p_range);
    select * from orrery.ranges g where g.range_id = p_range into r;
    epoch := r.epoch;
    vector := r.vector;
    if r.state is distinct from 'online' or r.epoch <> p_epoch then
        status := case when r.state = 'read-only' then 403 else 410 end;
        substatus := case when r.state = 'read-only' then 3 else 1002 end;
        count := 0;
        return;
    end if;
    execute format($sql$
        select array_agg(x.pk), array_agg(x.id) from (
            select i.pk, i.id from orrery.%I i
            where i.range_id = $1 and i.pk = $2 and orrery.is_live(i.deleted, i.ts, i.ttl, $3, $4)
            order by i.id limit $5) x$sql$, items)
    using p_range, p_pk, r.default_ttl, p_now, p_limit into pks, ids;
    select * from orrery.items_bury(p_range, p_now, 3::smallint, pks, ids) into done;
    status := 200; substatus := 0; count := done.count; lsn := done.lsn; vector := done.vector;
end
$$;
