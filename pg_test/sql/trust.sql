-- Labels that nobody has looked at do not move the means; they are confirmed, or taken back.
SET ROLE regress_app;
SET speaker.collection = 'trust';
CREATE FUNCTION v(a float8, b float8, c float8) RETURNS vector LANGUAGE sql AS
$$ SELECT l2_normalize(('[' || a || ',' || b || ',' || c || repeat(',0', 253) || ']')::vector) $$;
-- A recording of a segment for each vector, its seconds of speech 1, 2, 3, ...
CREATE FUNCTION recording(name text, VARIADIC vectors vector[], OUT run bigint) LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO speaker.recordings (collection, external_id) VALUES ('trust', name);
    run := add_run(name, (SELECT jsonb_agg(jsonb_build_object('id', name || i, 'start', i, 'end', i + 1))
                          FROM generate_subscripts(vectors, 1) AS i)::text, 'manual');
    INSERT INTO speaker.embeddings (segment_id, collection, model_id, embedding, speech_s)
    SELECT s.id, s.collection, 1, vectors[s.source_index + 1], s.source_index + 1 FROM speaker.segments AS s WHERE s.run_id = run;
END
$$;
CREATE VIEW labels AS
SELECT s.external_id AS segment, p.name AS speaker, s.label_source AS source, s.label_confirmed AS confirmed, b.call AS batch,
       s.labelled_at IS NOT NULL AS has_time
FROM speaker.segments AS s
LEFT JOIN speaker.speakers AS p ON p.id = s.speaker_id LEFT JOIN speaker.label_batches AS b ON b.id = s.label_batch
WHERE s.collection = 'trust' ORDER BY s.external_id;
CREATE VIEW means AS
SELECT p.name, c.n, round(c.sum[1]::numeric, 2) AS x, round(c.sum[2]::numeric, 2) AS y
FROM speaker.speaker_centroids AS c JOIN speaker.speakers AS p ON p.id = c.speaker_id WHERE c.collection = 'trust' ORDER BY 1;
-- Everything that there is of labels, with the times.
CREATE FUNCTION digest() RETURNS text LANGUAGE sql AS $$
    SELECT md5(string_agg(x.line, ' ' ORDER BY x.line))
    FROM (SELECT s::text AS line FROM speaker.segments AS s WHERE s.collection = 'trust'
          UNION ALL SELECT c.speaker_id || ' ' || c.n || ' ' || round(c.sum[1]::numeric, 9) || ' ' || round(c.sum[2]::numeric, 9)
          FROM speaker.speaker_centroids AS c WHERE c.collection = 'trust') AS x $$;

SELECT count(add_speaker_embedding(n, e)) AS known FROM (VALUES ('Xavier', v(1, 0, 0)), ('Yves', v(0, 0, 1))) AS p (n, e);
SELECT recording('day', v(0.73, 0.683, 0), v(0.70, 0.714, 0), v(0.9, 0.3, 0.3), v(0.1, 0.99, 0)) AS day \gset

-- Why: of each segment, by the gate that refused it. Nothing is written.
SELECT external_id, speaker, round(similarity::numeric, 2) AS similarity, nearest, round(next_similarity::numeric, 2) AS next, reason, batch_id
FROM identify_speakers(:day, explain => true);
SELECT external_id, reason FROM identify_speakers(recording => 'day', margin => 0.7, explain => true) WHERE reason LIKE '%margin%';
SET speaker.min_speech_to_match = 2;
SELECT external_id, reason FROM identify_speakers(recording => 'day', explain => true) WHERE reason LIKE '%speech%';
RESET speaker.min_speech_to_match;
SELECT attempt($$ SELECT identify_speakers() $$) AS nothing_named;
SELECT attempt($$ SELECT identify_speakers(NULL) $$) AS no_run;
SELECT attempt($$ SELECT identify_speakers(recording => 'nowhere') $$) AS no_recording;
SELECT attempt(format($$ SELECT identify_speakers(%s, recording => 'nowhere') $$, :day)) LIKE '%is not of recording "nowhere"%' AS of_another;
SELECT attempt(format($$ SELECT identify_speakers(%s, method => 'best') $$, :day)) AS no_method;
SELECT attempt($$ SELECT speaker_knn(NULL) $$) AS no_vector;
SELECT attempt($$ SELECT nearest_segments(NULL) $$) AS no_example;

-- Suggestions: they show, and the mean stays as it is.
SELECT digest() AS before \gset
SELECT external_id, speaker, batch_id IS NOT NULL AS has_batch FROM identify_speakers(:day);
SELECT max(id) AS first FROM speaker.label_batches WHERE collection = 'trust' \gset
SELECT * FROM labels WHERE segment LIKE 'day%';
SELECT * FROM means;
-- Nobody more: what is not measured against suggestions finds nothing new, and makes no batch.
SELECT count(speaker) AS more, count(batch_id) AS batches FROM identify_speakers(:day);
SELECT external_id, speaker, reason FROM identify_speakers(:day, explain => true);

-- Taken back, every column as it was.
SELECT * FROM undo_labels(:first);
SELECT digest() = :'before' AS exact;
SELECT * FROM undo_labels(:first) AS again;
SELECT segment, source, has_time FROM labels WHERE segment LIKE 'day%' LIMIT 1;
SELECT a.speaker, a.previous_speaker, a.source, a.previous_source, a.confirmed, a.batch_id IS NOT NULL AS batch
FROM speaker.assignments AS a JOIN speaker.segments AS s ON s.id = a.segment_id WHERE s.external_id = 'day1' ORDER BY a.id;

-- Confirmed: now they count. And that is taken back too, the suggestions stay.
SELECT count(speaker) AS suggested, max(batch_id) AS second FROM identify_speakers(:day) \gset
SELECT digest() AS suggested_state \gset
SELECT confirmed, batch_id AS confirmation FROM confirm_labels(recording => 'day', speaker => 'Xavier') \gset
SELECT :suggested AS suggested, :confirmed AS confirmed;
SELECT * FROM means;
SELECT * FROM confirm_labels(batch => :second) AS nothing_left;
SELECT * FROM undo_labels(:second) AS confirmed_since;
SELECT * FROM undo_labels(:confirmation);
SELECT digest() = :'suggested_state' AS exact;
-- What somebody has labelled since stays, what they say again of a suggestion is confirmed.
SELECT label_segment((SELECT id FROM speaker.segments WHERE external_id = 'day1'), 'Zoe') AS another,
       label_segment((SELECT id FROM speaker.segments WHERE external_id = 'day3'), 'Xavier') AS same;
SELECT * FROM labels WHERE segment LIKE 'day%';
SELECT * FROM means;
SELECT * FROM undo_labels(:second);
-- A label of a person is never replaced by an automatic one, and can be taken back as well: the suggestion is there again, with its time.
SELECT count(speaker) AS found FROM identify_speakers(:day, threshold => -1);
SELECT segment, speaker, source FROM labels WHERE segment LIKE 'day%';
SELECT s.label_batch AS by_hand, a.previous_labelled_at AS earlier
FROM speaker.segments AS s JOIN speaker.assignments AS a ON a.segment_id = s.id AND a.batch_id = s.label_batch WHERE s.external_id = 'day1' \gset
SELECT * FROM undo_labels(:by_hand);
SELECT l.*, s.labelled_at = :'earlier' AS its_time FROM labels AS l JOIN speaker.segments AS s ON s.external_id = l.segment WHERE l.segment = 'day1';

-- Merged suggestions stay suggestions.
SELECT merge_speakers('Zoe', 'Yves') AS moved;
SELECT segment, speaker, confirmed FROM labels WHERE source = 'merge' AND segment LIKE 'day%';

SELECT attempt($$ SELECT confirm_labels() $$) AS of_what;
SELECT attempt($$ SELECT confirm_labels(NULL) $$) AS no_run;
SELECT attempt($$ SELECT confirm_labels(batch => NULL) $$) AS no_batch;
SELECT attempt($$ SELECT confirm_labels(batch => 987654) $$) AS unknown_batch;
SELECT attempt($$ SELECT confirm_labels(speaker => 'Nobody') $$) AS unknown_speaker;
SELECT attempt($$ SELECT undo_labels(987654) $$) AS unknown_batch;
SELECT attempt($$ SELECT undo_labels(NULL) $$) AS no_batch;
SELECT attempt(format($$ SELECT undo_labels(%s, 'elsewhere') $$, :first)) LIKE '%there is no batch%' AS of_another_collection;

-- By an UPDATE: who speaks is manual and confirmed; confirming alone moves the mean; how it was found cannot change with that.
SELECT recording('home', v(0.9, -0.4, 0.17), v(0.95, -0.2, 0)) AS home \gset
SELECT count(speaker) AS found FROM identify_speakers(:home, threshold => 0.5);
SELECT n FROM means WHERE name = 'Xavier';
UPDATE speaker.segments SET label_confirmed = true WHERE external_id = 'home1';
SELECT n FROM means WHERE name = 'Xavier';
UPDATE speaker.segments SET label_confirmed = false WHERE external_id = 'home1';
SELECT n FROM means WHERE name = 'Xavier';
SELECT attempt($$ UPDATE speaker.segments SET label_confirmed = NULL WHERE external_id = 'home1' $$) LIKE '%cannot change without its speaker%' AS neither,
       attempt($$ UPDATE speaker.segments SET label_batch = 1 WHERE external_id = 'home1' $$) LIKE '%cannot change without its speaker%' AS other_batch;
UPDATE speaker.segments SET speaker_id = (SELECT id FROM speaker.speakers WHERE name = 'Yves') WHERE external_id = 'home1';
SELECT * FROM labels WHERE segment = 'home1';
-- Taken back to somebody who is gone since, it is unknown.
SELECT label_segment((SELECT id FROM speaker.segments WHERE external_id = 'home2'), 'Will') AS suggested_otherwise;
SELECT label_segment((SELECT id FROM speaker.segments WHERE external_id = 'home2'), 'Xavier') AS back;
SELECT max(id) AS back FROM speaker.label_batches WHERE collection = 'trust' \gset
DELETE FROM speaker.speakers WHERE collection = 'trust' AND name = 'Will';
SELECT * FROM undo_labels(:back);
SELECT * FROM labels WHERE segment = 'home2';
-- A time that the history does not know is no time.
UPDATE speaker.segments SET speaker_id = NULL, label_source = 'manual', labelled_at = '1999-01-01' WHERE external_id = 'home1';
SELECT labelled_at > now() - interval '1 hour' AS now FROM speaker.segments WHERE external_id = 'home1';

-- Confirmed by themselves, by their seconds of speech, or all of them: the old way, with its risk.
SELECT recording('evening', v(0.9, 0, 0.3), v(0.9, 0.3, 0.1)) AS evening \gset
SET speaker.min_speech_to_confirm = 2;
SELECT count(speaker) AS found FROM identify_speakers(:evening, threshold => 0.5);
RESET speaker.min_speech_to_confirm;
SELECT segment, confirmed FROM labels WHERE segment LIKE 'evening%';
SELECT recording('night', v(0.9, 0, 0.3)) AS night \gset
SET speaker.confirm_automatic_labels = on;
SELECT count(speaker) AS found FROM identify_speakers(:night, threshold => 0.5);
RESET speaker.confirm_automatic_labels;
SELECT segment, confirmed FROM labels WHERE segment LIKE 'night%';

-- The best of several: a person with two microphones is between them on average, and near one of them.
SELECT count(add_speaker_embedding(n, e)) FROM (VALUES ('Mike', v(0, 1, 0.5)), ('Mike', v(0, 1, -0.5))) AS p (n, e);
SELECT speaker, round(similarity::numeric, 2) AS similarity, embeddings FROM speaker_knn(v(0, 1, 0.5), 1);
SELECT speaker, round(similarity::numeric, 2) AS similarity, embeddings FROM speaker_knn(v(0, 1, 0.5), 1, method => 'nearest');
-- As a scan of all of them says, for one vector and for many.
SELECT count(*) = count(b.similarity) AND max(abs(k.similarity - b.similarity)) < 1e-6 AS exact
FROM speaker_knn(v(0.5, 0.5, 0.1), NULL, method => 'nearest') AS k
FULL JOIN (SELECT s.speaker_id, max(speaker_similarity(e.embedding, v(0.5, 0.5, 0.1))) AS similarity
           FROM speaker.segments AS s JOIN speaker.embeddings AS e ON e.segment_id = s.id
           WHERE s.collection = 'trust' AND s.label_confirmed GROUP BY 1) AS b USING (speaker_id);
SELECT recording('studio', v(0, 1, 0.6), v(0, 1, 0.4), v(0, 1, -0.4), v(0, 1, -0.6), v(0, 1, 0)) AS studio \gset
SELECT external_id, speaker, round(similarity::numeric, 2) AS similarity FROM identify_speakers(:studio, method => 'nearest', assign => false);
-- A cluster that is named is a call too.
SELECT clustering_id AS clustering FROM cluster_unlabeled(:studio, method => 'agglomerative') LIMIT 1 \gset
SELECT label_cluster(:clustering, 'A', 'Nora') AS named;
SELECT segment, speaker, source, confirmed, batch FROM labels WHERE segment LIKE 'studio%';
SELECT undone, left_alone FROM undo_labels((SELECT max(label_batch) FROM speaker.segments WHERE external_id LIKE 'studio%'));
SELECT count(speaker) AS named FROM labels WHERE segment LIKE 'studio%';

-- All means are those of confirmed labels.
SELECT count(*) AS wrong
FROM speaker.speaker_centroids AS c
FULL JOIN (SELECT s.speaker_id, e.model_id, count(*) AS n FROM speaker.segments AS s JOIN speaker.embeddings AS e ON e.segment_id = s.id
           WHERE s.label_confirmed GROUP BY 1, 2) AS t USING (speaker_id, model_id)
WHERE c.n IS DISTINCT FROM t.n;
DELETE FROM speaker.recordings WHERE collection = 'trust';
DELETE FROM speaker.speakers WHERE collection = 'trust';
SELECT count(*) AS left_behind FROM speaker.speaker_centroids WHERE collection = 'trust';
DROP VIEW labels, means;
DROP FUNCTION digest(), recording(text, vector[]), v(float8, float8, float8);
RESET speaker.collection;
RESET ROLE;
