-- One row is one snippet of the clean pool: it has no reason in `verdicts`, which is
-- pool_verdicts.sql. `position` is its place in an order that depends on the seed. `repos` is
-- snippet_repos.sql.
SELECT
    v.snippet_id,
    row_number() OVER (ORDER BY md5(v.snippet_id || $seed), v.snippet_id) - 1 AS position,
    r.license,
    c.num_tokens,
    c.cyclomatic,
    coalesce(p.repo, '') AS repo,
    c.topic
FROM verdicts AS v
JOIN raw_pool AS r ON r.snippet_id = v.snippet_id
JOIN snippet_checks AS c ON c.snippet_id = v.snippet_id
LEFT JOIN repos AS p ON p.snippet_id = v.snippet_id
WHERE v.reason IS NULL
ORDER BY position, v.snippet_id
