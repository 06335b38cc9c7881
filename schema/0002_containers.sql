-- The two tables of a container and the function that writes them, from one template.

-- Source of write_<n>. {items}, {log}, {write} become the container's own names, so that every plan is cached and
-- names one pair of tables. Operations are decided in a loop (conditions, unique keys, transactions), then written
-- by sets; a lone operation is written by single-row statements, which cost half as much.
create function orrery.write_source() returns text language sql immutable as $source$ select $template$
create function orrery.{write}(
    p_range bigint, p_epoch bigint, p_writer bigint, p_sequence bigint, p_now bigint,
    p_txn integer[], p_kind smallint[], p_pk bytea[], p_id text[], p_etag uuid[], p_if_match uuid[],
    p_flags smallint[], p_ttl integer[], p_rid bigint[], p_body text[], p_doc text[],
    p_claim_op integer[], p_claim_key smallint[], p_claim_value bytea[])
returns table (n integer, status smallint, substatus integer, lsn bigint, ts bigint, rid bigint, etag uuid,
               epoch bigint, vector bigint[])
language plpgsql as $function$
#variable_conflict use_column
declare
    ops       integer := cardinality(p_kind);
    r         record;      -- the range
    b         record;      -- this writer's last batch
    o         record;      -- an operation and the item it meets
    statuses  smallint[] := array_fill(null::smallint, array[ops]);
    subs      integer[];   -- null while all are zero
    lsns      bigint[] := array_fill(null::bigint, array[ops]);
    tss       bigint[] := lsns;
    rids      bigint[] := lsns;
    seqs      bigint[] := lsns;   -- null: writes nothing
    prevs     bigint[] := lsns;   -- LSN of the version replaced
    indexes   integer[] := array_fill(null::integer, array[ops]);
    failed    integer[] := '{}';  -- transactions
    passed    boolean[];          -- operations, only for unique keys
    txn       integer;
    txn_last  integer;
    index_now integer := 0;
    lsn_now   bigint;
    seq_now   bigint;
    counter   bigint;
    vec       bigint[];
    alone     boolean;            -- no other origin has ever written here: the context is implied
    one_pk    bytea;
    one_id    text;
    one_etag  uuid;
    one_ttl   integer;
    one_ts    bigint;
    one_rid   bigint;
    one_prev  bigint;
    one_kind  smallint;
    one_body  text;
    one_doc   jsonb;
    context   bigint[];
begin
    -- 1. The range's lock, first and by UPDATE: later statements see what the holder before us committed.
    update orrery.ranges g set seq = g.seq where g.range_id = p_range
    returning g.seq, g.epoch, g.state, g.origin, g.vector, g.rid_counter, g.default_ttl, g.has_unique_keys into r;

    -- 2. A batch is executed once. It answers the same again even when the epoch has moved since.
    if p_writer is not null then
        select * from orrery.batches w where w.range_id = p_range and w.writer = p_writer into b;
        if b.sequence = p_sequence then
            return query
            select x.n::integer, x.status, coalesce(b.substatus[x.n], 0), x.lsn, x.ts, x.rid,
                   case when x.status < 300 and x.rid is not null then p_etag[x.n] end, b.epoch,
                   orrery.vector_with(b.vector, b.origin, x.lsn)
            from unnest(b.status, b.lsn, b.ts, b.rid) with ordinality as x(status, lsn, ts, rid, n);
            return;
        elsif b.sequence > p_sequence then  -- a late twin: nobody waits for its answer
            return query select x, 408::smallint, 0, null::bigint, null::bigint, null::bigint, null::uuid, r.epoch, r.vector
            from generate_series(1, ops) x;
            return;
        end if;
    end if;

    if r.state is distinct from 'online' or r.epoch <> p_epoch then
        return query select x, 410::smallint, 1002, null::bigint, null::bigint, null::bigint, null::uuid, r.epoch, r.vector
        from generate_series(1, ops) x;
        return;
    end if;

    vec := r.vector;
    lsn_now := vec[r.origin];
    seq_now := r.seq;
    counter := r.rid_counter;
    alone := cardinality(vec) = 1 or 0 = all (orrery.vector_with(vec, r.origin, 0));

    if ops = 1 and not r.has_unique_keys then
        -- 3a. One operation.
        one_pk := p_pk[1]; one_id := p_id[1]; one_kind := p_kind[1];
        if octet_length(one_pk) + octet_length(one_id) > 2600 then
            statuses[1] := 400;
        else
            select i.rid, i.etag, i.ts, i.lsn, orrery.is_live(i.deleted, i.ts, i.ttl, r.default_ttl, p_now) as live
            from orrery.{items} i where i.range_id = p_range and i.pk = one_pk and i.id = one_id into o;
            statuses[1] := orrery.write_status(one_kind, o.live is true, o.etag, p_if_match[1], p_flags[1], o.rid, p_rid[1]);
        end if;
        if statuses[1] < 300 and one_kind < 4 then
            lsn_now := lsn_now + 1;
            seq_now := seq_now + 1;
            one_ts := greatest(p_now, o.ts);
            one_etag := p_etag[1];
            if o.live then
                one_rid := o.rid; one_prev := o.lsn;
            else
                one_rid := p_rid[1];
                if one_rid is null then
                    counter := counter + 1;
                    one_rid := (counter << 20) | ((p_range & 4095) << 8) | r.origin;
                end if;
            end if;
            if not alone then
                context := orrery.vector_with(vec, r.origin, lsn_now - 1);
            end if;
            if one_kind <> 3 then
                one_ttl := p_ttl[1]; one_body := p_body[1];
                one_doc := coalesce(p_doc[1], one_body)::jsonb;
            end if;
            insert into orrery.{items} as i
                (range_id, rid, lsn, seq, ts, etag, ttl, origin, deleted, pk, id, context, body, doc)
            values (p_range, one_rid, lsn_now, seq_now, one_ts, one_etag, one_ttl, r.origin, one_kind = 3,
                    one_pk, one_id, context, one_body, one_doc)
            on conflict (range_id, pk, id) do update set
                rid = excluded.rid, lsn = excluded.lsn, seq = excluded.seq, ts = excluded.ts, etag = excluded.etag,
                ttl = excluded.ttl, origin = excluded.origin, deleted = excluded.deleted, context = excluded.context,
                body = excluded.body, doc = excluded.doc;
            insert into orrery.{log}
                (range_id, seq, lsn, epoch, rid, ts, prev_lsn, etag, ttl, index, origin, op, pk, id, context, body)
            values (p_range, seq_now, lsn_now, r.epoch, one_rid, one_ts, one_prev, one_etag, one_ttl, 0, r.origin,
                    case when one_kind = 3 then 3 when one_prev is null then 1 else 2 end,
                    one_pk, one_id, context, one_body);
            tss[1] := one_ts; rids[1] := one_rid;
        end if;
        lsns[1] := lsn_now;
    else
        -- 3b. Decide every operation.
        if (select count(*) from (select distinct d.pk, d.id from unnest(p_pk, p_id) d(pk, id)) u) <> ops then
            raise exception 'two operations on one item in a batch of range %', p_range;
        end if;
        if r.has_unique_keys then
            passed := array_fill(false, array[ops]);
        end if;
        for o in
            select x.n, x.txn, x.kind, i.ts, i.lsn, i.rid, l.live,
                   case when octet_length(x.pk) + octet_length(x.id) > 2600 then 400::smallint
                        else orrery.write_status(x.kind, l.live, i.etag, x.if_match, x.flags, i.rid, x.rid)
                   end as status
            from unnest(p_txn, p_kind, p_flags, p_if_match, p_rid, p_pk, p_id)
                     with ordinality x(txn, kind, flags, if_match, rid, pk, id, n)
            left join orrery.{items} i on i.range_id = p_range and i.pk = x.pk and i.id = x.id
            cross join lateral (select orrery.is_live(i.deleted, i.ts, i.ttl, r.default_ttl, p_now) is true as live) l
            order by x.n
        loop
            if o.txn < txn_last then
                raise exception 'transactions of a batch of range % are not in order', p_range;
            end if;
            txn_last := o.txn;
            if r.has_unique_keys and o.status < 300 and o.kind < 3 and orrery.{clash}(p_range, p_now, r.default_ttl,
                    o.n::integer, p_txn, p_pk, p_id, p_claim_op, p_claim_key, p_claim_value, passed, failed) then
                o.status := 409;
                subs := coalesce(subs, array_fill(0, array[ops]));
                subs[o.n] := 3301;
            end if;
            statuses[o.n] := o.status;
            if o.status >= 300 then
                failed := failed || o.txn;
            elsif o.kind < 4 then
                if r.has_unique_keys then
                    passed[o.n] := true;
                end if;
                tss[o.n] := greatest(p_now, o.ts);
                if o.live then
                    rids[o.n] := o.rid;
                    prevs[o.n] := o.lsn;
                end if;
            end if;
        end loop;

        -- 4. Numbers for the transactions that pass; 424 for the rest of those that do not.
        txn_last := null;
        for j in 1 .. ops loop
            txn := p_txn[j];
            if statuses[j] < 300 and txn = any (failed) then
                statuses[j] := 424;
                tss[j] := null;
                rids[j] := null;
            elsif tss[j] is not null then
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
                    one_rid := p_rid[j];
                    if one_rid is null then
                        counter := counter + 1;
                        one_rid := (counter << 20) | ((p_range & 4095) << 8) | r.origin;
                    end if;
                    rids[j] := one_rid;
                end if;
            end if;
            lsns[j] := lsn_now;
        end loop;

        -- 5. Write them.
        if seq_now > r.seq then
            insert into orrery.{items} as i
                (range_id, rid, lsn, seq, ts, etag, ttl, origin, deleted, pk, id, context, body, doc)
            select g.range_id, x.rid, x.lsn, x.seq, x.ts, x.etag, case when x.kind <> 3 then x.ttl end, g.origin,
                   x.kind = 3, x.pk, x.id, case when not alone then orrery.vector_with(vec, g.origin, x.lsn - 1) end,
                   case when x.kind <> 3 then x.body end, case when x.kind <> 3 then coalesce(x.doc, x.body)::jsonb end
            from orrery.ranges g
            cross join unnest(seqs, lsns, rids, tss, p_kind, p_pk, p_id, p_etag, p_ttl, p_body, p_doc)
                           x(seq, lsn, rid, ts, kind, pk, id, etag, ttl, body, doc)
            where g.range_id = p_range and x.seq is not null
            on conflict (range_id, pk, id) do update set
                rid = excluded.rid, lsn = excluded.lsn, seq = excluded.seq, ts = excluded.ts, etag = excluded.etag,
                ttl = excluded.ttl, origin = excluded.origin, deleted = excluded.deleted, context = excluded.context,
                body = excluded.body, doc = excluded.doc;
            insert into orrery.{log}
                (range_id, seq, lsn, epoch, rid, ts, prev_lsn, etag, ttl, index, origin, op, pk, id, context, body)
            select g.range_id, x.seq, x.lsn, g.epoch, x.rid, x.ts, x.prev, x.etag, case when x.kind <> 3 then x.ttl end,
                   x.index, g.origin, case when x.kind = 3 then 3 when x.prev is null then 1 else 2 end, x.pk, x.id,
                   case when not alone then orrery.vector_with(vec, g.origin, x.lsn - 1) end,
                   case when x.kind <> 3 then x.body end
            from orrery.ranges g
            cross join unnest(seqs, lsns, rids, tss, prevs, indexes, p_kind, p_pk, p_id, p_etag, p_ttl, p_body)
                           x(seq, lsn, rid, ts, prev, index, kind, pk, id, etag, ttl, body)
            where g.range_id = p_range and x.seq is not null;
            if r.has_unique_keys then
                delete from orrery.unique_claims c
                using unnest(seqs, p_pk, p_id) x(seq, pk, id)
                where c.range_id = p_range and x.seq is not null and c.pk = x.pk and c.id = x.id;
                insert into orrery.unique_claims (range_id, pk, key_number, value, id)
                select distinct g.range_id, p_pk[c.op], c.key, orrery.claim_value(c.value), p_id[c.op]
                from orrery.ranges g
                cross join unnest(p_claim_op, p_claim_key, p_claim_value) c(op, key, value)
                where g.range_id = p_range and seqs[c.op] is not null and p_kind[c.op] <> 3;
            end if;
        end if;
    end if;

    -- 6. The range moves, the results are kept.
    if seq_now > r.seq then
        vec[r.origin] := lsn_now;
        update orrery.ranges g set seq = seq_now, vector = vec, rid_counter = counter where g.range_id = p_range;
    end if;
    if p_writer is not null then
        insert into orrery.batches as w
            (range_id, writer, sequence, at, epoch, origin, vector, status, substatus, lsn, ts, rid)
        values (p_range, p_writer, p_sequence, p_now, r.epoch, r.origin, r.vector, statuses, subs, lsns, tss, rids)
        on conflict (range_id, writer) do update set
            sequence = excluded.sequence, at = excluded.at, epoch = excluded.epoch, origin = excluded.origin,
            vector = excluded.vector, status = excluded.status, substatus = excluded.substatus, lsn = excluded.lsn,
            ts = excluded.ts, rid = excluded.rid;
    end if;

    if ops = 1 then
        n := 1; status := statuses[1]; substatus := coalesce(subs[1], 0); lsn := lsn_now; ts := tss[1]; rid := rids[1];
        etag := case when rid is not null then p_etag[1] end; epoch := r.epoch;
        vector := orrery.vector_with(r.vector, r.origin, lsn_now);
        return next;
        return;
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
        join orrery.unique_claims u on u.range_id = p_range and u.pk = op_pk and u.key_number = c.key
                                   and u.value = orrery.claim_value(c.value)
        join orrery.{items} i on i.range_id = p_range and i.pk = u.pk and i.id = u.id
        where c.op = p_op and u.id <> op_id and orrery.is_live(i.deleted, i.ts, i.ttl, p_default_ttl, p_now)
          and not exists (select from generate_series(1, p_op - 1) e
                          where p_passed[e] and p_id[e] = u.id and p_pk[e] = u.pk and p_txn[e] <> all (p_failed))
    ) or exists (
        -- claims of earlier operations of this batch
        select from unnest(p_claim_op, p_claim_key, p_claim_value) c(op, key, value)
        join unnest(p_claim_op, p_claim_key, p_claim_value) d(op, key, value) on d.key = c.key and d.value = c.value
        where c.op = p_op and d.op < p_op and p_passed[d.op] and p_pk[d.op] = op_pk and p_txn[d.op] <> all (p_failed)
    );
end
$function$;
$template$ $source$;

-- Make items_<n>, log_<n> and write_<n>. p_indexed: a GIN index on doc (indexing mode consistent).
-- p_has_ttl: the container has a default lifetime, so all its items expire.
create function orrery.container_tables(p_number bigint, p_indexed boolean default true, p_has_ttl boolean default false)
returns void language plpgsql as $$
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
            body     text compression lz4,
            doc      jsonb compression lz4,
            check (deleted = (body is null)),
            primary key (range_id, pk, id)
        ) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05)$sql$, items);
    execute format('create index %I on orrery.%I (range_id, rid)', items || '_rid', items);
    execute format('create index %I on orrery.%I (range_id, (ts + ttl)) where ttl > 0 and not deleted',
                   items || '_expiry', items);
    if p_indexed then
        execute format('create index %I on orrery.%I using gin (doc jsonb_path_ops)
                        with (fastupdate = on, gin_pending_list_limit = 1024)', items || '_doc', items);
    end if;
    if p_has_ttl then
        perform orrery.container_ttl_index(p_number);
    end if;
    execute format($sql$
        create table orrery.%I (
            range_id bigint not null,
            seq      bigint not null,
            lsn      bigint not null,
            epoch    bigint not null,
            rid      bigint not null,
            ts       bigint not null,
            prev_lsn bigint,
            etag     uuid,
            ttl      integer,
            index    integer not null,
            origin   smallint not null,
            op       smallint not null,
            pk       bytea not null,
            id       text collate "C" not null,
            context  bigint[],
            body     text compression lz4,
            primary key (range_id, seq)
        ) partition by range (seq)$sql$, log);
    execute format('create table orrery.%I partition of orrery.%I default', log || '_rest', log);
    perform orrery.log_extend(p_number);
    execute replace(replace(replace(replace(orrery.write_source(),
        '{items}', quote_ident(items)), '{log}', quote_ident(log)),
        '{write}', quote_ident(format('write_%s', p_number))), '{clash}', quote_ident(format('clash_%s', p_number)));
end
$$;

-- For the purge of a container whose items expire by default.
create function orrery.container_ttl_index(p_number bigint) returns void language plpgsql as $$
begin
    execute format('create index if not exists %I on orrery.%I (range_id, ts) where ttl is null and not deleted',
                   format('items_%s_age', p_number), format('items_%s', p_number));
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
