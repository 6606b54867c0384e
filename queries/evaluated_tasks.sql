-- One row is one task that a model answered in one form: how many of its answers were graded and
-- passed, with all tests and with the original ones alone. An answer that was never graded says
-- nothing about the model, so it is not among them. All numbers about evaluations are made of this.
WITH answers AS (
    SELECT
        checkpoint_id,
        benchmark,
        form,
        task_id,
        is_passed,
        is_base_passed,
        status NOT IN ('unanswered', 'ungradable', 'missing', 'error') AS is_graded
    FROM evaluations
)
SELECT
    checkpoint_id,
    benchmark,
    form,
    task_id,
    count(*) FILTER (is_graded) AS num_graded,
    count(*) FILTER (is_graded AND is_passed) AS num_passed,
    count(*) FILTER (is_graded AND is_base_passed IS NOT NULL) AS num_base_graded,
    count(*) FILTER (is_graded AND is_base_passed) AS num_base_passed
FROM answers
GROUP BY checkpoint_id, benchmark, form, task_id
ORDER BY checkpoint_id, benchmark, form, task_id
