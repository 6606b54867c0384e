-- One row is one source: of how many places of its snippets in the pool the licence is unknown,
-- declared by the recipe, or told otherwise. `verdicts` is pool_verdicts.sql.
SELECT
    o.source,
    count(*) FILTER (o.license = 'unknown') AS num_unknown,
    count(*) FILTER (o.license_source = 'declared') AS num_declared,
    count(*) FILTER (o.license <> 'unknown' AND o.license_source <> 'declared') AS num_told
FROM verdicts AS v
JOIN snippet_occurrences AS o ON o.snippet_id = v.snippet_id
WHERE v.reason IS NULL
GROUP BY o.source
ORDER BY o.source
