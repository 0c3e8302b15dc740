\set segment random(1, 20000)
SELECT count(*) FROM speaker.embeddings AS e, speaker_knn(e.embedding) WHERE e.segment_id = :segment;
