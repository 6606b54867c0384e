-- One row is one candidate that a selection admits but that has no influence yet, with its texts:
-- its gradient is still to be computed. `verdicts` is selection_verdicts.sql.
SELECT v.candidate_id AS item_id, r.code, c.problem, c.solution
FROM verdicts AS v
JOIN candidates AS c ON c.candidate_id = v.candidate_id
JOIN raw_pool AS r ON r.snippet_id = v.snippet_id
WHERE v.reason = 'influence_missing'
ORDER BY item_id
