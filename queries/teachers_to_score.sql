-- One row is one teacher sample that the scorer was not trained on and that no metric or influence
-- uses: the contrast to candidates in the fit of the weights. The rows are in no order: they are
-- staged.
SELECT
    t.snippet_id,
    t.sample_id AS item_id,
    shown_code(r.imports, r.context, r.code) AS code,
    t.problem,
    t.solution
FROM teacher_samples AS t
JOIN raw_pool AS r ON r.snippet_id = t.snippet_id
WHERE t.split = 'train' AND NOT t.is_for_scorer
