-- One row is one candidate whose gradient the loop computes: clean ones, the best of every snippet
-- first, then the second best, down to $limit. No threshold of a selection stands here, so that
-- thresholds can be changed without computing gradients again.
WITH clean AS (
    SELECT
        s.candidate_id,
        s.score,
        s.expected_score,
        row_number() OVER (
            PARTITION BY s.snippet_id ORDER BY s.score DESC, s.expected_score DESC, s.candidate_id
        ) AS place
    FROM scored AS s
    WHERE
        s.iteration = $iteration
        AND s.candidate_id NOT IN (
            SELECT item_id
            FROM contamination
            WHERE item_kind = 'candidate' AND strength >= $min_strength::FLOAT
        )
),
chosen AS (
    SELECT candidate_id
    FROM clean
    ORDER BY place, score DESC, expected_score DESC, candidate_id
    LIMIT $limit::BIGINT
)
SELECT c.candidate_id AS item_id, r.code, c.problem, c.solution
FROM chosen
JOIN candidates AS c ON c.candidate_id = chosen.candidate_id
JOIN raw_pool AS r ON r.snippet_id = c.snippet_id
ORDER BY item_id
