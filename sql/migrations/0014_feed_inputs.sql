-- Exclusions are an input of the lists, as the DAG has it, which waits for them: a day is not listed
-- by hand without them, and days whose exclusions changed since are told.
update ops.result_table
set inputs = '{user_data,post_text_df,feed_exclusion,feed_data}'
where table_name = 'result.feed_recommendation';
