-- client_behavior: what its figures are called, and what its candidates' shares mean

do $$
declare
    told regclass;
    said text;
begin
    foreach told in array array['ops.evaluation', 'bi.model_quality']::regclass[]
    loop
        select col_description(told, attnum) into said
        from pg_attribute where attrelid = told and attname = 'metric';
        execute format(
            'comment on column %s.metric is %L', told,
            said || '. Of client_behavior: next_log_loss, purchase_log_loss, churn_log_loss, the'
            ' mean log-loss of the state that came next, of who bought, of who left, lower is'
            ' better; what became of the chance of leaving begins with churn_'
        );
    end loop;
end
$$;
comment on column result.client_behavior_candidates.share is 'Its share in what serves; 0 where it does not; 1 for the blend itself where it serves';
comment on column bi.client_behavior_candidates.share is 'Its share in what serves; 0 where it does not; 1 for the blend itself where it serves';
