-- One row is one snippet and the repository that it counts for, which is that of its first place in
-- the order of source, path and line. Where a source has no repositories, the top-level folder of
-- the path stands for one: in a tree of site-packages that is a package. A module beside such
-- folders is its own. The version of a package does not count, so all its versions are one. What is
-- in $whole_sources is one repository, whatever its folders.
SELECT
    snippet_id,
    CASE
        WHEN repo IS NOT NULL THEN regexp_replace(repo, '==.*$', '')
        WHEN source IN (SELECT unnest($whole_sources::VARCHAR[])) THEN source
        ELSE concat(
            source,
            '/',
            regexp_replace(split_part(path, '/', 1), '(-v?[0-9][^/]*|[.]pyi?)$', '')
        )
    END AS repo
FROM snippet_occurrences
QUALIFY row_number() OVER (PARTITION BY snippet_id ORDER BY source, path, line) = 1
