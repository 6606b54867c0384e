-- One row is one clean teacher sample of the reference split, which serves influence and nothing
-- else. Candidates are measured by how much they help on these.
SELECT sample_id AS item_id
FROM teacher_samples
WHERE
    split = 'reference'
    AND sample_id NOT IN (
        SELECT item_id
        FROM contamination
        WHERE item_kind = 'teacher' AND strength >= $min_strength::FLOAT
    )
ORDER BY item_id
