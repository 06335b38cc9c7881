-- What must be true of a range, computed from its rows: used by `orrery account digest` and by the crash tests.
-- All three are stable, so asking for them in one statement answers from one snapshot.

-- Digest of some versions of items, whatever order they come in: two 64-bit sums of md5 halves, and the count.
create function orrery.digest_format(count bigint, high numeric, low numeric) returns text language sql immutable as $$
    select format('%s:%s:%s', count, coalesce(high, 0) % 18446744073709551616, coalesce(low, 0) % 18446744073709551616)
$$;

create function orrery.digest_half(hash text, start integer) returns numeric language sql immutable as $$
    select ('x' || substr(hash, start, 16))::bit(64)::bigint::numeric + 9223372036854775808
$$;

-- What is shown: tombstones are not part of it, since each region removes them when it may. Versions only: local numbers are not part
-- of it, so regions that agree have equal digests.
create function orrery.range_digest(p_range bigint) returns text language plpgsql stable as $$
declare
    answer text;
begin
    execute format($sql$
        select orrery.digest_format(count(*), sum(orrery.digest_half(h, 1)), sum(orrery.digest_half(h, 17)))
        from (select md5(row(i.pk, i.id, i.rid, i.etag, i.ts, i.ttl, i.origin, i.lsn, i.deleted, i.body)::text) as h
              from orrery.%I i where i.range_id = $1 and not i.deleted) x$sql$,
        format('items_%s', p_range >> 12))
    using p_range into answer;
    return answer;
end
$$;

-- The same, from the log alone: of every item the maximal versions (those that no other version knows), and of these the
-- greatest. Where one origin wrote all, that is the last entry. A trimmed log has these entries still, so nothing is left out.
create function orrery.range_fold_digest(p_range bigint) returns text language plpgsql stable as $$
declare
    answer text;
    log    text := format('log_%s', p_range >> 12);
    -- entries that another one of their item knows
    known  text := '';
begin
    if (select count(*) > 1 from orrery.ranges g cross join unnest(g.vector) v(lsn)
        where g.range_id = p_range and v.lsn > 0) then
        known := format($sql$and not exists (
            select from orrery.%I n where n.range_id = $1 and n.pk = l.pk and n.id = l.id
            and orrery.knows(n.context, n.origin, n.lsn, l.origin, l.lsn))$sql$, log);
    end if;
    execute format($sql$
        select orrery.digest_format(count(*), sum(orrery.digest_half(h, 1)), sum(orrery.digest_half(h, 17)))
        from (select md5(row(i.pk, i.id, i.rid, i.etag, i.ts, i.ttl, i.origin, i.lsn, i.op >= 3, i.body)::text) as h
              from (select distinct on (l.pk, l.id) l.* from orrery.%I l
                    where l.range_id = $1 and l.op <> 5 and coalesce(l.lsn <= $2[l.origin], true) %s
                    order by l.pk, l.id, %s l.seq desc) i
              where i.op < 3) x$sql$, log, known,
        case when known <> '' then
            'orrery.rank_class(l.op) desc, l.rank desc nulls last, l.ts desc, l.origin desc, l.lsn desc,' end)
    using p_range, orrery.range_cuts(p_range) into answer;
    return answer;
end
$$;

-- What is wrong with a range's numbers; no rows when nothing is. Below the horizon the log has gaps, and the entry of every item.
create function orrery.range_problems(p_range bigint) returns setof text language plpgsql stable as $$
begin
    return query execute format($sql$
        with g as (select r.*, coalesce(h.seq, 0) as horizon, coalesce(h.vector, '{}') as trimmed
                   from orrery.ranges r left join orrery.horizons h on h.range_id = r.range_id where r.range_id = $1),
        l as (select l.*, lag(l.seq) over w as seq_before, coalesce(lag(l.lsn) over o, g.trimmed[l.origin]) as lsn_before,
                     lag(l.index) over o as index_before, g.horizon
              from g join orrery.%1$I l on l.range_id = g.range_id and l.seq > g.horizon
              window w as (order by l.seq), o as (partition by l.origin order by l.seq))
        select format('range %%s does not exist', $1) where not exists (select from g)
        union all
        select format('sequence jumps from %%s to %%s', coalesce(l.seq_before, l.horizon), l.seq) from l
        where l.seq <> coalesce(l.seq_before, l.horizon) + 1
        union all
        select format('origin %%s: (lsn, index) jumps from (%%s, %%s) to (%%s, %%s)', l.origin, l.lsn_before,
                      l.index_before, l.lsn, l.index) from l
        where not (l.lsn = coalesce(l.lsn_before, 0) + 1 and l.index = 0
                   or l.lsn = l.lsn_before and l.index = l.index_before + 1)
        union all
        select format('sequence of the range is %%s, of its log %%s', g.seq, m.seq)
        from g, (select max(l.seq) as seq from l) m where g.seq <> coalesce(m.seq, g.horizon)
        union all
        select format('vector says %%s for origin %%s, the log %%s', g.vector[o.n], o.n, coalesce(m.lsn, g.trimmed[o.n], 0))
        from g cross join generate_series(1, cardinality(g.vector)) o(n)
        left join (select l.origin, max(l.lsn) as lsn from l group by l.origin) m on m.origin = o.n
        where g.vector[o.n] <> coalesce(m.lsn, g.trimmed[o.n], 0)
        union all
        select format('item %%s is of sequence %%s, which the log does not have', i.id, i.seq)
        from orrery.%2$I i left join orrery.%1$I x on x.range_id = $1 and x.seq = i.seq and x.pk = i.pk and x.id = i.id
        where i.range_id = $1 and x.seq is null
        union all
        select format('item %%s is of lsn %%s, ahead of the vector', i.id, i.lsn)
        from g join orrery.%2$I i on i.range_id = g.range_id
        where i.lsn > g.vector[i.origin] or i.seq > g.seq
        union all
        select format('claim on key %%s by item %%s, which is not there', c.key_number, c.id)
        from orrery.unique_claims c left join orrery.%2$I i on i.range_id = $1 and i.pk = c.pk and i.id = c.id
        where c.range_id = $1 and i.deleted is not false
        union all
        select format('%%s items hold one value of key %%s, and it is not noted', u.items, u.key_number)
        from (select c.pk, c.key_number, c.value, count(*) as items from orrery.unique_claims c where c.range_id = $1
              group by c.pk, c.key_number, c.value having count(*) > 1) u
        where not exists (select from orrery.unique_clashes x
                          where x.range_id = $1 and x.pk = u.pk and x.key_number = u.key_number and x.value = u.value)
        $sql$, format('log_%s', p_range >> 12), format('items_%s', p_range >> 12))
    using p_range;
end
$$;
