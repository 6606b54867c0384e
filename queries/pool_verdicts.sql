-- One row is one reason why a snippet is not in the pool. A snippet of the pool has one row, where
-- `reason` is NULL. Each threshold of the pool stands here and nowhere else: pool.sql and
-- rejects_pool.sql only read these rows, and sort them. The decision takes this order:
-- 1. A snippet fails each check that its measurements do not meet, and each benchmark that leaks
--    into it.
-- 2. Of near-duplicates that pass all of this the better one stands.
-- 3. Of what stands, no repository and then no topic may have more than its share. The rows that
--    come first in the order of the pool stay.
-- 4. A judge of docstrings, if there is one, has a say about what is left. It comes last, as it
--    costs most. With NULL for $min_docstring_score the pool is what the judge is asked about.
-- `repos` is snippet_repos.sql.
WITH RECURSIVE placed AS (
    SELECT
        snippet_id,
        bool_and($test_paths <> '' AND regexp_matches(path, $test_paths)) AS is_test,
        bool_and(
            $generated_paths <> '' AND regexp_matches(path, $generated_paths)
        ) AS is_generated,
        bool_or(
            license = 'unknown'
            AND license_source = 'none'
            AND list_contains($own_sources::VARCHAR[], source)
        ) AS is_own
    FROM snippet_occurrences
    GROUP BY snippet_id
),
leaked AS (
    SELECT item_id AS snippet_id, max(strength) AS strength
    FROM contamination
    WHERE item_kind = 'snippet' AND strength >= $min_strength::FLOAT
    GROUP BY item_id
),
measured AS (
    SELECT
        r.snippet_id,
        r.num_lines,
        r.num_chars + length(shown_code(r.imports, r.context, '')) AS num_chars,
        r.is_method,
        length(r.context) AS num_context_chars,
        c.is_parsed,
        c.num_tokens,
        c.num_statements,
        c.num_arguments,
        c.cyclomatic,
        c.num_literals,
        c.num_docstring_words,
        c.docstring_ascii,
        c.docstring_english,
        c.docstring_sufficiency,
        c.num_undefined_names,
        c.num_undefined_names
        + if($infer_imports, 0, len(c.inferred_imports)) AS num_missing_names,
        c.num_type_errors,
        c.returns_value,
        c.is_trivial,
        c.is_dunder,
        c.is_test OR coalesce(p.is_test, false) AS is_test,
        c.is_generated OR r.is_generated OR coalesce(p.is_generated, false) AS is_generated,
        len(list_intersect(c.modules, $banned_imports::VARCHAR[])) AS num_banned,
        len(c.secrets) AS num_secrets,
        len(c.personal_data) AS num_personal,
        len($licenses) = 0
        OR len(
            list_filter(
                c.license_choices,
                lambda choice: list_has_all($licenses::VARCHAR[], choice)
            )
        ) > 0
        OR (c.license_choices = [['unknown']] AND coalesce(p.is_own, false)) AS is_allowed
    FROM raw_pool AS r
    JOIN snippet_checks AS c ON c.snippet_id = r.snippet_id
    LEFT JOIN placed AS p ON p.snippet_id = r.snippet_id
),
-- A check is (reason, whether the snippet fails it, its value, the threshold).
checked AS MATERIALIZED (
    SELECT
        snippet_id,
        list_filter(
            [
                ('too_few_lines', num_lines < $min_lines, num_lines::DOUBLE, $min_lines::DOUBLE),
                ('too_many_lines', num_lines > $max_lines, num_lines, $max_lines),
                ('too_many_chars', num_chars > $max_chars, num_chars, $max_chars),
                ('too_few_tokens', num_tokens < $min_tokens, num_tokens, $min_tokens),
                ('too_many_tokens', num_tokens > $max_tokens, num_tokens, $max_tokens),
                (
                    'too_few_statements',
                    num_statements < $min_statements,
                    num_statements,
                    $min_statements
                ),
                ('too_complex', cyclomatic > $max_cyclomatic, cyclomatic, $max_cyclomatic),
                (
                    'too_few_arguments',
                    num_arguments < $min_arguments,
                    num_arguments,
                    $min_arguments
                ),
                (
                    'data_table',
                    num_literals > $max_literal_share * num_tokens,
                    num_literals / greatest(1, num_tokens),
                    $max_literal_share
                ),
                (
                    'short_docstring',
                    num_docstring_words < $min_docstring_words,
                    num_docstring_words,
                    $min_docstring_words
                ),
                (
                    'docstring_not_ascii',
                    docstring_ascii < $min_docstring_ascii::FLOAT,
                    docstring_ascii,
                    $min_docstring_ascii
                ),
                (
                    'docstring_not_english',
                    docstring_english < $min_docstring_english::FLOAT,
                    docstring_english,
                    $min_docstring_english
                ),
                (
                    'insufficient_docstring',
                    docstring_sufficiency < $min_docstring_sufficiency::FLOAT,
                    docstring_sufficiency,
                    $min_docstring_sufficiency
                ),
                (
                    'undefined_names',
                    num_missing_names > $max_undefined_names,
                    num_missing_names,
                    $max_undefined_names
                ),
                (
                    'context_too_long',
                    num_context_chars > $max_context_chars,
                    num_context_chars,
                    $max_context_chars
                ),
                (
                    'type_errors',
                    num_type_errors > $max_type_errors::INTEGER,
                    num_type_errors,
                    $max_type_errors::INTEGER
                ),
                (
                    'types_not_checked',
                    $max_type_errors::INTEGER IS NOT NULL
                    AND is_parsed
                    AND num_undefined_names = 0
                    AND num_type_errors IS NULL,
                    NULL,
                    NULL
                ),
                ('syntax_error', NOT is_parsed, NULL, NULL),
                ('method', is_method AND NOT $include_methods, NULL, NULL),
                ('returns_nothing', NOT returns_value, NULL, NULL),
                ('trivial', is_trivial, NULL, NULL),
                ('test', is_test, NULL, NULL),
                ('dunder', is_dunder, NULL, NULL),
                ('generated', is_generated, NULL, NULL),
                ('banned_import', num_banned > 0, num_banned, 0),
                ('secret', num_secrets > 0, num_secrets, 0),
                ('personal_data', num_personal > 0, num_personal, 0),
                ('license', NOT is_allowed, NULL, NULL)
            ],
            lambda tested: tested[2]
        ) AS failed
    FROM measured
),
passing AS MATERIALIZED (
    SELECT snippet_id
    FROM checked
    ANTI JOIN leaked USING (snippet_id)
    WHERE len(failed) = 0
),
-- Two docstrings that are alike pose one problem if their functions have the same name. Otherwise
-- one word may make the difference, so they must be equal word for word, and long, or stand above
-- code that is alike: many functions return the name of something.
documented AS (
    SELECT
        d.snippet_id,
        d.cluster_id,
        greatest(d.similarity_raw, d.similarity_renamed) >= $floor::FLOAT AS has_like_code,
        least(c.num_docstring_words, k.num_docstring_words) >= $short_docstring_words AS is_long,
        split_part(s.name, '.', -1) = split_part(h.name, '.', -1) AS has_same_name,
        d.similarity_docstring = 1
        AND regexp_extract_all(lower(s.docstring), '[a-z0-9\x{80}-\x{10FFFF}]+')
        = regexp_extract_all(lower(h.docstring), '[a-z0-9\x{80}-\x{10FFFF}]+')
            AS has_same_words
    FROM near_duplicates AS d
    JOIN raw_pool AS s ON s.snippet_id = d.snippet_id
    JOIN raw_pool AS h ON h.snippet_id = d.cluster_id
    JOIN snippet_checks AS c ON c.snippet_id = d.snippet_id
    JOIN snippet_checks AS k ON k.snippet_id = d.cluster_id
    WHERE d.similarity_docstring >= $min_similarity_docstring::FLOAT
),
one_problem AS (
    SELECT snippet_id, cluster_id
    FROM documented
    WHERE has_same_name OR (has_same_words AND (is_long OR has_like_code))
),
alike AS (
    SELECT
        snippet_id,
        cluster_id,
        similarity_raw,
        similarity_renamed,
        similarity_docstring,
        similarity_raw >= $min_similarity_raw::FLOAT AS is_alike_raw,
        similarity_renamed >= $min_similarity_renamed::FLOAT AS is_alike_renamed
    FROM near_duplicates
    WHERE
        is_alike_raw
        OR is_alike_renamed
        OR (snippet_id, cluster_id) IN (SELECT snippet_id, cluster_id FROM one_problem)
),
-- A head that no better one resembles stands. What resembles a standing head is dropped, and no
-- longer drops others. Then again for what is undecided. So a snippet is only ever dropped for one
-- that it resembles itself, and that stands.
undecided AS (
    SELECT a.snippet_id, a.cluster_id, 0 AS round
    FROM alike AS a
    SEMI JOIN passing AS s ON s.snippet_id = a.snippet_id
    SEMI JOIN passing AS h ON h.snippet_id = a.cluster_id
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
    WHERE NOT EXISTS (
        SELECT 1
        FROM undecided AS w
        WHERE w.round = u.round AND w.snippet_id = u.cluster_id
    )
),
standing AS MATERIALIZED (
    SELECT snippet_id
    FROM passing
    ANTI JOIN repeated USING (snippet_id)
),
placed_in_repo AS (
    SELECT
        s.snippet_id,
        p.repo,
        c.topic,
        row_number() OVER (
            PARTITION BY p.repo
            ORDER BY md5(s.snippet_id || $seed), s.snippet_id
        ) AS place
    FROM standing AS s
    JOIN snippet_checks AS c ON c.snippet_id = s.snippet_id
    LEFT JOIN repos AS p ON p.snippet_id = s.snippet_id
),
repo_limit AS (
    SELECT ceil($max_repo_share * count(*)) AS most
    FROM placed_in_repo
    HAVING count(DISTINCT repo) >= $min_repos
),
over_repo AS (
    SELECT p.snippet_id, p.place, l.most
    FROM placed_in_repo AS p
    JOIN repo_limit AS l ON p.place > l.most
    WHERE p.repo IS NOT NULL
),
placed_in_topic AS (
    SELECT
        p.snippet_id,
        p.repo,
        p.topic,
        row_number() OVER (
            PARTITION BY p.topic
            ORDER BY md5(p.snippet_id || $seed), p.snippet_id
        ) AS place
    FROM placed_in_repo AS p
    ANTI JOIN over_repo AS o ON o.snippet_id = p.snippet_id
),
topic_limit AS (
    SELECT ceil($max_topic_share * count(*)) AS most
    FROM placed_in_topic
    HAVING
        count(DISTINCT repo) >= $min_repos
        AND count(DISTINCT topic) FILTER (topic <> '') >= $min_repos
),
over_topic AS (
    SELECT p.snippet_id, p.place, l.most
    FROM placed_in_topic AS p
    JOIN topic_limit AS l ON p.place > l.most
    WHERE p.topic <> ''
),
varied AS MATERIALIZED (
    SELECT p.snippet_id
    FROM placed_in_topic AS p
    ANTI JOIN over_topic AS o ON o.snippet_id = p.snippet_id
),
judged AS (
    SELECT item_id AS snippet_id, max(expected) FILTER (scorer <> 'code') AS score
    FROM aspect_scores
    WHERE item_kind = 'snippet'
    GROUP BY item_id
),
heard AS (
    SELECT s.snippet_id, j.score, j.score < $min_docstring_score::FLOAT AS is_insufficient
    FROM varied AS s
    LEFT JOIN judged AS j ON j.snippet_id = s.snippet_id
)
SELECT snippet_id, tested[1] AS reason, tested[3] AS value, tested[4] AS threshold
FROM (SELECT snippet_id, unnest(failed) AS tested FROM checked)
UNION ALL
SELECT snippet_id, 'contaminated', strength, $min_strength
FROM leaked
UNION ALL
SELECT
    a.snippet_id,
    'near_duplicate',
    coalesce(
        max(a.similarity_raw) FILTER (a.is_alike_raw),
        max(a.similarity_renamed) FILTER (a.is_alike_renamed),
        max(a.similarity_docstring)
    ),
    CASE
        WHEN bool_or(a.is_alike_raw) THEN $min_similarity_raw
        WHEN bool_or(a.is_alike_renamed) THEN $min_similarity_renamed
        ELSE $min_similarity_docstring
    END
FROM alike AS a
SEMI JOIN standing AS h ON h.snippet_id = a.cluster_id
ANTI JOIN standing AS s ON s.snippet_id = a.snippet_id
GROUP BY a.snippet_id
UNION ALL
SELECT snippet_id, 'repo_cap', place, most
FROM over_repo
UNION ALL
SELECT snippet_id, 'topic_cap', place, most
FROM over_topic
UNION ALL
SELECT
    snippet_id,
    CASE
        WHEN $min_docstring_score::FLOAT IS NULL THEN NULL
        WHEN score IS NULL THEN 'not_judged'
        WHEN is_insufficient THEN 'judged_insufficient'
    END,
    if(is_insufficient, score, NULL),
    if(is_insufficient, $min_docstring_score, NULL)
FROM heard
