-- One row is one snippet of the clean pool: it passes every check, no benchmark leaks into it, it resembles no better one
-- that passes, and a judge, if there is one, finds its docstring sufficient. The judge comes last, as it costs most: with NULL
-- for $min_docstring_score the rows are those that it is asked about. `position` is a place in an order that depends on the seed.
WITH RECURSIVE leaked AS (
    SELECT DISTINCT item_id
    FROM contamination
    WHERE item_kind = 'snippet' AND strength >= $min_strength::FLOAT
),
placed AS (
    SELECT
        snippet_id,
        bool_and($test_paths <> '' AND regexp_matches(path, $test_paths)) AS is_test,
        bool_and($generated_paths <> '' AND regexp_matches(path, $generated_paths)) AS is_generated
    FROM snippet_occurrences
    GROUP BY snippet_id
),
passing AS MATERIALIZED (
    SELECT r.snippet_id, r.license, c.num_tokens, c.cyclomatic
    FROM raw_pool AS r
    JOIN snippet_checks AS c ON c.snippet_id = r.snippet_id
    LEFT JOIN placed AS p ON p.snippet_id = r.snippet_id
    WHERE
        c.is_parsed
        AND r.num_lines BETWEEN $min_lines AND $max_lines
        AND r.num_chars <= $max_chars
        AND c.num_tokens BETWEEN $min_tokens AND $max_tokens
        AND c.num_statements >= $min_statements
        AND c.cyclomatic <= $max_cyclomatic
        AND c.num_arguments >= $min_arguments
        AND c.num_literals <= $max_literal_share * c.num_tokens
        AND c.num_docstring_words >= $min_docstring_words
        AND c.docstring_ascii >= $min_docstring_ascii::FLOAT
        AND c.docstring_english >= $min_docstring_english::FLOAT
        AND c.docstring_sufficiency >= $min_docstring_sufficiency::FLOAT
        AND c.num_undefined_names + if($infer_imports, 0, len(c.inferred_imports)) <= $max_undefined_names
        AND (
            $max_type_errors::INTEGER IS NULL OR c.num_undefined_names > 0
            OR coalesce(c.num_type_errors <= $max_type_errors::INTEGER, false)
        )
        AND ($include_methods OR NOT r.is_method)
        AND c.returns_value
        AND NOT c.is_trivial
        AND NOT (c.is_test OR coalesce(p.is_test, false))
        AND NOT c.is_dunder
        AND NOT (c.is_generated OR coalesce(p.is_generated, false))
        AND NOT list_has_any(c.modules, $banned_imports::VARCHAR[])
        AND len(c.secrets) = 0
        AND len(c.personal_data) = 0
        AND (
            len($licenses) = 0
            OR len(list_filter(c.license_choices, lambda choice: list_has_all($licenses::VARCHAR[], choice))) > 0
        )
        AND r.snippet_id NOT IN (SELECT item_id FROM leaked)
),
-- Of near-duplicates that pass all else the better one is kept. Heads that no better one resembles stand; what resembles
-- a standing head is dropped, and no longer drops others; then again for what is undecided. So nothing is dropped but
-- for a snippet that it resembles itself and that is in the pool, or was in it until the judge.
undecided AS (
    SELECT d.snippet_id, d.cluster_id, 0 AS round
    FROM near_duplicates AS d
    SEMI JOIN passing AS s ON s.snippet_id = d.snippet_id
    SEMI JOIN passing AS h ON h.snippet_id = d.cluster_id
    WHERE
        d.similarity_raw >= $min_similarity_raw::FLOAT
        OR d.similarity_renamed >= $min_similarity_renamed::FLOAT
    UNION ALL
    (
        WITH decided AS (
            SELECT d.snippet_id
            FROM undecided AS d
            WHERE d.cluster_id NOT IN (SELECT w.snippet_id FROM undecided AS w)
        )
        SELECT u.snippet_id, u.cluster_id, u.round + 1
        FROM undecided AS u
        WHERE
            EXISTS (SELECT 1 FROM decided)
            AND u.snippet_id NOT IN (SELECT snippet_id FROM decided)
            AND u.cluster_id NOT IN (SELECT snippet_id FROM decided)
    )
),
repeated AS (
    SELECT u.snippet_id
    FROM undecided AS u
    WHERE NOT EXISTS (SELECT 1 FROM undecided AS w WHERE w.round = u.round AND w.snippet_id = u.cluster_id)
)
SELECT
    snippet_id,
    row_number() OVER (ORDER BY md5(snippet_id || $seed), snippet_id) - 1 AS position,
    license,
    num_tokens,
    cyclomatic
FROM passing
WHERE
    snippet_id NOT IN (SELECT snippet_id FROM repeated)
    AND (
        $min_docstring_score::FLOAT IS NULL
        OR snippet_id IN (
            SELECT item_id
            FROM aspect_scores
            WHERE item_kind = 'snippet' AND scorer <> 'code' AND expected >= $min_docstring_score::FLOAT
        )
    )
ORDER BY position, snippet_id
