-- One row is one scored candidate of the final generation. It is in the instructions when `reason`
-- is NULL; else this is the first reason why not. The decision takes this order: contamination,
-- duplicates, score, best of its snippet, the best by score up to $max_rows.
WITH leaked AS (
    SELECT item_id, max(strength) AS strength
    FROM contamination
    WHERE item_kind = 'candidate'
    GROUP BY item_id
),
best AS (
    SELECT
        s.candidate_id,
        s.snippet_id,
        s.score,
        s.expected_score,
        coalesce(l.strength, 0.0) AS strength,
        row_number() OVER (
            PARTITION BY c.text_hash ORDER BY s.score DESC, s.expected_score DESC, s.candidate_id
        ) AS copy
    FROM scored AS s
    JOIN candidates AS c ON c.candidate_id = s.candidate_id
    LEFT JOIN leaked AS l ON l.item_id = s.candidate_id
    WHERE s.iteration = $iteration
),
placed AS (
    SELECT
        candidate_id,
        snippet_id,
        score,
        expected_score,
        strength,
        copy,
        row_number() OVER (
            PARTITION BY snippet_id, strength >= $min_strength::FLOAT, copy = 1, score >= $min_score
            ORDER BY score DESC, expected_score DESC, candidate_id
        ) AS place
    FROM best
),
judged AS (
    SELECT
        candidate_id,
        snippet_id,
        score,
        expected_score,
        strength,
        place,
        CASE
            WHEN strength >= $min_strength::FLOAT THEN 'contaminated'
            WHEN copy > 1 THEN 'duplicate'
            WHEN score < $min_score THEN 'low_score'
            WHEN place > 1 THEN 'not_best_of_snippet'
        END AS reason
    FROM placed
),
ranked AS (
    SELECT
        candidate_id,
        row_number() OVER (ORDER BY score DESC, expected_score DESC, candidate_id) AS rank
    FROM judged
    WHERE reason IS NULL
)
SELECT
    j.candidate_id,
    j.snippet_id,
    j.score,
    CASE WHEN r.rank > $max_rows::BIGINT THEN 'over_max_rows' ELSE j.reason END AS reason,
    CASE
        WHEN j.reason = 'contaminated' THEN j.strength
        WHEN j.reason = 'low_score' THEN j.score
        WHEN j.reason = 'not_best_of_snippet' THEN j.place
        WHEN r.rank > $max_rows::BIGINT THEN r.rank
    END::DOUBLE AS value,
    CASE
        WHEN j.reason = 'contaminated' THEN $min_strength
        WHEN j.reason = 'low_score' THEN $min_score
        WHEN j.reason = 'not_best_of_snippet' THEN 1
        WHEN r.rank > $max_rows::BIGINT THEN $max_rows::BIGINT
    END::DOUBLE AS threshold
FROM judged AS j
LEFT JOIN ranked AS r ON r.candidate_id = j.candidate_id
ORDER BY j.candidate_id
