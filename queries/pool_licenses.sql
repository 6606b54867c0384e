-- One row is one licence of the snippets: how many the allow-list leaves out, for how many of these
-- it is the only reason, and how many are in the pool. `verdicts` is pool_verdicts.sql.
WITH judged AS (
    SELECT
        snippet_id,
        coalesce(bool_or(reason = 'license'), false) AS is_left_out,
        count(reason) AS num_reasons
    FROM verdicts
    GROUP BY snippet_id
)
SELECT
    r.license,
    count(*) FILTER (j.is_left_out) AS num_left_out,
    count(*) FILTER (j.is_left_out AND j.num_reasons = 1) AS num_for_this_alone,
    count(*) FILTER (j.num_reasons = 0) AS num_kept
FROM raw_pool AS r
JOIN judged AS j ON j.snippet_id = r.snippet_id
GROUP BY r.license
ORDER BY num_left_out DESC, r.license
