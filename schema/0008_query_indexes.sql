-- Indexes beyond those of the template: which there are, which are asked for, and how far they are.
--
-- The policy of a container declares some; with a new container they are made at once, with the tables. Queries ask
-- for others: a range index on each path that they order or range by. Both kinds are made and dropped concurrently, in
-- the background, by one gateway at a time (gateway/store/indexes.c), which holds an advisory lock while it works and is
-- the only one that calls index_next and what stands below it.

-- What the builder last made of a container's policy. seq: of that definition, in items_0. total: how many indexes the
-- last change of policy had to make, for the progress that clients are told.
create table orrery.container_indexing (
    container   bigint primary key,
    seq         bigint not null,
    policy      jsonb not null,
    next_number integer not null default 1,
    total       integer not null default 0
);

-- One row per index; it is called items_<container>_x<number>. kind: 1 containment, 2 range, 3 composite, 5 spatial.
-- spec says what it holds (gateway/query/index_set.h). state:
--   wished    queries ask for it; asked_at tells when one did last
--   wanted    the policy declares it, or it is to be made for the queries
--   building
--   ready
--   unwanted  still there, and still used, until what replaces it is ready
create table orrery.query_indexes (
    container   bigint not null,
    number      integer not null,
    kind        smallint not null,
    is_declared boolean not null,
    state       text not null check (state in ('wished', 'wanted', 'building', 'ready', 'unwanted')),
    asked_at    bigint not null default 0,
    spec        text not null,
    primary key (container, number)
);

create unique index query_indexes_spec on orrery.query_indexes (container, kind, md5(spec));
create index query_indexes_state on orrery.query_indexes (state) where state <> 'ready';

create function orrery.index_relation(container bigint, number integer) returns text language sql immutable as $$
    select format('items_%s_x%s', container, number)
$$;

-- A document without what an indexing policy leaves out. rule is {"*": are values below included, "?": is a scalar here
-- (as "*" when absent), "m": rules of members, "e": rule of elements}; null when nothing is left.
create function orrery.doc_pruned(value jsonb, rule jsonb) returns jsonb language plpgsql immutable parallel safe as $$
declare
    below   boolean := (rule->>'*')::boolean;
    members jsonb := rule->'m';
    kept    jsonb;
    child   jsonb;
    name    text;
begin
    case jsonb_typeof(value)
    when 'object' then
        if members is null then
            return case when below then value end;
        end if;
        kept := case when below then value else '{}'::jsonb end;
        for name in select jsonb_object_keys(members) loop
            child := value->name;
            if child is not null then
                child := orrery.doc_pruned(child, members->name);
                kept := kept - name;
                if child is not null then
                    kept := kept || jsonb_build_object(name, child);
                end if;
            end if;
        end loop;
        return case when below or kept <> '{}'::jsonb then kept end;
    when 'array' then
        if not rule ? 'e' then
            return case when below then value end;
        end if;
        select jsonb_agg(x.kept) from (
            select orrery.doc_pruned(e.value, rule->'e') as kept from jsonb_array_elements(value) e) x
        where x.kept is not null into kept;
        return coalesce(kept, case when below then '[]'::jsonb end);
    else
        return case when coalesce((rule->>'?')::boolean, below) then value end;
    end case;
end
$$;

-- The indexes of a new container, whose tables are empty.
create function orrery.index_declare(p_container bigint, p_kind smallint[], p_spec text[], p_definition text[])
returns void language plpgsql as $$
begin
    insert into orrery.container_indexing (container, seq, policy, next_number)
    select p_container, i.seq, i.doc->'indexingPolicy', cardinality(p_kind) + 1
    from orrery.items_0 i where i.range_id = 0 and i.rid = p_container and not i.deleted;
    insert into orrery.query_indexes (container, number, kind, is_declared, state, spec)
    select p_container, x.n, x.kind, true, 'ready', x.spec
    from unnest(p_kind, p_spec) with ordinality x(kind, spec, n);
    for j in 1 .. cardinality(p_kind) loop
        execute format('create index %I on orrery.%I %s', orrery.index_relation(p_container, j),
                       format('items_%s', p_container), p_definition[j]);
    end loop;
end
$$;

-- Queries asked for these. Remembered up to p_max per container and kind; asking again keeps an index alive.
create function orrery.index_ask(p_container bigint[], p_kind smallint[], p_spec text[], p_now bigint, p_max integer)
returns void language plpgsql as $$
declare
    a record;
begin
    for a in
        select distinct x.container, x.kind, x.spec from unnest(p_container, p_kind, p_spec) x(container, kind, spec)
        order by 1, 2, 3
    loop
        update orrery.query_indexes q set asked_at = p_now
        where q.container = a.container and q.kind = a.kind and md5(q.spec) = md5(a.spec);
        continue when found
            or (select count(*) from orrery.query_indexes q where q.container = a.container and q.kind = a.kind) >= p_max;
        with c as (
            update orrery.container_indexing c set next_number = c.next_number + 1
            where c.container = a.container returning c.next_number - 1 as number)
        insert into orrery.query_indexes (container, number, kind, is_declared, state, asked_at, spec)
        select a.container, c.number, a.kind, false, 'wished', p_now, a.spec from c
        on conflict do nothing;
    end loop;
end
$$;

-- Cancel the build of an index on a container's items; true when one is under way.
create function orrery.index_cancel(p_container bigint) returns boolean language sql as $$
    select coalesce(bool_or(true), false)
    from (select pg_cancel_backend(p.pid) from pg_stat_progress_create_index p
          where p.datname = current_database() and p.relid = to_regclass(format('orrery.items_%s', p_container)) offset 0) x
$$;

-- How far a container's indexes follow its policy, in percent.
create function orrery.index_progress(p_container bigint) returns integer language sql stable as $$
    select case when c.policy is distinct from i.doc->'indexingPolicy' then 0
                when left_over.count = 0 then 100
                else least(99, floor(100 * (c.total - left_over.count + left_over.done) / greatest(c.total, 1)))::integer end
    from orrery.items_0 i
    left join orrery.container_indexing c on c.container = p_container
    cross join lateral (
        select count(*), coalesce(max(case when q.state = 'building' then (
            select p.blocks_done::float8 / p.blocks_total from pg_stat_progress_create_index p
            where p.relid = to_regclass(format('orrery.items_%s', p_container)) and p.blocks_total > 0) end), 0) as done
        from orrery.query_indexes q
        where q.container = p_container and q.is_declared and q.state in ('wanted', 'building')) left_over
    where i.range_id = 0 and i.rid = p_container and not i.deleted
$$;

-- Below: for the builder.

-- What to do next; no row when nothing is to be done.
--   1 settle    a build that was interrupted: is_valid says whether PostgreSQL finished it
--   2 reconcile the container has another policy; definition is its text, seq its number
--   3 build
--   4 drop
-- p_cap: how many indexes per container and kind are made for queries. At the cap, one that nobody asked for since
-- p_idle makes room; one that nobody asked for since p_unused goes by itself, a wish that was never met too. Below
-- p_min_bytes a table is quicker sorted than kept sorted.
create function orrery.index_next(p_cap integer, p_idle bigint, p_unused bigint, p_min_bytes bigint,
    out task smallint, out container bigint, out number integer, out kind smallint, out relation text, out spec text,
    out is_valid boolean, out seq bigint, out definition text)
language plpgsql as $$
#variable_conflict use_column
begin
    update orrery.query_indexes q set state = 'unwanted'
    where not q.is_declared and q.state = 'ready' and q.asked_at < p_unused;
    delete from orrery.query_indexes q where q.state = 'wished' and q.asked_at < p_unused;

    select 1, q.container, q.number, q.kind, orrery.index_relation(q.container, q.number), q.spec,
           coalesce(x.indisvalid, false)
    from orrery.query_indexes q
    left join pg_index x on x.indexrelid = to_regclass('orrery.' || orrery.index_relation(q.container, q.number))
    where q.state = 'building' limit 1
    into task, container, number, kind, relation, spec, is_valid;
    if task is not null then
        return;
    end if;

    select 2, i.rid, i.seq, i.body
    from orrery.items_0 i left join orrery.container_indexing c on c.container = i.rid
    where i.range_id = 0 and i.pk >= 'colls/' and i.pk < 'colls0' and not i.deleted and c.seq is distinct from i.seq
      and exists (select from orrery.ranges g where g.container = i.rid and g.state in ('online', 'read-only'))
    order by i.seq limit 1
    into task, container, seq, definition;
    if task is not null then
        return;
    end if;

    -- wishes: the container is large enough, and there is room
    update orrery.query_indexes q set state = 'wanted'
    from (select w.container, w.kind, min(w.number) as number
          from orrery.query_indexes w
          where w.state = 'wished'
            and pg_relation_size(to_regclass(format('orrery.items_%s', w.container))) >= p_min_bytes
            and (select count(*) from orrery.query_indexes h
                 where h.container = w.container and h.kind = w.kind and not h.is_declared and h.state <> 'wished') < p_cap
          group by w.container, w.kind) w
    where q.container = w.container and q.number = w.number;

    select 3, q.container, q.number, q.kind, orrery.index_relation(q.container, q.number), q.spec
    from orrery.query_indexes q where q.state = 'wanted'
    order by q.is_declared desc, q.container, q.number limit 1
    into task, container, number, kind, relation, spec;
    if task is not null then
        return;
    end if;

    -- no room: the one that was asked for least recently goes
    update orrery.query_indexes q set state = 'unwanted'
    from (select distinct on (h.container, h.kind) h.container, h.number
          from orrery.query_indexes h
          where h.state = 'ready' and not h.is_declared and h.asked_at < p_idle
            and exists (select from orrery.query_indexes w
                        where w.container = h.container and w.kind = h.kind and w.state = 'wished' and w.asked_at >= p_idle)
            and (select count(*) from orrery.query_indexes k
                 where k.container = h.container and k.kind = h.kind and not k.is_declared and k.state <> 'wished') >= p_cap
          order by h.container, h.kind, h.asked_at) h
    where q.container = h.container and q.number = h.number;

    select 4, q.container, q.number, q.kind, orrery.index_relation(q.container, q.number), q.spec
    from orrery.query_indexes q where q.state = 'unwanted' order by q.container, q.number limit 1
    into task, container, number, kind, relation, spec;
end
$$;

-- Is there anything to do? Cheap: every gateway asks every few seconds.
create function orrery.index_is_needed(p_min_bytes bigint, p_cap integer, p_unused bigint) returns boolean language sql stable as $$
    select exists (select from orrery.query_indexes q where q.state in ('wanted', 'building', 'unwanted'))
        or exists (select from orrery.query_indexes q where not q.is_declared and q.asked_at < p_unused)
        or exists (select from orrery.query_indexes q
                   where q.state = 'wished'
                     and pg_relation_size(to_regclass(format('orrery.items_%s', q.container))) >= p_min_bytes
                     and (select count(*) from orrery.query_indexes h
                          where h.container = q.container and h.kind = q.kind and not h.is_declared
                            and h.state <> 'wished') < p_cap)
        or exists (select from orrery.items_0 i left join orrery.container_indexing c on c.container = i.rid
                   where i.range_id = 0 and i.pk >= 'colls/' and i.pk < 'colls0' and not i.deleted
                     and c.seq is distinct from i.seq)
$$;

-- The container's indexes are to be these (kind, spec) of its policy, and of those made for queries not p_uncovered.
create function orrery.index_reconcile(p_container bigint, p_seq bigint, p_kind smallint[], p_spec text[],
                                       p_uncovered integer[])
returns void language plpgsql as $$
#variable_conflict use_column
declare
    first   integer;
    missing integer;
    asked   record;
begin
    insert into orrery.container_indexing (container, seq, policy)
    select p_container, i.seq, i.doc->'indexingPolicy'
    from orrery.items_0 i where i.range_id = 0 and i.rid = p_container and i.seq = p_seq and not i.deleted
    on conflict (container) do update set seq = excluded.seq, policy = excluded.policy;
    if not found then
        return;  -- changed again meanwhile, or gone
    end if;
    delete from orrery.query_indexes q
    where q.container = p_container and (q.is_declared and q.state = 'wanted' or q.state = 'wished' and q.number = any (p_uncovered));
    update orrery.query_indexes q set state = 'unwanted'
    where q.container = p_container and q.state in ('ready', 'wanted')
      and (q.number = any (p_uncovered)
           or q.is_declared and not exists (select from unnest(p_kind, p_spec) x(kind, spec)
                                            where x.kind = q.kind and x.spec = q.spec));
    -- what was to go and is declared again
    update orrery.query_indexes q set state = 'ready', is_declared = true
    from unnest(p_kind, p_spec) x(kind, spec)
    where q.container = p_container and q.kind = x.kind and q.spec = x.spec and q.state = 'unwanted';
    select count(*) from unnest(p_kind, p_spec) x(kind, spec)
    where not exists (select from orrery.query_indexes q
                      where q.container = p_container and q.kind = x.kind and md5(q.spec) = md5(x.spec)) into missing;
    update orrery.container_indexing c set next_number = c.next_number + missing, total = missing
    where c.container = p_container returning c.next_number - missing into first;
    insert into orrery.query_indexes (container, number, kind, is_declared, state, spec)
    select p_container, first + x.n - 1, x.kind, true, 'wanted', x.spec
    from (select x.kind, x.spec, row_number() over (order by x.n) as n
          from unnest(p_kind, p_spec) with ordinality x(kind, spec, n)
          where not exists (select from orrery.query_indexes q
                            where q.container = p_container and q.kind = x.kind and md5(q.spec) = md5(x.spec))) x;
end
$$;

create function orrery.index_set_state(p_container bigint, p_number integer, p_state text) returns void language sql as $$
    update orrery.query_indexes q set state = p_state where q.container = p_container and q.number = p_number
$$;

create function orrery.index_forget(p_container bigint, p_number integer) returns void language sql as $$
    delete from orrery.query_indexes q where q.container = p_container and q.number = p_number
$$;
