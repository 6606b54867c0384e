-- One row is one item of a batch of gradients, with its texts. `batch_items` are the ids of the
-- batch: candidates, or teacher samples. The rows are in no order: they are staged by id.
WITH pairs AS (
    SELECT candidate_id AS item_id, snippet_id, problem, solution
    FROM candidates
    UNION ALL
    SELECT sample_id, snippet_id, problem, solution
    FROM teacher_samples
)
SELECT b.item_id, shown_code(r.imports, r.context, r.code) AS code, p.problem, p.solution
FROM batch_items AS b
JOIN pairs AS p ON p.item_id = b.item_id
JOIN raw_pool AS r ON r.snippet_id = p.snippet_id
