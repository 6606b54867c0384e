-- One row is one parsed candidate of an iteration that the scorer could not score, because its text
-- is too long for it.
SELECT
    'scored' AS stage,
    c.iteration,
    NULL::VARCHAR AS selection,
    'candidate' AS item_kind,
    c.candidate_id AS item_id,
    'not_scored' AS reason,
    NULL::DOUBLE AS value,
    NULL::DOUBLE AS threshold
FROM candidates AS c
LEFT JOIN scored AS s ON s.candidate_id = c.candidate_id
WHERE c.iteration = $iteration AND c.parse_status = 'ok' AND s.candidate_id IS NULL
ORDER BY item_id, reason
