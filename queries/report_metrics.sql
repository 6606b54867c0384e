-- One row is one measured number.
SELECT name, nullif(iteration, -1) AS iteration, subject, value, num_items
FROM metrics
ORDER BY name, metrics.iteration, subject
