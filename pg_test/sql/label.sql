-- Enrolment, names, history.
SET ROLE regress_app;
SELECT enroll_speaker('Ann', audio) = enroll_speaker('Ann', audio) AS same_clip_is_a_no_op FROM files WHERE name = 'awb';
SELECT p.name, c.n FROM speaker.speakers AS p JOIN speaker.speaker_centroids AS c ON c.speaker_id = p.id WHERE p.name = 'Ann';
SELECT attempt($$ SELECT enroll_speaker('Quiet', audio) FROM files WHERE name = 'silence' $$);
SELECT attempt($$ SELECT enroll_speaker('Quiet', audio, 3, 1) FROM files WHERE name = 'wav' $$);
SELECT attempt($$ SELECT enroll_speaker('Quiet', NULL) $$);
SELECT count(*) AS left_behind FROM speaker.speakers WHERE name = 'Quiet';
SELECT speaker, round(similarity::numeric, 1) AS similarity FROM files, speaker_knn(extract_speaker_embedding(audio), 1) WHERE name = 'awb';

-- Collections do not see each other.
SELECT enroll_speaker('Ann', audio, collection => 'other') IS NOT NULL AS enrolled FROM files WHERE name = 'awb';
SELECT collection, count(*) FROM speaker.speakers WHERE name = 'Ann' GROUP BY 1 ORDER BY 1;

-- Imported vectors.
SELECT add_speaker_embedding('Imported', embedding) > 0 AS added FROM speaker.speaker_embeddings ORDER BY segment_id LIMIT 1;
SELECT attempt($$ SELECT add_speaker_embedding('Imported', '[1,2,3]') $$);

SELECT rename_speaker('Imported', 'Bea');
SELECT attempt($$ SELECT rename_speaker('Bea', 'UNKNOWN') $$);
SELECT merge_speakers('Bea', 'Ann') AS moved;
SELECT count(*) AS beas FROM speaker.speakers WHERE name = 'Bea';
SELECT speaker, previous_speaker, source, assigned_by = session_user AS by_me
FROM speaker.assignments WHERE 'Bea' IN (speaker, previous_speaker) OR speaker = 'Ann' ORDER BY id;
SELECT attempt($$ DELETE FROM speaker.assignments $$) AS history_stays;
SELECT attempt($$ UPDATE speaker.speaker_centroids SET n = 0 $$) AS derived;
SELECT attempt($$ UPDATE speaker.segments SET label_source = 'manual', label_score = 1 WHERE label_source = 'enrolment' $$) AS facts_stay;

-- A legacy row without an embedding gets it when it is labelled.
INSERT INTO speaker.segments (run_id, external_id, start_time, end_time)
SELECT id, 'legacy', 0.1, 3.9 FROM speaker.runs WHERE segment_source = 'whisper' RETURNING id AS legacy \gset
SELECT label_segment(:legacy, 'Ann');
SELECT status FROM speaker.embedding_jobs WHERE segment_id = :legacy;

-- A label that is there is no change and no history; another one is both.
SELECT count(*) AS before FROM speaker.assignments \gset
SELECT label_segment(:legacy, 'Ann') AS again;
SELECT label_segment(:legacy, 'Cy') AS other;
-- In one statement with its vector it would leave a wrong mean.
SELECT replace(attempt(format($$ WITH gone AS (DELETE FROM speaker.embeddings WHERE segment_id = %1$s)
    UPDATE speaker.segments SET speaker_id = NULL WHERE id = %1$s $$, :legacy)), :'legacy', 'N') AS together;
SELECT unlabel_segment(:legacy) AS taken_back, unlabel_segment(:legacy) AS again;
SELECT speaker, previous_speaker, source FROM speaker.assignments ORDER BY id LIMIT ALL OFFSET :before;
-- Two speakers do not share a name, and one is not merged into itself.
SELECT attempt($$ SELECT rename_speaker('Cy', 'Ann') $$) ~ '^23505' AS taken;
SELECT attempt($$ SELECT merge_speakers('Ann', 'Ann') $$);
SELECT attempt($$ SELECT rename_speaker('Nobody', 'Dee') $$);
DELETE FROM speaker.speakers WHERE name = 'Cy';
