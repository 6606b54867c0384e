-- One row is one candidate whose gradient the loop computes: clean ones, down to $limit. First come
-- those that a selection of one per snippet accepts, then the best of the others of every snippet,
-- then the second best. No threshold of a selection stands here, so that thresholds can be changed
-- without computing gradients again. `weighed` is instruction_weighed.sql, `best` is
-- best_of_snippets.sql.
WITH clean AS (
    SELECT
        w.candidate_id,
        w.place,
        b.is_accepted,
        row_number() OVER (
            PARTITION BY w.snippet_id ORDER BY b.is_accepted DESC, w.place, w.candidate_id
        ) AS turn
    FROM best AS b
    JOIN weighed AS w ON w.place = b.place
),
chosen AS (
    SELECT candidate_id
    FROM clean
    ORDER BY is_accepted DESC, turn, place, candidate_id
    LIMIT $limit::BIGINT
)
SELECT candidate_id AS item_id
FROM chosen
ORDER BY item_id
