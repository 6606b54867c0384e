-- One row is one way to group the pool: by repository, by topic or by licence. `effective` is the
-- inverse Simpson index, 1 / sum(share²): so many groups of equal size would be as concentrated.
-- Two rows drawn at random come from the same group with probability 1 / effective.
WITH groups AS (
    SELECT
        unnest(['repository', 'topic', 'licence']) AS grouped_by,
        unnest([repo, topic, license]) AS name
    FROM pool
),
sizes AS (
    SELECT grouped_by, name, count(*) AS num_rows
    FROM groups
    GROUP BY grouped_by, name
)
SELECT
    grouped_by,
    sum(num_rows)::BIGINT AS num_rows,
    count(*) AS num_groups,
    sum(num_rows) ** 2 / sum(num_rows ** 2) AS effective,
    arg_max(name, (num_rows, name)) AS largest,
    max(num_rows) / sum(num_rows) AS largest_share
FROM sizes
GROUP BY grouped_by
ORDER BY grouped_by
