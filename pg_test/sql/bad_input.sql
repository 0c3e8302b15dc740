-- Everything that can come in, with its SQLSTATE, its numbers and its hint. The connection works on.
SET ROLE regress_app;
CREATE TEMP VIEW wav AS SELECT audio FROM files WHERE name = 'wav';
GRANT SELECT ON wav TO PUBLIC;
SELECT pg_backend_pid() AS pid \gset

SELECT attempt($$ SELECT extract_speaker_embedding('') $$) AS empty;
SELECT attempt($$ SELECT extract_speaker_embedding('I am not a recording') $$) AS text;
SELECT attempt($$ SELECT extract_speaker_embedding(string_agg(sha256(i::text::bytea), '' ORDER BY i)) FROM generate_series(1, 1000) AS i $$) AS random;
SELECT attempt($$ SELECT extract_speaker_embedding(substring(audio FOR 40000)) FROM wav $$) AS cut_wav;
SELECT attempt($$ SELECT extract_speaker_embedding(substring(audio FOR 100000)) FROM files WHERE name = 'interview' $$) AS cut_flac;
SELECT attempt($$ SELECT extract_speaker_embedding(audio, 3, 1) FROM wav $$) AS reversed;
SELECT attempt($$ SELECT extract_speaker_embedding(audio, -1, 1) FROM wav $$) AS negative;
SELECT attempt($$ SELECT extract_speaker_embedding(audio, 'NaN', 1) FROM wav $$) AS nan;
SELECT attempt($$ SELECT extract_speaker_embedding(audio, 0, 'Infinity') FROM wav $$) AS infinite;
SELECT attempt($$ SELECT extract_speaker_embedding(audio, 0, 60) FROM wav $$) AS beyond_end;
SELECT attempt($$ SELECT extract_speaker_embedding(audio, 60, 61) FROM wav $$) AS starts_beyond_end;
SELECT attempt($$ SELECT extract_speaker_embedding(audio, 0.5, 0.8) FROM wav $$) AS too_short;
SELECT attempt($$ SELECT extract_speaker_embedding(audio) FROM files WHERE name = 'silence' $$) AS silence;
SELECT attempt($$ SELECT extract_speaker_embedding(audio, 0, 2, 'no-such-model') FROM wav $$) AS no_model;
SELECT attempt($$ SELECT extract_speaker_embedding(audio, 0, 2, '../ge2e') FROM wav $$) AS path_as_model;
SELECT attempt($$ SELECT * FROM extract_speaker_embeddings('', ARRAY[1], ARRAY[2, 3]) $$) AS array_lengths;
SELECT attempt($$ SELECT hdbscan(ARRAY['[1,2]', '[1,2,3]']::vector[]) $$) AS dimensions;
SELECT attempt($$ SELECT hdbscan(ARRAY['[1,2]', NULL]::vector[]) $$) AS null_vector;
SELECT attempt($$ SELECT hdbscan(ARRAY['[1,2]', '[0,0]']::vector[], 2) $$) AS zero_vector;
SELECT attempt($$ SELECT hdbscan(ARRAY['[1,2]']::vector[], 0) $$) AS cluster_size;
SELECT attempt($$ SELECT hdbscan(ARRAY['[1,2]']::vector[], cluster_selection_method => 'best') $$) AS method;
SELECT attempt($$ SELECT speaker_knn('[1,2,3]') $$) AS wrong_dimension;
SELECT attempt($$ SELECT speaker_knn('[1,2,3]', model => 'none') $$) AS knn_model;
SELECT attempt($$ SELECT ingest_recording('bad', NULL, 'hello') $$) AS not_segments;
SELECT attempt($$ SELECT ingest_recording('bad', NULL, '[{"start": 1, "end": 2}') $$) AS not_json;
SELECT attempt($$ SELECT ingest_recording('bad', NULL, '{"turns": []}') $$) AS wrong_json;
SELECT attempt($$ SELECT ingest_recording('bad', NULL, '[{"start": 1}]') $$) AS no_end;
SELECT attempt($$ SELECT ingest_recording('bad', NULL, '[{"id": 7, "start": 1, "end": 2}, {"id": 7, "start": 2, "end": 3}]') $$) AS twice;
SELECT attempt($$ SELECT ingest_recording('bad', 'nothing', '[]') $$) AS ingest_text;
SELECT attempt($$ SELECT embed_run(-1) $$) AS no_run;
SELECT attempt($$ SELECT label_segment(-1, 'Ann') $$) AS no_segment;
SELECT attempt($$ SELECT merge_speakers('nobody', 'Ann') $$) AS no_speaker;
SELECT attempt($$ SELECT label_cluster(-1, 'A', 'Ann') $$) AS no_cluster;

-- Paths and limits are the superuser's.
SELECT attempt($$ SET speaker.model_dir = '/etc' $$);
SELECT attempt($$ SET speaker.onnxruntime = '/tmp/evil.so' $$);
SELECT attempt($$ SET speaker.max_audio_bytes = '1GB' $$);
SELECT attempt($$ SET speaker.no_such_setting = 1 $$);

-- Model files that are not there, or not what the manifest says. Paths in messages are cut: they vary.
RESET ROLE;
\getenv models MODELS
SELECT set_config('speaker.model_dir', :'models' || '/missing', false) IS NOT NULL AS set;
SELECT regexp_replace(attempt($$ SELECT extract_speaker_embedding(audio) FROM files WHERE name = 'wav' $$), 'file \S*/', 'file ') AS missing;
SELECT set_config('speaker.model_dir', :'models' || '/altered', false) IS NOT NULL AS set;
SELECT regexp_replace(regexp_replace(attempt($$ SELECT extract_speaker_embedding(audio) FROM files WHERE name = 'wav' $$), 'file \S*/', 'file '), '[0-9a-f]{64}', 'HEX', 'g') AS altered;
RESET speaker.model_dir;

-- Limits meet a bomb before the memory does.
SET speaker.max_audio_bytes = '100kB';
SELECT attempt($$ SELECT extract_speaker_embedding(audio) FROM files WHERE name = 'wav' $$) AS too_large;
RESET speaker.max_audio_bytes;
SET speaker.max_audio_seconds = 3;
SELECT attempt($$ SELECT extract_speaker_embedding(audio) FROM files WHERE name = 'wav' $$) AS too_long;
RESET speaker.max_audio_seconds;

SELECT pg_backend_pid() = :pid AS same_backend, vector_dims(extract_speaker_embedding(audio)) FROM files WHERE name = 'wav';
SELECT count(*) AS nothing_was_left FROM speaker.recordings;
