-- One row is one reason why a snippet is not in the pool; a snippet that fails several checks has several rows.
WITH measured AS (
    SELECT r.snippet_id, r.num_lines, r.num_chars, r.is_method, r.license, c.num_tokens, c.num_statements,
        c.num_arguments, c.cyclomatic, c.num_docstring_words, c.docstring_ascii, c.num_undefined_names, c.returns_value,
        c.is_trivial, c.is_test, c.is_dunder, c.banned_imports, d.is_representative, d.similarity
    FROM raw_pool AS r
    JOIN snippet_checks AS c ON c.snippet_id = r.snippet_id
    LEFT JOIN near_duplicates AS d ON d.snippet_id = r.snippet_id
),
reasons AS (
    SELECT snippet_id, 'too_few_lines' AS reason, num_lines::DOUBLE AS value, $min_lines::DOUBLE AS threshold
    FROM measured WHERE num_lines < $min_lines
    UNION ALL
    SELECT snippet_id, 'too_many_lines', num_lines, $max_lines FROM measured WHERE num_lines > $max_lines
    UNION ALL
    SELECT snippet_id, 'too_many_chars', num_chars, $max_chars FROM measured WHERE num_chars > $max_chars
    UNION ALL
    SELECT snippet_id, 'too_few_tokens', num_tokens, $min_tokens FROM measured WHERE num_tokens < $min_tokens
    UNION ALL
    SELECT snippet_id, 'too_many_tokens', num_tokens, $max_tokens FROM measured WHERE num_tokens > $max_tokens
    UNION ALL
    SELECT snippet_id, 'too_few_statements', num_statements, $min_statements
    FROM measured WHERE num_statements < $min_statements
    UNION ALL
    SELECT snippet_id, 'too_complex', cyclomatic, $max_cyclomatic FROM measured WHERE cyclomatic > $max_cyclomatic
    UNION ALL
    SELECT snippet_id, 'too_few_arguments', num_arguments, $min_arguments
    FROM measured WHERE num_arguments < $min_arguments
    UNION ALL
    SELECT snippet_id, 'short_docstring', num_docstring_words, $min_docstring_words
    FROM measured WHERE num_docstring_words < $min_docstring_words
    UNION ALL
    SELECT snippet_id, 'docstring_not_ascii', docstring_ascii, $min_docstring_ascii
    FROM measured WHERE docstring_ascii < $min_docstring_ascii::FLOAT
    UNION ALL
    SELECT snippet_id, 'undefined_names', num_undefined_names, $max_undefined_names
    FROM measured WHERE num_undefined_names > $max_undefined_names
    UNION ALL
    SELECT snippet_id, 'method', NULL, NULL FROM measured WHERE is_method AND NOT $include_methods
    UNION ALL
    SELECT snippet_id, 'returns_nothing', NULL, NULL FROM measured WHERE NOT returns_value
    UNION ALL
    SELECT snippet_id, 'trivial', NULL, NULL FROM measured WHERE is_trivial
    UNION ALL
    SELECT snippet_id, 'test', NULL, NULL FROM measured WHERE is_test
    UNION ALL
    SELECT snippet_id, 'dunder', NULL, NULL FROM measured WHERE is_dunder
    UNION ALL
    SELECT snippet_id, 'banned_import', len(banned_imports), 0 FROM measured WHERE len(banned_imports) > 0
    UNION ALL
    SELECT snippet_id, 'license', NULL, NULL
    FROM measured WHERE len($licenses) > 0 AND NOT list_has_all($licenses, string_split(license, ', '))
    UNION ALL
    SELECT snippet_id, 'near_duplicate', similarity, NULL FROM measured WHERE NOT coalesce(is_representative, true)
    UNION ALL
    SELECT item_id, 'contaminated', max(strength), $min_strength
    FROM contamination
    WHERE item_kind = 'snippet' AND strength >= $min_strength::FLOAT
    GROUP BY item_id
)
SELECT
    'pool' AS stage,
    NULL::INTEGER AS iteration,
    NULL::VARCHAR AS selection,
    'snippet' AS item_kind,
    snippet_id AS item_id,
    reason,
    value,
    threshold
FROM reasons
ORDER BY item_id, reason
