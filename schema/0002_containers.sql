-- The two tables of a container and the functions that write them, from templates.

-- Source of write_<n>. {items}, {log}, {write} become the container's own names, so that every plan is cached and
-- names one pair of tables. Three things keep it fast:
-- * A lone operation has a path of single-row statements with as few plpgsql expressions as possible: each costs a
--   microsecond or two to set up again in every transaction, which was half of a lone write.
-- * Batches are decided in a loop (conditions, unique keys, transactions), then written by sets.
-- * Lookups by array go through "lateral ... limit 1", which leaves the planner one way: by the whole key. While a
--   table is young it takes one range for two rows, and would scan the range once per operation, for minutes.
create function orrery.write_source() returns text language sql immutable as $source$ select $template$
create function orrery.{write}(
    p_range bigint, p_epoch bigint, p_writer bigint, p_sequence bigint, p_now bigint,
    p_txn integer[], p_kind smallint[], p_pk bytea[], p_id text[], p_etag uuid[], p_if_match uuid[],
    p_flags smallint[], p_ttl integer[], p_rid bigint[], p_body text[], p_doc text[],
    p_claim_op integer[], p_claim_key smallint[], p_claim_value bytea[], p_rank float8[])
returns table (n integer, status smallint, substatus integer, lsn bigint, ts bigint, rid bigint, etag uuid,
               epoch bigint, vector bigint[])
language plpgsql rows 32 as $function$
#variable_conflict use_column
declare
    r         record;      -- the range
    o         record;      -- an operation and the item it meets
    last      bigint;      -- sequence of this writer's last batch
    code      smallint;
    lsn_now   bigint;
    before    bigint[];    -- context of the first entry; null while no other origin has ever written
    -- from here on, one element per operation
    ops       integer;
    statuses  smallint[];
    subs      integer[];   -- null while all are zero
    lsns      bigint[];
    tss       bigint[];    -- null: writes nothing
    rids      bigint[];
    seqs      bigint[];
    prevs     bigint[];    -- LSN of the version replaced
    prev_seqs bigint[];    -- and its sequence
    indexes   integer[];   -- in the transaction
    passed    boolean[];   -- only for unique keys
    failed    integer[];   -- transactions, not operations
    txn       integer;
    txn_last  integer;
    index_now integer;
    seq_now   bigint;
    counter   bigint;
begin
    -- 1. The range's lock, first and by UPDATE: later statements see what the holder before us committed.
    update orrery.ranges g set seq = g.seq where g.range_id = p_range returning g.* into r;

    -- 2. A batch is executed once. It answers the same again even when the epoch has moved since.
    select w.sequence from orrery.batches w where w.range_id = p_range and w.writer = p_writer into last;
    if last >= p_sequence then
        if last > p_sequence then  -- a late twin: nobody waits for its answer
            return query select x, 408::smallint, 0, null::bigint, null::bigint, null::bigint, null::uuid, r.epoch, r.vector
            from generate_series(1, cardinality(p_kind)) x;
            return;
        end if;
        return query
        select x.n::integer, x.status, coalesce(w.substatus[x.n], 0), x.lsn, x.ts, x.rid,
               case when x.rid is not null then p_etag[x.n] end, w.epoch, orrery.vector_with(w.vector, w.origin, x.lsn)
        from orrery.batches w
        cross join unnest(w.status, w.lsn, w.ts, w.rid) with ordinality as x(status, lsn, ts, rid, n)
        where w.range_id = p_range and w.writer = p_writer;
        return;
    elsif r.state is distinct from 'online' or r.epoch <> p_epoch
          or r.lsn_max <= r.vector[r.origin] + p_txn[cardinality(p_txn)] - p_txn[1] + 1 then
        code := case when r.state = 'read-only' then 403 when r.state = 'online' and (r.epoch = p_epoch) is not false then 429 else 410 end;
        return query select x, code, case code when 403 then 3 when 429 then 3200 else 1002 end, null::bigint, null::bigint, null::bigint, null::uuid, r.epoch, r.vector
        from generate_series(1, cardinality(p_kind)) x;
        return;
    end if;
    if cardinality(r.vector) > 1 then
        before := orrery.vector_context(r.vector, r.origin);
    end if;

    if cardinality(p_kind) = 1 and not r.has_unique_keys then
        -- 3a. One operation.
        select i.rid, i.etag, i.ts, i.lsn, i.seq, orrery.is_live(i.deleted, i.ts, i.ttl, r.default_ttl, p_now) as live
        from orrery.{items} i where i.range_id = p_range and i.pk = p_pk[1] and i.id = p_id[1] into o;
        code := case when octet_length(p_pk[1]) + octet_length(p_id[1]) > 2600 then 400
                     else orrery.write_status(p_kind[1], o.live is true, o.etag, p_if_match[1], p_flags[1], o.rid, p_rid[1]) end;
        lsn_now := r.vector[r.origin];
        if code < 300 and p_kind[1] < 4 then
            lsn_now := lsn_now + 1;
            insert into orrery.{items} as i
                (range_id, rid, lsn, seq, ts, etag, ttl, origin, deleted, pk, id, context, body, doc)
            values (p_range,
                    case when o.live then o.rid
                         else coalesce(p_rid[1], ((r.rid_counter + 1) << 20) | ((p_range & 4095) << 8) | r.origin) end,
                    lsn_now, r.seq + 1, greatest(p_now, o.ts), p_etag[1], case when p_kind[1] <> 3 then p_ttl[1] end,
                    r.origin, p_kind[1] = 3, p_pk[1], p_id[1], before,
                    case when p_kind[1] <> 3 then p_body[1] end,
                    case when p_kind[1] <> 3 then coalesce(p_doc[1], p_body[1])::jsonb end)
            on conflict (range_id, pk, id) do update set
                rid = excluded.rid, lsn = excluded.lsn, seq = excluded.seq, ts = excluded.ts, etag = excluded.etag,
                ttl = excluded.ttl, origin = excluded.origin, deleted = excluded.deleted, context = excluded.context,
                heads = null, body = excluded.body, doc = excluded.doc
            returning i.ts, i.rid into ts, rid;
            insert into orrery.{log}
                (range_id, seq, lsn, epoch, rid, ts, prev_lsn, prev_seq, etag, ttl, index, origin, op, pk, id, context, rank, body)
            values (p_range, r.seq + 1, lsn_now, r.epoch, rid, ts, case when o.live then o.lsn end,
                    case when o.live then o.seq end, p_etag[1],
                    case when p_kind[1] <> 3 then p_ttl[1] end, 0, r.origin,
                    case when p_kind[1] = 3 then 3 when o.live then 2 else 1 end,
                    p_pk[1], p_id[1], before, case when p_kind[1] <> 3 then p_rank[1] end,
                    case when p_kind[1] <> 3 then p_body[1] end);
            update orrery.ranges g set
                seq = g.seq + 1, vector = orrery.vector_with(g.vector, g.origin, lsn_now),
                rid_counter = g.rid_counter + case when o.live or p_rid[1] is not null then 0 else 1 end
            where g.range_id = p_range;
        end if;
        if p_writer is null then
            n := 1; status := code; substatus := 0; lsn := lsn_now; epoch := r.epoch;
            etag := case when rid is not null then p_etag[1] end;
            vector := orrery.vector_with(r.vector, r.origin, lsn_now);
            return next;
            return;
        end if;
        return query
        insert into orrery.batches as w
            (range_id, writer, sequence, at, epoch, origin, vector, status, substatus, lsn, ts, rid)
        values (p_range, p_writer, p_sequence, p_now, r.epoch, r.origin, r.vector, array[code], null, array[lsn_now],
                array[ts], array[rid])
        on conflict (range_id, writer) do update set
            sequence = excluded.sequence, at = excluded.at, epoch = excluded.epoch, origin = excluded.origin,
            vector = excluded.vector, status = excluded.status, substatus = excluded.substatus, lsn = excluded.lsn,
            ts = excluded.ts, rid = excluded.rid
        returning 1, w.status[1], 0, w.lsn[1], w.ts[1], w.rid[1], case when w.rid[1] is not null then p_etag[1] end,
                  w.epoch, orrery.vector_with(w.vector, w.origin, w.lsn[1]);
        return;
    end if;

    -- 3b. Decide every operation.
    ops := cardinality(p_kind);
    if (select count(*) from (select distinct d.pk, d.id from unnest(p_pk, p_id) d(pk, id)) u) <> ops then
        raise exception 'two operations on one item in a batch of range %', p_range;
    end if;
    statuses := array_fill(null::smallint, array[ops]);
    lsns := array_fill(null::bigint, array[ops]);
    tss := lsns;
    rids := lsns;
    seqs := lsns;
    prevs := lsns;
    prev_seqs := lsns;
    indexes := array_fill(null::integer, array[ops]);
    failed := '{}';
    if r.has_unique_keys then
        passed := array_fill(false, array[ops]);
    end if;
    for o in
        select x.n::integer as n, x.txn, x.kind, i.ts, i.lsn, i.seq, i.rid, i.live,
               case when octet_length(x.pk) + octet_length(x.id) > 2600 then 400::smallint
                    else orrery.write_status(x.kind, i.live is true, i.etag, x.if_match, x.flags, i.rid, x.rid)
               end as status
        from unnest(p_txn, p_kind, p_flags, p_if_match, p_rid, p_pk, p_id)
                 with ordinality x(txn, kind, flags, if_match, rid, pk, id, n)
        left join lateral (
            select i.ts, i.lsn, i.seq, i.rid, i.etag, orrery.is_live(i.deleted, i.ts, i.ttl, r.default_ttl, p_now) as live
            from orrery.{items} i where i.range_id = p_range and i.pk = x.pk and i.id = x.id limit 1) i on true
        order by x.n
    loop
        if o.txn < txn_last then
            raise exception 'transactions of a batch of range % are not in order', p_range;
        end if;
        txn_last := o.txn;
        code := o.status;
        if r.has_unique_keys and code < 300 and o.kind < 3 and orrery.{clash}(p_range, p_now, r.default_ttl,
                o.n, p_txn, p_pk, p_id, p_claim_op, p_claim_key, p_claim_value, passed, failed) then
            code := 409;
            subs := coalesce(subs, array_fill(0, array[ops]));
            subs[o.n] := 3301;
        end if;
        statuses[o.n] := code;
        if code >= 300 then
            failed := failed || o.txn;
        elsif o.kind < 4 then
            if r.has_unique_keys then
                passed[o.n] := true;
            end if;
            tss[o.n] := greatest(p_now, o.ts);
            if o.live then
                rids[o.n] := o.rid;
                prevs[o.n] := o.lsn;
                prev_seqs[o.n] := o.seq;
            end if;
        end if;
    end loop;

    -- 4. Numbers for the transactions that pass; 424 for the rest of those that do not.
    lsn_now := r.vector[r.origin];
    seq_now := r.seq;
    counter := r.rid_counter;
    txn_last := null;
    for j in 1 .. ops loop
        if tss[j] is not null then
            txn := p_txn[j];
            if txn = any (failed) then
                statuses[j] := 424;
                tss[j] := null;
                rids[j] := null;
            else
                if txn is distinct from txn_last then
                    txn_last := txn;
                    lsn_now := lsn_now + 1;
                    index_now := 0;
                else
                    index_now := index_now + 1;
                end if;
                indexes[j] := index_now;
                seq_now := seq_now + 1;
                seqs[j] := seq_now;
                if rids[j] is null then
                    rids[j] := p_rid[j];
                    if rids[j] is null then
                        counter := counter + 1;
                        rids[j] := (counter << 20) | ((p_range & 4095) << 8) | r.origin;
                    end if;
                end if;
            end if;
        elsif statuses[j] < 300 and p_txn[j] = any (failed) then  -- a check
            statuses[j] := 424;
        end if;
        lsns[j] := lsn_now;
    end loop;

    -- 5. Write them, and move the range.
    if seq_now > r.seq then
        insert into orrery.{items} as i
            (range_id, rid, lsn, seq, ts, etag, ttl, origin, deleted, pk, id, context, body, doc)
        select g.range_id, x.rid, x.lsn, x.seq, x.ts, x.etag, case when x.kind <> 3 then x.ttl end, r.origin,
               x.kind = 3, x.pk, x.id,
               case when before is not null then orrery.vector_with(before, r.origin, x.lsn - 1) end,
               case when x.kind <> 3 then x.body end, case when x.kind <> 3 then coalesce(x.doc, x.body)::jsonb end
        from orrery.ranges g
        cross join unnest(seqs, lsns, rids, tss, p_kind, p_pk, p_id, p_etag, p_ttl, p_body, p_doc)
                       x(seq, lsn, rid, ts, kind, pk, id, etag, ttl, body, doc)
        where g.range_id = p_range and x.seq is not null
        on conflict (range_id, pk, id) do update set
            rid = excluded.rid, lsn = excluded.lsn, seq = excluded.seq, ts = excluded.ts, etag = excluded.etag,
            ttl = excluded.ttl, origin = excluded.origin, deleted = excluded.deleted, context = excluded.context,
            heads = null, body = excluded.body, doc = excluded.doc;
        insert into orrery.{log}
            (range_id, seq, lsn, epoch, rid, ts, prev_lsn, prev_seq, etag, ttl, index, origin, op, pk, id, context, rank, body)
        select g.range_id, x.seq, x.lsn, r.epoch, x.rid, x.ts, x.prev, x.prev_seq, x.etag, case when x.kind <> 3 then x.ttl end,
               x.index, r.origin, case when x.kind = 3 then 3 when x.prev is null then 1 else 2 end, x.pk, x.id,
               case when before is not null then orrery.vector_with(before, r.origin, x.lsn - 1) end,
               case when x.kind <> 3 then x.rank end, case when x.kind <> 3 then x.body end
        from orrery.ranges g
        cross join unnest(seqs, lsns, rids, tss, prevs, prev_seqs, indexes, p_kind, p_pk, p_id, p_etag, p_ttl, p_rank, p_body)
                       x(seq, lsn, rid, ts, prev, prev_seq, index, kind, pk, id, etag, ttl, rank, body)
        where g.range_id = p_range and x.seq is not null;
        update orrery.ranges g set
            seq = seq_now, vector = orrery.vector_with(g.vector, g.origin, lsn_now), rid_counter = counter
        where g.range_id = p_range;
        if r.has_unique_keys then
            perform orrery.claims_write(p_range, seqs, p_kind, p_pk, p_id, p_claim_op, p_claim_key, p_claim_value);
            if r.default_ttl is not null then  -- an item that has expired holds its values still, and may come back
                perform orrery.clashes_note(p_range, seqs, p_kind, p_pk, p_id, p_claim_op, p_claim_key, p_claim_value);
            end if;
        end if;
    end if;

    -- 6. Keep the results, answer.
    if p_writer is not null then
        insert into orrery.batches as w
            (range_id, writer, sequence, at, epoch, origin, vector, status, substatus, lsn, ts, rid)
        values (p_range, p_writer, p_sequence, p_now, r.epoch, r.origin, r.vector, statuses, subs, lsns, tss, rids)
        on conflict (range_id, writer) do update set
            sequence = excluded.sequence, at = excluded.at, epoch = excluded.epoch, origin = excluded.origin,
            vector = excluded.vector, status = excluded.status, substatus = excluded.substatus, lsn = excluded.lsn,
            ts = excluded.ts, rid = excluded.rid;
    end if;
    return query
    select x.n::integer, x.status, coalesce(subs[x.n], 0), x.lsn, x.ts, x.rid,
           case when x.rid is not null then x.etag end, r.epoch, orrery.vector_with(r.vector, r.origin, x.lsn)
    from unnest(statuses, lsns, tss, rids, p_etag) with ordinality as x(status, lsn, ts, rid, etag, n);
end
$function$;

-- Does operation p_op claim a value that another shown item holds, as the operations before it leave things?
create function orrery.{clash}(
    p_range bigint, p_now bigint, p_default_ttl integer, p_op integer, p_txn integer[], p_pk bytea[], p_id text[],
    p_claim_op integer[], p_claim_key smallint[], p_claim_value bytea[], p_passed boolean[], p_failed integer[])
returns boolean language plpgsql as $function$
declare
    op_pk bytea := p_pk[p_op];
    op_id text := p_id[p_op];
begin
    return exists (
        -- stored claims, unless the holder is rewritten by an earlier operation of this batch
        select from unnest(p_claim_op, p_claim_key, p_claim_value) c(op, key, value)
        cross join lateral (
            select u.id from orrery.unique_claims u
            where u.range_id = p_range and u.pk = op_pk and u.key_number = c.key and u.value = orrery.claim_value(c.value)
            offset 0) u
        cross join lateral (
            select from orrery.{items} i
            where i.range_id = p_range and i.pk = op_pk and i.id = u.id
              and orrery.is_live(i.deleted, i.ts, i.ttl, p_default_ttl, p_now) limit 1) i
        where c.op = p_op and u.id <> op_id
          and not exists (select from generate_series(1, p_op - 1) e
                          where p_passed[e] and p_id[e] = u.id and p_pk[e] = op_pk and p_txn[e] <> all (p_failed))
    ) or exists (
        -- claims of earlier operations of this batch
        select from unnest(p_claim_op, p_claim_key, p_claim_value) c(op, key, value)
        join unnest(p_claim_op, p_claim_key, p_claim_value) d(op, key, value) on d.key = c.key and d.value = c.value
        where c.op = p_op and d.op < p_op and p_passed[d.op] and p_pk[d.op] = op_pk and p_txn[d.op] <> all (p_failed)
    );
end
$function$;
$template$ $source$;

-- Source of apply_<n>: entries of other regions come into the log and, where that is plain, into the items; which of them do, apply()
-- (0007) has decided. p_seq: null where an entry is not taken; p_shown: those of p_seq that the item may show. is_plain: each entry knows
-- what its item shows then, as it is where no two regions wrote at once; then the items are written, too. latest: of p_shown, the last
-- one of each item. Static statements, since plans of dynamic ones are made anew for every piece, which is most of what a small one costs;
-- and what an entry meets is looked up once.
create function orrery.apply_source() returns text language sql immutable as $source$ select $template$
create function orrery.{apply}(
    p_range bigint, p_seq bigint[], p_shown bigint[], p_origin smallint[], p_lsn bigint[], p_index integer[], p_epoch bigint[],
    p_op smallint[], p_pk bytea[], p_id text[], p_rid bigint[], p_ts bigint[], p_etag uuid[], p_ttl integer[], p_rank float8[],
    p_context text[], p_body text[], p_doc text[], out is_plain boolean, out latest bigint[])
language plpgsql as $function$
declare
    prevs     bigint[];  -- LSN of the version that each entry replaces here
    prev_seqs bigint[];
begin
    select bool_and(case when x.seq_before is null
                         then i.id is null
                              or i.heads is null and orrery.knows(x.context::bigint[], x.origin, x.lsn, i.origin, i.lsn)
                         else orrery.knows(x.context::bigint[], x.origin, x.lsn, x.origin_before, x.lsn_before) end)
               filter (where x.shown is not null),
           array_agg(case when x.seq_after is null then x.shown end order by x.n),
           array_agg(case when x.op in (2, 3, 4, 6) then coalesce(x.lsn_before, case when not i.deleted then i.lsn end) end order by x.n),
           array_agg(case when x.op in (2, 3, 4, 6) then coalesce(x.seq_before, case when not i.deleted then i.seq end) end order by x.n)
    from (select y.*, lag(y.seq) over w as seq_before, lag(y.origin) over w as origin_before, lag(y.lsn) over w as lsn_before,
                 lead(y.seq) over w as seq_after
          from unnest(p_seq, p_shown, p_origin, p_lsn, p_op, p_pk, p_id, p_context) with ordinality
               y(seq, shown, origin, lsn, op, pk, id, context, n)
          window w as (partition by y.shown is null, y.pk, y.id collate "C" order by y.seq)) x
    left join lateral (
        select i.id, i.origin, i.lsn, i.seq, i.heads, i.deleted
        from orrery.{items} i where i.range_id = p_range and i.pk = x.pk and i.id = x.id limit 1) i on true
    into is_plain, latest, prevs, prev_seqs;
    insert into orrery.{log}
        (range_id, seq, lsn, epoch, rid, ts, prev_lsn, prev_seq, etag, ttl, index, origin, op, pk, id, context, rank, body)
    select g.range_id, x.seq, x.lsn, x.epoch, x.rid, x.ts, x.prev, x.prev_seq, x.etag, x.ttl, x.index, x.origin, x.op, x.pk, x.id,
           x.context::bigint[], x.rank, x.body
    from orrery.ranges g
    cross join unnest(p_seq, p_lsn, p_epoch, p_rid, p_ts, prevs, prev_seqs, p_etag, p_ttl, p_index, p_origin, p_op, p_pk, p_id,
                      p_context, p_rank, p_body)
                   x(seq, lsn, epoch, rid, ts, prev, prev_seq, etag, ttl, index, origin, op, pk, id, context, rank, body)
    where g.range_id = p_range and x.seq is not null;
    if 6 = any (p_op) then
        is_plain := false;
    elsif is_plain then
        insert into orrery.{items} as i
            (range_id, rid, lsn, seq, ts, etag, ttl, origin, deleted, pk, id, context, body, doc)
        select g.range_id, x.rid, x.lsn, x.seq, x.ts, x.etag, x.ttl, x.origin, x.op >= 3, x.pk, x.id,
               x.context::bigint[], x.body, coalesce(x.doc, x.body)::jsonb
        from orrery.ranges g
        cross join unnest(latest, p_origin, p_lsn, p_op, p_pk, p_id, p_rid, p_ts, p_etag, p_ttl, p_context, p_body, p_doc)
                   x(seq, origin, lsn, op, pk, id, rid, ts, etag, ttl, context, body, doc)
        where g.range_id = p_range and x.seq is not null
        on conflict (range_id, pk, id) do update set
            rid = excluded.rid, lsn = excluded.lsn, seq = excluded.seq, ts = excluded.ts, etag = excluded.etag,
            ttl = excluded.ttl, origin = excluded.origin, deleted = excluded.deleted, context = excluded.context,
            heads = null, body = excluded.body, doc = excluded.doc;
    end if;
end
$function$;
$template$ $source$;

-- Source of fetch_<n>: entries for another region, which has the vectors p_acked. Where all fits, all of it. Otherwise a window of the log of each range is measured, p_limit
-- entries and p_bytes of bodies, its end moved on to the end of a transaction, and what the region has or wrote itself left out. A
-- function for its plan: the statement's own would be made anew for every request, at the cost of reading a hundred entries.
create function orrery.fetch_source() returns text language sql immutable as $source$ select $template$
create function orrery.{fetch}(p_range bigint[], p_from bigint[], p_head bigint[], p_acked text[], p_region smallint, p_bytes bigint,
                               p_limit bigint)
returns table (n integer, upto bigint, seq bigint, origin smallint, lsn bigint, index integer, epoch bigint, op smallint, pk bytea, id text,
               rid bigint, ts bigint, etag uuid, ttl integer, rank float8, context bigint[], body text)
language plpgsql stable set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off
    set enable_hashjoin = off set enable_mergejoin = off as $function$
#variable_conflict use_column
begin
    return query
    select x.n::integer, t.upto, l.seq, l.origin, l.lsn, l.index, l.epoch, l.op, l.pk, l.id, l.rid, l.ts, l.etag, l.ttl, l.rank, l.context,
           l.body
    from (select y.range_id, y.start, y.head, y.acked::bigint[] as acked, y.n
          from unnest(p_range, p_from, p_head, p_acked) with ordinality y(range_id, start, head, acked, n) offset 0) x
    cross join lateral (  -- 160: what an entry has besides its body, roughly
        select x.head - x.start <= p_limit
               and (select coalesce(sum(octet_length(l.body)), 0) from orrery.{log} l
                    where l.range_id = x.range_id and l.seq > x.start and l.seq <= x.head) + (x.head - x.start) * 160 <= p_bytes
               as is_whole offset 0) w
    cross join lateral (
        select case when w.is_whole then x.head else coalesce(
            (select l.seq - 1 from orrery.{log} l
             where l.range_id = x.range_id and l.seq <= x.head and l.index = 0 and l.seq > (
                 select max(w.seq)
                 from (select v.seq, sum(v.bytes) over (order by v.seq) - v.bytes as before
                       from (select l.seq, coalesce(octet_length(l.body), 0) + 160 as bytes
                             from orrery.{log} l where l.range_id = x.range_id and l.seq > x.start and l.seq <= x.head
                             order by l.seq limit p_limit) v) w
                 where w.before < p_bytes)
             order by l.seq limit 1), x.head) end as upto offset 0) t
    left join lateral (
        select * from orrery.{log} l
        where l.range_id = x.range_id and l.seq > x.start and l.seq <= t.upto and l.origin <> p_region
          and l.lsn > coalesce(x.acked[l.origin], 0)
        order by l.seq offset 0) l on true
    order by x.n, l.seq;
end
$function$;
$template$ $source$;

-- The claims of the items just written (those with a seq) become what the batch says.
create function orrery.claims_write(
    p_range bigint, p_seqs bigint[], p_kind smallint[], p_pk bytea[], p_id text[],
    p_claim_op integer[], p_claim_key smallint[], p_claim_value bytea[])
returns void language plpgsql as $$
begin
    for j in 1 .. cardinality(p_seqs) loop
        if p_seqs[j] is not null then
            delete from orrery.unique_claims c where c.range_id = p_range and c.pk = p_pk[j] and c.id = p_id[j];
        end if;
    end loop;
    insert into orrery.unique_claims (range_id, pk, key_number, value, id)
    select distinct g.range_id, p_pk[c.op], c.key, orrery.claim_value(c.value), p_id[c.op]
    from orrery.ranges g
    cross join unnest(p_claim_op, p_claim_key, p_claim_value) c(op, key, value)
    where g.range_id = p_range and p_seqs[c.op] is not null and p_kind[c.op] < 3;
end
$$;

-- Of the claims of the items just written, note those that another item has as well.
create function orrery.clashes_note(
    p_range bigint, p_seqs bigint[], p_kind smallint[], p_pk bytea[], p_id text[],
    p_claim_op integer[], p_claim_key smallint[], p_claim_value bytea[])
returns void language sql as $$
    insert into orrery.unique_clashes (range_id, pk, key_number, value)
    select distinct g.range_id, p_pk[c.op], c.key, orrery.claim_value(c.value)
    from orrery.ranges g
    cross join unnest(p_claim_op, p_claim_key, p_claim_value) c(op, key, value)
    cross join lateral (
        select from orrery.unique_claims u
        where u.range_id = p_range and u.pk = p_pk[c.op] and u.key_number = c.key and u.value = orrery.claim_value(c.value)
          and u.id <> p_id[c.op] limit 1) u
    where g.range_id = p_range and p_seqs[c.op] is not null and p_kind[c.op] < 3
    on conflict do nothing
$$;

-- Make items_<n>, log_<n>, and the functions of the container.
create function orrery.container_tables(p_number bigint, p_default_ttl integer default null) returns void language plpgsql as $$
declare
    items text := format('items_%s', p_number);
    log   text := format('log_%s', p_number);
begin
    execute format($sql$
        create table orrery.%I (
            range_id bigint not null,
            rid      bigint not null,
            lsn      bigint not null,
            seq      bigint not null,
            ts       bigint not null,
            etag     uuid,
            ttl      integer,
            origin   smallint not null,
            deleted  boolean not null,
            pk       bytea not null,
            id       text collate "C" not null,
            context  bigint[],
            heads    bigint[],
            body     text compression lz4,
            doc      jsonb compression lz4,
            primary key (range_id, pk, id)
        ) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05)$sql$, items);
    -- The condition always holds, and a statement that compares rid implies it. Others cannot take this index: on a young table
    -- the planner would, at the same cost as the primary key, and then scan the range for each item.
    execute format('create index %I on orrery.%I (range_id, rid) where rid is not null', items || '_rid', items);
    perform orrery.container_ttl_indexes(p_number, p_default_ttl);
    execute format($sql$
        create table orrery.%I (
            range_id bigint not null,
            seq      bigint not null,
            lsn      bigint not null,
            epoch    bigint not null,
            rid      bigint not null,
            ts       bigint not null,
            prev_lsn bigint,
            prev_seq bigint,
            etag     uuid,
            ttl      integer,
            index    integer not null,
            origin   smallint not null,
            op       smallint not null,
            pk       bytea not null,
            id       text collate "C" not null,
            context  bigint[],
            rank     double precision,
            body     text compression lz4,
            primary key (range_id, seq)
        ) partition by range (seq)$sql$, log);
    execute format('create table orrery.%I partition of orrery.%I default', log || '_rest', log);
    perform orrery.log_extend(p_number);
    execute replace(replace(replace(replace(orrery.write_source(),
        '{items}', quote_ident(items)), '{log}', quote_ident(log)),
        '{write}', quote_ident(format('write_%s', p_number))), '{clash}', quote_ident(format('clash_%s', p_number)));
    execute replace(replace(replace(orrery.apply_source(), '{items}', quote_ident(items)), '{log}', quote_ident(log)),
        '{apply}', quote_ident(format('apply_%s', p_number)));
    execute replace(replace(orrery.fetch_source(), '{log}', quote_ident(log)), '{fetch}', quote_ident(format('fetch_%s', p_number)));
end
$$;

-- For the purge: of items that name their lifetime, and of those that have the container's. Without lifetimes (null) there is
-- neither: an index that holds ts is one more for each statement to open, and no update of an item stays on its page (HOT).
create function orrery.container_ttl_indexes(p_number bigint, p_default_ttl integer) returns void language plpgsql as $$
begin
    if p_default_ttl is not null then
        execute format('create index if not exists %I on orrery.%I (range_id, (ts + ttl)) where ttl > 0 and not deleted',
                       format('items_%s_expiry', p_number), format('items_%s', p_number));
    end if;
    if p_default_ttl > 0 then
        execute format('create index if not exists %I on orrery.%I (range_id, ts) where ttl is null and not deleted',
                       format('items_%s_age', p_number), format('items_%s', p_number));
    end if;
end
$$;

-- Keep a partition of the log ready beyond the furthest range: retention will drop whole partitions. Called in the
-- background; what outruns it lands in the rest partition, and the next partition then begins well beyond that.
-- True when a partition was made. Attaching, unlike creating in place, does not wait for readers of the log.
create function orrery.log_extend(p_number bigint) returns boolean language plpgsql as $$
declare
    step     constant bigint := 1 << 21;
    log      text := format('log_%s', p_number);
    part     text;
    furthest bigint;
    covered  bigint;
    start    bigint;
begin
    if not pg_try_advisory_xact_lock(hashtext('orrery.log_extend'), p_number::integer) then
        return false;  -- another gateway is at it
    end if;
    select coalesce(max(g.seq), 0) from orrery.ranges g where g.container = p_number into furthest;
    select max(split_part(c.relname, '_', 3)::bigint + step)
    from pg_inherits h join pg_class c on c.oid = h.inhrelid
    where h.inhparent = format('orrery.%I', log)::regclass and c.relname not like '%\_rest' into covered;
    if covered >= furthest + step / 2 then
        return false;
    end if;
    start := coalesce(covered, 0);
    if furthest > 0 and furthest >= start then
        start := (furthest / step + 2) * step;
    end if;
    part := format('%s_%s', log, start);
    execute format('create table orrery.%I (like orrery.%I including all)', part, log);
    execute format('alter table orrery.%I attach partition orrery.%I for values from (%s) to (%s)',
                   log, part, start, start + step);
    return true;
exception when check_violation then
    return false;  -- a range has just passed the start; the next call begins beyond it
end
$$;
