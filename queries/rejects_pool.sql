-- One row is one reason why a snippet is not in the pool; a snippet that fails several checks has
-- several rows. `verdicts` is pool_verdicts.sql.
SELECT
    'pool' AS stage,
    NULL::INTEGER AS iteration,
    NULL::VARCHAR AS selection,
    'snippet' AS item_kind,
    snippet_id AS item_id,
    reason,
    value,
    threshold
FROM verdicts
WHERE reason IS NOT NULL
ORDER BY item_id, reason
