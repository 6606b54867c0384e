-- One row is one weighting, for `scoder status`: where its weights come from, and how well fitted
-- weights tell teacher samples from candidates on snippets that they were not fitted on.
SELECT
    iteration,
    weights,
    any_value(method) AS method,
    any_value(cv_auc) AS cv_auc,
    any_value(cv_auc_low) AS cv_auc_low,
    any_value(cv_auc_high) AS cv_auc_high,
    any_value(cv_method) AS cv_method,
    any_value(num_teacher) AS num_teacher,
    any_value(num_candidates) AS num_candidates,
    arg_max(aspect, weight) FILTER (method <> 'equal') AS heaviest,
    max(weight) AS heaviest_weight
FROM aspect_weights
GROUP BY iteration, weights
ORDER BY iteration, weights
