-- One row is one candidate of a list of ids, with its texts: its gradient is computed because a
-- selection admits it.
SELECT c.candidate_id AS item_id, r.code, c.problem, c.solution
FROM candidates AS c
JOIN raw_pool AS r ON r.snippet_id = c.snippet_id
WHERE list_contains($items::VARCHAR[], c.candidate_id)
ORDER BY item_id
