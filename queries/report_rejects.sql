-- One row is one reason of one stage, with how many items it left out: where a run loses its items.
-- Undocumented functions stand as one row per file with their number, which is counted here.
SELECT
    stage,
    iteration,
    selection,
    reason,
    sum(CASE WHEN item_kind = 'functions' THEN value ELSE 1 END)::BIGINT AS num_items
FROM rejects
GROUP BY stage, iteration, selection, reason
ORDER BY stage, iteration NULLS FIRST, selection NULLS FIRST, num_items DESC, reason
