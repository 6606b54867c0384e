-- One row is one reason why a snippet is not in the pool; a snippet that fails several checks has several rows.
WITH placed AS (
    SELECT
        snippet_id,
        bool_and($test_paths <> '' AND regexp_matches(path, $test_paths)) AS is_test,
        bool_and($generated_paths <> '' AND regexp_matches(path, $generated_paths)) AS is_generated
    FROM snippet_occurrences
    GROUP BY snippet_id
),
measured AS (
    SELECT r.snippet_id, r.num_lines, r.num_chars, r.is_method, c.is_parsed, c.num_tokens, c.num_statements,
        c.num_arguments, c.cyclomatic, c.num_literals / greatest(1, c.num_tokens) AS literal_share,
        c.num_literals > $max_literal_share * c.num_tokens AS is_data, c.num_docstring_words, c.docstring_ascii,
        c.docstring_english, c.docstring_sufficiency, c.num_undefined_names, c.num_type_errors, c.returns_value,
        c.num_undefined_names + if($infer_imports, 0, len(c.inferred_imports)) AS num_missing_names,
        c.is_trivial, c.is_dunder, c.is_test OR coalesce(p.is_test, false) AS is_test,
        c.is_generated OR coalesce(p.is_generated, false) AS is_generated,
        len(list_intersect(c.modules, $banned_imports::VARCHAR[])) AS num_banned,
        len(c.secrets) AS num_secrets, len(c.personal_data) AS num_personal,
        len(list_filter(c.license_choices, lambda choice: list_has_all($licenses::VARCHAR[], choice))) AS num_allowed
    FROM raw_pool AS r
    JOIN snippet_checks AS c ON c.snippet_id = r.snippet_id
    LEFT JOIN placed AS p ON p.snippet_id = r.snippet_id
),
judged AS (
    SELECT item_id AS snippet_id, max(expected) FILTER (scorer <> 'code') AS score
    FROM aspect_scores
    WHERE item_kind = 'snippet' AND $min_docstring_score::FLOAT IS NOT NULL
    GROUP BY item_id
),
kept AS (
    SELECT snippet_id FROM pool
    UNION
    SELECT snippet_id FROM judged
),
reasons AS (
    SELECT snippet_id, 'too_few_lines' AS reason, num_lines::DOUBLE AS value, $min_lines::DOUBLE AS threshold
    FROM measured WHERE num_lines < $min_lines
    UNION ALL
    SELECT snippet_id, 'syntax_error', NULL, NULL FROM measured WHERE NOT is_parsed
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
    SELECT snippet_id, 'docstring_not_english', docstring_english, $min_docstring_english
    FROM measured WHERE docstring_english < $min_docstring_english::FLOAT
    UNION ALL
    SELECT snippet_id, 'insufficient_docstring', docstring_sufficiency, $min_docstring_sufficiency
    FROM measured WHERE docstring_sufficiency < $min_docstring_sufficiency::FLOAT
    UNION ALL
    SELECT snippet_id, 'data_table', literal_share, $max_literal_share FROM measured WHERE is_data
    UNION ALL
    SELECT snippet_id, 'undefined_names', num_missing_names, $max_undefined_names
    FROM measured WHERE num_missing_names > $max_undefined_names
    UNION ALL
    SELECT snippet_id, 'type_errors', num_type_errors, $max_type_errors::INTEGER
    FROM measured WHERE num_type_errors > $max_type_errors::INTEGER
    UNION ALL
    SELECT snippet_id, 'types_not_checked', NULL, NULL
    FROM measured WHERE $max_type_errors::INTEGER IS NOT NULL AND is_parsed AND num_undefined_names = 0 AND num_type_errors IS NULL
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
    SELECT snippet_id, 'generated', NULL, NULL FROM measured WHERE is_generated
    UNION ALL
    SELECT snippet_id, 'banned_import', num_banned, 0 FROM measured WHERE num_banned > 0
    UNION ALL
    SELECT snippet_id, 'secret', num_secrets, 0 FROM measured WHERE num_secrets > 0
    UNION ALL
    SELECT snippet_id, 'personal_data', num_personal, 0 FROM measured WHERE num_personal > 0
    UNION ALL
    SELECT snippet_id, 'license', NULL, NULL FROM measured WHERE len($licenses) > 0 AND num_allowed = 0
    UNION ALL
    SELECT
        d.snippet_id, 'near_duplicate',
        coalesce(
            max(d.similarity_raw) FILTER (d.similarity_raw >= $min_similarity_raw::FLOAT), max(d.similarity_renamed)
        ),
        if(max(d.similarity_raw) >= $min_similarity_raw::FLOAT, $min_similarity_raw, $min_similarity_renamed)
    FROM near_duplicates AS d
    SEMI JOIN kept AS h ON h.snippet_id = d.cluster_id
    WHERE
        d.similarity_raw >= $min_similarity_raw::FLOAT
        OR d.similarity_renamed >= $min_similarity_renamed::FLOAT
    GROUP BY d.snippet_id
    UNION ALL
    SELECT snippet_id, 'judged_insufficient', score, $min_docstring_score
    FROM judged WHERE score < $min_docstring_score::FLOAT
    UNION ALL
    SELECT snippet_id, 'not_judged', NULL, NULL FROM judged WHERE score IS NULL
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
