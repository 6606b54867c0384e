-- One row is one candidate that a named selection keeps, ranked from 1. `verdicts` is
-- selection_verdicts.sql.
SELECT
    $selection AS selection,
    $iteration::INTEGER AS iteration,
    candidate_id,
    snippet_id,
    rank,
    score,
    influence
FROM verdicts
WHERE reason IS NULL
ORDER BY rank, candidate_id
