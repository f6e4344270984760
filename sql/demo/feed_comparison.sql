-- Demo summary: lists of both arms beside single sources, on the next day's likes
-- Grain:         one row per arm (tonight's model, and its champion), or single source, best first
-- Inputs:        bi.model_quality
-- Output:        name; condensed_ndcg_10 (of the posts that were viewed; it decides), hitrate_5,
--                ndcg_10, map_10 and recall_10 with their 95 % intervals; coverage and novelty of
--                the first ten
-- Point in time: the gate's users of the newest night, whom lists made before the day were asked for
-- Parameters:    none
with newest as (
    select
        case
            when name = 'champion' then split_part(job, '.', 2) || ', champion' else name
        end as name,
        metric,
        value,
        ltrim(to_char(value, 'FM0.000'), '0')
        || coalesce(
            ' ' || ltrim(to_char(low, 'FM0.000'), '0')
            || '-' || ltrim(to_char(high, 'FM0.000'), '0'),
            ''
        ) as shown,
        row_number() over (
            partition by case when name = 'champion' then job else name end, metric order by job
        ) as place
    from bi.model_quality
    where
        job like 'feed\_recommendation.%'
        and stage = 'gate'
        and name in (
            'control', 'test', 'popular_segment', 'popular_7d', 'popular_30d', 'popular_all',
            'als', 'random', 'champion'
        )
        and as_of = (
            select max(other.as_of) from bi.model_quality as other
            where other.job like 'feed\_recommendation.%' and other.stage = 'gate'
        )
)

select
    name,
    max(shown) filter (where metric = 'condensed_ndcg@10') as condensed_ndcg_10,
    max(shown) filter (where metric = 'hitrate@5') as hitrate_5,
    max(shown) filter (where metric = 'ndcg@10') as ndcg_10,
    max(shown) filter (where metric = 'map@10') as map_10,
    max(shown) filter (where metric = 'recall@10') as recall_10,
    max(shown) filter (where metric = 'coverage@10') as coverage,
    to_char(max(value) filter (where metric = 'novelty@10'), 'FM90.00') as novelty
from newest
where place = 1
group by name
order by max(value) filter (where metric = 'condensed_ndcg@10') desc nulls last
