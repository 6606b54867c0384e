-- One row is how many candidates a selection keeps, and how many of these have an influence below
-- 0, so that to train on them raises the loss on the reference. `verdicts` is
-- selection_verdicts.sql.
SELECT
    count(*) AS num_kept,
    count(*) FILTER (WHERE influence < 0) AS num_below
FROM verdicts
WHERE reason IS NULL
