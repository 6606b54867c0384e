-- One row is one pair of the final dataset, with the licence of its snippet. `verdicts` is
-- instruction_verdicts.sql.
SELECT
    v.candidate_id,
    v.snippet_id,
    c.problem,
    c.solution,
    r.license,
    v.score,
    false AS is_contaminated
FROM verdicts AS v
JOIN candidates AS c ON c.candidate_id = v.candidate_id
JOIN raw_pool AS r ON r.snippet_id = v.snippet_id
WHERE v.reason IS NULL
ORDER BY v.candidate_id
