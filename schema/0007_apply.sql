-- Entries of other regions: how they come into a range. docs/replication.md states the rules; the numbers are those.

-- The number that a conflict is addressed by, the same in every region: 60 bits of a digest of what it is.
create function orrery.conflict_number(range_id bigint, pk bytea, id text, origin smallint, lsn bigint)
returns bigint language sql immutable parallel safe as $$
    select ('x' || substr(encode(sha256(int8send(range_id) || int2send(origin) || int8send(lsn) || int4send(octet_length(pk))
                                        || pk || convert_to(id, 'UTF8')), 'hex'), 1, 15))::bit(60)::bigint
$$;

-- Versions that lost: maximal versions of an item that are not the one shown. log_seq: the entry, with its body. What
-- the log does not have, doc and claims on unique keys, is kept for the moment when the version may be shown again.
-- winner_rid: the item that has the value of a unique key for which this version was removed, by the entry (removal_origin, removal_lsn);
-- it is never shown again.
create table orrery.conflicts (
    range_id    bigint not null,
    pk          bytea not null,
    id          text collate "C" not null,
    origin      smallint not null,
    lsn         bigint not null,
    log_seq     bigint not null,
    rid         bigint not null,
    ts          bigint not null,
    doc         jsonb compression lz4,
    claim_key   smallint[] not null default '{}',
    claim_value bytea[] not null default '{}',
    is_resolved boolean not null default false, -- deleted from the feed by a user
    winner_rid  bigint,
    removal_origin smallint,
    removal_lsn bigint,
    number      bigint not null generated always as (orrery.conflict_number(range_id, pk, id, origin, lsn)) stored,
    primary key (range_id, pk, id, origin, lsn)
);
create index on orrery.conflicts (range_id, number) where not is_resolved;

-- Entries of regions that were given up, beyond their cuts (rule 5.6, 0014). log_seq: the entry. What the log does not have is kept until
-- it is decided. outcome: null until the hub has decided; merged, conflict; recorded (a definition: nobody merges it), dropped (its
-- container is gone). as_origin, as_lsn: the hub's transaction.
create table orrery.stranded (
    range_id    bigint not null,
    origin      smallint not null,
    lsn         bigint not null,
    index       integer not null,
    log_seq     bigint not null,
    doc         jsonb compression lz4,
    claim_key   smallint[] not null default '{}',
    claim_value bytea[] not null default '{}',
    outcome     text,
    as_origin   smallint,
    as_lsn      bigint,
    primary key (range_id, origin, lsn, index)
);
create index stranded_waiting on orrery.stranded (range_id, origin, lsn) where outcome is null;

-- Does the entry (context, origin, lsn) know the other one? A context that is null names its own origin only.
create function orrery.knows(context bigint[], origin smallint, lsn bigint, other_origin smallint, other_lsn bigint)
returns boolean language sql immutable parallel safe as $$
    select case when other_origin = origin then other_lsn < lsn else coalesce(context[other_origin], 0) >= other_lsn end
$$;

-- Take a conflict out of the feed: 204, 404, or 410 with substatus 1002 as write_<n> does. While the version is a head
-- of its item the row stays, because the version may be shown again.
create function orrery.conflict_resolve(p_range bigint, p_number bigint, out status smallint, out substatus integer)
language plpgsql as $$
declare
    x record;
    is_head boolean;
begin
    perform orrery.range_lock(p_range);
    substatus := 0;
    if not exists (select from orrery.ranges g where g.range_id = p_range and g.state = 'online') then
        status := 410; substatus := 1002;
        return;
    end if;
    select * from orrery.conflicts c where c.range_id = p_range and c.number = p_number and not c.is_resolved into x;
    if x.number is null then
        status := 404;
        return;
    end if;
    execute format('select coalesce($4 = any (i.heads), false) from orrery.%I i where i.range_id = $1 and i.pk = $2 and i.id = $3',
                   format('items_%s', p_range >> 12))
    using p_range, x.pk, x.id, x.log_seq into is_head;
    if is_head then
        update orrery.conflicts c set is_resolved = true
        where c.range_id = p_range and c.pk = x.pk and c.id = x.id and c.origin = x.origin and c.lsn = x.lsn;
    else
        delete from orrery.conflicts c
        where c.range_id = p_range and c.pk = x.pk and c.id = x.id and c.origin = x.origin and c.lsn = x.lsn;
    end if;
    status := 204;
end
$$;

-- What ranks first among concurrent versions: deletes above writes above what the hub decides, expiry and removal. Those are no
-- versions that anybody would miss.
create function orrery.rank_class(op smallint) returns smallint language sql immutable parallel safe as $$
    select (case op when 3 then 2 when 4 then 0 when 6 then 0 else 1 end)::smallint
$$;

-- Replace an item by the entry that is shown, with what else is a head of it. changed: sequence of the entry that did it.
create function orrery.item_show(p_range bigint, p_shown bigint, p_heads bigint[], p_changed bigint, p_doc jsonb)
returns void language plpgsql as $$
begin
    execute format($sql$
        insert into orrery.%1$I as i
            (range_id, rid, lsn, seq, ts, etag, ttl, origin, deleted, pk, id, context, heads, body, doc)
        select l.range_id, l.rid, l.lsn, $4, l.ts, l.etag, l.ttl, l.origin, l.op >= 3, l.pk, l.id, l.context, $3,
               case when l.op < 3 then l.body end, $5
        from orrery.%2$I l where l.range_id = $1 and l.seq = $2
        on conflict (range_id, pk, id) do update set
            rid = excluded.rid, lsn = excluded.lsn, seq = excluded.seq, ts = excluded.ts, etag = excluded.etag,
            ttl = excluded.ttl, origin = excluded.origin, deleted = excluded.deleted, context = excluded.context,
            heads = excluded.heads, body = excluded.body, doc = excluded.doc$sql$,
        format('items_%s', p_range >> 12), format('log_%s', p_range >> 12))
    using p_range, p_shown, p_heads, p_changed, p_doc;
end
$$;

-- Put the claims of the version that is shown in the place of those held.
create function orrery.claims_show(p_range bigint, p_pk bytea, p_id text, p_key smallint[], p_value bytea[])
returns void language sql as $$
    delete from orrery.unique_claims c where c.range_id = p_range and c.pk = p_pk and c.id = p_id;
    insert into orrery.unique_claims (range_id, pk, key_number, value, id)
    select distinct g.range_id, p_pk, c.key, orrery.claim_value(c.value), p_id
    from orrery.ranges g cross join unnest(p_key, p_value) c(key, value) where g.range_id = p_range;
    select orrery.clashes_note(p_range, '{1}', '{1}', array[p_pk], array[p_id], array_fill(1, array[cardinality(p_key)]), p_key, p_value)
    where cardinality(p_key) > 0
$$;

-- The entry (p_origin, p_lsn) removes an item for a unique key, and tells which version that loses, and to whom: it comes into the feed. p_heads:
-- what the item was until now. Where the version is none of these, another one that knew it has taken its place, and nothing is lost.
create function orrery.removal_note(p_range bigint, p_pk bytea, p_id text, p_heads bigint[], p_origin smallint, p_lsn bigint, p_told json)
returns void language plpgsql as $$
begin
    execute format($sql$
        insert into orrery.conflicts
            (range_id, pk, id, origin, lsn, log_seq, rid, ts, winner_rid, removal_origin, removal_lsn)
        select g.range_id, h.pk, h.id, h.origin, h.lsn, h.seq, h.rid, h.ts, $5, $6, $7
        from orrery.ranges g
        cross join lateral (select * from orrery.%I h where h.range_id = $1 and h.seq = any ($2)) h
        where g.range_id = $1 and h.origin = $3 and h.lsn = $4
        on conflict (range_id, pk, id, origin, lsn) do update set
            winner_rid = excluded.winner_rid, removal_origin = excluded.removal_origin, removal_lsn = excluded.removal_lsn$sql$,
        format('log_%s', p_range >> 12))
    using p_range, p_heads, (p_told ->> 'origin')::smallint, (p_told ->> 'lsn')::bigint, (p_told ->> 'winner')::bigint, p_origin, p_lsn;
end
$$;

-- Rule 7.1 for one entry that is in the log already: the item keeps its maximal versions, and shows the greatest.
create function orrery.apply_one(p_range bigint, p_seq bigint, p_doc jsonb, p_key smallint[], p_value bytea[])
returns void language plpgsql as $$
declare
    items text := format('items_%s', p_range >> 12);
    log   text := format('log_%s', p_range >> 12);
    e     record;  -- the entry
    i     record;  -- the item
    c     record;  -- the loser that is shown again
    is_known boolean;
    old_seq  bigint;  -- entry that was shown
    old_op   smallint;
    rest     bigint[];
    shown    bigint;
begin
    execute format('select * from orrery.%I l where l.range_id = $1 and l.seq = $2', log) using p_range, p_seq into e;
    execute format('select * from orrery.%I i where i.range_id = $1 and i.pk = $2 and i.id = $3', items)
        using p_range, e.pk, e.id into i;
    execute format($sql$
        select coalesce(bool_or(h.origin = $3 and h.lsn = $4 or orrery.knows(h.context, h.origin, h.lsn, $3, $4)), false),
               coalesce(array_agg(h.seq order by h.seq)
                        filter (where not orrery.knows($5, $3, $4, h.origin, h.lsn)), '{}'),
               max(h.seq) filter (where h.origin = $6 and h.lsn = $7),
               max(h.op) filter (where h.origin = $6 and h.lsn = $7)
        from orrery.%I h where h.range_id = $1 and h.seq = any ($2)$sql$, log)
    using p_range, coalesce(i.heads, array[i.seq]), e.origin, e.lsn, e.context, i.origin, i.lsn
    into is_known, rest, old_seq, old_op;
    if is_known then
        return;
    elsif e.op = 6 then
        perform orrery.removal_note(p_range, e.pk, e.id, coalesce(i.heads, array[i.seq]), e.origin, e.lsn, e.body::json);
    else
        delete from orrery.conflicts x
        where x.range_id = p_range and x.pk = e.pk and x.id = e.id and x.removal_lsn is not null
          and orrery.knows(e.context, e.origin, e.lsn, x.origin, x.lsn)
          and not orrery.knows(e.context, e.origin, e.lsn, x.removal_origin, x.removal_lsn);
    end if;
    execute format($sql$
        select h.seq from orrery.%I h where h.range_id = $1 and h.seq = any ($2)
        order by orrery.rank_class(h.op) desc, h.rank desc nulls last, h.ts desc, h.origin desc, h.lsn desc limit 1$sql$, log)
    using p_range, rest || p_seq into shown;

    -- who loses, with what only the item knows of it
    if shown <> p_seq and orrery.rank_class(e.op) > 0 then
        insert into orrery.conflicts
            (range_id, pk, id, origin, lsn, log_seq, rid, ts, doc, claim_key, claim_value)
        values (p_range, e.pk, e.id, e.origin, e.lsn, p_seq, e.rid, e.ts, p_doc, p_key, p_value)
        on conflict do nothing;
    elsif shown = p_seq and old_seq = any (rest) and orrery.rank_class(old_op) > 0 then
        insert into orrery.conflicts
            (range_id, pk, id, origin, lsn, log_seq, rid, ts, doc, claim_key, claim_value)
        select g.range_id, i.pk, i.id, i.origin, i.lsn, old_seq, i.rid, i.ts, i.doc,
               coalesce(u.keys, '{}'), coalesce(u.values, '{}')
        from orrery.ranges g cross join lateral (
            select array_agg(u.key_number order by u.key_number) as keys, array_agg(u.value order by u.key_number) as values
            from orrery.unique_claims u where u.range_id = p_range and u.pk = i.pk and u.id = i.id) u
        where g.range_id = p_range
        on conflict do nothing;
    end if;

    if shown = p_seq then
        perform orrery.item_show(p_range, p_seq, case when rest <> '{}' then rest || p_seq end, p_seq, p_doc);
        perform orrery.claims_show(p_range, e.pk, e.id, p_key, p_value);
    elsif shown = old_seq then
        perform orrery.item_show(p_range, old_seq, rest || p_seq, p_seq, i.doc);
    else
        delete from orrery.conflicts x using orrery.ranges g
        where g.range_id = p_range and x.range_id = g.range_id and x.pk = e.pk and x.id = e.id and x.log_seq = shown
        returning x.* into c;
        perform orrery.item_show(p_range, shown, rest || p_seq, p_seq, c.doc);
        perform orrery.claims_show(p_range, e.pk, e.id, c.claim_key, c.claim_value);
    end if;
end
$$;

-- Apply entries of other origins, in the order of the sender's log; a transaction is there whole. One transaction, so
-- items, log and vector move together (invariant 4).
--
-- Known entries are passed over. The first one that is not next in its origin's sequence, or whose context the range
-- does not cover, stops the call: status 'waits', and what came before it is applied. status 'epoch': the sender accepted
-- p_epoch, this region a later one (rule 2.5); 'state': the range takes nothing. Nothing was done then. 'own': an entry
-- of this region's own that it does not have, so it was rolled back (rule 1.3).
-- A marker (op 5), of an epoch or of what became of a stranded transaction, changes no item by itself. An entry of a retired origin
-- beyond its cut comes to the log alone (rule 5.6): the hub decides what becomes of it.
-- Contexts are texts of bigint[], because arrays of arrays cannot differ in length. doc: null where it is body.
create function orrery.apply(
    p_range bigint, p_epoch bigint, p_origin smallint[], p_lsn bigint[], p_index integer[], p_entry_epoch bigint[],
    p_op smallint[], p_pk bytea[], p_id text[], p_rid bigint[], p_ts bigint[], p_etag uuid[], p_ttl integer[],
    p_rank float8[], p_context text[], p_body text[], p_doc text[],
    p_claim_op integer[], p_claim_key smallint[], p_claim_value bytea[],
    out status text, out applied integer, out taken integer, out seq bigint, out epoch bigint, out vector bigint[])
language plpgsql as $$
#variable_conflict use_column
declare
    r        record;
    now_at   bigint[];  -- the vector as entries move it
    context  bigint[];
    seqs     bigint[] := array_fill(null::bigint, array[cardinality(p_lsn)]);
    shown    bigint[];  -- of seqs, those that items may show: no markers, nothing beyond a cut
    latest   bigint[];  -- of these, the last one of each item
    cuts     bigint[];  -- how far the history of retired origins goes
    is_plain boolean;
    has_stranded boolean := false;
    is_early boolean;
begin
    perform orrery.range_lock(p_range);
    select * from orrery.ranges g where g.range_id = p_range into r;
    applied := 0; taken := 0; seq := r.seq; epoch := r.epoch; vector := r.vector; status := 'applied';
    if r.state is null or r.state not in ('online', 'read-only') then
        status := 'state';
        return;
    elsif p_epoch < (select s.accepted_epoch from orrery.region_self s) then
        status := 'epoch';
        return;
    end if;

    -- 1. Which entries are next (rules 2.1, 2.3).
    now_at := r.vector;
    shown := seqs;
    cuts := orrery.range_cuts(p_range);
    for j in 1 .. cardinality(p_lsn) loop
        while cardinality(now_at) < p_origin[j] loop
            now_at := now_at || 0::bigint;
        end loop;
        if p_lsn[j] <= vector[p_origin[j]] then
            taken := j;
            continue;
        elsif p_origin[j] = r.origin then
            status := 'own';
            exit;
        elsif p_lsn[j] = now_at[p_origin[j]] and p_index[j] > 0 then
            null;  -- goes on with its transaction
        else
            -- without subqueries, each of which would cost as much as all of the rest
            is_early := p_lsn[j] <> now_at[p_origin[j]] + 1 or p_index[j] <> 0;
            context := p_context[j]::bigint[];
            if context is not null then
                for o in 1 .. cardinality(context) loop
                    if o <> p_origin[j] and context[o] > coalesce(now_at[o], 0) then
                        is_early := true;
                    end if;
                end loop;
            end if;
            if is_early then
                status := 'waits';
                exit;
            end if;
            now_at[p_origin[j]] := p_lsn[j];
        end if;
        taken := j;
        applied := applied + 1;
        seqs[j] := r.seq + applied;
        if p_op[j] = 5 then
            -- Definitions that are beyond the cut are in use here, and nobody takes them back.
            if p_range = 0 and exists (select from json_each_text(p_body[j]::json -> 'cut') c
                                       where c.value::bigint < coalesce(now_at[c.key::integer], 0)) then
                perform orrery.region_roll_back('this region has definitions of a region that was given up which the hub does not have; start it anew with an empty database');
            end if;
            cuts := orrery.cuts_with(cuts, p_body[j]::json -> 'cut');
        elsif cuts[p_origin[j]] is null or p_lsn[j] <= cuts[p_origin[j]] then
            shown[j] := seqs[j];
        else
            has_stranded := true;
        end if;
    end loop;
    if applied = 0 then
        return;
    end if;

    -- 2. The log and, where it is plain, the items.
    execute format('select a.is_plain, a.latest from orrery.%I($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18) a',
                   format('apply_%s', p_range >> 12))
    using p_range, seqs, shown, p_origin, p_lsn, p_index, p_entry_epoch, p_op, p_pk, p_id, p_rid, p_ts, p_etag, p_ttl, p_rank,
          p_context, p_body, p_doc into is_plain, latest;
    if has_stranded then
        insert into orrery.stranded (range_id, origin, lsn, index, log_seq, doc, claim_key, claim_value, outcome)
        select g.range_id, x.origin, x.lsn, x.index, x.seq, coalesce(x.doc, x.body)::jsonb,
               array(select c.key from unnest(p_claim_op, p_claim_key) c(op, key) where c.op = x.n),
               array(select c.value from unnest(p_claim_op, p_claim_value) c(op, value) where c.op = x.n),
               case when p_range = 0 then 'recorded' end
        from orrery.ranges g
        cross join unnest(seqs, shown, p_origin, p_lsn, p_index, p_op, p_doc, p_body) with ordinality
                   x(seq, shown, origin, lsn, index, op, doc, body, n)
        where g.range_id = p_range and x.seq is not null and x.shown is null and x.op <> 5
        on conflict do nothing;
    end if;

    -- 3. The items that are not, and claims.
    if is_plain then
        if r.has_unique_keys then
            perform orrery.claims_write(p_range, latest, p_op, p_pk, p_id, p_claim_op, p_claim_key, p_claim_value);
            perform orrery.clashes_note(p_range, latest, p_op, p_pk, p_id, p_claim_op, p_claim_key, p_claim_value);
        end if;
    else
        for j in 1 .. cardinality(p_lsn) loop
            if shown[j] is not null then
                perform orrery.apply_one(p_range, shown[j], case when p_op[j] < 3 then coalesce(p_doc[j], p_body[j])::jsonb end,
                    array(select c.key from unnest(p_claim_op, p_claim_key) c(op, key) where c.op = j),
                    array(select c.value from unnest(p_claim_op, p_claim_value) c(op, value) where c.op = j));
            end if;
        end loop;
    end if;

    -- 4. The range.
    seq := r.seq + applied;
    vector := now_at;
    update orrery.ranges g set seq = apply.seq, vector = apply.vector where g.range_id = p_range;
    if 5 = any (p_op) then
        for j in 1 .. cardinality(p_lsn) loop
            if p_op[j] = 5 and seqs[j] is not null then
                perform orrery.marker_take(p_range, p_body[j]::json);
            end if;
        end loop;
        select g.epoch from orrery.ranges g where g.range_id = p_range into epoch;
    end if;
end
$$;

-- Unique keys (rule 7.4): at the hub of the range's epoch decide who keeps the values that several live items hold, p_limit values at a time: how
-- many were looked at; call again while it is p_limit. From the greatest rank down an item loses when one that stays holds one of its
-- values. Elsewhere, and where the range takes no writes, only what is over is forgotten.
create function orrery.clashes_resolve(p_range bigint, p_epoch bigint, p_now bigint, p_limit integer) returns integer language plpgsql as $$
declare
    looked  integer := 0;
    r       record;
    x       record;
    held    jsonb := '{}';  -- by value: what its holder is
    winner  jsonb;
    pks     bytea[];
    ids     text[];
    told    text[];
begin
    perform orrery.range_lock(p_range);
    select g.*, exists (select from orrery.range_epochs e where e.range_id = g.range_id and e.epoch = g.epoch and e.hub = g.origin) as is_hub
    from orrery.ranges g where g.range_id = p_range into r;
    if r.state = 'online' and r.epoch = p_epoch and r.is_hub then
        for x in execute format($sql$
            with holders as materialized (
                select c.pk, c.key_number, c.value, i.id, i.rid, i.ts, i.origin, i.lsn, coalesce(i.heads, array[i.seq]) as heads, h.rank,
                       count(*) over (partition by c.pk, c.key_number, c.value) as items
                from orrery.unique_clashes c
                cross join lateral (select u.id from orrery.unique_claims u where u.range_id = $1 and u.pk = c.pk
                                    and u.key_number = c.key_number and u.value = c.value offset 0) u
                cross join lateral (select * from orrery.%1$I i where i.range_id = $1 and i.pk = c.pk and i.id = u.id
                                    and orrery.is_live(i.deleted, i.ts, i.ttl, $2, $3) limit 1) i
                cross join lateral (select l.rank from orrery.%2$I l where l.range_id = $1
                                    and l.seq = any (coalesce(i.heads, array[i.seq])) and l.origin = i.origin and l.lsn = i.lsn limit 1) h
                where c.range_id = $1),
            v as materialized (
                select o.pk, o.key_number, o.value from holders o where o.items > 1
                group by o.pk, o.key_number, o.value order by o.pk, o.key_number, o.value limit $4)
            select o.pk, o.id, o.rid, o.ts, o.origin, o.lsn, o.heads, o.rank, (select count(*) from v) as looked,
                   array_agg(format('%%s %%s %%s', encode(o.pk, 'hex'), o.key_number, encode(o.value, 'hex')) order by o.key_number) as keys
            from holders o join v on v.pk = o.pk and v.key_number = o.key_number and v.value = o.value
            group by o.pk, o.id, o.rid, o.ts, o.origin, o.lsn, o.heads, o.rank
            order by o.pk, o.rank desc nulls last, o.ts desc, o.origin desc, o.lsn desc, o.id$sql$,
            format('items_%s', p_range >> 12), format('log_%s', p_range >> 12))
        using p_range, r.default_ttl, p_now, p_limit
        loop
            looked := x.looked;
            select held -> k from unnest(x.keys) with ordinality n(k, at) where held ? k order by at limit 1 into winner;
            if winner is null then
                held := held || (select jsonb_object_agg(k, x.rid) from unnest(x.keys) k);
            else
                pks := pks || x.pk;
                ids := ids || x.id;
                told := told || json_build_object('origin', x.origin, 'lsn', x.lsn, 'winner', winner)::text;
                perform orrery.removal_note(p_range, x.pk, x.id, x.heads, r.origin, r.vector[r.origin] + 1, told[cardinality(told)]::json);
            end if;
        end loop;
        perform orrery.items_bury(p_range, p_now, 6::smallint, pks, ids, told);
    end if;
    delete from orrery.unique_clashes c
    where c.range_id = p_range and not exists (
        select from orrery.unique_claims u
        where u.range_id = c.range_id and u.pk = c.pk and u.key_number = c.key_number and u.value = c.value offset 1);
    return looked;
end
$$;
