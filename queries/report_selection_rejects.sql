-- One row is one reason of a written selection, with how many candidates it left out: what another
-- selection is compared with.
SELECT '- ' || reason AS verdict, count(*) AS candidates
FROM rejects
WHERE stage = 'selected' AND iteration = $iteration AND selection = $selection
GROUP BY reason
ORDER BY candidates DESC, verdict
