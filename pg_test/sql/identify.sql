-- The next recording.
SET ROLE regress_app;
-- The stored means answer what a scan of every embedding would.
CREATE TABLE query AS SELECT embedding AS q FROM speaker.speaker_embeddings WHERE video_id = 'interview' ORDER BY start_time LIMIT 1;
SELECT k.speaker, k.embeddings, abs(k.distance - n.distance) < 1e-6 AS exact, abs(k.similarity + k.distance - 1) < 1e-9 AS complement
FROM query, speaker_knn(q) AS k
JOIN (SELECT speaker_id, avg(embedding <=> q) AS distance FROM query, speaker.speaker_embeddings WHERE speaker_id IS NOT NULL GROUP BY 1) AS n
     ON n.speaker_id = k.speaker
ORDER BY k.distance;
SELECT count(*) FROM query, speaker_knn(q, 2);
SELECT count(*) AS elsewhere FROM query, speaker_knn(q, collection => 'another');

SELECT u.id AS run FROM speaker.runs AS u JOIN speaker.recordings AS r ON r.id = u.recording_id WHERE r.external_id = 'interview' \gset
-- Only an answer, nothing assigned; then the limits; then for good.
SELECT s.speaker_label, i.speaker, count(*), round(min(i.similarity)::numeric, 1) AS least
FROM identify_speakers(:run, assign => false) AS i JOIN speaker.segments AS s ON s.id = i.segment_id GROUP BY 1, 2 ORDER BY 1, 2;
SELECT count(speaker) AS known FROM identify_speakers(:run, threshold => 0.999, assign => false);
SELECT count(speaker) AS known FROM identify_speakers(:run, margin => 0.9, assign => false);
SELECT count(*) AS assigned FROM speaker.segments WHERE run_id = :run AND speaker_id IS NOT NULL;
SELECT count(speaker) AS known, count(*) - count(speaker) AS unknown FROM identify_speakers(:run);
SELECT source, count(*), bool_and(score >= 0.72) AS above_threshold FROM speaker.assignments WHERE source = 'knn' GROUP BY 1;
SELECT count(*) AS unknown_left FROM identify_speakers(:run);
DROP TABLE query;
