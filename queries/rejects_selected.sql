-- One row is one scored candidate that a named selection leaves out, with the first reason.
-- `verdicts` is selection_verdicts.sql.
SELECT
    'selected' AS stage,
    $iteration::INTEGER AS iteration,
    $selection AS selection,
    'candidate' AS item_kind,
    candidate_id AS item_id,
    reason,
    value,
    threshold
FROM verdicts
WHERE reason IS NOT NULL
ORDER BY item_id, reason
