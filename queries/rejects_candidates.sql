-- One row is one candidate of an iteration that is not a problem with a valid solution. It is kept
-- with its reason, so that nothing is dropped silently.
SELECT
    'candidates' AS stage,
    iteration,
    NULL::VARCHAR AS selection,
    'candidate' AS item_kind,
    candidate_id AS item_id,
    parse_status AS reason,
    NULL::DOUBLE AS value,
    NULL::DOUBLE AS threshold
FROM candidates
WHERE iteration = $iteration AND parse_status <> 'ok'
ORDER BY item_id, reason
