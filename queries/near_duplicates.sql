-- One row is one snippet of a cluster of two or more whose texts are equal once comments, white space and case are
-- normalised. The representative has the longest docstring; ties go to the smaller id.
WITH normalised AS (
    SELECT
        snippet_id,
        docstring,
        md5(regexp_replace(regexp_replace(lower(code), '#[^\n]*', '', 'g'), '\s+', '', 'g')) AS text_key
    FROM raw_pool
    WHERE snippet_id IN (SELECT snippet_id FROM snippet_checks)
),
members AS (
    SELECT
        snippet_id,
        first_value(snippet_id) OVER ranked AS cluster_id,
        count(*) OVER (PARTITION BY text_key) AS num_members
    FROM normalised
    WINDOW ranked AS (PARTITION BY text_key ORDER BY length(docstring) DESC, snippet_id)
)
SELECT
    snippet_id,
    cluster_id,
    snippet_id = cluster_id AS is_representative,
    1.0::FLOAT AS similarity,
    'normalised' AS method
FROM members
WHERE num_members > 1
ORDER BY snippet_id
