-- One row is one clean teacher sample of the reference split, which serves influence and nothing
-- else. Candidates are measured by how much they help on these.
SELECT t.sample_id AS item_id, r.code, t.problem, t.solution
FROM teacher_samples AS t
JOIN raw_pool AS r ON r.snippet_id = t.snippet_id
WHERE
    t.split = 'reference'
    AND t.sample_id NOT IN (
        SELECT item_id
        FROM contamination
        WHERE item_kind = 'teacher' AND strength >= $min_strength::FLOAT
    )
ORDER BY item_id
