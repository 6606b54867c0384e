-- One row is one pair of the final dataset, with the licence of its snippet. It also says whether
-- the synthesizer that wrote it was trained on candidates of the same snippet, by the selections
-- $selection of $iterations. `verdicts` is instruction_verdicts.sql.
SELECT
    v.candidate_id,
    v.snippet_id,
    c.problem,
    c.solution,
    r.license,
    v.score,
    false AS is_contaminated,
    v.snippet_id IN (
        SELECT s.snippet_id
        FROM selected AS s
        WHERE s.selection = $selection AND list_contains($iterations::INTEGER[], s.iteration)
    ) AS is_snippet_trained_on
FROM verdicts AS v
JOIN candidates AS c ON c.candidate_id = v.candidate_id
JOIN raw_pool AS r ON r.snippet_id = v.snippet_id
WHERE v.reason IS NULL
ORDER BY v.candidate_id
