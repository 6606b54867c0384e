-- One row is one model on one benchmark in one form: its role, and what became of its answers, for
-- `scoder status`. Only those that were graded count in pass@k. A truncated answer was graded, too.
SELECT
    coalesce(c.role, e.checkpoint_id) AS model,
    e.benchmark,
    e.form,
    e.checkpoint_id,
    count(*) AS num_answers,
    count(*) FILTER (
        e.status NOT IN ('unanswered', 'ungradable', 'missing', 'error')
    ) AS num_graded,
    count(*) FILTER (e.status = 'unanswered') AS num_unanswered,
    count(*) FILTER (e.status = 'ungradable') AS num_ungradable,
    count(*) FILTER (e.status = 'error') AS num_errors,
    count(*) FILTER (e.status = 'timeout') AS num_timeouts,
    count(*) FILTER (e.status = 'missing') AS num_missing,
    count(*) FILTER (e.finish_reason = 'length') AS num_truncated
FROM evaluations AS e
LEFT JOIN checkpoints AS c ON c.checkpoint_id = e.checkpoint_id
GROUP BY c.role, e.checkpoint_id, e.benchmark, e.form
ORDER BY e.benchmark, e.form, c.role DESC NULLS LAST, e.checkpoint_id
