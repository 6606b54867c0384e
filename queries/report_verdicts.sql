-- One row is one reason of a decision about a selection, with how many candidates it left out; NULL
-- for those that are kept. `verdicts` is selection_verdicts.sql, or written_verdicts.sql.
SELECT reason, count(*) AS candidates
FROM verdicts
GROUP BY reason
ORDER BY candidates DESC, reason
