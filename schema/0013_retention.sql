-- What the log keeps, and when a tombstone may go. docs/replication.md states the rules; the numbers are those.

-- When another region last told what it has.
create table orrery.peers_heard (
    region smallint primary key,
    at     timestamptz not null default clock_timestamp()
);

-- stable: an acked vector of the region, and this region has by now all that the other had written itself when it told that vector.
-- Nothing of it can come any more that did not know it. pending: an acked vector that waits to become stable.
alter table orrery.peers
    add stable  bigint[] not null default '{}',
    add pending bigint[] not null default '{}';

-- Look again what is stable (rule 8.3). A vector that went back, because the region lost what it had, counts at once.
create function orrery.stability_look() returns void language sql as $$
    update orrery.peers p set
        stable = case when x.has_come and orrery.vector_covers(p.acked, p.pending) then p.pending
                      when orrery.vector_covers(p.acked, p.stable) then p.stable else '{}' end,
        pending = case when x.has_come or not orrery.vector_covers(p.acked, p.pending) then p.acked else p.pending end
    from (select q.region, q.range_id, coalesce(g.vector[q.region], 0) >= coalesce(q.pending[q.region], 0) as has_come
          from orrery.peers q join orrery.ranges g on g.range_id = q.range_id
          where q.stable is distinct from q.pending or q.pending is distinct from q.acked
          order by q.region, q.range_id for no key update of q skip locked) x
    where p.region = x.region and p.range_id = x.range_id
$$;

-- Regions that must have an entry before it may go: those of the epoch in which the range is, this one apart. One that joins counts
-- while it is heard of: what is there when it begins stays until it has it. Null while the epoch changes.
create function orrery.range_keepers(p_range bigint, p_silent_s integer) returns smallint[] language sql stable as $$
    select array(
        select x.region from unnest(e.live) x(region)
        where x.region <> g.origin and not (exists (
            select from json_array_elements(t.document -> 'regions') r
            where (r ->> 'ordinal')::smallint = x.region and r ->> 'state' = 'joining')
            and not exists (select from orrery.peers_heard h
                            where h.region = x.region and h.at > clock_timestamp() - p_silent_s * interval '1 second')))
    from orrery.ranges g
    join orrery.range_epochs e on e.range_id = g.range_id and e.epoch = g.epoch
    join orrery.region_self s on s.accepted_epoch = g.epoch and s.closed_for is null
    left join orrery.topology t on t.epoch = g.epoch
    where g.range_id = p_range and g.state in ('online', 'read-only')
$$;

-- The stable point: entries up to it are everywhere, and so is everything that was written without knowing them.
create function orrery.range_stable(p_range bigint, p_keepers smallint[]) returns bigint[] language sql stable as $$
    select array(
        select case when cardinality(p_keepers) = 0 then v.lsn else
                   least(v.lsn, (select min(coalesce(p.stable[v.o], 0)) from unnest(p_keepers) x(region)
                                 left join orrery.peers p on p.region = x.region and p.range_id = g.range_id)) end
        from unnest(g.vector) with ordinality v(lsn, o) order by v.o)
    from orrery.ranges g where g.range_id = p_range
$$;

-- Remove up to p_limit tombstones with ts <= p_before that are stable (rule 8.3), and their entries where the log is trimmed already.
-- A tombstone of which other versions are kept stays, or these would be found without it. It waits for nobody, since writers have
-- the range before the item and this is the other way round: what somebody changes, or where the range is held, is left to the next call.
create function orrery.range_purge(p_range bigint, p_before bigint, p_limit integer, p_silent_s integer default 60) returns integer
language plpgsql as $$
declare
    items   text := format('items_%s', p_range >> 12);
    log     text := format('log_%s', p_range >> 12);
    keepers smallint[] := orrery.range_keepers(p_range, p_silent_s);
    purged  integer;
begin
    if keepers is null then
        return 0;
    end if;
    execute format($sql$
        with x as materialized (  -- a plan that ran it again would find others
            select d.pk, d.id from orrery.%1$I d
            where d.range_id = $1 and d.deleted and d.ts <= $2 and d.heads is null and d.lsn <= coalesce(($4)[d.origin], 0)
            and not exists (select from orrery.conflicts c where c.range_id = $1 and c.pk = d.pk and c.id = d.id)
            limit $3 for update of d skip locked),
        gone as (
            delete from orrery.%1$I i using x
            where i.range_id = $1 and i.deleted and i.heads is null and i.pk = x.pk and i.id = x.id
            returning i.seq),
        entries as (
            delete from orrery.%2$I l using gone, orrery.horizons h
            where h.range_id = $1 and l.range_id = $1 and l.seq = gone.seq and l.seq <= h.seq)
        select count(*) from gone$sql$, items, log)
    using p_range, p_before, p_limit, orrery.range_stable(p_range, keepers) into purged;
    if purged < p_limit then
        update orrery.ranges g set purged_ts = greatest(g.purged_ts, p_before)
        from (select o.range_id from orrery.ranges o where o.range_id = p_range for no key update skip locked) x
        where g.range_id = x.range_id;
    end if;
    return purged;
end
$$;

-- Trim the log of a range: of the entries with ts <= p_before that are stable and committed (rules 8.1, 8.2), the next p_limit. What
-- stays: the entry that an item shows, its heads, losers of conflicts, markers of epochs. How many entries were looked at; call again while it is
-- p_limit. A transaction is trimmed whole.
create function orrery.range_trim(p_range bigint, p_before bigint, p_now bigint, p_limit integer, p_silent_s integer default 60) returns integer
language plpgsql as $$
declare
    items   text := format('items_%s', p_range >> 12);
    log     text := format('log_%s', p_range >> 12);
    keepers smallint[] := orrery.range_keepers(p_range, p_silent_s);
    mine    record;
    bound   bigint[];
    upto    bigint;
    looked  integer;
    reached bigint[];
begin
    insert into orrery.horizons (range_id) select g.range_id from orrery.ranges g where g.range_id = p_range on conflict do nothing;
    select * from orrery.horizons h where h.range_id = p_range for update skip locked into mine;
    if mine.range_id is null then
        return 0;  -- another gateway is at it
    end if;
    if keepers is not null then
        bound := orrery.range_stable(p_range, keepers);
        if cardinality(keepers) > 0 then
            select array(select least(b.lsn, coalesce(g.committed[b.o], 0)) from unnest(bound) with ordinality b(lsn, o) order by b.o)
            from orrery.ranges g where g.range_id = p_range into bound;
        end if;
        execute format($sql$
            with w as (
                select l.seq, l.origin, l.lsn, l.index, l.ts > $3 or l.lsn > coalesce(($4)[l.origin], 0) as stops
                from orrery.%I l where l.range_id = $1 and l.seq > $2 order by l.seq limit $5 + 1),
            n as (
                select w.*, row_number() over (order by w.seq) as n, lead(w.index) over (order by w.seq) as next_index,
                       bool_or(w.stops) over (order by w.seq) as has_stopped, count(*) over () as read from w)
            select max(n.seq) filter (where n.next_index = 0 or n.next_index is null and n.read <= $5), count(*)
            from n where not n.has_stopped and n.n <= $5$sql$, log)
        using p_range, mine.seq, p_before, bound, p_limit into upto, looked;
    end if;
    if upto is null then
        update orrery.horizons h set looked_at = p_now where h.range_id = p_range;
        return 0;
    end if;
    execute format($sql$
        select array(select coalesce(max(l.lsn), 0) from generate_series(1, (select max(m.origin) from orrery.%1$I m
                         where m.range_id = $1 and m.seq > $2 and m.seq <= $3)) o(n)
                     left join orrery.%1$I l on l.range_id = $1 and l.seq > $2 and l.seq <= $3 and l.origin = o.n
                     group by o.n order by o.n)$sql$, log)
    using p_range, mine.seq, upto into reached;
    -- what these entries replaced was below the horizon before, perhaps
    execute format($sql$
        delete from orrery.%1$I l using (
            select x.seq from orrery.%1$I x where x.range_id = $1 and x.seq > $2 and x.seq <= $3
            union
            select x.prev_seq from orrery.%1$I x
            where x.range_id = $1 and x.seq > $2 and x.seq <= $3 and x.prev_seq <= $2) w
        where l.range_id = $1 and l.seq = w.seq and l.op <> 5
          and not exists (select from orrery.%2$I i where i.range_id = $1 and i.pk = l.pk and i.id = l.id
                          and (i.seq = l.seq or l.seq = any (i.heads)))
          and not exists (select from orrery.stranded s where s.range_id = $1 and s.origin = l.origin and s.lsn = l.lsn and s.outcome is null)
          and not exists (select from orrery.conflicts c where c.range_id = $1 and c.pk = l.pk and c.id = l.id and c.log_seq = l.seq)$sql$,
        log, items)
    using p_range, mine.seq, upto;
    update orrery.horizons h set
        seq = upto, vector = orrery.vector_max(h.vector, reached), looked_at = case when looked < p_limit then p_now else 0 end
    where h.range_id = p_range;
    return looked;
end
$$;

-- Drop partitions of a container's log in which nothing is left and nothing will be written: every range is trimmed beyond them.
create function orrery.log_drop(p_number bigint) returns integer language plpgsql as $$
declare
    step    constant bigint := 1 << 21;
    log     text := format('log_%s', p_number);
    trimmed bigint;
    part    record;
    is_used boolean;
    dropped integer := 0;
begin
    select min(coalesce(h.seq, 0)) from orrery.ranges g left join orrery.horizons h on h.range_id = g.range_id
    where g.container = p_number into trimmed;
    perform set_config('lock_timeout', '200ms', true);
    for part in
        select c.relname as name from pg_inherits h join pg_class c on c.oid = h.inhrelid
        where h.inhparent = format('orrery.%I', log)::regclass and c.relname not like '%\_rest'
          and split_part(c.relname, '_', 3)::bigint + step <= trimmed + 1
    loop
        execute format('select exists (select from orrery.%I)', part.name) into is_used;
        if not is_used then
            execute format('drop table orrery.%I', part.name);
            dropped := dropped + 1;
        end if;
    end loop;
    return dropped;
exception when lock_not_available then
    return 0;  -- somebody reads for long; the next call tries again
end
$$;

-- What is kept: per range how far its log was trimmed, and how many entries it has had since.
create view orrery.log_state as
select g.range_id, g.container, g.seq as head, coalesce(h.seq, 0) as horizon
from orrery.ranges g left join orrery.horizons h on h.range_id = g.range_id where g.state <> 'dropped';

-- ---- copies: what a region gets that lacks entries below a horizon (rule 8.4) ----

-- Ranges that this region copies: through at, of a source's log that is trimmed up to upto. Until the copy is complete the vector of
-- the range is that of before, so nothing else is applied to it.
create table orrery.copies (
    range_id bigint primary key,
    source   smallint not null,
    at       bigint not null,
    upto     bigint not null
);

-- Does a region that has acked lack something that only a copy can bring?
create function orrery.is_beyond_log(p_range bigint, acked bigint[]) returns boolean language plpgsql stable as $$
begin
    return exists (select from orrery.horizons h where h.range_id = p_range and not orrery.vector_covers(acked, h.vector));
end
$$;

-- Does this region join, so that no client reads here?
create function orrery.is_joining() returns boolean language sql stable as $$
    select exists (
        select from orrery.topology t cross join json_array_elements(t.document -> 'regions') r, orrery.region_self s
        where t.epoch = (select max(x.epoch) from orrery.topology x where x.state = 'open')
          and (r ->> 'ordinal')::smallint = s.ordinal and r ->> 'state' = 'joining')
$$;

-- Entries of a source's trimmed log after p_from through p_to, of p_upto. A copy that begins takes the place of all that the range has,
-- or things would stay that were deleted and forgotten meanwhile. Entries that are there already are passed over: a piece may come
-- twice. At its end the vector is what the source had at its horizon, p_through. status 'again': the source's log was trimmed further
-- meanwhile, so the copy must begin again; 'waits': it is not the next piece, or clients read here still.
create function orrery.exchange_copy(
    p_needs_origin smallint, p_needs_lsn bigint, p_source smallint, p_from bigint, p_to bigint, p_upto bigint, p_through text,
    p_range bigint, p_epoch bigint, p_origin smallint[], p_lsn bigint[], p_index integer[], p_entry_epoch bigint[],
    p_op smallint[], p_pk bytea[], p_id text[], p_rid bigint[], p_ts bigint[], p_etag uuid[], p_ttl integer[],
    p_rank float8[], p_context text[], p_body text[], p_doc text[],
    p_claim_op integer[], p_claim_key smallint[], p_claim_value bytea[],
    out status text, out applied integer, out taken integer, out vector bigint[])
language plpgsql as $$
#variable_conflict use_column
declare
    items    text := format('items_%s', p_range >> 12);
    log      text := format('log_%s', p_range >> 12);
    r        record;
    c        record;
    cuts     bigint[];
    is_new   boolean;
    is_known boolean;
    is_stranded boolean;
begin
    applied := 0; taken := 0; status := 'waits';
    if p_needs_origin > 0 and coalesce((select g.vector[p_needs_origin] from orrery.ranges g where g.range_id = 0), 0) < p_needs_lsn then
        status := 'metadata';
        return;
    end if;
    perform orrery.range_lock(p_range);
    select * from orrery.ranges g where g.range_id = p_range into r;
    if r.state is null or r.state = 'dropped' then
        status := 'dropped';
        return;
    elsif r.state not in ('online', 'read-only') then
        status := 'state';
        return;
    elsif p_epoch < (select s.accepted_epoch from orrery.region_self s) then
        status := 'epoch';
        return;
    elsif not orrery.is_joining() then
        return;
    end if;
    insert into orrery.horizons (range_id) values (p_range) on conflict do nothing;
    perform from orrery.horizons h where h.range_id = p_range for update;  -- range_trim has it before entries of the log
    select * from orrery.copies x where x.range_id = p_range into c;
    if p_from = 0 and (c.range_id is null or c.source <> p_source or c.upto <> p_upto) then
        execute format('delete from orrery.%I i where i.range_id = $1', items) using p_range;
        execute format('delete from orrery.%I l where l.range_id = $1', log) using p_range;
        delete from orrery.unique_claims u where u.range_id = p_range;
        delete from orrery.unique_clashes c where c.range_id = p_range;
        delete from orrery.conflicts x where x.range_id = p_range;
        delete from orrery.stranded x where x.range_id = p_range;
        insert into orrery.copies (range_id, source, at, upto) values (p_range, p_source, 0, p_upto)
        on conflict (range_id) do update set source = excluded.source, at = 0, upto = excluded.upto;
    elsif c.range_id is null or c.source <> p_source or c.upto <> p_upto then
        status := 'again';
        return;
    elsif c.at < p_from then
        return;
    end if;

    -- Where no item of the piece is there yet, and none comes twice, all are made at once.
    execute format($sql$
        select not exists (select from unnest($2, $3) x(pk, id) cross join lateral (
                               select from orrery.%I i where i.range_id = $1 and i.pk = x.pk and i.id = x.id limit 1) i)
           and not exists (select from unnest($2, $3) x(pk, id) group by x.pk, x.id having count(*) > 1)$sql$, items)
    using p_range, p_pk, p_id into is_new;
    cuts := orrery.range_cuts(p_range);
    if is_new and 5 <> all (p_op) and 6 <> all (p_op)
       and not exists (select from unnest(p_origin, p_lsn) x(origin, lsn) where x.lsn > cuts[x.origin]) then
        applied := cardinality(p_lsn);
        execute format($sql$
            insert into orrery.%I (range_id, seq, lsn, epoch, rid, ts, etag, ttl, index, origin, op, pk, id, context, rank, body)
            select g.range_id, g.seq + x.n, x.lsn, x.epoch, x.rid, x.ts, x.etag, x.ttl, x.index, x.origin, x.op, x.pk, x.id,
                   x.context::bigint[], x.rank, x.body
            from orrery.ranges g
            cross join unnest($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) with ordinality
                       x(origin, lsn, index, epoch, op, pk, id, rid, ts, etag, ttl, rank, context, body, n)
            where g.range_id = $1$sql$, log)
        using p_range, p_origin, p_lsn, p_index, p_entry_epoch, p_op, p_pk, p_id, p_rid, p_ts, p_etag, p_ttl, p_rank, p_context, p_body;
        execute format($sql$
            insert into orrery.%I (range_id, rid, lsn, seq, ts, etag, ttl, origin, deleted, pk, id, context, body, doc)
            select g.range_id, x.rid, x.lsn, g.seq + x.n, x.ts, x.etag, x.ttl, x.origin, x.op >= 3, x.pk, x.id,
                   x.context::bigint[], x.body, coalesce(x.doc, x.body)::jsonb
            from orrery.ranges g
            cross join unnest($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) with ordinality
                       x(origin, lsn, op, pk, id, rid, ts, etag, ttl, context, body, doc, n)
            where g.range_id = $1$sql$, items)
        using p_range, p_origin, p_lsn, p_op, p_pk, p_id, p_rid, p_ts, p_etag, p_ttl, p_context, p_body, p_doc;
        if r.has_unique_keys then
            perform orrery.claims_write(p_range, p_lsn, p_op, p_pk, p_id, p_claim_op, p_claim_key, p_claim_value);
            perform orrery.clashes_note(p_range, p_lsn, p_op, p_pk, p_id, p_claim_op, p_claim_key, p_claim_value);
        end if;
    else
        for j in 1 .. cardinality(p_lsn) loop
            is_stranded := p_op[j] <> 5 and coalesce(p_lsn[j] > cuts[p_origin[j]], false);  -- rule 5.6
            if is_stranded then
                select exists (select from orrery.stranded x where x.range_id = p_range and x.origin = p_origin[j]
                               and x.lsn = p_lsn[j] and x.index = p_index[j]) into is_known;
            elsif p_op[j] = 5 then
                cuts := orrery.cuts_with(cuts, p_body[j]::json -> 'cut');
                execute format('select exists (select from orrery.%I l where l.range_id = $1 and l.op = 5 and l.origin = $2 and l.lsn = $3)', log)
                using p_range, p_origin[j], p_lsn[j] into is_known;
            else
                execute format($sql$
                    select exists (
                        select from orrery.%1$I i join orrery.%2$I h on h.range_id = i.range_id and h.seq = any (coalesce(i.heads, array[i.seq]))
                        where i.range_id = $1 and i.pk = $2 and i.id = $3
                          and (h.origin = $4 and h.lsn = $5 or orrery.knows(h.context, h.origin, h.lsn, $4, $5)))
                    or exists (
                        select from orrery.conflicts x where x.range_id = $1 and x.pk = $2 and x.id = $3 and x.origin = $4 and x.lsn = $5)$sql$,
                    items, log)
                using p_range, p_pk[j], p_id[j], p_origin[j], p_lsn[j] into is_known;
            end if;
            if is_known then
                continue;
            end if;
            applied := applied + 1;
            execute format($sql$
                insert into orrery.%I (range_id, seq, lsn, epoch, rid, ts, etag, ttl, index, origin, op, pk, id, context, rank, body)
                values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)$sql$, log)
            using p_range, r.seq + applied, p_lsn[j], p_entry_epoch[j], p_rid[j], p_ts[j], p_etag[j], p_ttl[j], p_index[j], p_origin[j],
                  p_op[j], p_pk[j], p_id[j], p_context[j]::bigint[], p_rank[j], p_body[j];
            if is_stranded then
                insert into orrery.stranded (range_id, origin, lsn, index, log_seq, doc, claim_key, claim_value, outcome)
                values (p_range, p_origin[j], p_lsn[j], p_index[j], r.seq + applied, coalesce(p_doc[j], p_body[j])::jsonb,
                        array(select k.key from unnest(p_claim_op, p_claim_key) k(op, key) where k.op = j),
                        array(select k.value from unnest(p_claim_op, p_claim_value) k(op, value) where k.op = j),
                        case when p_range = 0 then 'recorded' end);
            elsif p_op[j] <> 5 then
                perform orrery.apply_one(p_range, r.seq + applied, case when p_op[j] < 3 then coalesce(p_doc[j], p_body[j])::jsonb end,
                    array(select k.key from unnest(p_claim_op, p_claim_key) k(op, key) where k.op = j),
                    array(select k.value from unnest(p_claim_op, p_claim_value) k(op, value) where k.op = j));
            end if;
        end loop;
    end if;

    taken := cardinality(p_lsn);
    status := 'applied';
    vector := case when p_to = p_upto then orrery.vector_max(r.vector, p_through::bigint[]) else r.vector end;
    update orrery.ranges g set seq = r.seq + applied, vector = exchange_copy.vector where g.range_id = p_range;
    for j in 1 .. cardinality(p_lsn) loop
        if p_op[j] = 5 then
            perform orrery.marker_take(p_range, p_body[j]::json);
        end if;
    end loop;
    update orrery.horizons h set seq = r.seq + applied, vector = exchange_copy.vector where h.range_id = p_range;
    if p_to = p_upto then
        delete from orrery.copies x where x.range_id = p_range;
    else
        update orrery.copies x set at = greatest(x.at, p_to) where x.range_id = p_range;
    end if;
end
$$;

-- At the hub: a region that others should not wait for any longer (rule 8.1), because it was silent for p_silent_s or because it lacks what is no
-- longer in the log. It joins anew. Only where it takes no writes: what it wrote and nobody has would be lost. Null: none.
create function orrery.region_left_behind(p_silent_s bigint) returns smallint language sql stable as $$
    select (r ->> 'ordinal')::smallint
    from orrery.region_self s
    join orrery.topology t on t.epoch = s.accepted_epoch and t.state = 'open' and s.closed_for is null
    cross join json_array_elements(t.document -> 'regions') r
    where t.document ->> 'mode' = 'single' and (t.document ->> 'hub')::smallint = s.ordinal and (r ->> 'ordinal')::smallint <> s.ordinal
      and coalesce(r ->> 'state', 'online') = 'online'
      -- enough others answer, or nothing would be written until they do
      and (select n.all - n.all / 2 from (select count(*) as all from json_array_elements(t.document -> 'regions') o
                                          where coalesce(o ->> 'state', 'online') <> 'joining') n)
          <= 1 + (select count(*) from orrery.peers_heard h join json_array_elements(t.document -> 'regions') o
                  on (o ->> 'ordinal')::smallint = h.region and coalesce(o ->> 'state', 'online') <> 'joining'
                  where h.at > clock_timestamp() - interval '30 seconds')
      and (exists (select from orrery.peers_heard h where h.region = (r ->> 'ordinal')::smallint
                   -- one that has nothing to tell does so every ten seconds
                   and h.at < clock_timestamp() - greatest(p_silent_s, 20) * interval '1 second')
           or orrery.copies_due((r ->> 'ordinal')::smallint) > 0)
    order by 1 limit 1
$$;
