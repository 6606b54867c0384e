-- One row is one snippet and a better one that it resembles, the head of a cluster. A snippet may
-- be in the clusters of several heads, at most $max_heads. Which heads stand, and from which
-- similarity on, is decided in pool_verdicts.sql, among those that pass its checks.
WITH ranked AS (
    SELECT
        snippet_id,
        cluster_id,
        similarity_raw,
        similarity_renamed,
        row_number() OVER (
            PARTITION BY snippet_id
            ORDER BY
                greatest(similarity_raw, similarity_renamed) DESC,
                head_position,
                cluster_id
        ) AS place
    FROM similar_pairs
)
SELECT
    snippet_id,
    cluster_id,
    similarity_raw,
    similarity_renamed,
    CASE
        WHEN similarity_raw = 1 THEN 'equal'
        WHEN similarity_renamed = 1 THEN 'renamed'
        ELSE 'similar'
    END AS method
FROM ranked
WHERE place <= $max_heads
ORDER BY snippet_id, cluster_id
