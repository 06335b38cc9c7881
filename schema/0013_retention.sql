-- What the log keeps, and when a tombstone may go. docs/replication.md states the rules; the numbers are those.

-- How far the log of a range was trimmed: of the entries through seq only those are left that something still needs, and vector is
-- what they had reached. Apart from ranges, which are hot. looked_at: when the trim found nothing more to do, in seconds.
create table orrery.horizons (
    range_id  bigint primary key,
    seq       bigint not null default 0,
    vector    bigint[] not null default '{}',
    looked_at bigint not null default 0
);

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
create function orrery.range_keepers(p_range bigint) returns smallint[] language sql stable as $$
    select array(
        select x.region from unnest(e.live) x(region)
        where x.region <> g.origin and not (exists (
            select from json_array_elements(t.document -> 'regions') r
            where (r ->> 'ordinal')::smallint = x.region and r ->> 'state' = 'joining')
            and not exists (select from orrery.peers_heard h
                            where h.region = x.region and h.at > clock_timestamp() - interval '60 seconds')))
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
-- A tombstone of which other versions are kept stays, or these would be found without it.
create function orrery.range_purge(p_range bigint, p_before bigint, p_limit integer) returns integer
language plpgsql as $$
declare
    items   text := format('items_%s', p_range >> 12);
    log     text := format('log_%s', p_range >> 12);
    keepers smallint[] := orrery.range_keepers(p_range);
    purged  integer;
begin
    if keepers is null then
        return 0;
    end if;
    execute format($sql$
        with gone as (
            delete from orrery.%1$I i using (
                select d.range_id, d.pk, d.id from orrery.%1$I d
                where d.range_id = $1 and d.deleted and d.ts <= $2 and d.heads is null and d.lsn <= coalesce(($4)[d.origin], 0)
                and not exists (select from orrery.conflicts c where c.range_id = $1 and c.pk = d.pk and c.id = d.id)
                limit $3) x
            where i.range_id = $1 and i.deleted and i.heads is null and i.pk = x.pk and i.id = x.id
            returning i.seq),
        entries as (
            delete from orrery.%2$I l using gone, orrery.horizons h
            where h.range_id = $1 and l.range_id = $1 and l.seq = gone.seq and l.seq <= h.seq)
        select count(*) from gone$sql$, items, log)
    using p_range, p_before, p_limit, orrery.range_stable(p_range, keepers) into purged;
    if purged < p_limit then
        update orrery.ranges g set purged_ts = greatest(g.purged_ts, p_before) where g.range_id = p_range;
    end if;
    return purged;
end
$$;

-- Trim the log of a range: of the entries with ts <= p_before that are stable and committed (rules 8.1, 8.2), the next p_limit. What
-- stays: the entry that an item shows, its heads, losers of conflicts, markers of epochs. How many entries were looked at; call again while it is
-- p_limit. A transaction is trimmed whole.
create function orrery.range_trim(p_range bigint, p_before bigint, p_now bigint, p_limit integer) returns integer
language plpgsql as $$
declare
    items   text := format('items_%s', p_range >> 12);
    log     text := format('log_%s', p_range >> 12);
    keepers smallint[] := orrery.range_keepers(p_range);
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
