-- One row is one snippet with its text and its `position` in the order of quality, from 0. Of two
-- near-duplicates the earlier one is kept. Tests, undefined names and methods come last. Among
-- equals, those come later that are documented worse, name no licence, lie deeper in their tree
-- (vendored copies do) or are longer. The rows are in no order: sorting them would sort all texts.
WITH places AS (
    SELECT snippet_id, min(length(path)) AS shortest_path
    FROM snippet_occurrences
    GROUP BY snippet_id
),
ranked AS (
    SELECT
        r.snippet_id,
        c.num_docstring_words,
        row_number() OVER (
            ORDER BY
                c.is_test,
                c.num_undefined_names,
                r.is_method,
                least(c.num_docstring_words, 50) DESC,
                c.docstring_name_overlap DESC,
                r.license = 'unknown',
                p.shortest_path,
                r.num_chars,
                r.snippet_id
        ) - 1 AS position
    FROM raw_pool AS r
    JOIN snippet_checks AS c ON c.snippet_id = r.snippet_id
    LEFT JOIN places AS p ON p.snippet_id = r.snippet_id
)
SELECT r.snippet_id, k.position, r.name, r.code, r.docstring, k.num_docstring_words
FROM raw_pool AS r
JOIN ranked AS k ON k.snippet_id = r.snippet_id
