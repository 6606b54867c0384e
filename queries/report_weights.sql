-- One row is one weighting, for `scoder status`: where its weights come from, the aspect that
-- counts most, and how well fitted weights tell teacher samples from candidates on snippets that
-- they were not fitted on.
SELECT
    iteration,
    weights,
    min(method) AS method,
    min(cv_auc) AS cv_auc,
    min(cv_auc_low) AS cv_auc_low,
    min(cv_auc_high) AS cv_auc_high,
    min(cv_method) AS cv_method,
    min(num_teacher) AS num_teacher,
    min(num_candidates) AS num_candidates,
    CASE
        WHEN max(weight) > min(weight) THEN first(aspect ORDER BY weight DESC, aspect)
    END AS heaviest,
    max(weight) AS heaviest_weight
FROM aspect_weights
GROUP BY iteration, weights
ORDER BY iteration, weights
