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
