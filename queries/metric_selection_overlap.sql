-- One row is how many snippets a named selection keeps both in an iteration and in the one before,
-- and how many in either: their share is the Jaccard overlap, which says whether the loop still
-- moves.
WITH now AS (
    SELECT DISTINCT snippet_id
    FROM selected
    WHERE iteration = $iteration AND selection = $subject
),
before AS (
    SELECT DISTINCT snippet_id
    FROM selected
    WHERE iteration = $iteration - 1 AND selection = $subject
),
sizes AS (
    SELECT
        (SELECT count(*) FROM now) AS num_now,
        (SELECT count(*) FROM before) AS num_before,
        (SELECT count(*) FROM now JOIN before ON before.snippet_id = now.snippet_id) AS num_both
)
SELECT num_both, num_now + num_before - num_both AS num_either
FROM sizes
