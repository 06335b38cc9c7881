-- What one region keeps for the whole account: its numbers, its topology, its ranges.
-- Why each table looks as it does: schema/README.md.

create schema if not exists orrery;

-- One row. next_number numbers every database, container, user, ...; never reused, 31 bits.
create table orrery.account (
    one         boolean primary key default true check (one),
    name        text not null default 'orrery',
    next_number bigint not null default 1 check (next_number between 1 and 2147483648),
    created_at  timestamptz not null default now()
) with (fillfactor = 50);

insert into orrery.account default values;

-- One row. ordinal: this region's number in every vector. system_identifier: tells a restored copy from the
-- original. proposed_epoch: the highest epoch this region ever proposed (durable before use).
create table orrery.region_self (
    one               boolean primary key default true check (one),
    ordinal           smallint not null default 1 check (ordinal between 1 and 255),
    system_identifier bigint not null,
    proposed_epoch    bigint not null default 257
);

insert into orrery.region_self (system_identifier) select system_identifier from pg_control_system();

-- One row per epoch (counter * 256 + proposer's ordinal). closed_for and the accepted epoch arrive with failover.
create table orrery.topology (
    epoch    bigint primary key,
    state    text not null check (state in ('accepted', 'open')),
    document json not null
);

insert into orrery.topology values (257, 'open', '{}');

-- One small hot row per range; its row lock is the lock of the range. range_id = container number << 12 | index.
-- origin: this region's ordinal, kept here so that a write reads one row. seq: local sequence of the last log
-- entry. vector[o]: highest LSN of origin o. committed: a lower bound of what the whole account has.
-- state: online, read-only, splitting, gone, dropped. rid_counter: the last one given out. default_ttl: null off, -1 on without default, else seconds.
-- committed_xid: the transaction that moved committed last; what a snapshot did not show yet was moved by one at or above its xmin.
-- lsn_max: under Bounded staleness the LSN from which on writes of this region are refused; null: none.
-- purged_ts: tombstones up to this ts may be gone. No check constraints: every statement would parse them again. Low fillfactor: every update stays on the page (HOT).
create table orrery.ranges (
    range_id        bigint primary key,
    container       bigint not null,
    index           integer not null,
    epk_min         bytea not null,
    epk_max         bytea not null,
    state           text not null default 'online',
    epoch           bigint not null,
    origin          smallint not null,
    seq             bigint not null default 0,
    rid_counter     bigint not null default 0,
    vector          bigint[] not null,
    committed       bigint[] not null,
    default_ttl     integer,
    has_unique_keys boolean not null default false,
    purged_ts       bigint not null default 0,
    committed_xid   xid8 not null default '0',
    lsn_max         bigint
) with (fillfactor = 10, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_scale_factor = 0,
        autovacuum_analyze_threshold = 20000, autovacuum_analyze_scale_factor = 0);

create index ranges_container on orrery.ranges (container, index);

-- The last batch of every writer (one loop of one gateway) on every range, with its results: what makes a batch
-- repeatable. Arrays run over the operations; substatus is null when all are zero.
create table orrery.batches (
    range_id  bigint not null,
    writer    bigint not null,
    sequence  bigint not null,
    at        bigint not null,
    epoch     bigint not null,
    origin    smallint not null,
    vector    bigint[] not null,
    status    smallint[] not null,
    substatus integer[],
    lsn       bigint[] not null,
    ts        bigint[] not null,
    rid       bigint[] not null,
    primary key (range_id, writer)
) with (fillfactor = 20, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_scale_factor = 0,
        autovacuum_analyze_threshold = 20000, autovacuum_analyze_scale_factor = 0);

alter table orrery.batches alter column lsn set compression lz4, alter column ts set compression lz4,
    alter column rid set compression lz4, alter column status set compression lz4;

-- Values of unique keys held by the shown version of an item. The key does not make a value unique: replication
-- may bring a clash, which the hub resolves (0007); the write function looks before it writes.
create table orrery.unique_claims (
    range_id   bigint not null,
    pk         bytea not null,
    key_number smallint not null,
    value      bytea not null,
    id         text collate "C" not null,
    primary key (range_id, pk, key_number, value, id)
);

create index unique_claims_item on orrery.unique_claims (range_id, pk, id);

-- Values that the shown versions of several items hold: noted by the transaction that brings the second one, gone when one is left.
create table orrery.unique_clashes (
    range_id   bigint not null,
    pk         bytea not null,
    key_number smallint not null,
    value      bytea not null,
    primary key (range_id, pk, key_number, value)
);

-- Take count consecutive numbers; the first is returned.
create function orrery.number_take(p_count integer) returns bigint
language sql as $$
    update orrery.account set next_number = next_number + p_count returning next_number - p_count
$$;

-- An expired version is invisible at once, by calculation; the purge only tidies up.
create function orrery.is_live(deleted boolean, ts bigint, ttl integer, default_ttl integer, now bigint) returns boolean
language sql immutable parallel safe as $$
    select not deleted and (default_ttl is null or coalesce(ttl, default_ttl) < 0 or ts + coalesce(ttl, default_ttl) > now)
$$;

-- The vector with one component replaced.
create function orrery.vector_with(vector bigint[], origin smallint, lsn bigint) returns bigint[]
language sql immutable parallel safe as $$
    select vector[1:origin - 1] || lsn || vector[origin + 1:]
$$;

-- Context of the next entry of an origin: the vector before it; null when no other origin ever wrote, which says the same.
create function orrery.vector_context(vector bigint[], origin smallint) returns bigint[]
language sql immutable parallel safe as $$
    select case when cardinality(vector) > 1 and 0 <> any (vector[1:origin - 1] || vector[origin + 1:]) then vector end
$$;

-- Where the values of a unique key would not fit an index page, a digest stands for them. Encoded values
-- start with a type byte below 0x10, so 0xff keeps both apart.
create function orrery.claim_value(value bytea) returns bytea
language sql immutable parallel safe as $$
    select case when octet_length(value) <= 256 then value else '\xff'::bytea || sha256(value) end
$$;

-- What one operation answers, from the item it meets. Kinds: 0 create, 1 upsert, 2 replace, 3 delete, 4 check that
-- the item has the etag (or is absent when none is given), 5 check that it exists (and has the rid, when given).
create function orrery.write_status(kind smallint, live boolean, etag uuid, if_match uuid, flags smallint,
                                    rid bigint, want_rid bigint) returns smallint
language sql immutable parallel safe as $$
    select (case kind
        when 0 then case when live then 409 else 201 end
        when 1 then case when not live then 201
                         when flags & 1 = 1 or etag <> if_match then 412 else 200 end
        when 2 then case when not live then 404 when etag <> if_match then 412 else 200 end
        when 3 then case when not live then 404 when etag <> if_match then 412 else 204 end
        when 4 then case when if_match is null and live then 412
                         when if_match is not null and (not live or etag <> if_match) then 412 else 200 end
        when 5 then case when not live or rid <> want_rid then 404 else 200 end
    end)::smallint
$$;
