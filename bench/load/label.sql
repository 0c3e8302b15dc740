\set segment random(1, 20000)
\set speaker random_zipfian(1, 1000, 1.1)
SELECT label_segment(:segment, 'Speaker ' || :speaker);
