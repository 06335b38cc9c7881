-- Several regions: what each keeps of the topology, of its peers, and of the epochs of every range. docs/replication.md
-- states the rules; the numbers are those.

-- accepted_epoch: the highest epoch that this region accepted; hubs of lower ones get nothing from it. closed_for: an epoch that is
-- being accepted (no promise, no grant, no ack). fenced_for: as the hub of the epoch before, it took its last write.
-- set_version grows with every change of the strong set.
alter table orrery.region_self
    add accepted_epoch bigint not null default 257,
    add closed_for     bigint,
    add fenced_for     bigint,
    add set_version    bigint not null default 1;

-- What each epoch means for a range; kept for ever, tokens of any epoch are compared by it. live: ordinals of the regions, ascending.
-- cut[o]: how far the history of the retired region o is kept; null for the others. writers: who may write this range.
create table orrery.range_epochs (
    range_id bigint not null,
    epoch    bigint not null,
    hub      smallint not null,
    live     smallint[] not null,
    writers  smallint[] not null,
    cut      bigint[] not null default '{}',
    primary key (range_id, epoch)
);

insert into orrery.range_epochs (range_id, epoch, hub, live, writers)
select g.range_id, g.epoch, g.origin, array[g.origin], array[g.origin] from orrery.ranges g;

-- Where another region stands with a range: acked is its vector as it said last, seq how far it has our log. Hot and small.
create table orrery.peers (
    region   smallint not null,
    range_id bigint not null,
    seq      bigint not null default 0,
    acked    bigint[] not null default '{}',
    primary key (region, range_id)
) with (fillfactor = 20, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_scale_factor = 0,
        autovacuum_analyze_threshold = 20000, autovacuum_analyze_scale_factor = 0);

-- Used at the hub (rule 3.6). version: set_version of the change. A region without a row is out.
create table orrery.strong_set (
    region  smallint primary key,
    state   text not null check (state in ('out', 'joining', 'in', 'leaving')),
    version bigint not null
);

-- The regions that may write items under a document: all that are online, or the hub alone.
create function orrery.topology_writers(p_document json, p_hub smallint) returns smallint[] language sql immutable as $$
    select case when p_document ->> 'mode' = 'multi' then
        array(select (r ->> 'ordinal')::smallint from json_array_elements(p_document -> 'regions') r
              where coalesce(r ->> 'state', 'online') = 'online' order by 1)
    else array[p_hub] end
$$;

-- Its live regions: origins whose entries are not cut.
create function orrery.topology_live(p_document json) returns smallint[] language sql immutable as $$
    select array(select (r ->> 'ordinal')::smallint from json_array_elements(p_document -> 'regions') r order by 1)
$$;

-- Does the last topology that opened, as far as is known here, let this region write a range that is of p_epoch? Its marker may be
-- on its way behind markers and definitions of epochs before, which open nothing that it has closed.
create function orrery.topology_lets_write(p_range bigint, p_epoch bigint) returns boolean language sql stable as $$
    select not exists (
        select from (select o.epoch, o.document, (o.document ->> 'hub')::smallint as hub
                     from orrery.topology o where o.state = 'open' order by o.epoch desc limit 1) t, orrery.region_self s
        where t.epoch > p_epoch
          and s.ordinal <> all (case p_range when 0 then array[t.hub] else orrery.topology_writers(t.document, t.hub) end))
$$;

-- Ranges of a container that was just made: what range 0's epoch means for them, and so whether they are written here.
create function orrery.ranges_enroll(p_number bigint) returns void language plpgsql as $$
declare
    e record;
begin
    select x.*, orrery.topology_writers(t.document, x.hub) as item_writers
    from orrery.ranges m
    join orrery.range_epochs x on x.range_id = 0 and x.epoch = m.epoch
    left join orrery.topology t on t.epoch = m.epoch
    where m.range_id = 0 into e;
    insert into orrery.range_epochs (range_id, epoch, hub, live, writers)
    select g.range_id, e.epoch, e.hub, e.live, e.item_writers from orrery.ranges g where g.container = p_number
    on conflict do nothing;
    update orrery.ranges g set
        epoch = e.epoch,
        state = case when g.origin = any (e.item_writers) and orrery.topology_lets_write(g.range_id, e.epoch)
                     then 'online' else 'read-only' end
    where g.container = p_number and g.state in ('online', 'read-only');
end
$$;

-- Has nothing been stored in this region, and is it told of no account yet?
create function orrery.region_is_fresh() returns boolean language sql as $$
    select not exists (select from orrery.ranges g where g.range_id <> 0 or g.seq > 0)
       and not exists (select from orrery.topology t where t.document::text <> '{}')
$$;

-- Give a fresh region its ordinal; the one that it has then. It is in vectors and rids, so it is settled before the first write.
create function orrery.region_settle(p_ordinal smallint) returns smallint language plpgsql as $$
declare
    mine record;
begin
    perform orrery.range_lock(0);
    update orrery.region_self s set ordinal = s.ordinal returning s.* into mine;
    if mine.ordinal = p_ordinal or not orrery.region_is_fresh() then
        return mine.ordinal;
    end if;
    update orrery.region_self set ordinal = p_ordinal;
    update orrery.ranges set
        origin = p_ordinal, vector = array_fill(0::bigint, array[p_ordinal::integer]),
        committed = array_fill(0::bigint, array[p_ordinal::integer]);
    update orrery.range_epochs set hub = p_ordinal, live = array[p_ordinal], writers = array[p_ordinal];
    return p_ordinal;
end
$$;

-- The first topology of an account, in each of its regions. What is in the way: 'data' (this region has some), 'stored' (another
-- topology: the caller compares); null when it was taken.
create function orrery.topology_begin(p_document text) returns text language plpgsql as $$
declare
    given  json := p_document::json;
    hub_is smallint := (given ->> 'hub')::smallint;
begin
    perform orrery.range_lock(0);
    update orrery.region_self s set ordinal = s.ordinal;
    if exists (select from orrery.topology t where t.document::text <> '{}') then
        return 'stored';
    elsif not orrery.region_is_fresh() then
        return 'data';
    end if;
    update orrery.account set name = given ->> 'account';
    update orrery.topology t set document = given where t.epoch = (given ->> 'epoch')::bigint;
    update orrery.range_epochs e set hub = hub_is, live = orrery.topology_live(given), writers = array[hub_is];
    update orrery.ranges g set state = case when g.origin = hub_is then 'online' else 'read-only' end;
    return null;
end
$$;

create index range_epochs_cut on orrery.range_epochs (range_id) where cut <> '{}';

-- All that a gateway keeps in memory of the regions, as JSON: who this is, the latest open document, the live regions of every
-- epoch that was opened. cuts: [range, ordinal, lsn] each, only when there are not as many as p_cuts_known.
create function orrery.regions_state(p_cuts_known bigint, out state text, out cuts text, out cuts_count bigint)
language plpgsql stable as $$
#variable_conflict use_column
begin
    select json_build_object(
        'ordinal', s.ordinal, 'accepted', s.accepted_epoch, 'closed', s.closed_for, 'fenced', s.fenced_for,
        'proposed', s.proposed_epoch,
        'document', (select t.document from orrery.topology t where t.state = 'open' order by t.epoch desc limit 1),
        'epochs', (select json_agg(json_build_array(t.epoch,
                       case when t.document::text = '{}' then array[s.ordinal] else orrery.topology_live(t.document) end)
                       order by t.epoch)
                   from orrery.topology t where t.state = 'open'))::text
    from orrery.region_self s into state;
    select count(*) from orrery.range_epochs e where e.cut <> '{}' into cuts_count;
    if cuts_count <> p_cuts_known then
        select coalesce(json_agg(json_build_array(x.range_id, x.ordinal, x.lsn) order by x.range_id, x.ordinal), '[]')::text
        from (select e.range_id, c.ordinal, min(c.lsn) as lsn
              from orrery.range_epochs e cross join unnest(e.cut) with ordinality c(lsn, ordinal)
              where e.cut <> '{}' and c.lsn is not null group by e.range_id, c.ordinal) x into cuts;
    end if;
end
$$;
