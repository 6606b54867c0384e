-- One row is the Jaccard overlap of the snippets that a named selection keeps in an iteration and
-- in the one before: whether the loop still moves.
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
SELECT
    'selection_overlap' AS name,
    $iteration::INTEGER AS iteration,
    $subject AS subject,
    num_both / greatest(1.0, num_now + num_before - num_both) AS value,
    num_now + num_before - num_both AS num_items
FROM sizes
