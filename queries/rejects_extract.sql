-- One row is one source file that gave no function (item_kind 'file'), or the undocumented
-- functions of one file, with their number as the value (item_kind 'functions'): the file itself
-- may well have given others.
SELECT
    'extract' AS stage,
    NULL::INTEGER AS iteration,
    NULL::VARCHAR AS selection,
    if(reject = 'undocumented_functions', 'functions', 'file') AS item_kind,
    file_id AS item_id,
    reject AS reason,
    max(value) AS value,
    NULL::DOUBLE AS threshold
FROM extracted
WHERE reject IS NOT NULL
GROUP BY file_id, reject
ORDER BY item_id, reason
