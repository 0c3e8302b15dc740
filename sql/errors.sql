-- The catalogue of errors.

CREATE VIEW speaker.error_codes AS
SELECT code, sqlstate, permanent, meaning, troubleshooting, recovery FROM speaker.error_catalogue();
COMMENT ON VIEW speaker.error_codes IS
    'Every error code of this extension, as in the routine field of an error and in the ledger: its SQLSTATE, what it means, what to look at and what to do. permanent: the same input can never work.';
