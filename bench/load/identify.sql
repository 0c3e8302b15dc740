\set run random(1, 1000)
SELECT count(*) FROM identify_speakers(:run);
