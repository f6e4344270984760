-- Schemas, rights and the platform's own records (loads, validations, versions, publications).
-- Run by role migrator, the owner; nightshift, bi_reader and feed_api exist already.

do $$
begin
    execute format('alter database %I set timezone to ''UTC''', current_database());
end
$$;
set local timezone to 'UTC';

create schema raw;
create schema quarantine;
create schema feature;
create schema result;
create schema experiment;
create schema bi;
create schema staging authorization nightshift;

comment on schema raw is 'Copies of the product database, one partition per event day (UTC)';
comment on schema quarantine is 'Rows refused by a check, with the reason; nothing is thrown away';
comment on schema feature is 'Daily partial aggregates, from which every window feature is summed';
comment on schema result is 'What the jobs publish, one partition per as_of; read it through bi';
comment on schema experiment is 'Experiments, assignments and impressions';
comment on schema bi is 'The views people read; columns are only ever added';
comment on schema ops is 'Loads, validations, model versions, promotions, publications, incidents';
comment on schema staging is 'Rows on their way into raw or result; safe to drop when no run is at work';

grant usage, create on schema raw, quarantine, feature, result to nightshift;
grant usage on schema ops, bi, experiment to nightshift;
grant usage on schema bi to bi_reader;
alter default privileges in schema bi grant select on tables to bi_reader, nightshift;

-- What each run loaded --------------------------------------------------------------------------

create table ops.load (
    load_id bigint generated always as identity primary key,
    table_name text not null,
    event_day date not null,
    as_of date not null,
    mode text not null check (mode in ('nightly', 'range', 'late', 'reload', 'absent')),
    rows_read bigint not null check (rows_read >= 0),
    rows_loaded bigint not null check (rows_loaded >= 0),
    duplicates bigint not null check (duplicates >= 0),
    quarantined bigint not null check (quarantined >= 0),
    closed bigint not null default 0 check (closed >= 0),
    checksum numeric not null,
    airflow_run_id text,
    loaded_at timestamptz not null default clock_timestamp()
);
create index load_by_day on ops.load (table_name, event_day, load_id);
comment on table ops.load is 'One row per table, event day and extraction that changed it; the last one describes the day';
comment on column ops.load.load_id is 'Order of the extractions';
comment on column ops.load.table_name is 'Table under raw';
comment on column ops.load.event_day is 'UTC day of the events';
comment on column ops.load.as_of is 'The extraction that wrote it; rows carry it as known_from';
comment on column ops.load.mode is 'nightly, range (history), late (differences found later), reload (older days, asked for) or absent (the owner has no such table)';
comment on column ops.load.rows_read is 'Rows of that day in the source, duplicates included';
comment on column ops.load.rows_loaded is 'Rows this extraction added to raw';
comment on column ops.load.duplicates is 'Exact duplicates dropped (counted in raw.*.copies)';
comment on column ops.load.quarantined is 'Rows moved to quarantine';
comment on column ops.load.closed is 'Rows of raw that the source no longer has: closed by known_to';
comment on column ops.load.checksum is 'Sum of the source''s row hashes: differs when any row differs';
comment on column ops.load.airflow_run_id is 'Airflow run, null when run by hand';
comment on column ops.load.loaded_at is 'When it was committed';

create table ops.absent_table (
    table_name text primary key,
    reason text not null,
    declared_at timestamptz not null default clock_timestamp()
);
comment on table ops.absent_table is 'Source tables this owner does not have: no rows are expected of them';
comment on column ops.absent_table.table_name is 'Table under raw';
comment on column ops.absent_table.reason is 'Why, in words';
comment on column ops.absent_table.declared_at is 'When it was declared';

create table ops.forgotten (
    person text not null check (person in ('client', 'user')),
    key_sha256 text not null,
    forgotten_at timestamptz not null default clock_timestamp(),
    primary key (person, key_sha256)
);
comment on table ops.forgotten is 'People erased on request; extraction leaves their rows out from then on';
comment on column ops.forgotten.person is 'client or user';
comment on column ops.forgotten.key_sha256 is 'Hash of the key: enough to leave the person out, not to list them';
comment on column ops.forgotten.forgotten_at is 'When';

create table ops.validation (
    validation_id bigint generated always as identity primary key,
    table_name text not null,
    as_of date not null,
    suite text not null,
    expectation text not null,
    column_name text,
    severity text not null check (severity in ('critical', 'warning', 'info')),
    success boolean not null,
    rows bigint,
    unexpected bigint,
    sample jsonb,
    observed text,
    validated_at timestamptz not null default clock_timestamp()
);
create index validation_by_day on ops.validation (table_name, as_of);
comment on table ops.validation is 'One row per expectation checked by Great Expectations';
comment on column ops.validation.validation_id is 'Order of the checks';
comment on column ops.validation.validated_at is 'When it was checked';
comment on column ops.validation.table_name is 'Table or dataset checked';
comment on column ops.validation.as_of is 'Run that checked it';
comment on column ops.validation.suite is 'Suite of expectations';
comment on column ops.validation.expectation is 'What was expected, in words or by its type';
comment on column ops.validation.column_name is 'Column, where the expectation is about one';
comment on column ops.validation.severity is 'critical stops the day; warning quarantines the rows';
comment on column ops.validation.success is 'Whether it held';
comment on column ops.validation.rows is 'Rows looked at';
comment on column ops.validation.unexpected is 'Rows that broke it';
comment on column ops.validation.sample is 'Up to three keys of rows that broke it';
comment on column ops.validation.observed is 'Value observed';

create table ops.profile (
    table_name text not null,
    event_day date not null,
    column_name text not null,
    as_of date not null,
    rows bigint not null,
    nulls bigint not null,
    distinct_values bigint not null,
    minimum text,
    maximum text,
    mean double precision,
    quantiles double precision[],
    top_values jsonb,
    primary key (table_name, event_day, column_name)
);
comment on table ops.profile is 'Profile of each raw column and day';
comment on column ops.profile.table_name is 'Table under raw';
comment on column ops.profile.event_day is 'UTC day of the events';
comment on column ops.profile.column_name is 'Column';
comment on column ops.profile.as_of is 'Extraction that profiled it';
comment on column ops.profile.rows is 'Rows of the day, exact duplicates dropped';
comment on column ops.profile.nulls is 'Rows without a value';
comment on column ops.profile.distinct_values is 'Distinct values';
comment on column ops.profile.minimum is 'Smallest value, as text';
comment on column ops.profile.maximum is 'Largest value, as text';
comment on column ops.profile.mean is 'Mean of a numeric column';
comment on column ops.profile.quantiles is 'Quantiles 5, 25, 50, 75, 95 % of a numeric column';
comment on column ops.profile.top_values is 'The five most frequent values with their counts';

-- Models ----------------------------------------------------------------------------------------

create table ops.model_version (
    model_version text primary key,
    job text not null,
    as_of date not null,
    kind text not null check (kind in ('model', 'baseline')),
    name text not null,
    mlflow_run_id text,
    model_uri text,
    artifact_sha256 text,
    train_from date,
    train_to date,
    gate_cutoff date,
    rows jsonb not null default '{}',
    params jsonb not null default '{}',
    metrics jsonb not null default '{}',
    airflow_run_id text,
    created_at timestamptz not null default clock_timestamp()
);
create index model_version_by_day on ops.model_version (job, as_of);
comment on table ops.model_version is 'One row per trained version; never changed after its run ended';
comment on column ops.model_version.created_at is 'When it was registered';
comment on column ops.model_version.model_version is 'Name that every result row carries';
comment on column ops.model_version.job is 'Job it belongs to';
comment on column ops.model_version.as_of is 'Day it was trained for: it knows nothing later';
comment on column ops.model_version.kind is 'model, or baseline (popularity, recency, base rate ...)';
comment on column ops.model_version.name is 'Kind of model, for example catboost or rfm_logistic';
comment on column ops.model_version.mlflow_run_id is 'MLflow run';
comment on column ops.model_version.model_uri is 'Where MLflow keeps the model';
comment on column ops.model_version.artifact_sha256 is 'Checksum of the model''s files: what was tested serves';
comment on column ops.model_version.train_from is 'First day of the training labels'' windows';
comment on column ops.model_version.train_to is 'Day before which all fitting labels end';
comment on column ops.model_version.gate_cutoff is 'Cutoff of the rows the gate compared on';
comment on column ops.model_version.rows is 'Row counts of each slice';
comment on column ops.model_version.params is 'Parameters';
comment on column ops.model_version.metrics is 'Metrics on the gate''s rows';
comment on column ops.model_version.airflow_run_id is 'Airflow run, null when run by hand';

create table ops.promotion (
    promotion_id bigint generated always as identity primary key,
    job text not null,
    effective_as_of date not null,
    decided_at timestamptz not null default clock_timestamp(),
    actor text not null,
    decision text not null check (decision in ('promote', 'keep', 'rollback', 'refuse')),
    reason text not null,
    from_version text references ops.model_version,
    to_version text references ops.model_version,
    figures jsonb not null default '{}'
);
create index promotion_by_day on ops.promotion (job, effective_as_of, decided_at);
comment on table ops.promotion is 'Append-only: every decision about which version serves';
comment on column ops.promotion.promotion_id is 'Order of the decisions';
comment on column ops.promotion.job is 'Job';
comment on column ops.promotion.effective_as_of is 'First day the decision holds for';
comment on column ops.promotion.decided_at is 'When it was taken; later decisions win';
comment on column ops.promotion.actor is 'Person or run that decided';
comment on column ops.promotion.decision is 'promote, keep, rollback or refuse';
comment on column ops.promotion.reason is 'Why, in words';
comment on column ops.promotion.from_version is 'Version live before';
comment on column ops.promotion.to_version is 'Version live from effective_as_of on';
comment on column ops.promotion.figures is 'The figures it rests on';

create table ops.evaluation (
    job text not null,
    as_of date not null,
    model_version text not null,
    name text not null,
    stage text not null check (stage in ('gate', 'matured')),
    metric text not null,
    value double precision,
    low double precision,
    high double precision,
    rows bigint not null,
    evaluated_at timestamptz not null default clock_timestamp(),
    primary key (job, as_of, model_version, name, stage, metric)
);
comment on table ops.evaluation is 'Quality of each model and baseline on rows it was not fitted on';
comment on column ops.evaluation.evaluated_at is 'When it was measured';
comment on column ops.evaluation.job is 'Job';
comment on column ops.evaluation.as_of is 'gate: run that measured; matured: published day measured';
comment on column ops.evaluation.model_version is 'Version measured; a baseline that was trained beside a model has a version of its own';
comment on column ops.evaluation.name is 'Model or baseline';
comment on column ops.evaluation.stage is 'gate (before serving) or matured (what was published, observed)';
comment on column ops.evaluation.metric is 'roc_auc; pr_auc (average precision); brier and ece (expected calibration error, ten bins of equal mass), lower is better; lift (rate among the tenth with the highest probabilities against the rate of all); when matured also predicted_rate (mean probability) and observed_rate (share of positives)';
comment on column ops.evaluation.value is 'Value of the metric';
comment on column ops.evaluation.low is 'Lower end of the 95 % interval; null where none is computed';
comment on column ops.evaluation.high is 'Upper end of the 95 % interval; null where none is computed';
comment on column ops.evaluation.rows is 'Rows it was measured on';

create table ops.tuning (
    job text not null,
    as_of date not null,
    params jsonb not null,
    trials integer not null,
    value double precision,
    tuned_at timestamptz not null default clock_timestamp(),
    primary key (job, as_of)
);
comment on table ops.tuning is 'Tuned values; a run uses the newest not later than its own as_of';
comment on column ops.tuning.tuned_at is 'When it was written';
comment on column ops.tuning.job is 'Job';
comment on column ops.tuning.as_of is 'Day they were tuned for';
comment on column ops.tuning.params is 'Values';
comment on column ops.tuning.trials is 'Budget spent, in trials';
comment on column ops.tuning.value is 'Score of the best trial on the validation rows';

create table ops.calibration (
    model_version text not null references ops.model_version,
    as_of date not null,
    cutoff date not null,
    rows bigint not null,
    slope double precision not null,
    intercept double precision not null,
    fitted_at timestamptz not null default clock_timestamp(),
    primary key (model_version, as_of)
);
comment on table ops.calibration is 'The map on the log-odds that a version serves with on a day: the order stays as tested, the level follows the newest complete labels';
comment on column ops.calibration.fitted_at is 'When it was fitted';
comment on column ops.calibration.model_version is 'Version';
comment on column ops.calibration.as_of is 'Day served';
comment on column ops.calibration.cutoff is 'Cutoff of the rows it was fitted on; their labels are complete by as_of';
comment on column ops.calibration.rows is 'Rows it was fitted on';
comment on column ops.calibration.slope is 'Factor on the log-odds, and so on every contribution';
comment on column ops.calibration.intercept is 'Shift of the log-odds';

-- Publishing ------------------------------------------------------------------------------------

create table ops.result_table (
    table_name text primary key,
    job text not null,
    inputs text[] not null,
    horizon_days integer not null default 0
);
comment on table ops.result_table is 'The tables jobs publish, and the raw tables they are made from';
comment on column ops.result_table.table_name is 'Table, with its schema';
comment on column ops.result_table.job is 'Job that publishes it';
comment on column ops.result_table.inputs is 'Tables under raw it is made from';
comment on column ops.result_table.horizon_days is 'Days until the labels of a published day are mature';

create table ops.publication (
    publication_id bigint generated always as identity primary key,
    table_name text not null references ops.result_table,
    as_of date not null,
    model_version text not null,
    rows bigint not null check (rows > 0),
    checksum text not null,
    replaced boolean not null,
    mlflow_run_id text,
    airflow_run_id text,
    published_at timestamptz not null default clock_timestamp(),
    read_at timestamptz not null default clock_timestamp()
);
create index publication_newest on ops.publication (table_name, as_of, publication_id);
comment on table ops.publication is 'A day is visible once it has a row here; the last row describes it';
comment on column ops.publication.publication_id is 'Order of the publications; the last of a day describes it';
comment on column ops.publication.published_at is 'When the day became visible';
comment on column ops.publication.read_at is 'When the last run that made these very rows began to read its inputs';
comment on column ops.publication.table_name is 'Result table';
comment on column ops.publication.as_of is 'Day published';
comment on column ops.publication.model_version is 'Version that made the rows';
comment on column ops.publication.rows is 'Rows published';
comment on column ops.publication.checksum is 'Checksum over the business columns: equal rows, equal checksum';
comment on column ops.publication.replaced is 'Whether it replaced a day already published';
comment on column ops.publication.mlflow_run_id is 'MLflow run of the version';
comment on column ops.publication.airflow_run_id is 'Airflow run, null when run by hand';

-- Incidents -------------------------------------------------------------------------------------

create table ops.incident (
    incident_id bigint generated always as identity primary key,
    dag_id text not null,
    task_id text not null,
    as_of date,
    airflow_run_id text,
    error text not null,
    log_url text,
    still_serves text not null,
    depends text not null,
    rerun_command text not null,
    opened_at timestamptz not null default clock_timestamp(),
    resolved_at timestamptz
);
create index incident_open on ops.incident (dag_id, as_of) where resolved_at is null;
comment on table ops.incident is 'One row per failed task: what broke, what still serves, what to type';
comment on column ops.incident.incident_id is 'Order of the incidents';
comment on column ops.incident.airflow_run_id is 'Airflow run that failed';
comment on column ops.incident.dag_id is 'DAG';
comment on column ops.incident.task_id is 'Task that failed for good';
comment on column ops.incident.as_of is 'Day of the run';
comment on column ops.incident.error is 'First lines of the error';
comment on column ops.incident.log_url is 'Task log in Airflow';
comment on column ops.incident.still_serves is 'What readers see meanwhile, and from which day';
comment on column ops.incident.depends is 'What waits for this';
comment on column ops.incident.rerun_command is 'Command that reruns it';
comment on column ops.incident.opened_at is 'When it failed';
comment on column ops.incident.resolved_at is 'When a rerun succeeded; null while open';

grant select, insert on all tables in schema ops to nightshift;
grant update on ops.profile, ops.tuning, ops.evaluation, ops.incident to nightshift;
grant delete on ops.profile, ops.absent_table to nightshift;
grant update (sample, observed) on ops.validation to nightshift;
grant update (read_at) on ops.publication to nightshift;
grant usage on all sequences in schema ops to nightshift;

-- What people read ------------------------------------------------------------------------------

create view bi.stale_days as
with published as (
    select distinct on (publication.table_name, publication.as_of)
        publication.table_name,
        publication.as_of,
        publication.read_at
    from ops.publication
    order by
        publication.table_name asc,
        publication.as_of asc,
        publication.publication_id desc
),

changes as (
    select
        result_table.table_name,
        load.event_day,
        load.as_of as known_from,
        load.loaded_at,
        load.rows_loaded + load.closed as changed_rows
    from ops.result_table
    inner join ops.load on load.table_name = any(result_table.inputs)
    where load.rows_loaded + load.closed > 0
),

-- Known later: no run of those days may see them.
known_later as (
    select
        changes.table_name,
        cast(day as date) as as_of,
        changes.changed_rows,
        changes.loaded_at,
        false as to_rescore
    from changes
    cross join
        lateral generate_series(
            changes.event_day + 1, changes.known_from - 1, interval '1 day'
        ) as day
    where changes.known_from > changes.event_day + 1
),

-- The newest load known by each day, by one running maximum: a join of all with all is spared.
reread as (
    select
        timeline.table_name,
        timeline.as_of,
        timeline.read_at
    from (
        select
            events.table_name,
            events.as_of,
            events.read_at,
            max(events.loaded_at) over (
                partition by events.table_name
                order by events.as_of
                range between unbounded preceding and current row
            ) as newest
        from (
            select
                table_name,
                known_from as as_of,
                loaded_at,
                cast(null as timestamptz) as read_at
            from changes
            union all
            select
                table_name,
                as_of,
                null,
                read_at
            from published
        ) as events
    ) as timeline
    where timeline.read_at < timeline.newest
),

-- Loaded later: the next run of those days sees them.
loaded_later as (
    select
        reread.table_name,
        reread.as_of,
        changes.changed_rows,
        changes.loaded_at,
        true as to_rescore
    from reread
    inner join changes
        on
            reread.table_name = changes.table_name
            and reread.as_of >= changes.known_from
            and reread.read_at < changes.loaded_at
)

select
    missed.table_name,
    result_table.job,
    missed.as_of,
    sum(missed.changed_rows) as changed_rows,
    max(missed.loaded_at) as changed_at,
    bool_or(missed.to_rescore) as to_rescore
from (
    select * from known_later
    union all
    select * from loaded_later
) as missed
inner join published
    on
        missed.table_name = published.table_name
        and missed.as_of = published.as_of
inner join ops.result_table on missed.table_name = result_table.table_name
group by
    missed.table_name,
    result_table.job,
    missed.as_of;
comment on view bi.stale_days is 'One row per published day that lacks rows of before it: late, corrected or loaded afterwards';
comment on column bi.stale_days.table_name is 'Result table';
comment on column bi.stale_days.job is 'Job (and DAG) that publishes it';
comment on column bi.stale_days.as_of is 'Published day';
comment on column bi.stale_days.changed_rows is 'Rows of before that day, added or taken back, that it does not count';
comment on column bi.stale_days.changed_at is 'When the last of them was loaded';
comment on column bi.stale_days.to_rescore is 'True where another run of the day counts some of them; otherwise they were known only later, and the day stays as it is';

create view bi.status as
with loaded as (
    select
        result_table.table_name,
        min(newest.event_day) + 1 as as_of
    from ops.result_table
    cross join lateral unnest(result_table.inputs) as input (table_name)
    left join lateral (
        select max(load.event_day) as event_day
        from ops.load
        where load.table_name = input.table_name
    ) as newest on true
    group by result_table.table_name
),

published as (
    select distinct on (publication.table_name, publication.as_of)
        publication.table_name,
        publication.as_of,
        publication.model_version,
        publication.rows,
        publication.published_at
    from ops.publication
    order by
        publication.table_name asc,
        publication.as_of asc,
        publication.publication_id desc
),

stale as (
    select
        table_name,
        count(*) as days,
        count(*) filter (where to_rescore) as to_rescore,
        max(as_of) as newest
    from bi.stale_days
    group by table_name
)

select
    result_table.table_name,
    result_table.job,
    newest.as_of as newest_as_of,
    newest.rows,
    newest.model_version,
    newest.published_at,
    loaded.as_of as inputs_as_of,
    loaded.as_of - newest.as_of as days_behind_inputs,
    current_date - newest.as_of as age_days,
    coalesce(newest.as_of < loaded.as_of, true) as is_behind,
    coalesce(stale.days, 0) as stale_days,
    coalesce(stale.to_rescore, 0) as days_to_rescore,
    coalesce(stale.newest = newest.as_of, false) as is_stale,
    (
        select count(*) from ops.incident
        where incident.dag_id = result_table.job and incident.resolved_at is null
    ) as open_incidents
from ops.result_table
left join loaded on result_table.table_name = loaded.table_name
left join lateral (
    select published.*
    from published
    where published.table_name = result_table.table_name
    order by published.as_of desc
    limit 1
) as newest on true
left join stale on result_table.table_name = stale.table_name;
comment on view bi.status is 'Each result table: its newest day, how fresh it is, whether to trust it';
comment on column bi.status.table_name is 'Result table';
comment on column bi.status.job is 'Job (and DAG) that publishes it';
comment on column bi.status.newest_as_of is 'Newest published day; null when none';
comment on column bi.status.rows is 'Rows of that day';
comment on column bi.status.model_version is 'Version that made that day';
comment on column bi.status.published_at is 'When that day was published';
comment on column bi.status.inputs_as_of is 'Newest day that all inputs are loaded for';
comment on column bi.status.days_behind_inputs is 'Days between the inputs and the newest published day';
comment on column bi.status.age_days is 'Days between the newest published day and the clock''s day';
comment on column bi.status.is_behind is 'True when a newer day could have been published';
comment on column bi.status.stale_days is 'Published days that lack late or corrected rows: bi.stale_days';
comment on column bi.status.days_to_rescore is 'Those of them that another run would change';
comment on column bi.status.is_stale is 'True when the newest published day is one of them';
comment on column bi.status.open_incidents is 'Failures of its DAG that nobody has mended yet';

create view bi.data_profile as
select
    profile.table_name,
    profile.event_day,
    profile.column_name,
    profile.rows,
    profile.nulls,
    profile.distinct_values,
    profile.minimum,
    profile.maximum,
    profile.mean,
    profile.quantiles,
    profile.top_values,
    cast(profile.rows as double precision) / nullif(lag(profile.rows) over days, 0) - 1 as rows_change,
    cast(profile.nulls as double precision) / nullif(profile.rows, 0)
    - lag(cast(profile.nulls as double precision) / nullif(profile.rows, 0)) over days
        as null_share_change,
    profile.mean / nullif(lag(profile.mean) over days, 0) - 1 as mean_change
from ops.profile
window days as (
    partition by profile.table_name, profile.column_name
    order by profile.event_day
);
comment on view bi.data_profile is 'Profile of each raw column and day, with the change from the day before';
comment on column bi.data_profile.table_name is 'Table under raw';
comment on column bi.data_profile.event_day is 'UTC day of the events';
comment on column bi.data_profile.column_name is 'Column';
comment on column bi.data_profile.rows is 'Rows of the day, exact duplicates dropped';
comment on column bi.data_profile.nulls is 'Rows without a value';
comment on column bi.data_profile.distinct_values is 'Distinct values';
comment on column bi.data_profile.minimum is 'Smallest value, as text';
comment on column bi.data_profile.maximum is 'Largest value, as text';
comment on column bi.data_profile.mean is 'Mean of a numeric column';
comment on column bi.data_profile.quantiles is 'Quantiles 5, 25, 50, 75, 95 % of a numeric column';
comment on column bi.data_profile.top_values is 'The five most frequent values with their counts';
comment on column bi.data_profile.rows_change is 'Rows against the day before, as a share (0.1 is 10 % more)';
comment on column bi.data_profile.null_share_change is 'Share of nulls minus that of the day before';
comment on column bi.data_profile.mean_change is 'Mean against the day before, as a share';

create view bi.model_quality as
select
    evaluation.job,
    evaluation.as_of,
    evaluation.stage,
    evaluation.name,
    evaluation.model_version,
    evaluation.metric,
    evaluation.value,
    evaluation.low,
    evaluation.high,
    evaluation.rows
from ops.evaluation;
comment on view bi.model_quality is 'Each model beside its baselines, on rows none of them was fitted on';
comment on column bi.model_quality.job is 'Job';
comment on column bi.model_quality.as_of is 'gate: run that measured; matured: published day measured';
comment on column bi.model_quality.stage is 'gate (before serving) or matured (what was published, observed)';
comment on column bi.model_quality.name is 'Model or baseline';
comment on column bi.model_quality.model_version is 'Version measured; a baseline that was trained beside a model has a version of its own';
comment on column bi.model_quality.metric is 'roc_auc; pr_auc (average precision); brier and ece (expected calibration error, ten bins of equal mass), lower is better; lift (rate among the tenth with the highest probabilities against the rate of all); when matured also predicted_rate (mean probability) and observed_rate (share of positives)';
comment on column bi.model_quality.value is 'Value of the metric';
comment on column bi.model_quality.low is 'Lower end of the 95 % interval; null where none is computed';
comment on column bi.model_quality.high is 'Upper end of the 95 % interval; null where none is computed';
comment on column bi.model_quality.rows is 'Rows it was measured on';
