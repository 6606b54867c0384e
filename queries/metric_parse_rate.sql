-- One row is the share of an iteration's candidates that are a problem with a syntactically valid
-- solution: whether the synthesizers keep to the form.
SELECT
    'parse_rate' AS name,
    $iteration::INTEGER AS iteration,
    $subject AS subject,
    coalesce(avg((parse_status = 'ok')::INTEGER), 0.0) AS value,
    count(*) AS num_items
FROM candidates
WHERE iteration = $iteration
