-- One row is one scored candidate under a selection that is written: what selection_verdicts.sql
-- said of it, as far as reports need it. The rows of a report on it.
SELECT candidate_id, score, influence, rank, NULL::VARCHAR AS reason
FROM selected
WHERE iteration = $iteration AND selection = $selection
UNION ALL
SELECT item_id, NULL, NULL, NULL, reason
FROM rejects
WHERE stage = 'selected' AND iteration = $iteration AND selection = $selection
