-- Epochs: how one topology of the account follows another. docs/replication.md states the rules; the numbers are those.

-- A change of the topology that this region carries out, as the hub of the new epoch. One row per attempt; whichever gateway
-- holds it goes on where another one stopped. fence: regions that take their last write before it opens. needed: how many must
-- accept. stage: catching-up, closing, accepting, reaching, opening, done; failed, superseded.
create table orrery.changes (
    epoch      bigint primary key,
    kind       text not null,
    document   json not null,
    fence      smallint[] not null default '{}',
    needed     integer not null,
    stage      text not null,
    note       text not null default '',
    holder     bigint not null default 0,
    touched_at timestamptz not null default clock_timestamp(),
    asked_at   timestamptz not null default clock_timestamp(),
    ended_at   timestamptz
);

-- What a region said when it accepted: the marker and the vector of each of its ranges. Region 0: what the old hub had when
-- the change was asked for.
create table orrery.acceptances (
    epoch  bigint not null,
    region smallint not null,
    ranges json not null,
    primary key (epoch, region)
);

-- ---- what an epoch means for a range ----

-- Cuts as an array by ordinal, with those that a marker names ({"4":17}).
create function orrery.cuts_with(cuts bigint[], more json) returns bigint[] language plpgsql immutable as $$
declare
    c record;
begin
    for c in select key::integer as ordinal, value::bigint as lsn from json_each_text(more) loop
        cuts[c.ordinal] := least(cuts[c.ordinal], c.lsn);
    end loop;
    -- subscripts count from 1
    return case when array_lower(cuts, 1) > 1 then array_fill(null::bigint, array[array_lower(cuts, 1) - 1]) || cuts else cuts end;
end
$$;

create function orrery.range_cuts(p_range bigint) returns bigint[] language plpgsql stable as $$
begin
    return (
        select array_agg(x.lsn order by x.ordinal)
        from (select n.ordinal, min(e.cut[n.ordinal]) as lsn
              from orrery.range_epochs e cross join lateral generate_series(1, cardinality(e.cut)) n(ordinal)
              where e.range_id = p_range and e.cut <> '{}' group by n.ordinal) x);
end
$$;

-- A marker is in the log: the range is of its epoch from here on, and written by whom it says; or it says what became of a
-- stranded transaction.
create function orrery.marker_take(p_range bigint, p_marker json) returns void language plpgsql as $$
declare
    e      constant bigint := (p_marker ->> 'epoch')::bigint;
    may    smallint[] := array(select x::smallint from json_array_elements_text(
                                   p_marker -> case p_range when 0 then 'metadata_writers' else 'writers' end) x);
    mine   record;
begin
    if p_marker -> 'stranded' is not null then
        perform orrery.stranded_take(p_range, p_marker -> 'stranded');
        return;
    end if;
    insert into orrery.range_epochs as r (range_id, epoch, hub, live, writers, cut)
    select g.range_id, e, (p_marker ->> 'hub')::smallint,
           array(select x::smallint from json_array_elements_text(p_marker -> 'live') x), may,
           coalesce(orrery.cuts_with('{}', p_marker -> 'cut'), '{}')
    from orrery.ranges g where g.range_id = p_range
    on conflict (range_id, epoch) do update set
        hub = excluded.hub, live = excluded.live, writers = excluded.writers, cut = excluded.cut;
    update orrery.region_self s set
        accepted_epoch = greatest(s.accepted_epoch, e),
        closed_for = case when s.closed_for > e then s.closed_for end
    where s.accepted_epoch < e or s.closed_for <= e;
    insert into orrery.topology (epoch, state, document) values (e, 'open', p_marker -> 'document')
    on conflict (epoch) do update set state = 'open' where orrery.topology.state <> 'open';
    select * from orrery.region_self into mine;
    update orrery.ranges g set
        epoch = e,
        state = case when g.origin = any (may) and mine.rolled_back is null and coalesce(mine.fenced_for, 0) <= e
                          and orrery.topology_lets_write(p_range, e)
                     then 'online' else 'read-only' end
    where g.range_id = p_range and g.epoch <= e and g.state in ('online', 'read-only');
    perform orrery.stranded_note(p_range, c.key::smallint, c.value::bigint)
    from json_each_text(p_marker -> 'cut') c join orrery.ranges g on g.range_id = p_range
    where g.vector[c.key::integer] > c.value::bigint;
end
$$;

-- ---- proposing ----

-- A number that nobody else takes: a counter, and who counts (rule 5.1). Durable when this returns.
create function orrery.epoch_propose() returns bigint language sql as $$
    update orrery.region_self s set proposed_epoch =
        ((greatest(s.proposed_epoch, s.accepted_epoch, s.closed_for, (select max(t.epoch) from orrery.topology t)) >> 8) + 1) << 8
        | s.ordinal
    returning s.proposed_epoch
$$;

-- Begin a change. Null, or why not. p_before: the topology that it changes, which a region that was alone has stored nowhere yet.
create function orrery.change_begin(p_kind text, p_document text, p_fence smallint[], p_needed integer, p_stage text,
                                    p_is_forced boolean, p_before text) returns text language plpgsql as $$
declare
    e     bigint := (p_document::json ->> 'epoch')::bigint;
    other record;
begin
    update orrery.region_self s set ordinal = s.ordinal;
    select * from orrery.changes c where c.ended_at is null order by c.epoch desc limit 1 into other;
    if other.epoch is not null and not p_is_forced then
        return format('another change is under way: %s, epoch %s, %s', other.kind, other.epoch, other.stage);
    end if;
    update orrery.changes c set stage = 'superseded', ended_at = clock_timestamp() where c.ended_at is null;
    insert into orrery.changes (epoch, kind, document, fence, needed, stage)
    values (e, p_kind, p_document::json, p_fence, p_needed, p_stage);
    update orrery.topology t set document = p_before::json where t.document::text = '{}';
    return null;
end
$$;

-- The change that is under way, when the holder may go on with it.
create function orrery.change_take(p_holder bigint)
returns table (epoch bigint, kind text, document text, fence smallint[], needed integer, stage text, age_ms bigint,
               accepted smallint[], level text)
language plpgsql as $$
#variable_conflict use_column
begin
    return query
    update orrery.changes c set holder = p_holder, touched_at = clock_timestamp()
    where c.epoch = (select max(x.epoch) from orrery.changes x where x.ended_at is null)
      and (c.holder in (0, p_holder) or c.touched_at < clock_timestamp() - interval '5 seconds' or c.touched_at > clock_timestamp())
    returning c.epoch, c.kind, c.document::text, c.fence, c.needed, c.stage,
              (extract(epoch from clock_timestamp() - c.asked_at) * 1000)::bigint,
              array(select a.region from orrery.acceptances a where a.epoch = c.epoch and a.region > 0),
              (select t.document ->> 'level' from orrery.topology t where t.state = 'open' order by t.epoch desc limit 1);
end
$$;

create function orrery.change_go(p_epoch bigint, p_stage text, p_note text) returns void language sql as $$
    update orrery.changes c set
        stage = p_stage, note = p_note, touched_at = clock_timestamp(),
        ended_at = case when p_stage in ('done', 'failed', 'superseded') then clock_timestamp() end
    where c.epoch = p_epoch and c.ended_at is null
$$;

-- ---- what regions ask of each other ----

-- The marker and the vector of every range.
create function orrery.ranges_tell() returns json language sql stable as $$
    select coalesce(json_agg(json_build_array(g.range_id, g.epoch, g.vector) order by g.range_id), '[]')
    from orrery.ranges g where g.state in ('online', 'read-only')
$$;

-- How many ranges lack something of what another region told. Only ranges of the highest marker count, when several told.
create function orrery.ranges_lacking(p_told json[]) returns bigint language sql stable as $$
    select count(*) from (
        select (r ->> 0)::bigint as range_id, (r ->> 1)::bigint as epoch,
               max((r ->> 1)::bigint) over (partition by (r ->> 0)::bigint) as highest, r -> 2 as vector
        from unnest(p_told) t(ranges) cross join lateral json_array_elements(t.ranges) r) x
    left join orrery.ranges g on g.range_id = x.range_id
    -- a range that is not there is of a container that range 0 has dropped, or does not know yet
    where x.epoch = x.highest and g.state is distinct from 'dropped' and (g.range_id is null and exists (
        select from orrery.items_0 i where i.range_id = 0 and i.rid = x.range_id >> 12 and not i.deleted
        and i.pk >= 'colls/' and i.pk < 'colls0') or g.range_id is not null and exists (
        select from json_array_elements_text(x.vector) with ordinality v(lsn, o)
        where v.lsn::bigint > coalesce(g.vector[v.o], 0)))
$$;

-- What a region that joins must have before clients hear of it (rule 8.4): what there was here at a moment. One row per region
-- that joins; round counts how often a new moment was taken, since the way to the last one was long.
create table orrery.join_goals (
    region   smallint primary key,
    round    integer not null default 1,
    taken_at timestamptz not null default clock_timestamp(),
    ranges   json not null
);

-- Of how many ranges a region lacks, as far as it has said, what only a copy can bring.
create function orrery.copies_due(p_region smallint) returns bigint language sql stable as $$
    select count(*) from orrery.peers p join orrery.ranges g on g.range_id = p.range_id and g.state in ('online', 'read-only')
    where p.region = p_region and p.seq >= orrery.copy_base()
$$;

-- A region that joins told what it has: how many ranges lack something of its goal. Where it got there after a long while, what
-- was written meanwhile is much: the goal becomes what there is now.
create function orrery.join_look(p_region smallint, p_told json) returns bigint language plpgsql as $$
declare
    goal    record;
    lacking bigint;
begin
    delete from orrery.join_goals j where j.region <> p_region and not exists (
        select from orrery.topology t, json_array_elements(t.document -> 'regions') r
        where t.epoch = (select max(x.epoch) from orrery.topology x where x.state = 'open')
          and (r ->> 'ordinal')::smallint = j.region and r ->> 'state' = 'joining');
    select * from orrery.join_goals j where j.region = p_region into goal;
    if goal.region is null then
        insert into orrery.join_goals (region, ranges) values (p_region, orrery.ranges_tell());
        return 1;
    end if;
    select count(*) from (select (r ->> 0)::bigint as range_id, r -> 2 as vector from json_array_elements(goal.ranges) r) w
    join orrery.ranges g on g.range_id = w.range_id and g.state in ('online', 'read-only')
    left join (select (r ->> 0)::bigint as range_id, r -> 2 as vector from json_array_elements(p_told) r) x
      on x.range_id = w.range_id
    where x.range_id is null or exists (
        select from json_array_elements_text(w.vector) with ordinality v(lsn, o)
        where v.lsn::bigint > coalesce((x.vector ->> (v.o - 1)::integer)::bigint, 0))
    into lacking;
    -- it has all, perhaps, and has not said so where the log is read for it: it would be left behind at once
    lacking := lacking + orrery.copies_due(p_region);
    if lacking = 0 and goal.round < 4 and clock_timestamp() - goal.taken_at > interval '15 seconds' then
        update orrery.join_goals j set round = j.round + 1, taken_at = clock_timestamp(), ranges = orrery.ranges_tell()
        where j.region = p_region;
        return 1;
    end if;
    if lacking = 0 then
        delete from orrery.join_goals j where j.region = p_region;
    end if;
    return lacking;
end
$$;

create function orrery.change_lacking(p_epoch bigint) returns bigint language sql stable as $$
    select orrery.ranges_lacking(array_agg(a.ranges)) from orrery.acceptances a where a.epoch = p_epoch and a.region > 0
$$;

-- What this region lacks of what the old hub had at the start; null when that is not known yet.
create function orrery.change_catching_up(p_epoch bigint) returns bigint language sql stable as $$
    select orrery.ranges_lacking(array_agg(a.ranges)) from orrery.acceptances a
    where a.epoch = p_epoch and a.region = 0 having count(*) > 0
$$;

-- Close: no promise, no grant for an epoch before e until e was accepted or given up (rule 5.2). Null, or why not.
create function orrery.epoch_close(e bigint) returns text language plpgsql as $$
declare
    mine record;
begin
    update orrery.region_self s set closed_for = e
    where s.accepted_epoch < e and coalesce(s.closed_for, 0) <= e returning s.* into mine;
    if found then
        return null;
    end if;
    select * from orrery.region_self into mine;
    return case when mine.accepted_epoch <> e then
        format('region %s accepted epoch %s and is closed for %s', mine.ordinal, mine.accepted_epoch, coalesce(mine.closed_for, 0)) end;
end
$$;

-- Accept e. Every range is locked, so what was applied or written before is in the vectors told, and nothing of a hub before
-- comes after. p_fence: 'all', 'metadata' or 'none' of the ranges take no more writes here. Null in why, or why not.
create function orrery.epoch_accept(e bigint, p_document json, p_fence text, out why text, out ranges json) language plpgsql as $$
declare
    mine record;
begin
    perform g.range_id from orrery.ranges g order by g.range_id for update;
    why := orrery.epoch_close(e);
    if why is not null then
        return;
    end if;
    update orrery.ranges g set
        state = case when g.state = 'online' and (p_fence = 'all' or p_fence = 'metadata' and g.range_id = 0)
                     then 'read-only' else g.state end;
    update orrery.region_self s set
        accepted_epoch = e, closed_for = null, fenced_for = case when p_fence = 'none' then s.fenced_for else e end
    where s.accepted_epoch <= e and coalesce(s.closed_for, 0) <= e returning s.* into mine;
    if not found then
        raise exception 'a later epoch than % came in between', e;
    end if;
    insert into orrery.topology (epoch, state, document) values (e, 'accepted', p_document) on conflict do nothing;
    ranges := orrery.ranges_tell();
end
$$;

-- An epoch was given up before it was accepted here.
create function orrery.epoch_abandon(e bigint) returns void language sql as $$
    update orrery.region_self s set closed_for = null where s.closed_for = e
$$;

-- Another region has opened e. What this region may not write any more under it is closed to writes at once; the rest follows
-- when the markers come.
create function orrery.epoch_learn(p_document json) returns boolean language plpgsql as $$
declare
    e      constant bigint := (p_document ->> 'epoch')::bigint;
    hub_is constant smallint := (p_document ->> 'hub')::smallint;
    may    smallint[] := orrery.topology_writers(p_document, hub_is);
begin
    if e <= (select max(t.epoch) from orrery.topology t where t.state = 'open') then
        return false;
    end if;
    -- those, too, that a marker of an epoch between is just opening, which has not seen that this one is open
    perform from orrery.ranges o where o.epoch < e order by o.range_id for no key update;
    update orrery.ranges g set state = 'read-only'
    where g.state = 'online' and g.epoch < e and case when g.range_id = 0 then g.origin <> hub_is else g.origin <> all (may) end;
    update orrery.region_self s set
        accepted_epoch = greatest(s.accepted_epoch, e), closed_for = case when s.closed_for > e then s.closed_for end;
    insert into orrery.topology (epoch, state, document) values (e, 'open', p_document)
    on conflict (epoch) do update set state = 'open';
    return true;
end
$$;

-- This region joins the account under an ordinal: it begins with the account's first topology and an empty range 0, and takes
-- the whole log from the others. A region that has joined already only tells how far it is.
create function orrery.region_join(p_ordinal smallint, p_first json, p_document json, out why text, out ranges json)
language plpgsql as $$
declare
    mine record;
begin
    perform orrery.range_lock(0);
    update orrery.region_self s set ordinal = s.ordinal returning s.* into mine;
    if mine.ordinal = p_ordinal and exists (
        select from orrery.topology t, json_array_elements(t.document -> 'regions') r
        where t.state = 'open' and (r ->> 'ordinal')::smallint = p_ordinal) then
        ranges := orrery.ranges_tell();
        return;
    elsif exists (select from orrery.ranges g where g.range_id <> 0 or g.seq > 0) then
        why := format('the region that is to have ordinal %s holds data of its own, under ordinal %s', p_ordinal, mine.ordinal);
        return;
    end if;
    delete from orrery.topology;
    insert into orrery.topology (epoch, state, document) values (257, 'open', '{}');
    perform orrery.region_settle(p_ordinal);
    perform orrery.topology_begin(p_first::text);
    perform orrery.epoch_learn(p_document);
    ranges := orrery.ranges_tell();
end
$$;

-- One question of another region, or of this one: {"do":...,"epoch":...,"document":...}. The answer has "refused" when it was.
create function orrery.epoch_do(p_message text) returns text language plpgsql as $$
declare
    m      constant json := p_message::json;
    e      constant bigint := (m ->> 'epoch')::bigint;
    told   record;
    why    text;
    ranges json;
begin
    case m ->> 'do'
    when 'tell' then
        ranges := orrery.ranges_tell();
    when 'close' then
        why := orrery.epoch_close(e);
    when 'accept' then
        select a.why, a.ranges from orrery.epoch_accept(e, m -> 'document', coalesce(m ->> 'fence', 'none')) a into told;
        why := told.why;
        ranges := told.ranges;
    when 'abandon' then
        perform orrery.epoch_abandon(e);
    when 'learn' then
        perform orrery.epoch_learn(m -> 'document');
    when 'join' then
        select j.why, j.ranges from orrery.region_join((m ->> 'ordinal')::smallint, m -> 'first', m -> 'document') j into told;
        why := told.why;
        ranges := told.ranges;
    else
        why := 'it is not known what to do';
    end case;
    return json_build_object('refused', why, 'ranges', ranges)::text;
end
$$;

-- What people ask for: the last change, the first topology; and what a region that is to join must be.
create function orrery.epochs_tell() returns text language plpgsql stable as $$
begin
    return json_build_object(
        'change', (select json_build_object('epoch', c.epoch, 'kind', c.kind, 'stage', c.stage, 'note', c.note,
                       'accepted', array(select a.region from orrery.acceptances a where a.epoch = c.epoch and a.region > 0 order by 1),
                       'needed', c.needed, 'seconds', round(extract(epoch from coalesce(c.ended_at, clock_timestamp()) - c.asked_at), 3))
                   from orrery.changes c order by c.epoch desc limit 1),
        'first', (select t.document from orrery.topology t order by t.epoch limit 1),
        'fresh', orrery.region_is_fresh(), 'stranded', orrery.stranded_tell())::text;
end
$$;

-- ---- opening ----

-- Write the marker of e into a range, the first entry of its epoch, unless it is there (rule 5.3). False: a later epoch was
-- accepted. That would have needed the lock of the range, so what is seen under it holds.
create function orrery.range_open(p_range bigint, e bigint, p_now bigint, p_document json) returns boolean language plpgsql as $$
declare
    r       record;
    alive   smallint[] := orrery.topology_live(p_document);
    hub_is  smallint := (p_document ->> 'hub')::smallint;
    cut     json;
    marker  json;
    lsn_now bigint;
begin
    update orrery.ranges g set seq = g.seq where g.range_id = p_range returning g.* into r;
    if not exists (select from orrery.region_self s where s.accepted_epoch = e and s.closed_for is null) then
        return false;
    elsif r.epoch >= e or r.state not in ('online', 'read-only') then
        return true;
    end if;
    select json_object_agg(o, coalesce(r.vector[o], 0)) from orrery.range_epochs x cross join unnest(x.live) o
    where x.range_id = p_range and x.epoch = r.epoch and o <> all (alive) into cut;
    marker := json_build_object('epoch', e, 'hub', hub_is, 'live', alive, 'writers', orrery.topology_writers(p_document, hub_is),
                                'metadata_writers', array[hub_is], 'cut', coalesce(cut, '{}'), 'document', p_document);
    lsn_now := coalesce(r.vector[r.origin], 0) + 1;
    execute format($sql$
        insert into orrery.%I (range_id, seq, lsn, epoch, rid, ts, index, origin, op, pk, id, context, body)
        select g.range_id, g.seq + 1, $2, $3, 0, $4, 0, g.origin, 5, '', '', orrery.vector_context(g.vector, g.origin), $5
        from orrery.ranges g where g.range_id = $1$sql$, format('log_%s', p_range >> 12))
    using p_range, lsn_now, e, p_now, marker::text;
    update orrery.ranges g set seq = g.seq + 1, vector = orrery.vector_with(g.vector, g.origin, lsn_now) where g.range_id = p_range;
    perform orrery.marker_take(p_range, marker);
    return true;
end
$$;

-- Open ranges of the change, definitions first: how many are left. Null when a later epoch was accepted meanwhile.
create function orrery.change_open(p_epoch bigint, p_now bigint, p_limit integer) returns bigint language plpgsql as $$
declare
    what record;
    r    bigint;
begin
    select * from orrery.changes c where c.epoch = p_epoch and c.ended_at is null into what;
    if not found then
        return null;
    end if;
    perform g.range_id from orrery.ranges g where g.epoch < p_epoch and g.state in ('online', 'read-only')
    order by g.range_id limit p_limit for no key update;
    for r in
        select g.range_id from orrery.ranges g where g.epoch < p_epoch and g.state in ('online', 'read-only')
        order by g.range_id limit p_limit
    loop
        if not orrery.range_open(r, p_epoch, p_now, what.document) then
            return null;
        end if;
    end loop;
    return (select count(*) from orrery.ranges g where g.epoch < p_epoch and g.state in ('online', 'read-only'));
end
$$;
