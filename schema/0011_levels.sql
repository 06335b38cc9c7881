-- Consistency levels over several regions: the strong set, what is globally committed, how far a region may fall behind.
-- docs/replication.md states the rules; the numbers are those. Leases are in no table: whoever asked for one keeps it in memory.

-- The set belongs to an epoch; under another one everybody is out. heard: when a gateway of the region asked last, to tell that it has
-- fallen silent, which begins a wait and decides nothing. goal: the version for which strong_goals has what the region must have.
alter table orrery.strong_set
    add epoch bigint not null default 0,
    add heard timestamptz,
    add goal  bigint not null default 0;

-- What a joining region must have acked before it is in: what there was when its acks began to be needed.
create table orrery.strong_goals (
    region   smallint not null,
    range_id bigint not null,
    vector   bigint[] not null,
    primary key (region, range_id)
);

-- One row while this region is the hub of an epoch that it accepted and is not closed for: what the levels are to know.
-- majority is of the topology's regions; members are all of them but the hub. One that joins counts for nothing yet.
create view orrery.hub_state as
select m.epoch, m.origin as self, coalesce(t.document ->> 'level', 'Session') as level,
       coalesce((t.document -> 'bounded' ->> 'versions')::bigint, 100000) as versions,
       cardinality(v.voters) / 2 + 1 as majority, array_remove(v.voters, m.origin) as members, s.set_version
from orrery.ranges m
join orrery.region_self s on s.accepted_epoch = m.epoch and s.closed_for is null
join orrery.range_epochs e on e.range_id = m.range_id and e.epoch = m.epoch and e.hub = m.origin
left join orrery.topology t on t.epoch = m.epoch
cross join lateral (
    select array(select o from unnest(e.live) o except
                 select (r ->> 'ordinal')::smallint from json_array_elements(t.document -> 'regions') r
                 where r ->> 'state' = 'joining' order by 1) as voters) v
where m.range_id = 0;

-- At the hub, when peers told what they have: move what is committed, which is what every region that must have a write has (3.5;
-- under the weaker levels: every live region). One statement, one snapshot: acks count only for the set of that moment, so whoever
-- joins later has them in what it must catch up with. p_ranges null: all that lag. Rows: what moved.
-- Not in language sql, whose plans are made anew with every call.
create function orrery.committed_advance(p_ranges bigint[]) returns table (range_id bigint, committed bigint[])
language plpgsql set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
begin
    return query
    with h as (
        select s.epoch, s.self, s.versions, s.level = 'BoundedStaleness' as is_bounded,
               case when s.level in ('Strong', 'BoundedStaleness')
                    then array(select x.region from orrery.strong_set x where x.epoch = s.epoch and x.state <> 'out'
                               and x.region = any (s.members))
                    else s.members end as members,
               case when s.level in ('Strong', 'BoundedStaleness') then s.majority else 1 end as least
        from orrery.hub_state s
    ), n as (
        select g.range_id, h.self, h.is_bounded, h.versions,
               array(select greatest(coalesce(g.committed[v.o], 0), case when cardinality(h.members) + 1 < h.least then 0 else least(v.lsn,
                            -- what is stranded may be shown where a reader was ahead: nobody waits for it before it is decided
                            (select min(x.lsn) - 1 from orrery.stranded x
                             where x.range_id = g.range_id and x.origin = v.o and x.outcome is null),
                            (select min(coalesce(p.acked[v.o], 0)) from unnest(h.members) r(region)
                             left join orrery.peers p on p.region = r.region and p.range_id = g.range_id)) end)
                     from unnest(g.vector) with ordinality v(lsn, o) order by v.o) as committed
        from h cross join orrery.ranges g
        where g.state <> 'dropped' and (p_ranges is null or g.range_id = any (p_ranges))
          and (g.committed <> g.vector or (g.lsn_max is not null) <> h.is_bounded)
        order by g.range_id for no key update of g  -- in the order in which definitions lock them
    )
    update orrery.ranges g set
        committed = n.committed, committed_xid = pg_current_xact_id(),
        lsn_max = case when n.is_bounded then n.committed[n.self] + n.versions end
    from n where g.range_id = n.range_id
      and (g.committed <> n.committed or (g.lsn_max is not null) <> n.is_bounded or g.lsn_max <> n.committed[n.self] + n.versions)
    returning g.range_id, g.committed;
end
$$;

-- ---- beats ----

-- The hub of an epoch asks: does this region promise not to follow another one?
create function orrery.beat_promise(p_epoch bigint, out promised boolean, out accepted bigint) language sql stable as $$
    select s.accepted_epoch = p_epoch and s.closed_for is null, s.accepted_epoch from orrery.region_self s
$$;

-- A region asks the hub: may it read? is_in: its acks are needed, and it has what there was. since: to be sent with the next question,
-- so that it is told only what moved.
create function orrery.beat_grant(p_region smallint, p_epoch bigint, out epoch bigint, out is_in boolean, out set_version bigint,
                                  out since bigint)
language plpgsql as $$
declare
    h record;
begin
    perform set_config('synchronous_commit', 'off', true);  -- a region that is forgotten to have asked asks again
    select * from orrery.hub_state into h;
    is_in := false;
    epoch := h.epoch;
    set_version := h.set_version;
    if h.epoch is distinct from p_epoch or not p_region = any (h.members) then
        return;
    end if;
    insert into orrery.strong_set as x (region, state, version, epoch, heard)
    values (p_region, 'out', h.set_version, h.epoch, clock_timestamp())
    on conflict (region) do update set
        heard = excluded.heard, epoch = excluded.epoch,
        state = case when x.epoch = excluded.epoch then x.state else 'out' end;
    since := pg_snapshot_xmin(pg_current_snapshot())::text::bigint;
end
$$;

-- The rest of the answer, in a snapshot of its own that is later than the question: the state of the set, and per range what is
-- committed and, under Bounded staleness, the head.
create function orrery.beat_needs(p_region smallint, p_epoch bigint, p_since bigint)
returns table (is_in boolean, set_version bigint, range_id bigint, committed bigint[], head bigint) language sql stable as $$
    select x.state = 'in', h.set_version, g.range_id, g.committed, g.vector[h.self]
    from orrery.hub_state h
    join orrery.strong_set x on x.region = p_region and x.epoch = h.epoch
    left join orrery.ranges g on g.state <> 'dropped' and g.seq > 0
        and (g.committed_xid >= p_since::text::xid8 or h.level = 'BoundedStaleness')
    where h.epoch = p_epoch
$$;

-- ---- the strong set ----

-- The members as the hub's gateways look at them before they decide. silent_ms null: never heard.
create function orrery.strong_look()
returns table (epoch bigint, majority integer, region smallint, state text, version bigint, silent_ms bigint, has_goal boolean,
               has_what_was boolean)
language sql stable as $$
    select h.epoch, h.majority, m.region, coalesce(x.state, 'out'), coalesce(x.version, 0),
           greatest(0, (extract(epoch from clock_timestamp() - x.heard) * 1000)::bigint), coalesce(x.goal = x.version, false),
           coalesce(x.goal = x.version, false) and not exists (
               select from orrery.strong_goals w
               join orrery.ranges g on g.range_id = w.range_id and g.state <> 'dropped'
               left join orrery.peers p on p.region = w.region and p.range_id = w.range_id
               where w.region = m.region
                 and exists (select from unnest(w.vector) with ordinality u(lsn, o) where u.lsn > coalesce(p.acked[u.o], 0)))
    from orrery.hub_state h cross join unnest(h.members) m(region)
    left join orrery.strong_set x on x.region = m.region and x.epoch = h.epoch
$$;

-- Change a member's state, if it is still the one of that version, and never so that fewer than a majority are left.
create function orrery.strong_step(p_epoch bigint, p_region smallint, p_version bigint, p_from text, p_to text) returns boolean
language plpgsql as $$
declare
    h record;
begin
    -- one change at a time: the next one sees this one's
    update orrery.region_self s set set_version = s.set_version;
    select * from orrery.hub_state into h;
    if h.epoch is distinct from p_epoch then
        return false;
    end if;
    if p_to = 'out' and (select count(*) from orrery.strong_set x where x.epoch = h.epoch and x.state <> 'out'
                         and x.region = any (h.members)) < h.majority then
        return false;  -- the hub is one of them
    end if;
    update orrery.strong_set x set state = p_to, version = h.set_version + 1
    where x.region = p_region and x.epoch = p_epoch and x.version = p_version and x.state = p_from;
    if not found then
        return false;
    end if;
    update orrery.region_self s set set_version = s.set_version + 1;
    return true;
end
$$;

-- What a region that joins must have: in a snapshot that is later than the beginning of its joining.
create function orrery.strong_goal(p_region smallint, p_version bigint) returns void language plpgsql as $$
begin
    perform from orrery.strong_set x where x.region = p_region and x.version = p_version and x.state = 'joining' for update;
    if not found then
        return;
    end if;
    delete from orrery.strong_goals w where w.region = p_region;
    insert into orrery.strong_goals select p_region, g.range_id, g.vector from orrery.ranges g where g.state <> 'dropped';
    update orrery.strong_set x set goal = p_version where x.region = p_region;
end
$$;

-- One look of a hub's gateway at all its ranges: move what is committed, then tell what moved since (other gateways hear acks, too) and
-- which ranges have entries of the hub that are not committed. since: to be given with the next look.
create function orrery.levels_look(p_since bigint)
returns table (range_id bigint, committed bigint[], head bigint, committed_head bigint, since bigint) language plpgsql as $$
begin
    perform set_config('synchronous_commit', 'off', true);  -- a bound that a crash takes back is found again
    perform from orrery.committed_advance(null);
    return query
    select g.range_id, g.committed, coalesce(g.vector[g.origin], 0), coalesce(g.committed[g.origin], 0),
           pg_snapshot_xmin(pg_current_snapshot())::text::bigint
    from (select 1) one
    left join orrery.ranges g on g.state <> 'dropped'
        and (g.committed_xid >= p_since::text::xid8 or coalesce(g.committed[g.origin], 0) < g.vector[g.origin]);
end
$$;
