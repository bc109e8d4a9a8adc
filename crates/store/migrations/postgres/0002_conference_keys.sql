-- What people who have not signed in must know, sealed by a key outside the database.
ALTER TABLE conferences ADD COLUMN conference_key BYTEA;
