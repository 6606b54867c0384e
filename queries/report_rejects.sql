-- One row is one reason of one stage, with how many distinct items it left out: where a run loses
-- its items.
SELECT stage, iteration, selection, reason, count(DISTINCT item_id) AS num_items
FROM rejects
GROUP BY stage, iteration, selection, reason
ORDER BY stage, iteration NULLS FIRST, selection NULLS FIRST, num_items DESC, reason
