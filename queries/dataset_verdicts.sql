-- One row is the verdict on one row of a dataset that is checked without a store: whether a hit is
-- strong enough, and its best hit. A row without a hit has NULL for it. A row without text has no
-- hits and is not contaminated.
WITH best AS (
    SELECT
        row,
        count(*)::INTEGER AS num_hits,
        max(strength) AS strength,
        arg_max(
            {
                'benchmark': benchmark,
                'task_id': task_id,
                'detector': detector,
                'evidence': evidence
            },
            (strength, similarity, information, benchmark, task_id, detector)
        ) AS hit
    FROM dataset_hits
    GROUP BY row
)
SELECT
    i.item_id,
    i.row,
    coalesce(b.strength >= $min_strength::FLOAT, false) AS is_contaminated,
    i.has_text,
    coalesce(b.num_hits, 0)::INTEGER AS num_hits,
    b.hit.benchmark AS benchmark,
    b.hit.task_id AS task_id,
    b.hit.detector AS detector,
    b.strength,
    b.hit.evidence AS evidence
FROM dataset_items AS i
LEFT JOIN best AS b ON b.row = i.row
ORDER BY i.row
