-- One row is one candidate that another selection keeps and this one (`verdicts`) does not, with
-- the reason, best first, $limit of them.
SELECT s.candidate_id, s.score, s.influence, v.reason
FROM selected AS s
LEFT JOIN verdicts AS v ON v.candidate_id = s.candidate_id
WHERE
    s.iteration = $iteration
    AND s.selection = $selection
    AND (v.candidate_id IS NULL OR v.reason IS NOT NULL)
ORDER BY s.rank, s.candidate_id
LIMIT $limit::BIGINT
