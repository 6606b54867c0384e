-- One row is one clean teacher pair of the scorer. It is fine-tuned on those of split train that
-- are set aside for it, and measured on those of split validation. A pair that is contaminated
-- serves neither.
WITH leaked AS (
    SELECT item_id
    FROM contamination
    WHERE item_kind = 'teacher' AND strength >= $min_strength::FLOAT
)
SELECT
    t.sample_id,
    shown_code(r.imports, r.context, r.code) AS code,
    r.license,
    t.problem,
    t.solution
FROM teacher_samples AS t
JOIN raw_pool AS r ON r.snippet_id = t.snippet_id
WHERE
    t.split = $split
    AND (t.is_for_scorer OR t.split <> 'train')
    AND t.sample_id NOT IN (SELECT item_id FROM leaked)
ORDER BY t.sample_id
