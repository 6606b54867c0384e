-- One row is the number of snippets that only the judge of docstrings can still keep out of the
-- pool. The plan of their scores is made from it. `verdicts` is pool_verdicts.sql without a judge.
SELECT count(*) AS num_items
FROM verdicts
WHERE reason IS NULL
