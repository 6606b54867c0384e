-- One row is one measured number of a run, for `scoder status`.
SELECT name, nullif(iteration, -1) AS iteration, subject, value, num_items
FROM metrics
ORDER BY name, metrics.iteration, subject
