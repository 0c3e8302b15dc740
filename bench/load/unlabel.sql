\set segment random(1, 20000)
SELECT unlabel_segment(:segment);
