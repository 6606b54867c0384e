-- One row is one aspect that a scorer model judges: how often its most frequent digit stands for a
-- teacher sample or candidate, and the mean probability that the scorer gave to any digit. Facts of
-- code are no digits of a model. The first step of weak_aspects.sql.
WITH counted AS (
    SELECT
        scorer,
        aspect,
        score,
        count(*) AS num,
        sum(mass::DECIMAL(18, 9)) AS mass,
        count(mass) AS num_mass
    FROM aspect_scores
    WHERE item_kind IN ('teacher', 'candidate') AND scorer <> 'code'
    GROUP BY scorer, aspect, score
)
SELECT
    scorer,
    aspect,
    sum(num)::BIGINT AS num_items,
    (max(num) / sum(num))::DOUBLE AS top_share,
    arg_max(score, num * 10 + score) AS top_digit,
    (sum(mass) / nullif(sum(num_mass), 0))::DOUBLE AS mean_mass
FROM counted
GROUP BY scorer, aspect
ORDER BY scorer, aspect
