-- The extension, a store of an ordinary role, another that does everything below, and one that only reads.
SET client_min_messages = warning;
CREATE EXTENSION pg_speaker CASCADE;
DROP ROLE IF EXISTS regress_owner, regress_app, regress_reader, regress_stranger;
CREATE ROLE regress_owner;
CREATE ROLE regress_app;
CREATE ROLE regress_reader;
CREATE ROLE regress_stranger;
GRANT CREATE ON DATABASE :"DBNAME" TO regress_owner;
SET ROLE regress_owner;
SELECT create_speaker_store();
SELECT speaker.grant_access('regress_app');
SELECT speaker.grant_access('regress_reader', 'read');
SELECT speaker.grant_access('regress_reader', 'everything');
RESET ROLE;
ALTER DATABASE :"DBNAME" SET search_path = public, speaker;
SET search_path = public, speaker;
GRANT CREATE ON SCHEMA public TO regress_app;

-- How an error looks to a client: SQLSTATE, message, hint.
CREATE FUNCTION attempt(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    state text; message text; hint text;
BEGIN
    EXECUTE command;
    RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
    RETURN concat_ws(' | ', state, message, nullif(hint, ''));
END
$$;

-- Audio files as clients send them.
CREATE TABLE files (name text PRIMARY KEY, audio bytea);
GRANT SELECT ON files TO regress_app;
\set bytes `base64 -w0 $FIXTURES/meeting.flac`
INSERT INTO files VALUES ('meeting', decode(:'bytes', 'base64'));
\set bytes `base64 -w0 $FIXTURES/interview.flac`
INSERT INTO files VALUES ('interview', decode(:'bytes', 'base64'));
\set bytes `base64 -w0 $FIXTURES/enrol/awb.flac`
INSERT INTO files VALUES ('awb', decode(:'bytes', 'base64'));
\set bytes `base64 -w0 $FIXTURES/enrol/rms.flac`
INSERT INTO files VALUES ('rms', decode(:'bytes', 'base64'));
-- A WAV file of known bytes: 16-bit mono at 16 kHz, of the meeting's first seconds.
INSERT INTO files SELECT 'wav', audio_clip(audio, 0, 4) FROM files WHERE name = 'meeting';
INSERT INTO files SELECT 'silence', substring(audio FOR 44) || decode(repeat('00', 128000), 'hex') FROM files WHERE name = 'wav';

GRANT SELECT ON files TO regress_reader;
CREATE FUNCTION audio(name text) RETURNS bytea LANGUAGE sql STABLE STRICT
RETURN (SELECT f.audio FROM files AS f WHERE f.name = $1);

CREATE TABLE documents (name text PRIMARY KEY, segments text);
GRANT SELECT ON documents TO regress_app;
\set text `cat $FIXTURES/meeting.pyannote.json`
INSERT INTO documents VALUES ('meeting', :'text');
\set text `cat $FIXTURES/interview.rttm`
INSERT INTO documents VALUES ('interview', :'text');
\set text `cat $FIXTURES/interview.whisper.json`
INSERT INTO documents VALUES ('interview.whisper', :'text');

SELECT name, i.* FROM files, audio_info(audio) AS i ORDER BY name;

-- The model that comes with the extension, and nothing else yet.
SELECT id, name, version, dim, utterance_threshold, speaker_threshold, centroid_threshold FROM speaker.models;
SELECT * FROM speaker.status;
