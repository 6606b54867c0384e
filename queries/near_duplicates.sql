-- One row is one snippet and a better one that it resembles, the head of a cluster. A snippet may
-- be in the clusters of several heads, at most $max_heads by its code and as many by its docstring.
-- Which heads stand, and from which similarity on, is decided in pool_verdicts.sql, among those
-- that pass its checks.
WITH ranked AS (
    SELECT
        snippet_id,
        cluster_id,
        similarity_raw,
        similarity_renamed,
        similarity_docstring,
        row_number() OVER (
            PARTITION BY snippet_id
            ORDER BY
                greatest(similarity_raw, similarity_renamed) DESC,
                head_position,
                cluster_id
        ) AS place,
        row_number() OVER (
            PARTITION BY snippet_id
            ORDER BY
                similarity_docstring DESC,
                head_position,
                cluster_id
        ) AS place_by_docstring
    FROM similar_pairs
)
SELECT
    snippet_id,
    cluster_id,
    similarity_raw,
    similarity_renamed,
    similarity_docstring,
    CASE
        WHEN similarity_raw = 1 THEN 'equal'
        WHEN similarity_renamed = 1 THEN 'renamed'
        WHEN greatest(similarity_raw, similarity_renamed) >= $floor::FLOAT THEN 'similar'
        ELSE 'docstring'
    END AS method
FROM ranked
WHERE
    (place <= $max_heads AND greatest(similarity_raw, similarity_renamed) >= $floor::FLOAT)
    OR (place_by_docstring <= $max_heads AND similarity_docstring >= $floor::FLOAT)
ORDER BY snippet_id, cluster_id
