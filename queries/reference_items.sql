-- One row is one teacher sample of the reference split, which serves influence and nothing else.
SELECT t.sample_id AS item_id, r.code, t.problem, t.solution
FROM teacher_samples AS t
JOIN raw_pool AS r ON r.snippet_id = t.snippet_id
WHERE t.split = 'reference'
ORDER BY item_id
