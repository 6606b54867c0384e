-- One row is one scored candidate of an iteration under one named selection. It is kept when
-- `reason` is NULL; else this is the first reason why not. The decision takes this order:
-- contamination, score, best of its snippet and duplicates together, influence, quota, top share.
-- `weighed` is selection_weighed.sql, `best` is best_of_snippets.sql. Influence is looked up for
-- the candidates that `best` accepts, and NULL for the others. If a candidate stands in several
-- batches, the first of $batches counts.
WITH known AS (
    SELECT
        w.place,
        i.candidate_id,
        arg_min(i.influence, list_position($batches::VARCHAR[], i.batch)) AS influence
    FROM best AS b
    JOIN weighed AS w ON w.place = b.place
    JOIN influence AS i
        ON
            i.candidate_id = w.candidate_id
            AND i.reference = $reference
            AND i.features = $features
            AND list_contains($batches::VARCHAR[], i.batch)
    WHERE b.is_accepted
    GROUP BY w.place, i.candidate_id
),
judged AS (
    SELECT
        w.place,
        w.candidate_id,
        w.snippet_id,
        w.difficulty,
        w.score,
        w.strength,
        b.snippet_place,
        k.influence,
        CASE
            WHEN w.is_leaked THEN 'contaminated'
            WHEN b.place IS NULL THEN 'low_score'
            WHEN b.snippet_place IS NULL THEN 'duplicate'
            WHEN NOT b.is_accepted THEN 'not_best_of_snippet'
            WHEN k.influence IS NULL THEN 'influence_missing'
            WHEN k.influence < $min_influence THEN 'low_influence'
        END AS reason
    FROM weighed AS w
    LEFT JOIN best AS b ON b.place = w.place
    LEFT JOIN known AS k ON k.place = w.place
),
quotas AS (
    SELECT
        place,
        candidate_id,
        influence,
        row_number() OVER (
            PARTITION BY difficulty
            ORDER BY influence DESC, place, candidate_id
        ) AS quota_place
    FROM judged
    WHERE reason IS NULL
),
ranked AS (
    SELECT
        place,
        row_number() OVER (ORDER BY influence DESC, place, candidate_id)::INTEGER AS rank,
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
        WHEN j.reason = 'not_best_of_snippet' THEN j.snippet_place
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
LEFT JOIN quotas AS q ON q.place = j.place
LEFT JOIN ranked AS r ON r.place = j.place
