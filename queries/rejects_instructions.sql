-- One row is one scored candidate of the final generation that is not in the instructions, with the
-- first reason. `verdicts` is instruction_verdicts.sql.
SELECT
    'instructions' AS stage,
    $iteration::INTEGER AS iteration,
    NULL::VARCHAR AS selection,
    'candidate' AS item_kind,
    candidate_id AS item_id,
    reason,
    value,
    threshold
FROM verdicts
WHERE reason IS NOT NULL
ORDER BY item_id, reason
