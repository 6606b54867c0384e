-- One row is one scored candidate of the final generation. It is in the instructions when `reason`
-- is NULL; else this is the first reason why not. The decision takes this order: contamination,
-- score, best of its snippet and duplicates together, the best by score up to $max_rows.
-- `weighed` is instruction_weighed.sql, `best` is best_of_snippets.sql with one per snippet.
WITH ranked AS (
    SELECT place, row_number() OVER (ORDER BY place) AS rank
    FROM best
    WHERE is_accepted
)
SELECT
    w.candidate_id,
    w.snippet_id,
    w.score,
    CASE
        WHEN w.is_leaked THEN 'contaminated'
        WHEN b.place IS NULL THEN 'low_score'
        WHEN b.snippet_place IS NULL THEN 'duplicate'
        WHEN NOT b.is_accepted THEN 'not_best_of_snippet'
        WHEN r.rank > $max_rows::BIGINT THEN 'over_max_rows'
    END AS reason,
    CASE
        WHEN w.is_leaked THEN w.strength
        WHEN b.place IS NULL THEN w.score
        WHEN b.snippet_place IS NULL THEN NULL
        WHEN NOT b.is_accepted THEN b.snippet_place
        WHEN r.rank > $max_rows::BIGINT THEN r.rank
    END::DOUBLE AS value,
    CASE
        WHEN w.is_leaked THEN $min_strength
        WHEN b.place IS NULL THEN $min_score
        WHEN b.snippet_place IS NULL THEN NULL
        WHEN NOT b.is_accepted THEN $max_per_snippet
        WHEN r.rank > $max_rows::BIGINT THEN $max_rows::BIGINT
    END::DOUBLE AS threshold
FROM weighed AS w
LEFT JOIN best AS b ON b.place = w.place
LEFT JOIN ranked AS r ON r.place = w.place
ORDER BY w.candidate_id
