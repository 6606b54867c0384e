-- One row is one scored candidate of an iteration under one named selection. It is kept when
-- `reason` is NULL; else this is the first reason why not. The decision takes this order:
-- contamination, duplicates, score, best of its snippet, influence, quota, top share.
WITH weighting AS (
    SELECT unnest($aspects::VARCHAR[]) AS aspect, unnest($weights::DOUBLE[]) AS weight
),
weighed AS (
    SELECT
        s.candidate_id,
        s.snippet_id,
        s.difficulty,
        c.text_hash,
        round(list_sum(list(w.weight * a.score ORDER BY a.aspect)), 9) AS score,
        round(list_sum(list(w.weight * a.expected ORDER BY a.aspect)), 6) AS expected_score
    FROM scored AS s
    JOIN candidates AS c ON c.candidate_id = s.candidate_id
    JOIN aspect_scores AS a ON a.item_id = s.candidate_id AND a.item_kind = 'candidate'
    JOIN weighting AS w ON w.aspect = a.aspect
    WHERE s.iteration = $iteration
    GROUP BY s.candidate_id, s.snippet_id, s.difficulty, c.text_hash
),
leaked AS (
    SELECT item_id, max(strength) AS strength
    FROM contamination
    WHERE item_kind = 'candidate'
    GROUP BY item_id
),
best AS (
    SELECT
        w.candidate_id,
        w.snippet_id,
        w.difficulty,
        w.score,
        w.expected_score,
        coalesce(l.strength, 0.0) AS strength,
        coalesce(l.strength, 0.0) >= $min_strength::FLOAT AS is_leaked,
        row_number() OVER (
            PARTITION BY w.text_hash ORDER BY w.score DESC, w.expected_score DESC, w.candidate_id
        ) AS copy,
        w.score >= $min_score AS is_good
    FROM weighed AS w
    LEFT JOIN leaked AS l ON l.item_id = w.candidate_id
),
placed AS (
    SELECT
        b.candidate_id,
        b.snippet_id,
        b.difficulty,
        b.score,
        b.expected_score,
        b.strength,
        b.is_leaked,
        b.copy,
        b.is_good,
        row_number() OVER (
            PARTITION BY b.snippet_id, b.is_leaked, b.copy = 1, b.is_good
            ORDER BY b.score DESC, b.expected_score DESC, b.candidate_id
        ) AS place,
        i.influence
    FROM best AS b
    LEFT JOIN influence AS i
        ON
            i.candidate_id = b.candidate_id
            AND i.reference = $reference
            AND i.features = $features
            AND list_contains($batches::VARCHAR[], i.batch)
),
judged AS (
    SELECT
        p.candidate_id,
        p.snippet_id,
        p.difficulty,
        p.score,
        p.expected_score,
        p.influence,
        p.strength,
        p.place,
        CASE
            WHEN p.is_leaked THEN 'contaminated'
            WHEN p.copy > 1 THEN 'duplicate'
            WHEN NOT p.is_good THEN 'low_score'
            WHEN p.place > $max_per_snippet THEN 'not_best_of_snippet'
            WHEN p.influence IS NULL THEN 'influence_missing'
            WHEN p.influence < $min_influence THEN 'low_influence'
        END AS reason
    FROM placed AS p
),
quotas AS (
    SELECT
        candidate_id,
        influence,
        score,
        expected_score,
        row_number() OVER (
            PARTITION BY difficulty
            ORDER BY influence DESC, score DESC, expected_score DESC, candidate_id
        ) AS quota_place
    FROM judged
    WHERE reason IS NULL
),
ranked AS (
    SELECT
        candidate_id,
        row_number() OVER (
            ORDER BY influence DESC, score DESC, expected_score DESC, candidate_id
        )::INTEGER AS rank,
        least(
            ceil(round($top_share::DOUBLE * count(*) OVER (), 9)),
            coalesce($max_rows::BIGINT, 9223372036854775807)
        ) AS num_kept
    FROM quotas
    WHERE quota_place <= coalesce($max_per_difficulty::BIGINT, 9223372036854775807)
)
SELECT
    j.candidate_id,
    j.snippet_id,
    j.score,
    j.influence,
    r.rank,
    CASE
        WHEN q.quota_place > $max_per_difficulty::BIGINT THEN 'over_quota'
        WHEN r.rank > r.num_kept THEN 'below_top_share'
        ELSE j.reason
    END AS reason,
    CASE
        WHEN j.reason = 'contaminated' THEN j.strength
        WHEN j.reason = 'low_score' THEN j.score
        WHEN j.reason = 'not_best_of_snippet' THEN j.place
        WHEN j.reason = 'low_influence' THEN j.influence
        WHEN q.quota_place > $max_per_difficulty::BIGINT THEN q.quota_place
        WHEN r.rank > r.num_kept THEN r.rank
    END::DOUBLE AS value,
    CASE
        WHEN j.reason = 'contaminated' THEN $min_strength
        WHEN j.reason = 'low_score' THEN $min_score
        WHEN j.reason = 'not_best_of_snippet' THEN $max_per_snippet
        WHEN j.reason = 'low_influence' THEN $min_influence
        WHEN q.quota_place > $max_per_difficulty::BIGINT THEN $max_per_difficulty::BIGINT
        WHEN r.rank > r.num_kept THEN r.num_kept
    END::DOUBLE AS threshold
FROM judged AS j
LEFT JOIN quotas AS q ON q.candidate_id = j.candidate_id
LEFT JOIN ranked AS r ON r.candidate_id = j.candidate_id
ORDER BY r.rank NULLS LAST, j.candidate_id
