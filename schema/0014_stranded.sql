-- Stranded entries: what a region that was given up had written beyond its cut (rule 5.6). They come to the log alone, wherever they
-- come from; the hub decides what becomes of each transaction, in an entry of its own that travels as all entries do.

-- A document from a body alone. Gateways compute documents; here only numbers that jsonb keeps otherwise could differ.
create function orrery.body_doc(p_body text) returns jsonb language plpgsql immutable as $$
begin
    return p_body::jsonb;
exception when others then
    return '{}';
end
$$;

-- The range has entries of a region beyond its cut that it applied before it knew of the cut: a reader that was ahead. Its items
-- show them until the hub's decision comes, which follows them in every region.
create function orrery.stranded_note(p_range bigint, p_origin smallint, p_cut bigint) returns void language plpgsql as $$
begin
    execute format($sql$
        insert into orrery.stranded (range_id, origin, lsn, index, log_seq, doc, claim_key, claim_value, outcome)
        select l.range_id, l.origin, l.lsn, l.index, l.seq, coalesce(i.doc, c.doc),
               coalesce(c.claim_key, u.keys, '{}'), coalesce(c.claim_value, u.values, '{}'),
               case when l.range_id = 0 then 'recorded' end
        from orrery.%1$I l
        left join orrery.%2$I i on i.range_id = l.range_id and i.pk = l.pk and i.id = l.id and i.origin = l.origin and i.lsn = l.lsn
        left join orrery.conflicts c on c.range_id = l.range_id and c.pk = l.pk and c.id = l.id and c.origin = l.origin and c.lsn = l.lsn
        left join lateral (
            select array_agg(u.key_number order by u.key_number) as keys, array_agg(u.value order by u.key_number) as values
            from orrery.unique_claims u where u.range_id = i.range_id and u.pk = i.pk and u.id = i.id) u on true
        where l.range_id = $1 and l.origin = $2 and l.lsn > $3 and l.op <> 5
        on conflict do nothing$sql$, format('log_%s', p_range >> 12), format('items_%s', p_range >> 12))
    using p_range, p_origin, p_cut;
end
$$;

-- What the hub has decided of a transaction, in every region, after its entries are applied. "as" is the hub's transaction.
create function orrery.stranded_take(p_range bigint, p_told json) returns void language plpgsql as $$
declare
    by_origin constant smallint := (p_told ->> 'origin')::smallint;
    by_lsn    constant bigint := (p_told ->> 'lsn')::bigint;
    is_merged constant boolean := p_told ->> 'outcome' = 'merged';
    s record;
begin
    update orrery.stranded x set
        outcome = p_told ->> 'outcome', as_origin = (p_told -> 'as' ->> 0)::smallint, as_lsn = (p_told -> 'as' ->> 1)::bigint,
        doc = null, claim_key = '{}', claim_value = '{}'
    where x.range_id = p_range and x.origin = by_origin and x.lsn = by_lsn;
    for s in execute format($sql$
        select l.pk, l.id, l.rid, l.ts, l.op, l.seq, i.etag as etag_shown
        from orrery.stranded x
        join orrery.%1$I l on l.range_id = x.range_id and l.seq = x.log_seq
        left join orrery.%2$I i on i.range_id = l.range_id and i.pk = l.pk and i.id = l.id
        where x.range_id = $1 and x.origin = $2 and x.lsn = $3 and l.op not in (4, 6)$sql$,
        format('log_%s', p_range >> 12), format('items_%s', p_range >> 12))
        using p_range, by_origin, by_lsn
    loop
        -- what a region that was ahead took for the loser is shown now
        execute format($sql$
            delete from orrery.conflicts c using orrery.%I l
            where c.range_id = $1 and c.pk = $2 and c.id = $3 and l.range_id = c.range_id and l.seq = c.log_seq and l.etag = $4$sql$,
            format('log_%s', p_range >> 12))
        using p_range, s.pk, s.id, s.etag_shown;
        if not is_merged then
            insert into orrery.conflicts (range_id, pk, id, origin, lsn, log_seq, rid, ts)
            values (p_range, s.pk, s.id, by_origin, by_lsn, s.seq, s.rid, s.ts)
            on conflict do nothing;
        end if;
    end loop;
end
$$;

-- Has the item a version that the entry (of a stranded transaction) has not seen? 'newer'; 'seen': every version that is there was
-- written by who had seen the entry, before its region was given up; null: the entry goes on from what is there.
--
-- A version that is the merged form of an earlier stranded one is seen by its successors. What a context covers tells nothing
-- of entries after the cut: by then they were in logs alone. An expiry is no version that anybody would miss.
create function orrery.stranded_stands(p_range bigint, p_retired bigint, p_heads bigint[], p_origin smallint, p_lsn bigint,
                                       p_context bigint[])
returns text language plpgsql stable as $$
declare
    answer text;
begin
    execute format($sql$
        select case when bool_and(h.is_seen) then 'seen' when bool_or(not h.is_seen and not h.is_known) then 'newer' end
        from (select h.epoch < $2 and h.origin <> $4 and orrery.knows(h.context, h.origin, h.lsn, $4, $5) as is_seen,
                     h.op = 4 or h.origin = $4 and h.lsn = $5 or orrery.knows($6, $4, $5, h.origin, h.lsn)
                     or exists (select from orrery.stranded s
                                where s.range_id = $1 and s.origin = $4 and s.lsn < $5 and s.outcome = 'merged'
                                  and s.as_origin = h.origin and s.as_lsn = h.lsn) as is_known
              from orrery.%1$I h where h.range_id = $1 and h.seq = any ($3)) h$sql$, format('log_%s', p_range >> 12))
    using p_range, p_retired, p_heads, p_origin, p_lsn, p_context into answer;
    return answer;
end
$$;

-- Would the entry's claims on unique keys clash with those of another item?
create function orrery.stranded_clashes(p_range bigint, p_pk bytea, p_id text, p_key smallint[], p_value bytea[])
returns boolean language sql stable as $$
    select exists (
        select from unnest(p_key, p_value) c(key, value)
        join orrery.unique_claims u on u.range_id = p_range and u.pk = p_pk and u.key_number = c.key
                                   and u.value = orrery.claim_value(c.value) and u.id <> p_id)
$$;

-- The version that the hub holds to where it does not take the stranded one: of the maximal versions that are not stranded the one
-- of the greatest rank; where all are (this region was ahead), the one that they replaced. Null: there is none.
create function orrery.stranded_current(p_range bigint, p_seq bigint, p_heads bigint[]) returns bigint language plpgsql stable as $$
declare
    at   bigint;
    cuts constant bigint[] := orrery.range_cuts(p_range);
    log  constant text := format('log_%s', p_range >> 12);
begin
    execute format($sql$
        select h.seq from orrery.%I h where h.range_id = $1 and h.seq = any ($2) and coalesce(h.lsn <= $3[h.origin], true)
        order by orrery.rank_class(h.op) desc, h.rank desc nulls last, h.ts desc, h.origin desc, h.lsn desc limit 1$sql$, log)
    using p_range, p_heads, cuts into at;
    if at is not null then
        return at;
    end if;
    execute format($sql$
        with recursive back as (
            select h.seq, h.prev_seq, h.origin, h.lsn from orrery.%1$I h where h.range_id = $1 and h.seq = $2
            union all
            select h.seq, h.prev_seq, h.origin, h.lsn from back b join orrery.%1$I h on h.range_id = $1 and h.seq = b.prev_seq
            where b.lsn > $3[b.origin])
        select b.seq from back b where coalesce(b.lsn <= $3[b.origin], true) limit 1$sql$, log)
    using p_range, p_seq, cuts into at;
    return at;
end
$$;

-- Decide one transaction and write what follows, as the next transaction of this region, under the lock of the range. Its first
-- entry is a marker that tells the decision; all regions take it from there.
create function orrery.stranded_decide(p_range bigint, p_origin smallint, p_lsn bigint, p_now bigint, out outcome text, out entries integer)
language plpgsql as $$
#variable_conflict use_column
declare
    items   constant text := format('items_%s', p_range >> 12);
    log     constant text := format('log_%s', p_range >> 12);
    cuts    constant bigint[] := orrery.range_cuts(p_range);
    retired constant bigint := (select min(x.epoch) from orrery.range_epochs x where x.range_id = p_range and x.cut[p_origin] is not null);
    r       record;
    e       record;
    told    json;
    lsn_now bigint;
    seq_now bigint;
    index_now integer := 0;
    shown   bigint;
    before  bigint[];
    stands  text;
    todo    jsonb := '{}';  -- by index: how the item stands
begin
    select * from orrery.ranges g where g.range_id = p_range into r;
    lsn_now := coalesce(r.vector[r.origin], 0) + 1;
    seq_now := r.seq + 1;
    before := orrery.vector_context(r.vector, r.origin);
    outcome := 'merged';
    entries := 0;
    for e in execute format($sql$
        select l.*, s.claim_key, s.claim_value, coalesce(i.heads, array[i.seq]) as heads
        from orrery.stranded s
        join orrery.%1$I l on l.range_id = s.range_id and l.seq = s.log_seq
        left join orrery.%2$I i on i.range_id = l.range_id and i.pk = l.pk and i.id = l.id
        where s.range_id = $1 and s.origin = $2 and s.lsn = $3 order by l.index$sql$, log, items)
        using p_range, p_origin, p_lsn
    loop
        entries := entries + 1;
        stands := case when e.op = 4 then 'seen'
                       else orrery.stranded_stands(p_range, retired, e.heads, e.origin, e.lsn, e.context) end;
        todo := todo || jsonb_build_object(e.index::text, coalesce(stands, 'next'));
        -- A removal (op 6) is not merged: a clash that is still there is decided anew.
        if e.op = 6 or stands = 'newer' or stands is null and e.op < 3
           and orrery.stranded_clashes(p_range, e.pk, e.id, e.claim_key, e.claim_value) then
            outcome := 'conflict';
        end if;
    end loop;

    told := json_build_object('stranded', json_build_object('origin', p_origin, 'lsn', p_lsn, 'outcome', outcome,
                                                            'as', json_build_array(r.origin, lsn_now)));
    execute format($sql$
        insert into orrery.%I (range_id, seq, lsn, epoch, rid, ts, index, origin, op, pk, id, context, body)
        select g.range_id, $2, $3, g.epoch, 0, $4, 0, g.origin, 5, '', '', $5, $6
        from orrery.ranges g where g.range_id = $1$sql$, log)
    using p_range, seq_now, lsn_now, p_now, before, told::text;

    for e in execute format($sql$
        select l.*, s.doc, s.claim_key, s.claim_value, i.rid as rid_there, i.lsn as lsn_there, i.seq as seq_there, i.doc as doc_there,
               case when i.lsn > $4[i.origin] then 0 else i.ts end as ts_there,
               orrery.is_live(i.deleted, i.ts, i.ttl, $5, $6) as is_live, coalesce(i.heads, array[i.seq]) as heads
        from orrery.stranded s
        join orrery.%1$I l on l.range_id = s.range_id and l.seq = s.log_seq
        left join orrery.%2$I i on i.range_id = l.range_id and i.pk = l.pk and i.id = l.id
        where s.range_id = $1 and s.origin = $2 and s.lsn = $3 order by l.index$sql$, log, items)
        using p_range, p_origin, p_lsn, cuts, r.default_ttl, p_now
    loop
        continue when e.op = 4 or outcome = 'merged' and todo ->> e.index::text = 'seen';
        seq_now := seq_now + 1;
        index_now := index_now + 1;
        shown := case when outcome = 'merged' then e.seq else orrery.stranded_current(p_range, e.seq_there, e.heads) end;
        -- The version, as it was; where there is none to hold to, what is nothing anyway. A clock that was ahead does not count.
        execute format($sql$
            insert into orrery.%1$I
                (range_id, seq, lsn, epoch, rid, ts, prev_lsn, prev_seq, etag, ttl, index, origin, op, pk, id, context, rank, body)
            select g.range_id, $2, $3, g.epoch, coalesce(v.rid, $4), greatest(least(v.ts, $5), $6),
                   case when $7 then $8 end, case when $7 then $9 end, v.etag, v.ttl, $10, g.origin,
                   case when v.op is null then 4 when v.op >= 3 then v.op when $7 then 2 else 1 end,
                   $11, $12, $13, v.rank, v.body
            from orrery.ranges g left join orrery.%1$I v on v.range_id = g.range_id and v.seq = $14
            where g.range_id = $1$sql$, log)
        using p_range, seq_now, lsn_now, e.rid, p_now, coalesce(e.ts_there, 0), coalesce(e.is_live, false), e.lsn_there, e.seq_there,
              index_now, e.pk, e.id, before, shown;
        if outcome = 'merged' then
            perform orrery.item_show(p_range, seq_now, null, seq_now, case when e.op < 3 then coalesce(e.doc, orrery.body_doc(e.body)) end);
            perform orrery.claims_show(p_range, e.pk, e.id, case when e.op < 3 then e.claim_key else '{}' end,
                                       case when e.op < 3 then e.claim_value else '{}' end);
        else
            perform orrery.stranded_keep(p_range, seq_now, shown, e.seq_there, e.doc_there, e.pk, e.id);
        end if;
    end loop;
    update orrery.ranges g set seq = seq_now, vector = orrery.vector_with(g.vector, g.origin, lsn_now) where g.range_id = p_range;
    perform orrery.stranded_take(p_range, told -> 'stranded');
end
$$;

-- Show the entry p_seq, which repeats the version p_of. What the item has beside its body is there when the item shows that
-- version; when it was among the losers, they have it.
create function orrery.stranded_keep(p_range bigint, p_seq bigint, p_of bigint, p_there bigint, p_doc jsonb, p_pk bytea, p_id text)
returns void language plpgsql as $$
declare
    v record;
    i record;
    c record;
begin
    execute format('select l.body, l.op, l.origin, l.lsn from orrery.%I l where l.range_id = $1 and l.seq = $2', format('log_%s', p_range >> 12))
    using p_range, p_of into v;
    execute format('select i.origin, i.lsn from orrery.%I i where i.range_id = $1 and i.pk = $2 and i.id = $3', format('items_%s', p_range >> 12))
    using p_range, p_pk, p_id into i;
    if i.origin = v.origin and i.lsn = v.lsn then
        perform orrery.item_show(p_range, p_seq, null, p_seq, p_doc);
        return;
    end if;
    select * from orrery.conflicts x where x.range_id = p_range and x.pk = p_pk and x.id = p_id and x.log_seq = p_of into c;
    perform orrery.item_show(p_range, p_seq, null, p_seq,
                             case when v.op < 3 then coalesce(c.doc, orrery.body_doc(v.body)) end);
    perform orrery.claims_show(p_range, p_pk, p_id, coalesce(c.claim_key, '{}'), coalesce(c.claim_value, '{}'));
end
$$;

-- At the hub: decide some transactions of one range. One gateway does it at a time; what is decided is in the same transaction as
-- what follows, so nothing is done twice. Rows: how many of each origin and outcome; none: nothing is left that could be decided.
create function orrery.stranded_resolve(p_now bigint, p_limit integer)
returns table (range_id bigint, origin smallint, outcome text, transactions bigint, entries bigint) language plpgsql as $$
#variable_conflict use_column
declare
    at   bigint;
    t    record;
    done record;
    told jsonb := '[]';
begin
    if not pg_try_advisory_xact_lock(hashtextextended('orrery.stranded', 0)) then
        return;
    end if;
    update orrery.stranded s set outcome = 'dropped' from orrery.ranges g
    where s.outcome is null and g.range_id = s.range_id and g.state = 'dropped';
    select s.range_id from orrery.stranded s where s.outcome is null and orrery.stranded_may_decide(s.range_id)
    order by s.range_id limit 1 into at;
    if at is null then
        return;
    end if;
    perform orrery.range_lock(at);
    if not orrery.stranded_may_decide(at) then
        return;
    end if;
    for t in select distinct s.origin, s.lsn from orrery.stranded s where s.range_id = at and s.outcome is null
             order by s.origin, s.lsn limit p_limit
    loop
        select * from orrery.stranded_decide(at, t.origin, t.lsn, p_now) into done;
        told := told || jsonb_build_array(jsonb_build_object('origin', t.origin, 'outcome', done.outcome, 'entries', done.entries));
    end loop;
    return query
    select at, (x ->> 'origin')::smallint, x ->> 'outcome', count(*), sum((x ->> 'entries')::bigint)::bigint
    from jsonb_array_elements(told) x group by 2, 3;
end
$$;

-- Is this region the hub of the range's epoch, open here and not about to end?
create function orrery.stranded_may_decide(p_range bigint) returns boolean language sql stable as $$
    select exists (
        select from orrery.ranges g
        join orrery.range_epochs e on e.range_id = g.range_id and e.epoch = g.epoch and e.hub = g.origin
        join orrery.region_self s on s.accepted_epoch = g.epoch and s.closed_for is null
        where g.range_id = p_range and g.state = 'online')
$$;

-- What a region that was given up still has to ship to the hub: entries of its own.
create function orrery.stranded_left(p_hub smallint) returns bigint language plpgsql stable as $$
declare
    x     record;
    n     bigint;
    total bigint := 0;
begin
    for x in
        select g.range_id, g.origin, coalesce(p.seq, 0) as seq, coalesce(p.acked[g.origin], 0) as acked
        from orrery.ranges g left join orrery.peers p on p.region = p_hub and p.range_id = g.range_id
        where g.state in ('online', 'read-only') and g.seq > coalesce(p.seq, 0) and g.vector[g.origin] > coalesce(p.acked[g.origin], 0)
    loop
        execute format('select count(*) from orrery.%I l where l.range_id = $1 and l.seq > $2 and l.origin = $3 and l.lsn > $4 and l.op <> 5',
                       format('log_%s', x.range_id >> 12))
        using x.range_id, x.seq, x.origin, x.acked into n;
        total := total + n;
    end loop;
    return total;
end
$$;

-- What people ask for: per region that was given up, how many entries have come here and what became of them; and in such a region
-- itself, how many it has still to ship.
create function orrery.stranded_tell() returns json language sql stable as $$
    select coalesce(json_agg(json_build_object(
               'ordinal', x.ordinal, 'left', x.left, 'waiting', coalesce(s.waiting, 0), 'merged', coalesce(s.merged, 0),
               'conflicts', coalesce(s.conflicts, 0), 'recorded', coalesce(s.recorded, 0), 'dropped', coalesce(s.dropped, 0))
           order by x.ordinal), '[]')
    from (select (r ->> 'ordinal')::smallint as ordinal,
                 case when (r ->> 'ordinal')::smallint = m.ordinal then orrery.stranded_left((t.document ->> 'hub')::smallint) end as left
          from (select * from orrery.topology t where t.state = 'open' order by t.epoch desc limit 1) t
          cross join orrery.region_self m
          cross join lateral json_array_elements(coalesce(t.document -> 'retired', '[]')) r) x
    left join (select s.origin, count(*) filter (where s.outcome is null) as waiting, count(*) filter (where s.outcome = 'merged') as merged,
                      count(*) filter (where s.outcome = 'conflict') as conflicts, count(*) filter (where s.outcome = 'recorded') as recorded,
                      count(*) filter (where s.outcome = 'dropped') as dropped
               from orrery.stranded s group by s.origin) s on s.origin = x.ordinal
$$;
