-- One row is one source file that gave no function (item_kind 'file'), the undocumented functions
-- of one file, with their number as the value (item_kind 'functions'), or one function that only a
-- newer Python parses, with its line as the value (item_kind 'function'). The file of the latter
-- two may well have given others. The id is source:path, and source:path:line of a function.
SELECT
    'extract' AS stage,
    NULL::INTEGER AS iteration,
    NULL::VARCHAR AS selection,
    CASE reject
        WHEN 'undocumented_functions' THEN 'functions'
        WHEN 'newer_syntax' THEN 'function'
        ELSE 'file'
    END AS item_kind,
    concat_ws(':', source, path, if(reject = 'newer_syntax', line, NULL)) AS item_id,
    reject AS reason,
    max(value) AS value,
    NULL::DOUBLE AS threshold
FROM extracted
WHERE reject IS NOT NULL
GROUP BY ALL
ORDER BY item_id, reason
