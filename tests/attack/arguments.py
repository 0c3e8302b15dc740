"""Arguments for every function and values for every column of a store, by their names: so whatever is new in the catalog is tried
too, or is missed here and fails."""

from functools import partial
from typing import NamedTuple

from world import VECTOR

SEGMENTS = '[{"start": 0, "end": 1}]'


def same(value):
    return lambda target: value


def text(attribute):
    return lambda target: f"'{getattr(target, attribute)}'"


def number(attribute, kind="bigint"):
    return lambda target: f"{getattr(target, attribute)}::{kind}"


def array(attribute, kind):
    return lambda target: f"ARRAY['{getattr(target, attribute)}']::{kind}[]"


def claim(target):
    return (f"pg_catalog.jsonb_populate_record(NULL::speaker.embedding_claims, '{{\"lease\": {target.lease}, \"collection\": "
            f"\"{target.collection}\", \"model_id\": 1, \"step\": \"backfill\", \"claimed\": [{target.segment_id}]}}')")


def backfill(target):
    return (f"pg_catalog.jsonb_populate_record(NULL::speaker.backfill, '{{\"model_id\": 1, \"batch_size\": 10, \"homes\": "
            f"[\"{target.collection}\"], \"home\": 1, \"runs\": [{target.run_id}], \"is_everywhere\": false, \"tried\": 0, "
            f"\"tried_in_pass\": 0, \"embedded\": 0, \"due\": 0, \"finished\": false, \"started\": \"2026-01-01\", \"claim\": "
            f"{{\"lease\": {target.lease}, \"collection\": \"{target.collection}\", \"model_id\": 1, \"step\": \"backfill\", "
            f"\"claimed\": [{target.segment_id}]}}}}')")


# By name and type; the type matters where one name has several.
ARGUMENTS = {
    "access": same("'write'"), "assign": same("true"), "attempts": same("3"), "audio": same("NULL::pg_catalog.bytea"),
    "audio_lo": same("NULL::pg_catalog.oid"), "audio_path": same("NULL::pg_catalog.text"), "audio_sha256": same("pg_catalog.sha256('x')"),
    "b": backfill, "allow_single_cluster": same("false"), "among": array("run_id", "bigint"), "assign_noise": same("0.5"), "batch_size": same("10"), "least_similarity": same("0.5"), "batch": same("0"), "call": same("'mine'"), "confirmed": same("ARRAY[true]"), "explain": same("true"), "method": same("'mean'"), "vectors": lambda t: f"ARRAY[{VECTOR.format(1)}]", "belongs_to": same("'segments'"), "can_commit": same("true"), "channel": same("1"),
    "claim": claim, "cluster": text("cluster"), "clustering_id": number("clustering_id"), "code": same("'row_hidden'"),
    "collection": text("collection"), "content": same("pg_catalog.sha256('x')"), "crashed": same("true"),
    "deltas": lambda t: f"ARRAY[({t.speaker_id}, '{t.collection}', 1, 1, pg_catalog.array_fill(1::pg_catalog.float8, ARRAY[256]))::speaker.centroid_delta]",
    "dim": same("256"), "speaker_threshold": same("0.5"), "utterance_threshold": same("0.5"), "centroid_threshold": same("0.5"), "speech_s": same("1.0"), "dry_run": same("false"), "duration_s": same("10.0"), "embed": same("false"), "embedded": same("0"),
    "embedding": same(VECTOR.format(1)), "end_s": same("1.0"), "error_code": same("NULL::pg_catalog.text"),
    "external_id": text("recording"), "failed": same("0"), "fired_for": same("'speaker.segments'::pg_catalog.regclass::pg_catalog.oid"),
    "hint": same("NULL::pg_catalog.text"), "home": text("collection"), "homes": array("collection", "pg_catalog.text"),
    "ids": array("segment_id", "bigint"), "into_speaker": text("speaker"), "k": same("5"), "known_only": same("false"),
    "lost": number("lease", "int"), "make": same("false"), "make_current": same("true"), "margin": same("0.0"),
    "max_segments": same("10"), "message": same("'m'"), "min_cluster_size": same("2"), "min_samples": same("1"),
    "model": same("'ge2e'"), "model_id": same("1"), "new_name": lambda t: f"'{t.speaker} New'",
    "of_clustering": number("clustering_id"), "only_unknown": same("false"), "ordinal": same("1"), "padding_s": same("0.5"),
    "person": number("speaker_id"), "parameters": same("'{}'::pg_catalog.jsonb"), "parsed": same("ARRAY[('s', 0, 0, 1, NULL, 'l', 't', 1, NULL, NULL)::speaker.segment_input]"),
    "recording": text("recording"), "recording_id": number("recording_id"), "remaining": same("0"),
    "run_id": number("run_id"), "runs": array("run_id", "bigint"), "scores": same("ARRAY[1::pg_catalog.float8]"),
    "segment_id": number("segment_id"), "segment_ids": array("segment_id", "bigint"), "segment_source": same("'manual'"),
    ("segments", "bigint[]"): array("segment_id", "bigint"), ("segments", "jsonb"): same(f"'{SEGMENTS}'::pg_catalog.jsonb"),
    ("segments", "json"): same(f"'{SEGMENTS}'::pg_catalog.json"),
    ("segments", "text"): same(f"'{SEGMENTS}'::pg_catalog.text"), "source": same("'manual'"), "speaker": text("speaker"),
    "speaker_ids": array("speaker_id", "bigint"), "start_s": same("0.0"), "state": same("'XX000'"), "step": same("'recover'"),
    "threshold": same("0.1"), "time_budget": same("NULL::interval"), "to_role": text("member"), "unit": same(VECTOR.format(1)),
    "version": same("'1'"), "whole_cluster": same("true"),
}

COLUMNS = ARGUMENTS | {
    "id": number("segment_id"), "name": text("speaker"), "metadata": same("'{\"by\": \"me\"}'"), "audio": same("NULL::pg_catalog.bytea"),
    "content_hash": same("pg_catalog.sha256('x')"), "source_index": same("7"), "start_time": same("0.25"), "end_time": same("0.75"),
    "speaker_label": same("'mine'"), "text": same("'mine'"), "confidence": same("0.5"), "rejected": same("'mine'"), "rejected_code": same("'segment_empty'"),
    "speaker_id": number("speaker_id"), "label_source": same("'manual'"), "label_score": same("0.5"), "label_model_id": same("1"),
    "label_clustering_id": number("clustering_id"), "labelled_at": same("pg_catalog.now()"), "label_confirmed": same("true"), "label_batch": same("1"), "speech_s": same("1.0"), "overlapped_s": same("0.0"), "names": same("'{A}'"),
    "tree": same("'{}'"), "probability": same("0.5"), "outlier_score": same("0.5"), "core_distance": same("0.5"), "node": same("0"),
    "density": same("0.5"), "representative": same("true"),
    "outcomes": lambda t: f"ARRAY[({t.segment_id}, NULL, NULL, NULL, NULL, 'fail', 'mine', 'mine')::speaker.outcome]",
}

FUNCTIONS = """
SELECT p.oid::regprocedure::text, p.proname, p.prokind,
       ARRAY(SELECT (ARRAY[a.name, format_type(a.type, NULL), (a.place > p.pronargs - p.pronargdefaults)::text])
             FROM unnest(p.proargnames[1:p.pronargs], p.proargtypes::oid[]) WITH ORDINALITY AS a (name, type, place)) AS arguments,
       obj_description(p.oid, 'pg_proc') IS NOT NULL AS public,
       p.oid IN (SELECT c.routine FROM speaker.callable() AS c (routine)) AS callable, p.provolatile = 'v' AS volatile
FROM pg_proc AS p
WHERE p.pronamespace = 'speaker'::regnamespace AND p.prorettype <> 'trigger'::regtype AND p.proowner = (
    SELECT n.nspowner FROM pg_namespace AS n WHERE n.oid = p.pronamespace)
ORDER BY p.oid::regprocedure::text
"""


class Unknown(Exception):
    """A name that nobody has thought of."""


def value(names, name, kind, target):
    make = names.get((name, kind)) or names.get(name)
    if make is None:
        raise Unknown(f"no value is known here for {name} {kind}")
    return make(target)


argument = partial(value, ARGUMENTS)
column = partial(value, COLUMNS)


class Function(NamedTuple):
    signature: str
    name: str
    kind: str
    arguments: list
    public: bool
    callable: bool
    volatile: bool


def functions(connection):
    """Every function of the store but those of triggers; to be asked by its owner. callable: by those who have access."""
    return [Function(*row) for row in connection.execute(FUNCTIONS)]


def call(function, target, without=()):
    """A statement that calls a function with arguments that mean the target."""
    given = [f"{name} => {argument(name, kind, target)}" for name, kind, _ in function.arguments if name not in without]
    inner = f"speaker.{function.name}({', '.join(given)})"
    return f"CALL {inner}" if function.kind == "p" else f"SELECT * FROM {inner}"
