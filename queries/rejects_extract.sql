-- One row is one source file that gave no function because of an error, or that has no documented function.
SELECT DISTINCT
    'extract' AS stage,
    NULL::INTEGER AS iteration,
    NULL::VARCHAR AS selection,
    'file' AS item_kind,
    file_id AS item_id,
    reject AS reason,
    NULL::DOUBLE AS value,
    NULL::DOUBLE AS threshold
FROM extracted
WHERE reject IS NOT NULL
ORDER BY item_id, reason
