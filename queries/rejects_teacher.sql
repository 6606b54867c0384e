-- One row is one snippet that the teacher was asked about and whose answer did not verify. It is
-- kept with its reason, so that nothing is dropped silently.
SELECT
    'teacher' AS stage,
    NULL::INTEGER AS iteration,
    NULL::VARCHAR AS selection,
    'snippet' AS item_kind,
    p.snippet_id AS item_id,
    'teacher_answer_unusable' AS reason,
    NULL::DOUBLE AS value,
    NULL::DOUBLE AS threshold
FROM pool AS p
WHERE
    p.position < $num_snippets
    AND p.snippet_id NOT IN (SELECT t.snippet_id FROM teacher_samples AS t)
ORDER BY item_id, reason
