SELECT count(*) FROM ingest_recording('load ' || gen_random_uuid(), (SELECT audio FROM clip), '[{"start": 0, "end": 2.4, "speaker": "SPEAKER_00"}]');
