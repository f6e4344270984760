-- client_behavior: where each client stands in the shop, and what comes next.

-- What clients did, in order of time ------------------------------------------------------------

create view raw.client_step as
select
    client_id,
    event_day,
    'client_event' as source,
    event_type as step,
    event_time as at,
    known_from,
    known_to
from raw.client_event
union all
select
    client_id,
    event_day,
    'apparel_messages' as source,
    event as step,
    coalesce(created_at, cast(date as timestamp) at time zone 'UTC') as at,
    known_from,
    known_to
from raw.apparel_messages
where event in ('open', 'click', 'close', 'unsubscribe', 'complain')
union all
-- A line has a day only: it stands at the day's end.
select
    client_id,
    event_day,
    'apparel_purchases' as source,
    'purchase' as step,
    (event_day + interval '1 day' - interval '1 microsecond') at time zone 'UTC' as at,
    known_from,
    known_to
from raw.apparel_purchases;
comment on view raw.client_step is 'What clients did, of all sources: events of the shop, answers to messages, lines bought';
comment on column raw.client_step.client_id is 'Client';
comment on column raw.client_step.event_day is 'UTC day of the step';
comment on column raw.client_step.source is 'Table under raw that says so';
comment on column raw.client_step.step is 'view, cart, purchase, open, click ...';
comment on column raw.client_step.at is 'Time of the step; of a line bought, the end of its day';
comment on column raw.client_step.known_from is 'as_of of the extraction that first saw the row';
comment on column raw.client_step.known_to is 'as_of from which the source no longer had it; infinity while it stands';

drop table feature.event_day;
create table feature.step_day (
    client_id bigint not null,
    event_day date not null,
    source text not null,
    known_from date not null,
    known_to date not null default 'infinity',
    steps text[] not null,
    times timestamptz[] not null,
    check (cardinality(steps) = cardinality(times))
);
create index step_day_by_client on feature.step_day (client_id, event_day);
create index step_day_by_day on feature.step_day using brin (event_day, known_from) with (pages_per_range = 16);
create index step_day_closed on feature.step_day (known_to) where known_to < 'infinity';
comment on table feature.step_day is 'What clients did, in order of time, by client, day and source; versions as in purchase_day';
comment on column feature.step_day.client_id is 'Client';
comment on column feature.step_day.event_day is 'UTC day of the steps';
comment on column feature.step_day.source is 'Table under raw that says so';
comment on column feature.step_day.known_from is 'as_of from which this version of the day is known';
comment on column feature.step_day.known_to is 'as_of from which a later version holds; infinity while this one does';
comment on column feature.step_day.steps is 'view, cart, purchase, open, click ...; those of one moment by name';
comment on column feature.step_day.times is 'Time of each step';
alter view raw.client_step owner to nightshift;
alter table feature.step_day owner to nightshift;

-- What is loaded already, as its days were known: each version of a day from the rows of then.
with version as (
    select distinct
        client_id,
        event_day,
        source,
        known_from as known_at
    from raw.client_step
    union
    select distinct
        client_id,
        event_day,
        source,
        known_to as known_at
    from raw.client_step
    where known_to < 'infinity'
),

moments as (
    select distinct
        version.client_id,
        version.event_day,
        version.source,
        version.known_at,
        steps.step,
        steps.at
    from version
    inner join raw.client_step as steps
        on
            version.client_id = steps.client_id
            and version.event_day = steps.event_day
            and version.source = steps.source
    where steps.known_from <= version.known_at and steps.known_to > version.known_at
)

insert into feature.step_day (client_id, event_day, source, known_from, known_to, steps, times)
select
    client_id,
    event_day,
    source,
    known_at,
    coalesce(
        lead(known_at) over (partition by client_id, event_day, source order by known_at),
        'infinity'
    ),
    array_agg(step order by at, step),
    array_agg(at order by at, step)
from moments
group by
    client_id,
    event_day,
    source,
    known_at;

-- Result ----------------------------------------------------------------------------------------

create table result.client_behavior (
    as_of date not null,
    client_id bigint not null,
    current_state text not null,
    since timestamptz not null,
    days_in_state integer not null check (days_in_state >= 0),
    next_states text[] not null,
    next_probabilities real[] not null,
    purchase_probability real not null check (purchase_probability > 0 and purchase_probability < 1),
    churn_probability real check (churn_probability > 0 and churn_probability < 1),
    risk_band text not null check (risk_band in ('low', 'middle', 'high', 'gone')),
    value_band text not null check (value_band in ('none', 'low', 'middle', 'high')),
    model_version text not null,
    primary key (as_of, client_id),
    check (cardinality(next_states) = cardinality(next_probabilities)),
    check ((churn_probability is null) = (current_state = 'churn'))
) partition by range (as_of);
comment on table result.client_behavior is 'Where each client stands and what comes next, one row per as_of and client';
comment on column result.client_behavior.as_of is 'Day the row is for; it knows nothing later';
comment on column result.client_behavior.client_id is 'Client';
comment on column result.client_behavior.current_state is 'What the client did last, of 180 days; churn where it has done nothing for as many days as the version counts as gone';
comment on column result.client_behavior.since is 'When that was; of churn, when the silence had lasted so long';
comment on column result.client_behavior.days_in_state is 'Whole days since then';
comment on column result.client_behavior.next_states is 'States that may come next, the likeliest first';
comment on column result.client_behavior.next_probabilities is 'Their chances, given the silence so far; they sum to one';
comment on column result.client_behavior.purchase_probability is 'Chance of at least one purchase in the 30 days from as_of on, calibrated';
comment on column result.client_behavior.churn_probability is 'Chance that the client counts as gone within 30 days, calibrated; null where it does already';
comment on column result.client_behavior.risk_band is 'high where churn_probability is 2/3 or more, middle from 1/3 on, low below; gone where the client has left already';
comment on column result.client_behavior.value_band is 'By what the client spent in 365 days: high for the top fifth of buyers, low for the lowest two fifths, none without a purchase; ties by client';
comment on column result.client_behavior.model_version is 'Version that made the row; see ops.model_version';
alter table result.client_behavior owner to nightshift;
grant select on result.client_behavior to migrator;

create table result.behavior_transition (
    as_of date not null,
    segment text not null,
    from_state text not null,
    to_state text not null,
    transitions bigint not null check (transitions >= 0),
    from_transitions bigint not null,
    clients bigint not null,
    probability double precision not null check (probability between 0 and 1),
    low double precision not null,
    high double precision not null,
    stationary_share double precision,
    purchase_before_churn double precision,
    steps_to_purchase double precision,
    steps_to_end double precision,
    model_version text not null,
    primary key (as_of, segment, from_state, to_state)
) partition by range (as_of);
comment on table result.behavior_transition is 'How clients move from state to state, one row per as_of, segment and pair of states';
comment on column result.behavior_transition.as_of is 'Day the matrix is for: the 180 days before it';
comment on column result.behavior_transition.segment is 'all; buyers (with a purchase in those days) or others';
comment on column result.behavior_transition.from_state is 'State that clients were in';
comment on column result.behavior_transition.to_state is 'State that came next; churn is silence';
comment on column result.behavior_transition.transitions is 'Times it happened';
comment on column result.behavior_transition.from_transitions is 'Times that any state came next';
comment on column result.behavior_transition.clients is 'Clients who made this move';
comment on column result.behavior_transition.probability is 'Chance of to_state to come next; those of one from_state sum to one';
comment on column result.behavior_transition.low is 'Lower end of its 95 % interval; transitions of one client are not independent';
comment on column result.behavior_transition.high is 'Upper end of its 95 % interval';
comment on column result.behavior_transition.stationary_share is 'Share of all events that from_state has in the long run';
comment on column result.behavior_transition.purchase_before_churn is 'Chance that a purchase comes before churn, from from_state on';
comment on column result.behavior_transition.steps_to_purchase is 'Events until that purchase, on average, where it comes';
comment on column result.behavior_transition.steps_to_end is 'Events until a purchase or churn, on average';
comment on column result.behavior_transition.model_version is 'Version whose days of silence are churn; see ops.model_version';
alter table result.behavior_transition owner to nightshift;
grant select on result.behavior_transition to migrator;
insert into ops.result_table (table_name, job, inputs, horizon_days) values
('result.client_behavior', 'client_behavior', '{client_event,apparel_messages,apparel_purchases}', 30),
('result.behavior_transition', 'client_behavior', '{client_event,apparel_messages,apparel_purchases}', 0);

-- What a training compared and chose ------------------------------------------------------------

create table result.client_behavior_candidates (
    model_version text not null,
    as_of date not null,
    task text not null check (task in ('next', 'purchase', 'churn')),
    candidate text not null,
    share double precision not null,
    held_log_loss double precision not null,
    held_rows integer not null,
    log_loss double precision not null,
    log_loss_low double precision not null,
    log_loss_high double precision not null,
    roc_auc double precision,
    pr_auc double precision,
    brier double precision,
    ece double precision,
    rows integer not null,
    primary key (model_version, task, candidate)
);
comment on table result.client_behavior_candidates is 'Each training''s candidates on the same later events and clients';
comment on column result.client_behavior_candidates.model_version is 'Version that was chosen from these candidates';
comment on column result.client_behavior_candidates.as_of is 'Day it was trained for';
comment on column result.client_behavior_candidates.task is 'next (which state comes next), purchase or churn (within 30 days)';
comment on column result.client_behavior_candidates.candidate is 'markov_0 to markov_3 (Markov chains by order), markov_personal (with the client''s own history), logistic, catboost, lstm, base_rate, recency, chain (purchase before churn by the matrix) or blend';
comment on column result.client_behavior_candidates.share is 'Its share in what serves; 0 where it does not';
comment on column result.client_behavior_candidates.held_log_loss is 'Log-loss on clients held out of the training, by which the choice is made';
comment on column result.client_behavior_candidates.held_rows is 'Events or clients that it is of';
comment on column result.client_behavior_candidates.log_loss is 'Log-loss on the 30 days after the training, which no choice saw';
comment on column result.client_behavior_candidates.log_loss_low is 'Lower end of its 95 % interval, by client';
comment on column result.client_behavior_candidates.log_loss_high is 'Upper end of its 95 % interval, by client';
comment on column result.client_behavior_candidates.roc_auc is 'ROC AUC there; null for the next state';
comment on column result.client_behavior_candidates.pr_auc is 'PR AUC there; null for the next state';
comment on column result.client_behavior_candidates.brier is 'Brier score there; null for the next state';
comment on column result.client_behavior_candidates.ece is 'Expected calibration error there; null for the next state';
comment on column result.client_behavior_candidates.rows is 'Events or clients that they are of';
alter table result.client_behavior_candidates owner to nightshift;
grant select on result.client_behavior_candidates to migrator;

create table result.client_behavior_silence (
    model_version text not null,
    as_of date not null,
    days integer not null,
    silent bigint not null,
    back bigint not null,
    share double precision,
    chosen boolean not null,
    primary key (model_version, days)
);
comment on table result.client_behavior_silence is 'After how many days clients come back no more: what each training saw and chose';
comment on column result.client_behavior_silence.model_version is 'Version that counts the chosen silence as churn';
comment on column result.client_behavior_silence.as_of is 'Day it was trained for';
comment on column result.client_behavior_silence.days is 'Days without an event';
comment on column result.client_behavior_silence.silent is 'Silences of at least so many days that could be watched for as many days again';
comment on column result.client_behavior_silence.back is 'Those that ended by then';
comment on column result.client_behavior_silence.share is 'back / silent; null without one';
comment on column result.client_behavior_silence.chosen is 'Whether so many days are churn: the shortest from which at most one in five comes back';
alter table result.client_behavior_silence owner to nightshift;
grant select on result.client_behavior_silence to migrator;

-- What people read ------------------------------------------------------------------------------

create view bi.client_behavior_history as
select
    stands.as_of,
    stands.client_id,
    stands.current_state,
    stands.since,
    stands.days_in_state,
    stands.next_states[1] as likeliest_next,
    stands.next_probabilities[1] as likeliest_next_probability,
    (
        select jsonb_object_agg(next.state, next.probability)
        from
            unnest(stands.next_states, stands.next_probabilities) as next (state, probability)
    ) as next_states,
    stands.purchase_probability,
    stands.churn_probability,
    stands.risk_band,
    stands.value_band,
    stands.model_version
from result.client_behavior as stands
where exists (
    select from ops.publication
    where
        publication.table_name = 'result.client_behavior'
        and publication.as_of = stands.as_of
);

create view bi.client_behavior as
select history.*
from bi.client_behavior_history as history
where
    history.as_of = (
        select max(publication.as_of) from ops.publication
        where publication.table_name = 'result.client_behavior'
    );

create view bi.behavior_transition_history as
select
    moves.as_of,
    moves.segment,
    moves.from_state,
    moves.to_state,
    moves.transitions,
    moves.from_transitions,
    moves.clients,
    moves.probability,
    moves.low,
    moves.high,
    moves.probability - lag(moves.probability) over (
        partition by moves.segment, moves.from_state, moves.to_state order by moves.as_of
    ) as change,
    moves.stationary_share,
    moves.purchase_before_churn,
    moves.steps_to_purchase,
    moves.steps_to_end,
    moves.model_version
from result.behavior_transition as moves
where exists (
    select from ops.publication
    where
        publication.table_name = 'result.behavior_transition'
        and publication.as_of = moves.as_of
);

create view bi.behavior_transition as
select history.*
from bi.behavior_transition_history as history
where
    history.as_of = (
        select max(publication.as_of) from ops.publication
        where publication.table_name = 'result.behavior_transition'
    );

create view bi.client_behavior_candidates as
select * from result.client_behavior_candidates;

create view bi.client_behavior_silence as
select * from result.client_behavior_silence;
comment on view bi.client_behavior_history is 'Clients of every published day: state, what comes next, who buys, who leaves';
comment on column bi.client_behavior_history.as_of is 'Day the row is for; it knows nothing later';
comment on column bi.client_behavior_history.client_id is 'Client';
comment on column bi.client_behavior_history.current_state is 'What the client did last, of 180 days; churn where it has done nothing for as many days as the version counts as gone';
comment on column bi.client_behavior_history.since is 'When that was; of churn, when the silence had lasted so long';
comment on column bi.client_behavior_history.days_in_state is 'Whole days since then';
comment on column bi.client_behavior_history.likeliest_next is 'State that most probably comes next';
comment on column bi.client_behavior_history.likeliest_next_probability is 'Its chance';
comment on column bi.client_behavior_history.next_states is 'Every state that may come next with its chance, given the silence so far; they sum to one';
comment on column bi.client_behavior_history.purchase_probability is 'Chance of at least one purchase in the 30 days from as_of on, calibrated';
comment on column bi.client_behavior_history.churn_probability is 'Chance that the client counts as gone within 30 days, calibrated; null where it does already';
comment on column bi.client_behavior_history.risk_band is 'high where churn_probability is 2/3 or more, middle from 1/3 on, low below; gone where the client has left already';
comment on column bi.client_behavior_history.value_band is 'By what the client spent in 365 days: high for the top fifth of buyers, low for the lowest two fifths, none without a purchase; ties by client';
comment on column bi.client_behavior_history.model_version is 'Version that made the row; see ops.model_version';
comment on view bi.client_behavior is 'Clients of the newest published day: state, what comes next, who buys, who leaves';
comment on column bi.client_behavior.as_of is 'Day the row is for; it knows nothing later';
comment on column bi.client_behavior.client_id is 'Client';
comment on column bi.client_behavior.current_state is 'What the client did last, of 180 days; churn where it has done nothing for as many days as the version counts as gone';
comment on column bi.client_behavior.since is 'When that was; of churn, when the silence had lasted so long';
comment on column bi.client_behavior.days_in_state is 'Whole days since then';
comment on column bi.client_behavior.likeliest_next is 'State that most probably comes next';
comment on column bi.client_behavior.likeliest_next_probability is 'Its chance';
comment on column bi.client_behavior.next_states is 'Every state that may come next with its chance, given the silence so far; they sum to one';
comment on column bi.client_behavior.purchase_probability is 'Chance of at least one purchase in the 30 days from as_of on, calibrated';
comment on column bi.client_behavior.churn_probability is 'Chance that the client counts as gone within 30 days, calibrated; null where it does already';
comment on column bi.client_behavior.risk_band is 'high where churn_probability is 2/3 or more, middle from 1/3 on, low below; gone where the client has left already';
comment on column bi.client_behavior.value_band is 'By what the client spent in 365 days: high for the top fifth of buyers, low for the lowest two fifths, none without a purchase; ties by client';
comment on column bi.client_behavior.model_version is 'Version that made the row; see ops.model_version';
comment on view bi.behavior_transition_history is 'How clients move from state to state, of every published day';
comment on column bi.behavior_transition_history.as_of is 'Day the matrix is for: the 180 days before it';
comment on column bi.behavior_transition_history.segment is 'all; buyers (with a purchase in those days) or others';
comment on column bi.behavior_transition_history.from_state is 'State that clients were in';
comment on column bi.behavior_transition_history.to_state is 'State that came next; churn is silence';
comment on column bi.behavior_transition_history.transitions is 'Times it happened';
comment on column bi.behavior_transition_history.from_transitions is 'Times that any state came next';
comment on column bi.behavior_transition_history.clients is 'Clients who made this move';
comment on column bi.behavior_transition_history.probability is 'Chance of to_state to come next; those of one from_state sum to one';
comment on column bi.behavior_transition_history.low is 'Lower end of its 95 % interval; transitions of one client are not independent';
comment on column bi.behavior_transition_history.high is 'Upper end of its 95 % interval';
comment on column bi.behavior_transition_history.change is 'probability less that of the published day before; null on the first';
comment on column bi.behavior_transition_history.stationary_share is 'Share of all events that from_state has in the long run';
comment on column bi.behavior_transition_history.purchase_before_churn is 'Chance that a purchase comes before churn, from from_state on';
comment on column bi.behavior_transition_history.steps_to_purchase is 'Events until that purchase, on average, where it comes';
comment on column bi.behavior_transition_history.steps_to_end is 'Events until a purchase or churn, on average';
comment on column bi.behavior_transition_history.model_version is 'Version whose days of silence are churn; see ops.model_version';
comment on view bi.behavior_transition is 'How clients move from state to state, of the newest published day';
comment on column bi.behavior_transition.as_of is 'Day the matrix is for: the 180 days before it';
comment on column bi.behavior_transition.segment is 'all; buyers (with a purchase in those days) or others';
comment on column bi.behavior_transition.from_state is 'State that clients were in';
comment on column bi.behavior_transition.to_state is 'State that came next; churn is silence';
comment on column bi.behavior_transition.transitions is 'Times it happened';
comment on column bi.behavior_transition.from_transitions is 'Times that any state came next';
comment on column bi.behavior_transition.clients is 'Clients who made this move';
comment on column bi.behavior_transition.probability is 'Chance of to_state to come next; those of one from_state sum to one';
comment on column bi.behavior_transition.low is 'Lower end of its 95 % interval; transitions of one client are not independent';
comment on column bi.behavior_transition.high is 'Upper end of its 95 % interval';
comment on column bi.behavior_transition.change is 'probability less that of the published day before; null on the first';
comment on column bi.behavior_transition.stationary_share is 'Share of all events that from_state has in the long run';
comment on column bi.behavior_transition.purchase_before_churn is 'Chance that a purchase comes before churn, from from_state on';
comment on column bi.behavior_transition.steps_to_purchase is 'Events until that purchase, on average, where it comes';
comment on column bi.behavior_transition.steps_to_end is 'Events until a purchase or churn, on average';
comment on column bi.behavior_transition.model_version is 'Version whose days of silence are churn; see ops.model_version';
comment on view bi.client_behavior_candidates is 'Each training''s candidates on the same later events and clients: what is published is what won';
comment on column bi.client_behavior_candidates.model_version is 'Version that was chosen from these candidates';
comment on column bi.client_behavior_candidates.as_of is 'Day it was trained for';
comment on column bi.client_behavior_candidates.task is 'next (which state comes next), purchase or churn (within 30 days)';
comment on column bi.client_behavior_candidates.candidate is 'markov_0 to markov_3 (Markov chains by order), markov_personal (with the client''s own history), logistic, catboost, lstm, base_rate, recency, chain (purchase before churn by the matrix) or blend';
comment on column bi.client_behavior_candidates.share is 'Its share in what serves; 0 where it does not';
comment on column bi.client_behavior_candidates.held_log_loss is 'Log-loss on clients held out of the training, by which the choice is made';
comment on column bi.client_behavior_candidates.held_rows is 'Events or clients that it is of';
comment on column bi.client_behavior_candidates.log_loss is 'Log-loss on the 30 days after the training, which no choice saw';
comment on column bi.client_behavior_candidates.log_loss_low is 'Lower end of its 95 % interval, by client';
comment on column bi.client_behavior_candidates.log_loss_high is 'Upper end of its 95 % interval, by client';
comment on column bi.client_behavior_candidates.roc_auc is 'ROC AUC there; null for the next state';
comment on column bi.client_behavior_candidates.pr_auc is 'PR AUC there; null for the next state';
comment on column bi.client_behavior_candidates.brier is 'Brier score there; null for the next state';
comment on column bi.client_behavior_candidates.ece is 'Expected calibration error there; null for the next state';
comment on column bi.client_behavior_candidates.rows is 'Events or clients that they are of';
comment on view bi.client_behavior_silence is 'After how many days clients come back no more: what each training saw and chose';
comment on column bi.client_behavior_silence.model_version is 'Version that counts the chosen silence as churn';
comment on column bi.client_behavior_silence.as_of is 'Day it was trained for';
comment on column bi.client_behavior_silence.days is 'Days without an event';
comment on column bi.client_behavior_silence.silent is 'Silences of at least so many days that could be watched for as many days again';
comment on column bi.client_behavior_silence.back is 'Those that ended by then';
comment on column bi.client_behavior_silence.share is 'back / silent; null without one';
comment on column bi.client_behavior_silence.chosen is 'Whether so many days are churn: the shortest from which at most one in five comes back';
