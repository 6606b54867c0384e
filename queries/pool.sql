-- One row is one snippet of the clean pool: it passes every check, represents its cluster, and no benchmark leaks into it.
-- `position` is its place in an order that depends on the seed and on nothing else.
WITH leaked AS (
    SELECT DISTINCT item_id
    FROM contamination
    WHERE item_kind = 'snippet' AND strength >= $min_strength::FLOAT
),
kept AS (
    SELECT r.snippet_id, r.license, c.num_tokens, c.cyclomatic
    FROM raw_pool AS r
    JOIN snippet_checks AS c ON c.snippet_id = r.snippet_id
    LEFT JOIN near_duplicates AS d ON d.snippet_id = r.snippet_id
    WHERE
        r.num_lines BETWEEN $min_lines AND $max_lines
        AND r.num_chars <= $max_chars
        AND c.num_tokens BETWEEN $min_tokens AND $max_tokens
        AND c.num_statements >= $min_statements
        AND c.cyclomatic <= $max_cyclomatic
        AND c.num_arguments >= $min_arguments
        AND c.num_docstring_words >= $min_docstring_words
        AND c.docstring_ascii >= $min_docstring_ascii::FLOAT
        AND c.num_undefined_names <= $max_undefined_names
        AND ($include_methods OR NOT r.is_method)
        AND c.returns_value
        AND NOT c.is_trivial
        AND NOT c.is_test
        AND NOT c.is_dunder
        AND len(c.banned_imports) = 0
        AND (len($licenses) = 0 OR list_has_all($licenses, string_split(r.license, ', ')))
        AND coalesce(d.is_representative, true)
        AND r.snippet_id NOT IN (SELECT item_id FROM leaked)
)
SELECT
    snippet_id,
    row_number() OVER (ORDER BY md5(snippet_id || $seed), snippet_id) - 1 AS position,
    license,
    num_tokens,
    cyclomatic
FROM kept
ORDER BY position, snippet_id
