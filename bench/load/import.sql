\set segment random(1, 20000)
\set speaker random_zipfian(1, 1000, 1.1)
SELECT add_speaker_embedding('Speaker ' || :speaker, embedding) FROM speaker.embeddings WHERE segment_id = :segment;
