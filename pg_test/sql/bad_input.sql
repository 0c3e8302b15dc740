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
SELECT attempt($$ SELECT extract_speaker_embedding(substring(audio FOR 30)) FROM wav $$) AS cut_wav_header;
SELECT attempt($$ SELECT extract_speaker_embedding(substring(audio FOR 40)) FROM files WHERE name = 'interview' $$) AS cut_flac_header;
SELECT attempt($$ SELECT audio_info(substring(audio FOR 100000)) FROM files WHERE name = 'interview' $$) AS info_of_cut_flac;
SELECT attempt($$ SELECT audio_info('RIFF') $$) AS info_of_four_bytes;
-- What is known and not read has its name: a container, the codec of a telephone exchange in WAV, and one in Ogg.
SELECT attempt($$ SELECT audio_info('\x2321414d520a3c91') $$) AS info_of_amr;
SELECT attempt($$ SELECT audio_info(decode('52494646340000005741564566' || '6d742010000000310001004' || '01f00005906000041000000' || '6461746108000000' || '0000000000000000', 'hex')) $$) AS info_of_gsm;
SELECT attempt($$ SELECT audio_info(convert_to('OggS', 'UTF8') || '\x00020000000000000000' || '\x01000000' || '\x0000000000000000' || '\x0108' || convert_to('Speex   ', 'UTF8')) $$) AS info_of_speex;
SELECT attempt($$ SELECT extract_speaker_embedding(overlay(substring(audio FOR 44) PLACING '\x00000000' FROM 41)) FROM wav $$) AS no_samples;
SELECT attempt($$ SELECT extract_speaker_embedding(audio, 3, 1) FROM wav $$) AS reversed;
SELECT attempt($$ SELECT extract_speaker_embedding(audio, 3, 3) FROM wav $$) AS no_length;
SELECT attempt($$ SELECT extract_speaker_embedding(audio, -1, 1) FROM wav $$) AS negative;
SELECT attempt($$ SELECT extract_speaker_embedding(audio, 'NaN', 1) FROM wav $$) AS nan;
SELECT attempt($$ SELECT extract_speaker_embedding(audio, 0, 'NaN') FROM wav $$) AS nan_end;
SELECT attempt($$ SELECT extract_speaker_embedding(audio, 0, 'Infinity') FROM wav $$) AS infinite;
SELECT attempt($$ SELECT extract_speaker_embedding(audio, 0, 60) FROM wav $$) AS beyond_end;
SELECT attempt($$ SELECT extract_speaker_embedding(audio, 60, 61) FROM wav $$) AS starts_beyond_end;
SELECT attempt($$ SELECT extract_speaker_embedding(audio, 0.5, 0.8) FROM wav $$) AS too_short;
SELECT attempt($$ SELECT extract_speaker_embedding(audio) FROM files WHERE name = 'silence' $$) AS silence;
SELECT attempt($$ SELECT extract_speaker_embedding(audio, 0, 2, 'no-such-model') FROM wav $$) AS no_model;
SELECT attempt($$ SELECT extract_speaker_embedding(audio, 0, 2, '../ge2e') FROM wav $$) AS path_as_model;
SELECT attempt($$ SELECT extract_speaker_embedding(audio, 0, 2, '') FROM wav $$) AS empty_model;
SELECT attempt($$ SELECT * FROM extract_speaker_embeddings('', ARRAY[1], ARRAY[2, 3]) $$) AS array_lengths;
SELECT attempt($$ SELECT hdbscan(ARRAY['[1,2]', '[1,2,3]']::vector[]) $$) AS dimensions;
SELECT attempt($$ SELECT hdbscan(ARRAY['[1,2]', NULL]::vector[]) $$) AS null_vector;
SELECT attempt($$ SELECT hdbscan(ARRAY['[1,2]', '[0,0]']::vector[], 2) $$) AS zero_vector;
SELECT attempt($$ SELECT hdbscan(ARRAY['[1,2]', '[2,1]']::vector[], 2, 0) $$) AS min_samples;
SELECT attempt($$ SELECT hdbscan(ARRAY['[1,2]', '[2,1]']::vector[], 2, cluster_selection_epsilon => 'NaN') $$) AS epsilon;
SELECT attempt($$ SELECT hdbscan(ARRAY['[1,2]']::vector[], 0) $$) AS cluster_size;
SELECT attempt($$ SELECT hdbscan(ARRAY['[1,2]']::vector[], cluster_selection_method => 'best') $$) AS method;
SELECT attempt($$ SELECT speaker_knn('[1,2,3]') $$) AS wrong_dimension;
SELECT attempt($$ SELECT speaker_knn('[1,2,3]', model => 'none') $$) AS knn_model;
SELECT attempt($$ SELECT ingest_recording('bad', NULL, 'hello') $$) AS not_segments;
SELECT attempt($$ SELECT ingest_recording('bad', NULL, '[{"start": 1, "end": 2}') $$) AS not_json;
SELECT attempt($$ SELECT ingest_recording('bad', NULL, '{"voices": []}') $$) AS wrong_json;
SELECT attempt($$ SELECT ingest_recording('bad', NULL, '') $$) AS no_text;
SELECT attempt($$ SELECT ingest_recording('bad', NULL, '[1, 2]') $$) AS list_of_numbers;
SELECT attempt($$ SELECT ingest_recording('bad', NULL, 'SPEAKER x 1 0.0') $$) AS rttm_fields;
SELECT attempt($$ SELECT ingest_recording('bad', NULL, E'SPEAKER x 1 0 1 <NA> <NA> A <NA> <NA>\nSPEAKER y 1 0 1 <NA> <NA> A <NA> <NA>') $$) AS rttm_of_two;
SELECT attempt($$ SELECT ingest_recording(NULL, NULL, '[]') $$) AS no_name;
SELECT attempt($$ SELECT ingest_recording('bad', NULL, NULL::text) $$) AS no_document;
SELECT attempt($$ SELECT ingest_recording('bad', NULL, '[]', 'enrolment') $$) AS source_of_the_store;
SELECT attempt($$ SELECT extract_speaker_embedding((SELECT audio FROM files WHERE name = 'meeting'), 0, 2, channel => 2) $$) AS no_such_channel;
SELECT attempt($$ SELECT audio_clip((SELECT audio FROM files WHERE name = 'meeting'), 0, 2, 0) $$) AS no_channel;
SELECT attempt($$ SELECT ingest_recording('bad', '', '[]') $$) AS ingest_empty;
SELECT attempt($$ SELECT ingest_recording('bad', 'nothing', '[]') $$) AS ingest_text;
SELECT attempt($$ SELECT embed_run(-1) $$) AS no_run;
SELECT attempt($$ SELECT add_segments(-1, '[]'::text) $$) AS no_run_to_add_to;
SELECT attempt($$ SELECT identify_speakers(-1) $$) AS no_run_to_identify;
SELECT attempt($$ SELECT cluster_unlabeled(-1) $$) AS no_run_to_cluster;
SELECT attempt($$ SELECT label_segment(-1, 'Ann') $$) AS no_segment;
SELECT attempt($$ SELECT merge_speakers('nobody', 'Ann') $$) AS no_speaker;
SELECT attempt($$ SELECT rename_speaker('nobody', 'Ann') $$) AS no_speaker_to_rename;
SELECT attempt($$ SELECT label_cluster(-1, 'A', 'Ann') $$) AS no_cluster;
SELECT attempt($$ SELECT add_speaker_embedding('Ann', '[1,2,3]') $$) AS import_dimension;
SELECT attempt($$ SELECT add_speaker_embedding('Ann', array_fill(0, ARRAY[256])::real[]::vector) $$) AS import_zero;

-- Paths and limits are the superuser's.
SELECT attempt($$ SET speaker.model_dir = '/etc' $$);
SELECT attempt($$ SET speaker.onnxruntime = '/tmp/evil.so' $$);
SELECT attempt($$ SET speaker.max_audio_bytes = '1GB' $$);
SELECT attempt($$ SET speaker.max_audio_seconds = 600000 $$);
SELECT attempt($$ SET speaker.min_speech = 61 $$);
SELECT attempt($$ SET speaker.cluster_threads = 0 $$);
SELECT attempt($$ SET speaker.no_such_setting = 1 $$);

-- Model files that are not there, or not what the manifest says. Paths in messages are cut: they vary.
RESET ROLE;
\getenv models MODELS
SELECT set_config('speaker.model_dir', :'models' || '/missing', false) IS NOT NULL AS set;
SELECT regexp_replace(attempt($$ SELECT extract_speaker_embedding(audio) FROM files WHERE name = 'wav' $$), 'file \S*/', 'file ') AS missing;
SELECT set_config('speaker.model_dir', :'models' || '/altered', false) IS NOT NULL AS set;
SELECT regexp_replace(regexp_replace(attempt($$ SELECT extract_speaker_embedding(audio) FROM files WHERE name = 'wav' $$), 'file \S*/', 'file '), '[0-9a-f]{64}', 'HEX', 'g') AS altered;
SELECT set_config('speaker.model_dir', :'models' || '/broken', false) IS NOT NULL AS set;
SELECT attempt($$ SELECT extract_speaker_embedding(audio) FROM files WHERE name = 'wav' $$) AS broken;
SELECT set_config('speaker.model_dir', :'models' || '/none', false) IS NOT NULL AS set;
SELECT attempt($$ SELECT extract_speaker_embedding(audio) FROM files WHERE name = 'wav' $$) AS no_folder;
RESET speaker.model_dir;

-- Limits meet a bomb before the memory does.
SET speaker.max_audio_bytes = '100kB';
SELECT attempt($$ SELECT extract_speaker_embedding(audio) FROM files WHERE name = 'wav' $$) AS too_large;
RESET speaker.max_audio_bytes;
SET speaker.max_audio_seconds = 3;
SELECT attempt($$ SELECT extract_speaker_embedding(audio) FROM files WHERE name = 'wav' $$) AS too_long;
RESET speaker.max_audio_seconds;

-- Without a subtransaction too, an error ends its statement, not the session.
SET ROLE regress_app;
SELECT extract_speaker_embedding('');
BEGIN;
SELECT extract_speaker_embedding(audio('awb'), 5, 2);
ROLLBACK;
SELECT pg_backend_pid() = :pid AS same_backend, vector_dims(extract_speaker_embedding(audio)) FROM files WHERE name = 'wav';
SELECT count(*) AS nothing_was_left FROM (SELECT FROM speaker.recordings UNION ALL SELECT FROM speaker.speakers) AS x;
