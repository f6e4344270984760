-- feature.post_life: when each post appeared, from the first views of the given days
-- Grain:         one row per post_id and known_from
-- Inputs:        feature.post_day (just brought up to date), raw.post_text_df
-- Output:        a version for each post whose first view is another one now; the version before
--                it is closed, later ones that it overtakes are gone
-- Point in time: a version knows only views known by its known_from; known_at null means on time
--                (event_day + 1), as in a load of history. On time a view can only bring the
--                first one forward, so no other day is read; of late days all days of the posts
--                concerned are, because the first view may have been taken back
-- Parameters:    first_day date, last_day date, known_at date or null
with found as (
    select
        post_id,
        min(first_view_at) as first_view_at,
        min(event_day) + 1 as known_at
    from feature.post_day
    where
        cast(:known_at as date) is null
        and event_day between cast(:first_day as date) and cast(:last_day as date)
        and known_from = event_day + 1
        and first_view_at is not null
    group by post_id
    union all
    select
        days.post_id,
        min(days.first_view_at) filter (
            where days.known_from <= cast(:known_at as date)
            and days.known_to > cast(:known_at as date)
        ) as first_view_at,
        cast(:known_at as date) as known_at
    from feature.post_day as days
    where
        days.post_id in (
            select post_id
            from feature.post_day
            where
                event_day between cast(:first_day as date) and cast(:last_day as date)
                and (known_from = cast(:known_at as date) or known_to = cast(:known_at as date))
        )
    group by days.post_id
),

judged as (
    select
        found.post_id,
        found.known_at,
        coalesce(
            case
                when cast(:known_at as date) is null and standing.viewed
                    then least(found.first_view_at, standing.published_at)
                else found.first_view_at
            end,
            cast(extracted.first_day as timestamp) at time zone 'UTC'
        ) as published_at,
        found.first_view_at is not null as viewed,
        standing.published_at as published_before,
        standing.viewed as viewed_before
    from found
    left join feature.post_life as standing
        on
            found.post_id = standing.post_id
            and found.known_at >= standing.known_from
            and found.known_at < standing.known_to
    left join (
        select
            post_id,
            min(known_from) as first_day
        from raw.post_text_df
        group by post_id
    ) as extracted on found.post_id = extracted.post_id
),

lives as (
    select
        post_id,
        known_at,
        published_at,
        viewed
    from judged
    where
        published_at is distinct from published_before
        or viewed is distinct from viewed_before
),

overtaken as (
    delete from feature.post_life as old
    using lives
    where
        old.post_id = lives.post_id
        and (
            (
                old.known_from > lives.known_at
                and (not old.viewed or old.published_at >= lives.published_at)
            )
            or (old.known_from = lives.known_at and lives.published_at is null)
        )
),

closed as (
    update feature.post_life as old
    set known_to = lives.known_at
    from lives
    where
        old.post_id = lives.post_id
        and old.known_from < lives.known_at
        and old.known_to > lives.known_at
)

insert into feature.post_life (post_id, published_at, viewed, known_from, known_to)
select
    lives.post_id,
    lives.published_at,
    lives.viewed,
    lives.known_at,
    coalesce(
        (
            select min(later.known_from)
            from feature.post_life as later
            where
                later.post_id = lives.post_id
                and later.known_from > lives.known_at
                and later.viewed
                and later.published_at < lives.published_at
        ),
        'infinity'
    )
from lives
-- A post without a text whose only views were taken back was never there.
where lives.published_at is not null
on conflict (post_id, known_from) do update
    set
        published_at = excluded.published_at,
        viewed = excluded.viewed,
        known_to = excluded.known_to
