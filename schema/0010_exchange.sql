-- Entries on their way from region to region: who asks, who has what, and what an entry of a definition does besides
-- being an item. docs/replication.md states the rules; the numbers are those.

-- How far the log of a range was trimmed: of the entries through seq only those are left that something still needs, and vector is
-- what they had reached. Apart from ranges, which are hot. looked_at: when the trim found nothing more to do, in seconds.
create table orrery.horizons (
    range_id  bigint primary key,
    seq       bigint not null default 0,
    vector    bigint[] not null default '{}',
    looked_at bigint not null default 0
);

-- Positions in a trimmed log are told apart from those in the log by this much.
create function orrery.copy_base() returns bigint language sql immutable parallel safe as $$ select 4611686018427387904 $$;

-- Work that one gateway of the region does for all: it is taken for a moment, again and again, by PostgreSQL's clock.
create table orrery.claims (
    what   text primary key,
    holder bigint not null,
    until  timestamptz not null
);

-- committed: what the region knows to be globally committed.
alter table orrery.peers add committed bigint[] not null default '{}';

-- rolled_back: why this region was found to be an older state of itself (rule 1.3); it takes no writes then.
alter table orrery.region_self add rolled_back text;

-- True when the holder has it now, for so long. A deadline further away than that was set by a clock that has been put back.
create function orrery.claim_take(p_what text, p_holder bigint, p_ms integer) returns boolean language plpgsql as $$
begin
    perform set_config('synchronous_commit', 'off', true);  -- one that a crash forgets is taken again
    insert into orrery.claims as c (what, holder, until)
    values (p_what, p_holder, clock_timestamp() + p_ms * interval '1 millisecond')
    on conflict (what) do update set holder = excluded.holder, until = excluded.until
    where c.holder = excluded.holder or c.until < clock_timestamp() or c.until > excluded.until;
    return found;
end
$$;

create function orrery.claim_drop(p_what text, p_holder bigint) returns void language sql as $$
    delete from orrery.claims c where c.what = p_what and c.holder = p_holder
$$;

-- These are loops over a few numbers, and not in language sql: what is not inlined there, because it has a subquery, is parsed and
-- planned again by every statement that calls it, which was most of what a request for entries cost.
create function orrery.vector_covers(vector bigint[], other bigint[]) returns boolean language plpgsql immutable parallel safe as $$
begin
    for o in 1 .. coalesce(cardinality(other), 0) loop
        if other[o] > coalesce(vector[o], 0) then
            return false;
        end if;
    end loop;
    return true;
end
$$;

create function orrery.vector_max(a bigint[], b bigint[]) returns bigint[] language plpgsql immutable parallel safe as $$
declare
    most bigint[] := '{}';
begin
    for o in 1 .. greatest(coalesce(cardinality(a), 0), coalesce(cardinality(b), 0)) loop
        most[o] := greatest(a[o], b[o], 0);
    end loop;
    return most;
end
$$;

-- Does a region that has the vector acked lack anything of ours, its own entries and those of p_declined apart?
create function orrery.is_behind(p_region smallint, vector bigint[], acked bigint[], p_declined bigint[] default '{}') returns boolean
language plpgsql immutable parallel safe as $$
begin
    for o in 1 .. coalesce(cardinality(vector), 0) loop
        if o <> p_region and vector[o] > coalesce(acked[o], 0) and o <> all (p_declined) then
            return true;
        end if;
    end loop;
    return false;
end
$$;

-- This region is an older state of itself: no range takes writes from here on. Whoever finds that holds a range perhaps, so the order of
-- locks is not kept: should that close a circle, PostgreSQL ends one of those in it, and it is found again.
create function orrery.region_roll_back(p_why text) returns void language plpgsql as $$
begin
    -- those, too, that a marker is just opening
    perform from orrery.ranges g order by g.range_id for no key update;
    update orrery.region_self set rolled_back = coalesce(rolled_back, p_why);
    update orrery.ranges set state = 'read-only' where state = 'online';
end
$$;

-- What a region says that it has applied, durably: its vectors, and how far it has our log (-1: it does not know). p_is_first:
-- nothing else of it is under way. Then a vector below the one that it told before means that it lost what it had, and its
-- position counts for nothing; otherwise messages may overtake each other, and the greater one counts.
-- Rows: ranges of which more is committed by that, at the hub; one without a range when there are none. Not is_sound when it has
-- entries of ours that we do not: we were rolled back.
-- Locks, in this order: the row of the region in peers_heard, which makes what one region says one after the other, whatever order its
-- ranges come in; its rows in peers, for which nobody waits who holds a range (stability_look passes over what is locked); then
-- ranges in ascending order, as all do who take several.
-- p_moves: move what is committed by it. Under the weaker levels nobody waits for that, and it would take the lock of a range that
-- writers want with every message: background work does it.
create function orrery.exchange_note(p_region smallint, p_is_first boolean, p_range bigint[], p_held bigint[], p_acked text[],
                                     p_committed text[], p_moves boolean default true)
returns table (range_id bigint, committed bigint[], is_sound boolean)
language plpgsql set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
    lost bigint;
begin
    perform set_config('synchronous_commit', 'off', true);  -- a region says it again
    insert into orrery.peers_heard as h (region) values (p_region)  -- locked even where nothing is updated
    on conflict (region) do update set at = clock_timestamp() where h.at < clock_timestamp() - interval '5 seconds';
    select g.range_id
    from unnest(p_range, p_acked) x(range_id, acked) join orrery.ranges g on g.range_id = x.range_id
    where (x.acked::bigint[])[g.origin] > g.vector[g.origin] limit 1 into lost;
    if lost is not null then
        perform set_config('synchronous_commit', 'on', true);
        perform orrery.region_roll_back(format('region %s has entries of range %s that this region wrote and does not have',
                                               p_region, lost));
        return query select null::bigint, null::bigint[], false;
        return;
    end if;
    -- A region that lacks what is no longer in the log gets a copy (0013), whose positions are beyond copy_base(): it says exactly
    -- where it is.
    update orrery.peers p set
        seq = case when x.is_beyond then case when x.held >= orrery.copy_base() then x.held
                                              when p.seq >= orrery.copy_base() and not p_is_first then p.seq else orrery.copy_base() end
                   when p_is_first and not orrery.vector_covers(x.acked, p.acked) then 0
                   else greatest(p.seq % orrery.copy_base(), x.held % orrery.copy_base()) end,
        acked = case when p_is_first then x.acked else orrery.vector_max(p.acked, x.acked) end,
        committed = case when p_is_first then x.committed else orrery.vector_max(p.committed, x.committed) end
    from (select x.range_id, x.held, x.acked::bigint[], x.committed::bigint[],
                 case when orrery.is_beyond_log(x.range_id, x.acked::bigint[]) then  -- and no message that overtook this one says otherwise
                     p_is_first or orrery.is_beyond_log(x.range_id, orrery.vector_max(x.acked::bigint[], (
                         select q.acked from orrery.peers q where q.region = p_region and q.range_id = x.range_id)))
                 else false end as is_beyond
          from unnest(p_range, p_held, p_acked, p_committed) x(range_id, held, acked, committed)) x
    where p.region = p_region and p.range_id = x.range_id
      and (p.seq < x.held or p.acked <> x.acked or p.committed <> x.committed or (p.seq >= orrery.copy_base()) <> x.is_beyond
           or p.seq >= orrery.copy_base());
    insert into orrery.peers (region, range_id, seq, acked, committed)
    select p_region, x.range_id,
           case when orrery.is_beyond_log(x.range_id, x.acked::bigint[]) then greatest(x.held, orrery.copy_base())
                else greatest(x.held % orrery.copy_base(), 0) end, x.acked::bigint[], x.committed::bigint[]
    from unnest(p_range, p_held, p_acked, p_committed) x(range_id, held, acked, committed)
    where not exists (select from orrery.peers p where p.region = p_region and p.range_id = x.range_id)
    on conflict do nothing;
    -- a log with nothing that the region lacks need not be read for it
    update orrery.peers p set seq = g.seq
    from unnest(p_range) x(range_id) join orrery.ranges g on g.range_id = x.range_id
    where p.region = p_region and p.range_id = x.range_id and p.seq < g.seq
      and not orrery.is_behind(p_region, g.vector, p.acked);
    if p_moves then
        return query select a.range_id, a.committed, true from orrery.committed_advance(p_range) a;
    end if;
    if not p_moves or not found then
        return query select null::bigint, null::bigint[], true;
    end if;
end
$$;

-- A source knows what is globally committed. What a crash takes back of it is told again.
create function orrery.exchange_learn(p_range bigint[], p_committed text[]) returns void language plpgsql as $$
begin
    perform set_config('synchronous_commit', 'off', true);
    update orrery.ranges g set committed = orrery.vector_max(g.committed, x.committed), committed_xid = pg_current_xact_id()
    from (select h.range_id, y.committed::bigint[]  -- locks are taken in the order in which definitions take them
          from unnest(p_range, p_committed) y(range_id, committed) join orrery.ranges h on h.range_id = y.range_id
          where not orrery.vector_covers(h.committed, y.committed::bigint[])
          order by h.range_id for no key update of h) x
    where g.range_id = x.range_id;
end
$$;

-- Ranges with entries that a region lacks, and those of which more is committed than it knows: where to begin, and what to say of them.
-- p_what: 0 both; 1 both when there are entries, otherwise none, so that a busy range does not hide what is committed of the others;
-- 2 what is committed alone; 3 as 1, but when there are no entries, those of p_declined that the region lacks: their ranges, with
-- has_entries false. p_declined: origins that the region hears itself, whose entries are no reason to tell it anything. p_received: how far the region has our log already, beyond what it has applied; those at the end of all
-- numbers are not wanted now. First comes range 0, then those after p_after, so that all have their turn.
create function orrery.exchange_find(p_region smallint, p_range bigint[], p_received bigint[], p_after bigint, p_limit integer,
                                     p_what smallint, p_declined bigint[] default '{}')
returns table (range_id bigint, "from" bigint, head bigint, vector bigint[], committed bigint[], acked bigint[],
               needs_origin smallint, needs_lsn bigint, has_entries boolean)
language plpgsql stable set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
begin
    -- Mostly there is nothing; what follows takes more than twice as long to say so.
    if p_what in (1, 3) and not exists (
        select from orrery.ranges g left join orrery.peers p on p.region = p_region and p.range_id = g.range_id
        where g.state <> 'dropped' and (p.seq is null or p.seq < g.seq or p.seq >= orrery.copy_base())) then
        return;
    end if;
    return query
    select y.range_id, y.at, y.head, y.vector, y.committed, y.acked, coalesce(c.origin, 0)::smallint, coalesce(c.lsn, 0),
           y.has_entries or y.is_copy
    from (
        select g.range_id, g.container, f.at, case when k.is_copy then orrery.copy_base() + h.seq else g.seq end as head,
               case when k.is_copy then h.vector else g.vector end as vector, g.committed, coalesce(p.acked, '{}') as acked,
               w.has_entries, w.has_news, w.has_declined, k.is_copy, bool_or(w.has_entries) over () as is_worth_it
        from orrery.ranges g
        left join orrery.peers p on p.region = p_region and p.range_id = g.range_id
        left join unnest(p_range, p_received) x(range_id, received) on x.range_id = g.range_id
        left join orrery.horizons h on h.range_id = g.range_id
        -- a copy is given by the hub alone, so that there is one
        cross join lateral (select coalesce(p.seq >= orrery.copy_base(), false) as is_copy) k
        cross join lateral (
            select case when not k.is_copy and x.received < 9223372036854775807
                        then greatest(coalesce(p.seq, 0), x.received % orrery.copy_base())
                        else greatest(coalesce(p.seq, 0), coalesce(x.received, 0)) end as at) f
        cross join lateral (
            select p_what <> 2 and case when k.is_copy then orrery.copy_base() + h.seq > f.at
                                        else g.seq > f.at and orrery.is_behind(p_region, g.vector, p.acked, p_declined) end
                   as has_entries,
                   p_what = 3 and not k.is_copy and g.seq > f.at and orrery.is_behind(p_region, g.vector, p.acked) as has_declined,
                   p.range_id is not null and not orrery.vector_covers(p.committed, g.committed)
                   and coalesce(x.received, 0) < 9223372036854775807 as has_news) w
        where g.state <> 'dropped'
          and not (k.is_copy and not exists (
              select from orrery.ranges m join orrery.range_epochs e on e.range_id = m.range_id and e.epoch = m.epoch and e.hub = m.origin
              where m.range_id = 0))
          and (w.has_entries or w.has_news or w.has_declined)) y
    left join lateral (select i.origin, i.lsn from orrery.items_0 i
                       where i.range_id = 0 and i.rid = y.container and not i.deleted
                       and i.pk >= 'colls/' and i.pk < 'colls0' limit 1) c on true
    where case p_what when 1 then y.is_worth_it
                      when 3 then y.is_worth_it and (y.has_entries or y.has_news) or not y.is_worth_it and y.has_declined
                      else true end
    order by y.range_id <> 0, y.range_id <= p_after, y.range_id limit p_limit;
end
$$;

-- Entries of a region into a range: orrery.apply, after what they need. status also 'metadata': definitions must come first
-- (rule 9.1); 'dropped': the container is gone, nothing is to be done with its entries.
create function orrery.exchange_apply(
    p_needs_origin smallint, p_needs_lsn bigint,
    p_range bigint, p_epoch bigint, p_origin smallint[], p_lsn bigint[], p_index integer[], p_entry_epoch bigint[],
    p_op smallint[], p_pk bytea[], p_id text[], p_rid bigint[], p_ts bigint[], p_etag uuid[], p_ttl integer[],
    p_rank float8[], p_context text[], p_body text[], p_doc text[],
    p_claim_op integer[], p_claim_key smallint[], p_claim_value bytea[],
    out status text, out applied integer, out taken integer, out seq bigint, out epoch bigint, out vector bigint[])
language plpgsql as $$
declare
    is_known boolean;
begin
    applied := 0; taken := 0;
    if p_needs_origin > 0 and coalesce((select g.vector[p_needs_origin] from orrery.ranges g where g.range_id = 0), 0) < p_needs_lsn then
        status := 'metadata';
        return;
    end if;
    if exists (select from orrery.copies c where c.range_id = p_range) then
        status := 'waits';  -- for the copy
        return;
    end if;
    select g.state <> 'dropped' from orrery.ranges g where g.range_id = p_range into is_known;
    -- A region that was given up before the range was made wrote into a container of its own that had the same number: in an epoch
    -- before that of the definition.
    if is_known is not true or exists (
        select from (select x.origin, min(x.epoch) as epoch from unnest(p_origin, p_entry_epoch) x(origin, epoch) group by 1) x
        where exists (select from (select * from orrery.topology t where t.state = 'open' order by t.epoch desc limit 1) t
                      cross join json_array_elements(t.document -> 'retired') d where (d ->> 'ordinal')::smallint = x.origin)
          and x.epoch < (select min(l.epoch) from orrery.log_0 l
                         where l.range_id = 0 and l.rid = p_range >> 12 and l.pk >= 'colls/' and l.pk < 'colls0'
                           and coalesce(l.lsn <= (orrery.range_cuts(0))[l.origin], true))) then
        status := 'dropped';
        return;
    end if;
    select a.status, a.applied, a.taken, a.seq, a.epoch, a.vector
    from orrery.apply(p_range, p_epoch, p_origin, p_lsn, p_index, p_entry_epoch, p_op, p_pk, p_id, p_rid, p_ts, p_etag, p_ttl,
                      p_rank, p_context, p_body, p_doc, p_claim_op, p_claim_key, p_claim_value) a
    into status, applied, taken, seq, epoch, vector;
    if status = 'own' then
        perform orrery.region_roll_back(format('range %s: another region has an entry that this region wrote and does not have',
                                               p_range));
    end if;
end
$$;

-- Definitions that changed elsewhere: entries of range 0, and what follows from them, in one transaction. p_number: containers
-- that they are about, later entries first, with what follows from each; p_entry: which entry, from 1. The first one of a container
-- that is not stranded counts (rule 5.6). p_index_of: which of p_number an index is of, from 1.
-- What is done is what the items say afterwards, so it does not matter which entries were known already.
create function orrery.exchange_apply_metadata(
    p_range bigint, p_epoch bigint, p_origin smallint[], p_lsn bigint[], p_index integer[], p_entry_epoch bigint[],
    p_op smallint[], p_pk bytea[], p_id text[], p_rid bigint[], p_ts bigint[], p_etag uuid[], p_ttl integer[],
    p_rank float8[], p_context text[], p_body text[], p_doc text[],
    p_claim_op integer[], p_claim_key smallint[], p_claim_value bytea[],
    p_number bigint[], p_entry integer[], p_default_ttl integer[], p_has_unique_keys boolean[],
    p_index_of integer[], p_index_kind smallint[], p_index_spec text[], p_index_definition text[],
    out status text, out applied integer, out taken integer, out seq bigint, out epoch bigint, out vector bigint[])
language plpgsql as $$
declare
    c record;
    cuts bigint[];
begin
    if p_number <> '{}' then
        perform orrery.container_lock(variadic 0::bigint || p_number);  -- before a marker among them takes region_self
    end if;
    select a.status, a.applied, a.taken, a.seq, a.epoch, a.vector
    from orrery.apply(p_range, p_epoch, p_origin, p_lsn, p_index, p_entry_epoch, p_op, p_pk, p_id, p_rid, p_ts, p_etag, p_ttl,
                      p_rank, p_context, p_body, p_doc, p_claim_op, p_claim_key, p_claim_value) a
    into status, applied, taken, seq, epoch, vector;
    if status = 'own' then
        perform orrery.region_roll_back('another region has a definition that this region wrote and does not have');
    end if;
    if applied = 0 then
        return;
    end if;
    -- Numbers are taken at the hub, and another region may be the hub next. Three kinds of definitions have none of their own.
    update orrery.account a set next_number = x.next
    from (select max(y.rid) + 1 as next from unnest(p_rid, p_pk) y(rid, pk)
          where split_part(convert_from(y.pk, 'UTF8'), '/', 1) not in ('offers', 'ranges', 'grants')) x
    where a.next_number < x.next;
    cuts := orrery.range_cuts(0);
    for c in
        select x.n, x.number, x.default_ttl, x.has_unique_keys, i.rid is not null as is_there, r.body as ranges,
               exists (select from orrery.ranges g where g.container = x.number) as is_made
        from (select distinct on (y.number) y.*
              from unnest(p_number, p_entry, p_default_ttl, p_has_unique_keys) with ordinality
                   y(number, entry, default_ttl, has_unique_keys, n)
              where coalesce(p_lsn[y.entry] <= cuts[p_origin[y.entry]], true)
              order by y.number, y.n) x
        left join lateral (select i.rid from orrery.items_0 i where i.range_id = 0 and i.rid = x.number and not i.deleted
                           and i.pk >= 'colls/' and i.pk < 'colls0' limit 1) i on true
        left join lateral (select i.body from orrery.items_0 i where i.range_id = 0 and not i.deleted
                           and i.pk = convert_to('ranges/' || x.number, 'UTF8') limit 1) r on true
        order by x.n
    loop
        if c.is_there and not c.is_made then
            perform orrery.container_make(c.number,
                array(select decode(e.range->>'min', 'hex') from json_array_elements(c.ranges::json->'ranges') e(range)),
                array(select decode(e.range->>'max', 'hex') from json_array_elements(c.ranges::json->'ranges') e(range)),
                c.default_ttl, c.has_unique_keys,
                array(select y.kind from unnest(p_index_of, p_index_kind) with ordinality y(of, kind, n) where y.of = c.n order by y.n),
                array(select y.spec from unnest(p_index_of, p_index_spec) with ordinality y(of, spec, n) where y.of = c.n order by y.n),
                array(select y.definition from unnest(p_index_of, p_index_definition) with ordinality y(of, definition, n)
                      where y.of = c.n order by y.n));
        elsif c.is_there then
            perform orrery.container_default_ttl(c.number, c.default_ttl);
        else
            update orrery.ranges g set state = 'dropped' where g.container = c.number and g.state <> 'dropped';
        end if;
    end loop;
end
$$;
