-- One row is one candidate that a selection admits but that has no influence yet. A candidate whose
-- gradient cannot be computed, because it is too long, is left out. `verdicts` is
-- selection_verdicts.sql.
SELECT candidate_id AS item_id
FROM verdicts
WHERE
    reason = 'influence_missing'
    AND candidate_id NOT IN (SELECT item_id FROM rejects WHERE stage = 'gradients')
ORDER BY item_id
