-- One row is one reason why the digits of one aspect say little. `scoder status` shows them, and
-- they are said before weights are fitted.
--   its digits do not vary: 95% of them or more are the same, so they order next to nothing.
--   little probability on digits: the scorer gives less than half of its probability to all digits
--     together. What it would say is no digit, and the digits are what is left of its answer.
--   AUC no better than chance: the interval of its AUC on held-out labelled pairs reaches down to
--     0.5. Where that AUC could not be measured, the reason says why.
-- `digits` is aspect_digits.sql.
WITH reasons AS (
    SELECT
        aspect,
        'its digits do not vary' AS reason,
        'share of the digit ' || top_digit AS measure,
        top_share AS value,
        NULL::DOUBLE AS low,
        NULL::DOUBLE AS high,
        num_items
    FROM digits
    WHERE top_share >= 0.95
    UNION ALL
    SELECT
        aspect,
        'little probability on digits',
        'mean probability',
        mean_mass,
        NULL,
        NULL,
        num_items
    FROM digits
    WHERE mean_mass < 0.5
    UNION ALL
    SELECT
        subject,
        CASE WHEN value IS NULL THEN 'AUC unknown, ' || method ELSE 'AUC no better than chance' END,
        'AUC on held-out pairs',
        value,
        low,
        high,
        num_items
    FROM metrics
    WHERE name = 'scorer_auc' AND (value IS NULL OR low <= 0.5)
)
SELECT aspect, reason, measure, value, low, high, num_items
FROM reasons
ORDER BY reason, measure, num_items, aspect
