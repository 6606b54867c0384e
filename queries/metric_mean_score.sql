-- One row is the mean score of an iteration's scored candidates: whether the synthesizers improve.
SELECT
    'mean_score' AS name,
    $iteration::INTEGER AS iteration,
    $subject AS subject,
    coalesce(avg(score), 0.0) AS value,
    count(*) AS num_items
FROM scored
WHERE iteration = $iteration
