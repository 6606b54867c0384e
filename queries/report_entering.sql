-- One row is one candidate that this selection (`verdicts`) keeps and another one does not, best
-- first, $limit of them.
SELECT candidate_id, score, influence
FROM verdicts
WHERE
    reason IS NULL
    AND candidate_id NOT IN (
        SELECT candidate_id
        FROM selected
        WHERE iteration = $iteration AND selection = $selection
    )
ORDER BY rank, candidate_id
LIMIT $limit::BIGINT
